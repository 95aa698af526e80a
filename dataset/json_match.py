# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares records with the images and boxes of a COCO json of the same dataset."""

import collections

import numpy as np
import tensorflow.compat.v1 as tf
from pycocotools import mask

from console.errors import check
from dataset import box_rules

# Kinds of contradiction.
NO_ID = "ids that are not in the json"
OTHER_SIZE = "images of another size than stated"
OTHER_BOXES = "images with other boxes or categories"

# Pixels by which the sides of equal boxes may differ: Pascal VOC counts from 1, and its
# converters do not agree about it.
_TOLERANCE = 2.0
_LEAST_IOU = 0.5


def problem_of_size(size, stated, source):
    """Returns how the size of an image differs from the stated one, or None.

    Args:
      size: (width, height) of the image in pixels.
      stated: (width, height), or None.
      source: str, what states it, such as "in the json".
    """
    if stated in (None, size):
        return None
    hint = " (exchanged)" if stated == size[::-1] else ""
    return "it has {} x {} pixels, {} x {} {}{}".format(*size, *stated, source, hint)


def problem_of_boxes(record, annotations):
    """Returns how boxes and categories of a record and of the json differ, or None.

    Args:
      record: record_rules.Record.
      annotations: list of dict, those of the image that count, see box_rules.
    """
    height, width = record.height_width
    clipped = [box_rules.clip(a["bbox"], (width, height)) for a in annotations]
    # None: outside of the record's image.
    stated = [corners or [np.inf] * 4 for corners in clipped]
    stated = np.array(stated, np.float64).reshape(-1, 4)
    is_same = np.abs(_corners(record)[:, None] - stated).max(axis=2) <= _TOLERANCE
    is_same &= _have_same_category(record, annotations)
    alone, missing = (~is_same.any(axis=1)).sum(), (~is_same.any(axis=0)).sum()
    if not alone and not missing:
        return None
    return (
        f"{alone} of its {len(record.labels)} boxes are not in the json, and {missing} "
        f"of the json's {len(annotations)} are not in the record"
    )


def _corners(record):
    """Returns [left, top, right, bottom] of a record's boxes in pixels, [G, 4]."""
    height, width = record.height_width
    return record.boxes[:, [1, 0, 3, 2]] * [width, height, width, height]


def _have_same_category(record, annotations):
    """Returns bool [boxes of the record, annotations]."""
    category_ids = np.array([a["category_id"] for a in annotations], np.float64)
    return np.equal.outer(np.array(record.labels, np.float64), category_ids)


def contradiction(record, image, annotations):
    """Compares a record with the image of the same id in the json.

    Corrected boxes are not a contradiction: half of the record's boxes, if it has any,
    must have an IoU of 0.5 with one of the json of their category.

    Args:
      record: record_rules.Record that can be used.
      image: dict, the json's entry of its id; None if there is none.
      annotations: list of dict, see `problem_of_boxes`.

    Returns:
      (kind, text), the kind as above; None if there is no contradiction.
    """
    found = contradiction_of_size(record.image_id, record.height_width, image)
    if found or not record.labels:
        return found
    # pycocotools reads the memory row by row, whatever the order is.
    own = np.ascontiguousarray(_corners(record))
    own[:, 2:] -= own[:, :2]
    stated = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
    overlaps = np.reshape(mask.iou(own, stated, [0] * len(stated)), (len(own), -1))
    is_same = _have_same_category(record, annotations) & (overlaps >= _LEAST_IOU)
    count = is_same.any(axis=1).sum()
    if 2 * count >= len(own):
        return None
    text = f"image {record.image_id}: the json has {count} of the {len(own)} boxes"
    return OTHER_BOXES, text


def contradiction_of_size(image_id, height_width, image):
    """Compares only the id and the size of an image, see `contradiction`."""
    where = f"image {image_id}"
    if image is None:
        return NO_ID, where
    height, width = height_width
    problem = problem_of_size((width, height), box_rules.size_of(image), "in the json")
    return (OTHER_SIZE, f"{where}: {problem}") if problem else None


def group(found):
    """Groups pairs of (kind, text); returns a dict from each kind to its texts."""
    groups = collections.defaultdict(list)
    for kind, text in found:
        groups[kind].append(text)
    return groups


def check_all(found):
    """Logs contradictions, or refuses a json if more than half of the images have one.

    Args:
      found: list with an entry for each compared image, see `contradiction`.

    Raises:
      UserError: no figure would mean anything.
    """
    groups = group(filter(None, found))
    number = sum(map(len, groups.values()))
    if not number:
        return
    text = f"--val_json_file contradicts {number} of {len(found)} compared images: "
    text += "; ".join(f"{len(t)} {kind} ({t[0]})" for kind, t in groups.items())
    check(2 * number <= len(found), "%s; do they belong together?", text)
    tf.logging.warning("%s", text)
