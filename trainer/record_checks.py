# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of some records before the start, for what would make a long run useless."""

import itertools

import tensorflow.compat.v1 as tf

from console.errors import check
from dataset import box_rules, json_match, record_rules
from trainer import inputs
from trainer.flags import FLAGS

# This number of records is checked, in no more files than this.
_MAX_RECORDS = 256
_MAX_FILES = 16


def read_some(flag):
    """Reads some records of the files that a flag's pattern matches.

    Args:
      flag: str, the flag without dashes.

    Returns:
      list of (path, serialized), str and bytes, at least one.

    Raises:
      UserError: no file matches, or no record can be read.
    """
    # A dataset with fewer images than files has empty ones.
    files = inputs.find_files(flag)
    filled = [path for path in files if tf.gfile.Stat(path).length]
    check(filled, "--%s: every file is empty, such as %s", flag, files[0])
    # Evenly spaced from the last file on, because records may be sorted by category.
    chosen = filled[:: len(filled) // -_MAX_FILES]
    records = [
        (path, serialized)
        for path in chosen
        for serialized in _first_records(path, _MAX_RECORDS // len(chosen))
    ]
    check(records, "--%s: %s is not a TFRecord file", flag, chosen[0])
    return records


def _first_records(path, count):
    """Yields the first records of a file, up to its damage if it has any."""
    try:
        yield from itertools.islice(tf.python_io.tf_record_iterator(path), count)
    except tf.errors.OpError as error:
        tf.logging.warning("%s cannot be read any further: %s", path, error)


def check_categories(records, label_map):
    """Compares the categories of training records with the label map.

    Args:
      records: see `read_some`.
      label_map: categories.LabelMap.

    Raises:
      UserError: a record has a category that is not in the label map, or that has
        another name there.
    """
    for path, serialized in records:
        found = label_map.contradictions(record_rules.categories_of(serialized))
        check(
            not found,
            "--training_file_pattern: in %s %s (%s); give the --label_map of the "
            "dataset",
            path,
            found and found[0],
            FLAGS.label_map or "COCO's, because no --label_map is given or found",
        )


def check_units(records):
    """Checks that boxes are fractions of the image, not fractions of a pixel.

    Args:
      records: see `read_some`.

    Raises:
      UserError: all boxes end within the first pixel of their image.
    """
    farthest = 0
    for _, serialized in records:
        record = record_rules.read_record(serialized)
        if not record.problem(is_training=True):
            ends = record.boxes[:, 2:] * record.height_width
            farthest = max(farthest, ends.max(initial=0))
    check(
        not 0 < farthest <= box_rules.LARGEST_FRACTION,
        "--training_file_pattern=%s: all boxes of %d records end within the first "
        "pixel: they were divided by the size of the image twice",
        FLAGS.training_file_pattern,
        len(records),
    )


def compare_with_json(records, coco_gt):
    """Compares evaluation records with the json, see json_match.check_all.

    Args:
      records: see `read_some`.
      coco_gt: pycocotools COCO, see coco_metric.create_coco.

    Raises:
      UserError: a record cannot be used, or the json is of other images.
    """
    found = []
    for path, serialized in records:
        record = record_rules.read_record(serialized)
        problem = record.problem(is_training=False)
        check(
            not problem,
            "--validation_file_pattern: a record of %s cannot be used: %s; "
            "tools/check_dataset.py checks all records",
            path,
            problem,
        )
        image = coco_gt.imgs.get(record.image_id)
        annotations = coco_gt.imgToAnns.get(record.image_id, [])
        found.append(json_match.contradiction(record, image, annotations))
    json_match.check_all(found)
