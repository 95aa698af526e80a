# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Brings the images and the boxes of a COCO instances json together.

A COCO box is [x, y, width, height] in pixels; x and y are its upper left corner.
"""

import collections
import os

from console.errors import UserError, as_user_error, raise_all
from conversion import shards
from dataset import box_rules, categories, image_header

# Key of the counts that `plan` returns, besides the faults of box_rules.
CLIPPED = "boxes clipped to their image"

_REMEDY = "correct or remove it; nothing was written"
# pycocotools stores numbers as float64, which is exact up to here.
_LARGEST = 2**53
# Some of COCO's own boxes end up to 0.01 pixels outside their image, due to rounding.
_ROUNDING = 0.02


def plan(dataset: dict, image_dir: str, unusable=None, is_voc: bool = False):
    """Brings images and boxes together, and checks that all image files exist.

    Args:
      dataset, image_dir: what coco_json.load returns, and the folder of the images.
      unusable: shards.UnusableImages, to which those without a file are added; None
        to allow none.
      is_voc: whether the boxes were given as corners, and messages name --voc_dir.

    Returns:
      (entries, counts): list of shards.Entry in the order of the image ids; and a
      collections.Counter of what was clipped or left out, with the keys above.

    Raises:
      UserError: entries of the json are wrong, too many image files are missing, or
        the json has boxes but none of them can be used.
    """
    unusable = unusable or shards.UnusableImages()
    flag = "--voc_dir:" if is_voc else "--annotations:"
    with as_user_error(flag):
        categories.read_names(dataset["categories"])
    root = os.path.realpath(image_dir)
    if not os.path.isdir(root):
        raise UserError(f"--image_dir={image_dir}: there is no such folder")
    images = _read_images(dataset["images"], root, flag)
    boxes, counts = _read_boxes(dataset, images, flag, is_voc)
    entries = []
    for image_id, image in sorted(images.items()):
        path = os.path.join(root, image["file_name"])
        if os.path.isfile(path):
            size = (image["width"], image["height"])
            entries.append(
                shards.Entry(path, image["file_name"], image_id, size, boxes[image_id])
            )
        else:
            unusable.texts.append(f"--image_dir: {path}, image {image_id}, is missing")
    unusable.check(bool(entries))
    return entries, counts


def _read_images(images, root, flag):
    """Checks the images of a json; returns a dict from id to image."""
    by_id, problems = {}, []
    for image in images:
        try:
            _check_image(image, root)
            if image["id"] in by_id:
                raise ValueError("its id occurs twice")
            by_id[image["id"]] = image
        except ValueError as error:
            problems.append(f"{flag} image {image!r:.200} is wrong: {error}")
    raise_all(problems, _REMEDY)
    if not by_id:
        raise UserError(f"{flag} the list of images is empty")
    return by_id


def _check_image(image, root):
    ranges = {"id": (0, _LARGEST)}
    ranges["width"] = ranges["height"] = (1, image_header.MAX_PIXELS)
    for key, (smallest, largest) in ranges.items():
        value = image.get(key)
        # A bool is an int in Python.
        if type(value) is not int or not smallest <= value <= largest:
            raise ValueError(f"{key} must be an integer from {smallest} to {largest}")
    if not isinstance(image.get("file_name"), str):
        raise ValueError("file_name must be a text")
    # The name must stay in the folder; a link in the folder may lead elsewhere.
    path = os.path.abspath(os.path.join(root, image["file_name"]))
    if "\0" in path or os.path.commonpath([root, path]) != root:
        raise ValueError(f"the file name leaves {root}")


def _read_boxes(dataset, images, flag, is_voc):
    """Returns a dict from image id to boxes, see shards.Entry; and `plan`'s counts."""
    faulty, problems = box_rules.sort_out(dataset)
    raise_all([f"{flag} {text}" for text in problems], _REMEDY)
    with as_user_error(flag):
        # VOC's corners cannot be mistaken for sizes.
        box_rules.check(dataset, faulty, may_reach_out=is_voc)
    counts = collections.Counter({kind: len(found) for kind, found in faulty.items()})
    boxes = {image_id: [] for image_id in images}
    for annotation in dataset["annotations"]:
        image_id = annotation["image_id"]
        boxes[image_id].append(_to_box(annotation, images[image_id], counts))
    return boxes, counts


def _to_box(annotation, image, counts):
    """Returns a box, see shards.Entry; counts it if it is clipped."""
    box = annotation["bbox"]
    left, top, right, bottom = box_rules.clip(box, (image["width"], image["height"]))
    outside = max(left - box[0], top - box[1])
    outside = max(outside, box[0] + box[2] - right, box[1] + box[3] - bottom)
    if outside > _ROUNDING:
        counts[CLIPPED] += 1
        box = [left, top, right - left, bottom - top]
    result = {"category_id": int(annotation["category_id"]), "bbox": box}
    result["area"] = float(annotation["area"])
    for name in ("iscrowd", "difficult"):
        if name in annotation:
            result[name] = int(annotation[name] == 1)
    return result


def print_set(output_prefix: str, entries: list, changes: dict):
    """Prints what shards.write wrote to the shards of one set."""
    boxes = [box for entry in entries for box in entry.boxes]
    num_difficult = sum(box.get("difficult", 0) for box in boxes)
    num_crowd = sum(box["iscrowd"] and not box.get("difficult") for box in boxes)
    print(
        f"{output_prefix}: {len(entries)} images, {len(boxes)} boxes, {num_crowd} of "
        "them crowd"
    )
    if all(box["iscrowd"] for box in boxes):
        print("  no box counts: training or evaluation will refuse this set")
    num_without_box = sum(not entry.boxes for entry in entries)
    print(f"  {num_without_box} images without a box (evaluated, not trained on)")
    if num_difficult:
        print(
            f"  {num_difficult} boxes that are difficult (trained on, ignored by "
            "evaluation)"
        )
    for change, image_paths in sorted(changes.items()):
        print(f"  {len(image_paths)} {change}, for example {min(image_paths)}")


def print_counts(counts: collections.Counter):
    """Prints what `plan` changed or left out."""
    print(f"  {counts[CLIPPED]} {CLIPPED}")
    if counts[box_rules.NO_AREA]:
        number = counts[box_rules.NO_AREA]
        print(f"  {number} {box_rules.NO_AREA} (that of the box is stored)")
    for reason in box_rules.LEFT_OUT:
        print(f"  left out: {counts[reason]} {reason}")
