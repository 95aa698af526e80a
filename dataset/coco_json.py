# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads COCO instances jsons, https://cocodataset.org/#format-data."""

from console import text_file

_SECTIONS = ("images", "annotations", "categories")
_IDS = ("id", "image_id", "category_id")
_FLAGS = ("iscrowd", "difficult")


def load(path):
    """Reads a COCO instances json; see console/text_file.py for its encoding.

    Only the three lists are checked, not what is in their entries.

    Returns:
      dict with the lists "images", "annotations" and "categories". The annotations
      lack their "segmentation": the outlines are nine tenths of COCO's json. Ids such
      as 7.0 are integers, and so are the flags "0" and "1".

    Raises:
      ValueError: the file cannot be read or is not a COCO instances json; the message
        is one line that names the path.
    """
    dataset = text_file.read_json(path, object_hook=_cleaned)
    for section in _SECTIONS:
        if not isinstance(dataset, dict) or not isinstance(dataset.get(section), list):
            raise ValueError(
                f"{path} is not a COCO instances json: it has no list of {section}"
            )
        for entry in dataset[section]:
            if not isinstance(entry, dict):
                text = f"{path}: an entry of {section} is not an object"
                raise ValueError(f"{text}: {entry!r:.80}")
    return dataset


def _cleaned(entry):
    # While reading: all outlines together would double the memory.
    entry.pop("segmentation", None)
    for name in _IDS:
        # Tables store the numbers of a column that has gaps as floats.
        value = entry.get(name)
        if type(value) is float and value.is_integer():
            entry[name] = int(value)
    for name in _FLAGS:
        # Scripts that convert VOC's xml often keep the flags as texts.
        if entry.get(name) in ("0", "1"):
            entry[name] = int(entry[name])
    return entry
