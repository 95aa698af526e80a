# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads COCO instances jsons, https://cocodataset.org/#format-data."""

from console import text_file

_SECTIONS = ("images", "annotations", "categories")


def load(path):
    """Reads a COCO instances json.

    Only the three lists are checked, and that their entries are objects.

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
        entries = dataset.get(section) if isinstance(dataset, dict) else None
        if not isinstance(entries, list):
            raise ValueError(
                f"{path} is not a COCO instances json: it has no list of {section}"
            )
        for entry in entries:
            if not isinstance(entry, dict):
                raise ValueError(
                    f"{path} is not a COCO instances json: in its list of {section}, "
                    f"{entry!r:.80} is not an object in {{}}"
                )
    return dataset


def _without_segmentation(entry):
    # While reading: all outlines together would double the memory.
    entry.pop("segmentation", None)
    return entry
