# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads COCO instances jsons, https://cocodataset.org/#format-data."""

from console import text_file

_SECTIONS = ("images", "annotations", "categories")


def load(path):
    """Reads a COCO instances json.

    Only the three lists are checked, not their entries.

    Args:
      path: str, path of the json; see console/text_file.py for its encoding.

    Returns:
      dict with the lists "images", "annotations" and "categories". The annotations
      lack their "segmentation": the outlines are nine tenths of COCO's json.

    Raises:
      ValueError: the file cannot be read or is not a COCO instances json; the message
        is one line that names the path.
    """
    dataset = text_file.read_json(path, object_hook=_without_segmentation)
    for section in _SECTIONS:
        if not isinstance(dataset, dict) or not isinstance(dataset.get(section), list):
            raise ValueError(
                f"{path} is not a COCO instances json: it has no list of {section}"
            )
    return dataset


def _without_segmentation(entry):
    # While reading: all outlines together would double the memory.
    entry.pop("segmentation", None)
    return entry
