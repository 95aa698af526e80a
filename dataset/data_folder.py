# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds the files of a dataset in one folder, as tools/create_tf_record.py writes them.

  train-00000-of-00016.tfrecord     training shards: their names start with train
  val-00000-of-00002.tfrecord       evaluation shards: val, or test if there are no val
  instances_val.json                the annotations of the evaluation images

Anything may follow in the names, such as the year in train2017 and instances_val2017.
"""

import glob
import os
import re

TRAINING = ("train",)
VALIDATION = ("val", "test")

_SHARD = re.compile(r"(.+?)(-\d{5}-of-(\d{5}))?(\.tfrecords?|\.record)?")
_JSON = re.compile(r"instances_(.+)\.json")


def find_shards(folder, starts):
    """Finds the shards whose names start in a certain way.

    Args:
      folder: str.
      starts: tuple of str, TRAINING or VALIDATION; a later one counts only if there are
        no shards that start with an earlier one.

    Returns:
      (pattern, name): str, a glob pattern that matches these files only; and str, the
      part of their names in front of the numbers.

    Raises:
      ValueError: one line; there are none, there are several sets of shards, or the
        folder cannot be read.
    """
    names = {}
    for file_name in _files(folder):
        name, numbers, total, ending = _SHARD.fullmatch(file_name).groups()
        if numbers or ending:
            middle = f"-?????-of-{total}" if numbers else ""
            names[glob.escape(name) + middle + (ending or "")] = name
    for start in starts:
        found = sorted(p for p in names if names[p].lower().startswith(start))
        if len(found) > 1:
            patterns = ", ".join(found)
            raise ValueError(f"{folder} has several sets of TFRecord files: {patterns}")
        if found:
            return os.path.join(folder, found[0]), names[found[0]]
    wanted = " or ".join(f"{start}*" for start in starts)
    raise ValueError(f"{folder} has no TFRecord files {wanted}")


def find_annotations(folder, name=None):
    """Finds the COCO json of the evaluation shards, whose name may be None.

    Returns:
      str, instances_NAME.json, or else the only instances_*.json whose name starts as
      those of evaluation shards do.

    Raises:
      ValueError: one line; there is none, there are several, or the folder cannot be
        read.
    """
    found = {}
    for file_name in _files(folder):
        match = _JSON.fullmatch(file_name)
        if match and match.group(1).lower().startswith(VALIDATION):
            found[match.group(1)] = os.path.join(folder, file_name)
    if name in found:
        return found[name]
    if not found:
        raise ValueError(f"{folder} has no instances_{name or 'val'}.json")
    if len(found) > 1:
        names = ", ".join(map(os.path.basename, found.values()))
        raise ValueError(f"{folder} has several files with annotations: {names}")
    return found.popitem()[1]


def _files(folder):
    """Lists the names of the files in a folder, sorted."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError as error:
        raise ValueError(f"cannot read {folder}: {error.strerror}") from error
