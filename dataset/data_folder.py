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
from typing import NamedTuple

TRAINING = ("train",)
VALIDATION = ("val", "test")

_SHARD = re.compile(r"(.+?)(-\d{5}-of-(\d{5}))?(\.tfrecords?|\.record)?")
_JSON = re.compile(r"instances_(.+)\.json")


class Shards(NamedTuple):
    """The files of one set of records.

    Attributes:
      pattern: str, a glob pattern that matches these files only.
      name: str, the part of their names in front of the numbers.
    """

    pattern: str
    name: str


def find_shards(folder, starts):
    """Finds the shards whose names start in a certain way.

    Args:
      folder: str.
      starts: tuple of str, TRAINING or VALIDATION; a later one counts only if there are
        no shards that start with an earlier one.

    Returns:
      Shards.

    Raises:
      ValueError: one line; there are none, there are several sets of shards, or the
        folder cannot be read.
    """
    sets = {shards for shards in map(_shards_of, _files(folder)) if shards}
    for start in starts:
        found = sorted(s for s in sets if s.name.lower().startswith(start))
        if found:
            return _only_one(folder, found)
    wanted = " or ".join(f"{start}*" for start in starts)
    raise ValueError(f"{folder} has no TFRecord files {wanted}")


def _shards_of(name):
    """Returns the Shards of a file name, without the folder; None for other files."""
    prefix, numbers, total, ending = _SHARD.fullmatch(name).groups()
    if not numbers and not ending:
        return None
    middle = f"-?????-of-{total}" if numbers else ""
    return Shards(glob.escape(prefix) + middle + (ending or ""), prefix)


def _only_one(folder, sets):
    """Returns the only one of a list of Shards, with the folder in its pattern."""
    if len(sets) > 1:
        patterns = ", ".join(shards.pattern for shards in sets)
        raise ValueError(f"{folder} has several sets of TFRecord files: {patterns}")
    return sets[0]._replace(pattern=os.path.join(folder, sets[0].pattern))


def find_annotations(folder, name=None):
    """Finds the COCO json of the evaluation shards.

    Args:
      folder: str.
      name: str, the name of the shards, or None.

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
