# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The checkpoint that the flags choose, the same on all ranks."""

import os

from console.errors import blaming
from trainer import checkpoints
from trainer.flags import FLAGS

_REMEDY = (
    "give its --label_map, or train into another --model_dir, and reuse its backbone "
    "with --resnet_checkpoint"
)


def newest(device, params, model_dir, limit=None):
    """Finds the newest checkpoint that all ranks have, and checks its classes.

    Args:
      device: base.Device, started.
      params: dict, see ssd_model.DEFAULT_PARAMS.
      model_dir: str, folder of the checkpoints.
      limit: int, the largest step to consider, or None.

    Returns:
      (step, path): int and str, its prefix; (None, None) if there is none.

    Raises:
      UserError: a rank has lost its checkpoints, or the classes differ.
    """
    with blaming("--model_dir:"):
        step, path = checkpoints.newest_common(
            model_dir, device, FLAGS.save_checkpoints_steps, limit
        )
        if path:
            checkpoints.check_classes(path, params["num_classes"], _REMEDY)
    return step, path


def named(device, params):
    """Finds the checkpoint that --checkpoint_path names on rank 0.

    Args:
      device: base.Device, started.
      params: dict, see ssd_model.DEFAULT_PARAMS.

    Returns:
      (step, path): int and str, its prefix.

    Raises:
      UserError: there is none, it is damaged, or the classes differ.
    """
    path = os.path.abspath(FLAGS.checkpoint_path).encode()
    path = device.ranks.broadcast(path).decode()
    with blaming("--checkpoint_path:"):
        step, path = checkpoints.find(path)
        checkpoints.check_classes(path, params["num_classes"])
    return step, path
