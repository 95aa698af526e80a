# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which boxes count: the one rule of conversion, training, evaluation and check.

A box counts if its four numbers are finite, and if the part of it that lies in its
image has a width and a height. The image and the category of a COCO json's box must be
listed in that json as well. Boxes that do not count are left out, and how many they
are is told. A COCO box is [x, y, width, height] in pixels; x and y are its upper left
corner.
"""

import collections
import math

import numpy as np

# The size of an image that is not known.
_ANY_SIZE = math.inf, math.inf

# Reasons why a box does not count.
NO_SIZE = "boxes of no size or outside their image"
UNKNOWN_IMAGE = "boxes of an image that the json does not list"
UNKNOWN_CATEGORY = "boxes of a category that is not listed"
LEFT_OUT = (NO_SIZE, UNKNOWN_IMAGE, UNKNOWN_CATEGORY)

# Faults of the areas of boxes that count. COCO's areas are those of the outlines.
NO_AREA = "areas that are not positive"
LARGE_AREA = "areas that are larger than their boxes"

# Boxes in pixels that all end before this are fractions of the image.
LARGEST_FRACTION = 1.01

# Pixels. COCO rounds to 0.01; the float32 fractions in records are more exact.
_MIN_SIDE = 0.005
# A larger number is a mistake, and so is one that is not finite.
_LARGEST = 2**53
# If more boxes than this share reach out of their images, they have another form:
# corners that are read as sizes, or pixels of larger images. Fewer boxes tell nothing.
_SHARE_OUTSIDE = 0.5
_FEWEST_BOXES = 5


def clip(box, size):
    """Clips a box to its image.

    Args:
      box: list of four numbers, [x, y, width, height].
      size: (width, height) of the image.

    Returns:
      (left, top, right, bottom), floats; None if the box does not count.

    Raises:
      ValueError: the box is not four numbers.
    """
    if not isinstance(box, (list, tuple)) or not (
        len(box) == 4 and all(type(number) in (int, float) for number in box)
    ):
        raise ValueError(f"bbox {box!r:.80} is not a list of four numbers")
    if not all(abs(number) < _LARGEST for number in box):
        return None
    x, y, width, height = map(float, box)
    left, right = max(x, 0.0), min(x + width, size[0])
    top, bottom = max(y, 0.0), min(y + height, size[1])
    if right - left < _MIN_SIDE or bottom - top < _MIN_SIDE:
        return None
    return left, top, right, bottom


def have_size(boxes, height_width):
    """Applies the rule to the boxes of a record.

    Args:
      boxes: float32 [G, 4], ltrb in 0..1.
      height_width: (height, width) of the image in pixels.

    Returns:
      bool [G], whether each box counts.
    """
    # np.clip takes several times as long.
    clipped = np.minimum(np.maximum(boxes, 0), 1)
    sides = (clipped[:, 2:] - clipped[:, :2]) * height_width
    return (sides >= _MIN_SIDE).all(axis=1)


def size_of(image):
    """Returns (width, height) of a json's image; None if it has no valid size."""
    size = image.get("width"), image.get("height")
    if all(type(side) in (int, float) and 0 < side < _LARGEST for side in size):
        return size
    return None


def _sizes(dataset):
    return {image["id"]: size_of(image) or _ANY_SIZE for image in dataset["images"]}


def sort_out(dataset):
    """Leaves the boxes out of a COCO json that do not count, and completes the others.

    Boxes whose "area" is missing or not positive get that of the part in the image, and
    "iscrowd" becomes 0 where it is missing.

    Args:
      dataset: dict, see coco_json.load; its "annotations" become those that count.

    Returns:
      (faulty, problems): defaultdict from the kind of fault to the list of its
      annotations: those that were left out, see LEFT_OUT, and those whose area is
      wrong; and list of str, a line for each annotation that is not valid.
    """
    sizes = _sizes(dataset)
    category_ids = {category["id"] for category in dataset["categories"]}
    kept, faulty, problems = [], collections.defaultdict(list), []
    for annotation in dataset["annotations"]:
        try:
            fault = _complete(annotation, sizes, category_ids)
        except ValueError as error:
            problems.append(f"annotation {annotation!r:.200} is wrong: {error}")
            continue
        if fault:
            faulty[fault].append(annotation)
        if fault not in LEFT_OUT:
            kept.append(annotation)
    dataset["annotations"] = kept
    return faulty, problems


def _complete(annotation, sizes, category_ids):
    """Checks an annotation, and adds what it lacks; returns its fault, or None."""
    for name in ("image_id", "category_id"):
        # A text would not equal any id.
        if type(annotation.get(name)) not in (int, float):
            raise ValueError(f"{name} must be a number")
    size = sizes.get(annotation["image_id"], _ANY_SIZE)
    clipped = clip(annotation.get("bbox"), size)
    if annotation["image_id"] not in sizes:
        return UNKNOWN_IMAGE
    if annotation["category_id"] not in category_ids:
        return UNKNOWN_CATEGORY
    if clipped is None:
        return NO_SIZE
    if annotation.setdefault("iscrowd", 0) not in (0, 1):
        raise ValueError(f"iscrowd {annotation['iscrowd']!r:.80} is neither 0 nor 1")
    return _complete_area(annotation, clipped)


def _complete_area(annotation, clipped):
    left, top, right, bottom = clipped
    inside = (right - left) * (bottom - top)
    area = annotation.get("area")
    if area is None:
        annotation["area"] = inside
        return None
    if type(area) not in (int, float) or not abs(area) < _LARGEST:
        raise ValueError(f"area {area!r:.80} is not a number of pixels")
    if area <= 0:
        annotation["area"] = inside
        return NO_AREA
    # Outlines are rounded to whole pixels on each side.
    _, _, width, height = annotation["bbox"]
    return LARGE_AREA if area > (width + 1) * (height + 1) else None


def check(dataset, faulty, num_crowd=0, may_reach_out=False):
    """Checks that any box counts, and that boxes are [x, y, width, height] in pixels.

    Args:
      dataset: dict, after `sort_out`.
      faulty: dict, the result of `sort_out`.
      num_crowd: int, number of boxes that evaluation ignores.
      may_reach_out: bool, whether any number of boxes may reach out of their images.

    Raises:
      ValueError: one line; no box counts, although there are boxes, or they are
        fractions of the image, or most reach out of it.
    """
    counts = {reason: len(faulty.get(reason, ())) for reason in LEFT_OUT}
    counts["crowd boxes, which evaluation ignores"] = num_crowd
    if len(dataset["annotations"]) == num_crowd and any(counts.values()):
        reasons = ", ".join(f"{n} {reason}" for reason, n in counts.items() if n)
        raise ValueError(
            f"no box counts: there are {reasons}; correct the boxes or their numbers"
        )
    if dataset["annotations"]:
        _check_units(dataset, may_reach_out)


def _check_units(dataset, may_reach_out):
    boxes = [annotation["bbox"] for annotation in dataset["annotations"]]
    x, y, width, height = np.array(boxes, np.float64).T
    ends = np.stack([x + width, y + height], axis=1)
    if ends.max() <= LARGEST_FRACTION:
        raise ValueError(
            f"all {len(boxes)} boxes lie within 0..1, such as {list(boxes[0])}: they "
            "are fractions of the image; multiply them by its width and height"
        )
    sizes = _sizes(dataset)
    sizes = np.array([sizes[a["image_id"]] for a in dataset["annotations"]])
    is_outside = (ends > sizes + 1).any(axis=1)
    is_share_large = len(boxes) >= _FEWEST_BOXES and is_outside.mean() > _SHARE_OUTSIDE
    if is_share_large and not may_reach_out:
        raise ValueError(
            f"{is_outside.sum()} of {len(boxes)} boxes reach out of their images, such "
            f"as {list(boxes[int(is_outside.argmax())])}: give x, y, width, height in "
            "pixels, not corners"
        )
