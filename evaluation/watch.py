# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of every new checkpoint of a training that another process runs."""

import time

import tensorflow.compat.v1 as tf

from console.errors import UserError
from trainer import checkpoints

_SECONDS_BETWEEN_LOOKS = 10


def watch(evaluator, device, model_dir, find_checkpoint, last_step):
    """Evaluates the newest checkpoint and each later one until the last step.

    Args:
      evaluator: evaluator.Evaluator.
      device: base.Device, started.
      model_dir: str, folder of the checkpoints.
      find_checkpoint: function of the keyword argument limit that returns (step, path)
        of the newest usable checkpoint up to that step, the same on all ranks;
        (None, None) if there is none.
      last_step: int, the last step of the training.
    """
    tf.logging.info(
        "--watch: waiting for checkpoints in %s up to step %d, which follows from the "
        "flags of the schedule; Ctrl-C ends this",
        model_dir,
        last_step,
    )
    done, failed = -1, None
    while done < last_step:
        step = _next_step(device, model_dir, done)
        # A checkpoint that cannot be used twice in a row is damaged. Before that, other
        # ranks may still be saving it in folders of their own.
        if step is not None and (
            _evaluate(evaluator, device, model_dir, find_checkpoint, done, step)
            or step == failed
        ):
            done = step
        else:
            failed = step
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _next_step(device, model_dir, done):
    """Returns the step to evaluate after the step `done`; None if there is none yet.

    The first one is the newest. Then all are evaluated, including those that were
    saved during an evaluation.
    """
    steps = [step for step in checkpoints.steps(model_dir) if step > done]
    step = (steps[0] if done >= 0 else steps[-1]) if steps else -1
    # The choice of rank 0 counts for all ranks.
    step = device.ranks.exchange(step)[0]
    return None if step < 0 else step


def _evaluate(evaluator, device, model_dir, find_checkpoint, done, step):
    """Evaluates the newest usable checkpoint after the step `done`, up to `step`.

    Returns:
      bool, whether `step` is done: evaluated, or deleted by the training.
    """
    try:
        found, path = find_checkpoint(limit=step)
        if not path or found <= done:
            return False
        evaluator.evaluate(path, found)
    except (UserError, ValueError, tf.errors.OpError):
        if device.num_ranks > 1 or step in checkpoints.steps(model_dir):
            raise
        tf.logging.warning(
            "--watch: the training has deleted step %d before it was evaluated; a "
            "larger --keep_checkpoint_max keeps more",
            step,
        )
    return True
