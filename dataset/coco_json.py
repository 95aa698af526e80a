# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads COCO instances jsons, https://cocodataset.org/#format-data."""

import json

_SECTIONS = ("images", "annotations", "categories")


def load(path):
    """Reads a COCO instances json.

    Only the three lists are checked, not their entries.

    Args:
      path: str, path of the json, in UTF-8 with or without a byte order mark.

    Returns:
      dict with the lists "images", "annotations" and "categories". The annotations
      lack their "segmentation": the outlines are nine tenths of COCO's json.

    Raises:
      ValueError: the file cannot be read or is not a COCO instances json; the message
        is one line that names the path.
    """
    try:
        # Editors on Windows start a file with a byte order mark.
        with open(path, encoding="utf-8-sig") as file:
            dataset = json.load(file, object_hook=_without_segmentation)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
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
