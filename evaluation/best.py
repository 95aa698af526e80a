# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The folder "best" of --model_dir, with the best checkpoint by COCO AP.

during_training.py decides which one it is.

It has the files of the checkpoint, TensorFlow's file "checkpoint", label_map.json, and
metrics.json, see report.py. The folder is replaced whole or not at all.
"""

import glob
import math
import os
import shutil

from console import new_folder, text_file
from dataset import categories


def folder_of(model_dir):
    """Returns the path of the folder."""
    return os.path.join(model_dir, "best")


def read(model_dir):
    """Returns (step, AP) of the best checkpoint; (None, -inf) if there is none.

    Raises:
      ValueError: one line; the folder has other content.
    """
    folder = folder_of(model_dir)
    new_folder.settle(folder)
    if not os.path.exists(folder):
        return None, -math.inf
    path = os.path.join(folder, "metrics.json")
    metrics = text_file.read_json(path)
    try:
        return int(metrics["step"]), float(metrics["metrics"]["AP"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} has no step and AP; move {folder} away") from None


def replace(model_dir, checkpoint_path, metrics_path, label_map):
    """Replaces the best checkpoint.

    Args:
      model_dir: str.
      checkpoint_path: str, prefix of the checkpoint's files.
      metrics_path: str, the evaluation's metrics-STEP.json.
      label_map: categories.LabelMap of the model.

    Raises:
      UserError: the folder cannot be written.
    """
    name = os.path.basename(checkpoint_path)
    # As TensorFlow writes it, but it would write absolute names.
    state = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
    folder = folder_of(model_dir)
    with new_folder.create("model_dir", folder, replaces=True) as partial:
        for path in glob.glob(glob.escape(checkpoint_path) + ".*"):
            _link(path, os.path.join(partial, os.path.basename(path)))
        _link(metrics_path, os.path.join(partial, "metrics.json"))
        for file, content in (
            (categories.LABEL_MAP_FILES[0], label_map.to_json()),
            ("checkpoint", state.encode()),
        ):
            with open(os.path.join(partial, file), "wb") as output:
                output.write(content)


def _link(source, target):
    """Links a file, or copies it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
