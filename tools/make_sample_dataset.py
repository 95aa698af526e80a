# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws a small dataset of simple shapes for trying out training and evaluation.

  python3 tools/make_sample_dataset.py --output_dir=sample_dataset

writes 400 training and 80 evaluation JPEGs with one to four shapes on a soft
background, their COCO jsons (instances_train2017.json, instances_val2017.json) and the
TFRecords train2017-* and val2017-*. This takes a few seconds. Each shape stands for a
category of COCO. The pictures are the same each time.
"""

import colorsys
import json
import os
import sys

import numpy as np
from absl import flags
from PIL import Image

# The modules of the project are in the folder above this one.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import command, new_folder
from console.errors import UserError
from conversion import annotations, shards
from dataset import categories

FLAGS = flags.FLAGS

# For each split: its image ids, the seed of its pictures, and the number of shards.
_SPLITS = {
    "train2017": (range(1, 401), [0, 0], 4),
    "val2017": (range(401, 481), [0, 1], 2),
}
_SMALLEST_SIDE, _LARGEST_SIDE = 240, 480
_MAX_OBJECTS = 4
# Relative to the shorter side of the picture.
_MIN_EXTENT, _MAX_EXTENT = 0.25, 0.6
# Free pixels around every object, so that objects do not overlap.
_GAP = 6
_TRIES = 50


# COCO's category id: the shape, a mask over y and x in -1..1, and its hue in 0..1.
SHAPES = {
    13: (lambda y, x: abs(y) + abs(x) <= 1.414, 0.0),  # stop sign: a red octagon
    37: (lambda y, x: y**2 + x**2 <= 1, 0.15),  # sports ball: a yellow disc
    38: (lambda y, x: abs(x) <= (y + 1) / 2, 0.6),  # kite: a blue triangle
}
_HUE_SPREAD = 0.04


def _define_flags():
    flags.DEFINE_string("output_dir", None, "Folder to create.")


def draw(random):
    """Draws one picture.

    Args:
      random: numpy.random.RandomState.

    Returns:
      pixels: uint8 [height, width, 3].
      objects: list of (category id, [x, y, width, height] in pixels, area in pixels);
        the boxes fit the shapes to the pixel.
    """
    height, width = random.randint(_SMALLEST_SIDE, _LARGEST_SIDE + 1, 2)
    if height == width:
        width += 1
    pixels = _background(random, height, width)
    is_taken = np.zeros([height, width], bool)
    objects = []
    for _ in range(random.randint(1, _MAX_OBJECTS + 1)):
        placed = _place(random, is_taken)
        # There is always room for the first object, but not always for the others.
        if placed is not None:
            objects.append(_paint(random, pixels, is_taken, *placed))
    return np.clip(pixels, 0, 255).astype(np.uint8), objects


def _background(random, height, width):
    """Returns a gradient between four grayish colors in the corners, with noise."""
    corners = random.uniform(60, 190) + random.uniform(-25, 25, [2, 2, 3])
    y = np.linspace(0, 1, height)[:, None, None]
    x = np.linspace(0, 1, width)[None, :, None]
    top = corners[0, 0] * (1 - x) + corners[0, 1] * x
    bottom = corners[1, 0] * (1 - x) + corners[1, 1] * x
    return top * (1 - y) + bottom * y + random.normal(0, 6, [height, width, 3])


def _place(random, is_taken):
    """Finds room for an object: (top, left, height, width) in pixels, or None."""
    height, width = is_taken.shape
    for _ in range(_TRIES):
        extent = random.uniform(_MIN_EXTENT, _MAX_EXTENT) * min(height, width)
        stretch = random.uniform(0.8, 1.25)
        h, w = int(extent * stretch), int(extent / stretch)
        top, left = random.randint(0, height - h), random.randint(0, width - w)
        around = (
            slice(max(top - _GAP, 0), top + h + _GAP),
            slice(max(left - _GAP, 0), left + w + _GAP),
        )
        if not is_taken[around].any():
            return top, left, h, w
    return None


def _paint(random, pixels, is_taken, top, left, height, width):
    """Paints a shape into pixels and is_taken; returns (category id, box, area)."""
    category_id = sorted(SHAPES)[random.randint(len(SHAPES))]
    y = (np.arange(height) + 0.5)[:, None] / height * 2 - 1
    x = (np.arange(width) + 0.5)[None, :] / width * 2 - 1
    shape, hue = SHAPES[category_id]
    mask = shape(y, x)
    region = (slice(top, top + height), slice(left, left + width))
    is_taken[region] = True
    noise = random.normal(0, 6, [int(mask.sum()), 3])
    pixels[region][mask] = _color(random, hue) + noise
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [
        int(left + columns[0]),
        int(top + rows[0]),
        int(columns[-1] - columns[0] + 1),
        int(rows[-1] - rows[0] + 1),
    ]
    return category_id, box, int(mask.sum())


def _color(random, hue):
    """Returns a saturated color near a hue, RGB in 0..255."""
    hue = (hue + random.uniform(-_HUE_SPREAD, _HUE_SPREAD)) % 1
    saturation, value = random.uniform(0.75, 1), random.uniform(0.7, 1)
    return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def _make_split(folder, split):
    """Draws the pictures of one split; writes them, their json and their TFRecords."""
    image_ids, seed, num_shards = _SPLITS[split]
    image_dir = os.path.join(folder, "images", split)
    os.makedirs(image_dir)
    images, boxes = [], []
    random = np.random.RandomState(seed)
    for image_id in image_ids:
        pixels, objects = draw(random)
        height, width = pixels.shape[:2]
        name = f"{image_id:012d}.jpg"
        Image.fromarray(pixels).save(os.path.join(image_dir, name), quality=92)
        images.append(dict(id=image_id, file_name=name, width=width, height=height))
        for category_id, box, area in objects:
            annotation = dict(id=len(boxes) + 1, image_id=image_id, iscrowd=0)
            annotation.update(category_id=category_id, bbox=box, area=area)
            boxes.append(annotation)
    dataset = {
        "images": images,
        "annotations": boxes,
        "categories": categories.COCO.entries(),
    }
    with open(os.path.join(folder, f"instances_{split}.json"), "w") as file:
        json.dump(dataset, file)
    entries, _ = annotations.plan(dataset, image_dir)
    prefix = os.path.join(folder, split)
    shards.write(prefix, entries, categories.COCO.names, num_shards, workers=1)
    annotations.print_set(split, entries, {})


def main(_):
    """Creates the sample, unless it exists already."""
    if not FLAGS.output_dir:
        raise UserError("--output_dir is missing")
    # The target of a link: a folder cannot be renamed to the name of a link.
    folder = os.path.realpath(FLAGS.output_dir)
    # COCO's own folders have a file instances_val2017.json as well.
    own_file = os.path.join(folder, "val2017-00001-of-00002.tfrecord")
    if os.path.exists(own_file):
        print(f"the sample exists already: {folder}")
        return
    try:
        with new_folder.create("output_dir", folder) as partial:
            for split in _SPLITS:
                _make_split(partial, split)
    except UserError:
        # On a file system without locks, another rank may have created it meanwhile.
        if not os.path.exists(own_file):
            raise


if __name__ == "__main__":
    command.run(main, _define_flags)
