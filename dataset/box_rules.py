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

# Pixels. COCO rounds to 0.01; the float32 fractions in records are more exact.
_MIN_SIDE = 0.005
# A larger number is a mistake, and so is one that is not finite.
_LARGEST = 2**53
# Boxes in fractions of the image end here, with some rounding.
_LARGEST_FRACTION = 1.01
# Outlines fill at least this share of their boxes; in COCO it is about 0.6.
_LEAST_FILLED = 0.1
# From this many boxes on, boxes that would all be right as corners are no accident,
_FEWEST_CORNERS = 5
# if more than this share of them reaches out of the image.
_SHARE_OUTSIDE = 0.1


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
    """Leaves the boxes out of a COCO json that do not count.

    Args:
      dataset: dict, see coco_json.load; its "annotations" become those that count.

    Returns:
      dict from each reason that occurs, see above, to the list of its annotations.

    Raises:
      ValueError: one line; an annotation is not valid.
    """
    sizes = _sizes(dataset)
    category_ids = {category["id"] for category in dataset["categories"]}
    kept, left_out = [], collections.defaultdict(list)
    for annotation in dataset["annotations"]:
        try:
            reason = _reason(annotation, sizes, category_ids)
        except ValueError as error:
            text = f"annotation {annotation!r:.200} is wrong"
            raise ValueError(f"{text}: {error}") from error
        (left_out[reason] if reason else kept).append(annotation)
    dataset["annotations"] = kept
    return dict(left_out)


def _reason(annotation, sizes, category_ids):
    for name in ("image_id", "category_id"):
        # A text would not equal any id.
        if type(annotation.get(name)) not in (int, float):
            raise ValueError(f"{name} {annotation.get(name)!r:.80} is not a number")
    size = sizes.get(annotation["image_id"], _ANY_SIZE)
    clipped = clip(annotation.get("bbox"), size)
    if annotation["image_id"] not in sizes:
        return UNKNOWN_IMAGE
    if annotation["category_id"] not in category_ids:
        return UNKNOWN_CATEGORY
    return None if clipped else NO_SIZE


def check_all(dataset, left_out):
    """Checks that boxes count at all, and that they are in pixels.

    Args:
      dataset: dict, after `sort_out`.
      left_out: dict, the result of `sort_out`.

    Raises:
      ValueError: one line; no box counts, or all are in other units or orders.
    """
    annotations = dataset["annotations"]
    num_crowd = sum(bool(annotation.get("iscrowd")) for annotation in annotations)
    if num_crowd == len(annotations) and (annotations or left_out):
        counts = {reason: len(entries) for reason, entries in left_out.items()}
        counts["crowd boxes, which evaluation ignores"] = num_crowd
        reasons = ", ".join(f"{n} {reason}" for reason, n in counts.items() if n)
        raise ValueError(f"no box counts: there are {reasons}")
    sizes = _sizes(dataset)
    check_units(
        [annotation["bbox"] for annotation in annotations],
        [sizes[annotation["image_id"]] for annotation in annotations],
    )


def check_units(boxes, sizes):
    """Checks that the boxes of a whole dataset are [x, y, width, height] in pixels.

    Args:
      boxes: list of [x, y, width, height].
      sizes: list of (width, height), the size of the image of each box.

    Raises:
      ValueError: one line; they look like fractions of the image, or like corners.
    """
    if not boxes:
        return
    x, y, width, height = np.array(boxes, np.float64).T
    image_width, image_height = np.array(sizes, np.float64).T
    if max((x + width).max(), (y + height).max()) <= _LARGEST_FRACTION:
        raise ValueError(
            f"all {len(boxes)} boxes lie within 0..1, such as {list(boxes[0])}: they "
            "are fractions of the image; multiply them by its width and height"
        )
    are_corners = (width > x) & (height > y)
    are_corners &= (width <= image_width + 1) & (height <= image_height + 1)
    is_outside = (x + width > image_width + 1) | (y + height > image_height + 1)
    if (
        len(boxes) >= _FEWEST_CORNERS
        and are_corners.all()
        and is_outside.mean() > _SHARE_OUTSIDE
    ):
        raise ValueError(
            f"{is_outside.sum()} of {len(boxes)} boxes reach out of their images, and "
            f"all would fit as corners, such as {list(boxes[int(is_outside.argmax())])}"
            ": give x, y, width, height"
        )


def problem_of_area(annotation):
    """Checks the area of a box that counts, which COCO takes from its outline.

    Args:
      annotation: dict with "area" and "bbox".

    Returns:
      str, what is wrong with the area; None if it can be right.
    """
    area, (_, _, width, height) = annotation["area"], annotation["bbox"]
    if not area > 0:
        return f"its area {area:g} is not positive"
    # Outlines are rounded to whole pixels on each side.
    if area > (width + 1) * (height + 1):
        return f"its area {area:g} is larger than its box of {width:g} x {height:g}"
    return None


def problem_of_areas(annotations):
    """Checks all areas of a json together.

    Returns:
      str, what is wrong with them; None if they can be right.
    """
    total = sum(annotation["area"] for annotation in annotations)
    boxes = sum(a["bbox"][2] * a["bbox"][3] for a in annotations)
    if total >= _LEAST_FILLED * boxes:
        return None
    return f"all areas together are {total:g}, those of the boxes {boxes:g}"
