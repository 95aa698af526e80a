# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs ssd_main.py in the process of the test, which saves the start of TensorFlow."""

import json

from absl.testing import flagsaver

import records
import ssd_main

# Relative to the folder of `write_inputs`. No training starts: the backbone is missing.
_FLAGS = {
    "training_file_pattern": "train",
    "validation_file_pattern": "train",
    "val_json_file": "good.json",
    "model_dir": "model",
    "train_batch_size": 1,
    "resnet_checkpoint": "none/model.ckpt-1",
}
DATASET = {
    "images": [{"id": 1}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]}],
    "categories": [{"id": 1, "name": "person"}],
}


def write_inputs(folder):
    """Writes a record and its annotations: enough for all checks."""
    records.write(
        folder / "train", [records.record(1, records.black_png(9), [[0, 0, 1, 1]], [1])]
    )
    (folder / "good.json").write_text(json.dumps(DATASET))


def run(*arguments):
    """Runs ssd_main.py with the arguments and returns its status."""
    with flagsaver.flagsaver():
        return ssd_main.main(["ssd_main.py"] + list(arguments))


def error_line(capfd):
    """Returns the single line that ssd_main.py has printed on the standard error."""
    lines = capfd.readouterr().err.splitlines()
    lines = [line for line in lines if line.startswith("ssd_main.py: ")]
    assert len(lines) == 1
    return lines[0]


def error_of(capfd, **flags):
    """Runs ssd_main.py with good flags except for some; None leaves a flag out.

    Returns:
      str, the single line that it prints before it ends with status 2.
    """
    given = {k: v for k, v in dict(_FLAGS, **flags).items() if v is not None}
    assert run(*[f"--{name}={value}" for name, value in given.items()]) == 2
    return error_line(capfd)
