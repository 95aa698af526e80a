# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of boxes before the start: the json against the first records, and units."""

import collections
import contextlib
import itertools

import tensorflow.compat.v1 as tf

from console.errors import blaming, check
from dataset import box_rules, json_match, record_rules

_COMPARED_RECORDS = 32


def check_records(path, coco_gt, files, json_file):
    """Compares the first records of a file with the json.

    Contradictions in more than half of the records are an error, fewer are logged.

    Args:
      path: str, a TFRecord file.
      coco_gt: pycocotools COCO, see coco_metric.create_coco.
      files: str, the flag of the records and its value.
      json_file: str, the flag of the json and its value.

    Raises:
      UserError: a record cannot be used, or the json is of other images.
    """
    found, count = [], 0
    for serialized in _first_records(path):
        record = record_rules.read_record(serialized)
        problem = record.problem(is_training=False)
        check(
            not problem,
            "%s: %s cannot be used: %s; tools/check_dataset.py checks all records",
            files,
            f"record {count} of {path}" if count else "the first record",
            problem,
        )
        annotations = coco_gt.imgToAnns.get(record.image_id, [])
        image = coco_gt.imgs.get(record.image_id)
        contradiction = json_match.contradiction(record, image, annotations)
        found += [contradiction] if contradiction else []
        count += 1
    if found:
        text = f"{json_file} contradicts {len(found)} of the first {count} records of "
        text += f"{files}: {json_match.summary(found)}"
        # Files may have been renamed.
        serious = [kind for kind, _ in found if kind != json_match.OTHER_NAME]
        check(2 * len(serious) <= count, "%s; do they belong together?", text)
        tf.logging.warning("%s", text)


def check_units(path, files):
    """Checks that the boxes of a file's first training records are not in wrong units.

    Args:
      path: str, a TFRecord file.
      files: str, the flag of the records and its value.

    Raises:
      UserError: all boxes lie within the first pixel of their image.
    """
    boxes, sizes = [], []
    for record in map(record_rules.read_record, _first_records(path)):
        if record.problem(is_training=True):
            continue
        height, width = record.height_width
        scaled = record.boxes * [height, width, height, width]
        for top, left, bottom, right in scaled.tolist():
            boxes.append([left, top, right - left, bottom - top])
            sizes.append((width, height))
    with blaming(f"{files}: in the first records,"):
        box_rules.check_units(boxes, sizes)


def _first_records(path):
    """Yields the first records of a file, up to its damage if it has any."""
    # The evaluation itself names the damage.
    with contextlib.suppress(tf.errors.OpError):
        records = tf.python_io.tf_record_iterator(path)
        yield from itertools.islice(records, _COMPARED_RECORDS)


def problems_of(coco_gt):
    """Describes what a json has that does not count, or cannot be compared.

    Args:
      coco_gt: pycocotools COCO, see coco_metric.create_coco.

    Returns:
      list of str, "has ..." or "lists ...".
    """
    problems = []
    images = coco_gt.dataset["images"]
    counts = collections.Counter(image["id"] for image in images)
    repeated = [image_id for image_id, count in counts.items() if count > 1]
    if repeated:
        problems.append(
            f"lists {len(repeated)} image ids again, the first is {repeated[0]}: the "
            "last image of each counts"
        )
    sizeless = [image["id"] for image in images if not box_rules.size_of(image)]
    if sizeless:
        problems.append(
            f"has {len(sizeless)} images without width or height, the first is "
            f"{sizeless[0]}: they cannot be compared with the records"
        )
    for reason, left_out in coco_gt.left_out.items():
        problems.append(f"has {len(left_out)} {reason}{_first(left_out)}: left out")
    if coco_gt.without_area:
        problems.append(
            f"has {len(coco_gt.without_area)} boxes whose area is not positive"
            f"{_first(coco_gt.without_area)}: width times height is used"
        )
    annotations = coco_gt.dataset["annotations"]
    larger = [a for a in annotations if box_rules.problem_of_area(a)]
    if larger:
        problems.append(
            f"has {len(larger)} areas that are larger than the box{_first(larger)}: "
            "APs, APm and APl are wrong"
        )
    small = box_rules.problem_of_areas(annotations)
    if small:
        problems.append(f"has areas that are too small: {small}; APm and APl are wrong")
    if not annotations:
        problems.append("has no annotation: every figure will be -1")
    return problems


def _first(annotations):
    return ", the first is annotation {id} of image {image_id}, bbox {bbox}".format(
        **annotations[0]
    )
