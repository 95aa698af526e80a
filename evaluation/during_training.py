# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluations during a training: when, which checkpoint was best, when to stop.

Evaluations run in the training process, which waits, or in another with --watch. The
files of earlier evaluations alone tell what was best (best.py) and how many evaluations
there were since (history.py), so a training that resumes goes on as if it had not been
stopped. Only rank 0 has these files.
"""

import math
import os
import time

import tensorflow.compat.v1 as tf

import ssd_model
from console.errors import UserError, as_user_error
from evaluation import best, history
from trainer import checkpoints, heartbeat

_SECONDS_BETWEEN_LOOKS = 10


class Evaluations(tf.train.CheckpointSaverListener):
    """Evaluates a training at intervals, with all ranks, and may end it.

    Attributes:
      is_over: bool, whether they have ended the training.
    """

    def __init__(self, evaluator, every_steps, stop_after):
        """Initializes the listener.

        Args:
          evaluator: evaluator.Evaluator.
          every_steps: int, an evaluation is due when a checkpoint reaches or passes a
            multiple of it.
          stop_after: int, number of consecutive evaluations without gain after which
            the training ends; 0: never.
        """
        self._evaluator = evaluator
        self._ranks = evaluator.device.ranks
        self._model_dir = evaluator.model_dir
        self._folder = os.path.join(self._model_dir, "eval")
        self._every_steps = every_steps
        self._stop_after = stop_after or math.inf
        self.is_over = False

    def start(self, step):
        """Reads the files of earlier evaluations; is_over may then be true already.

        Args:
          step: int, the step that the training resumes from, or 0.

        Raises:
          UserError: one of the files cannot be read.
        """
        with as_user_error("--model_dir:"):
            steps = [other for other in history.read(self._folder) if other <= step]
        self._last = self._ranks.exchange(max(steps, default=0))[0]
        self._decide(step)

    def after_save(self, session, global_step_value):
        """Evaluates a checkpoint, if that is due. See the base class.

        Returns:
          bool, is_over.
        """
        del session
        step = global_step_value
        if step // self._every_steps <= self._last // self._every_steps:
            return self.is_over
        with heartbeat.paused(), ssd_model.TrainingLogHook.paused():
            # exchange() waits until rank 0 has saved. After a signal, the
            # training ends without this evaluation.
            if not any(self._ranks.exchange(self._ranks.is_stop_wanted)):
                self.evaluate(os.path.join(self._model_dir, f"model.ckpt-{step}"), step)
                self._last = step
                self._decide(step)
        return self.is_over

    def _decide(self, step):
        """Decides on rank 0 whether the training is over; waits for all ranks."""
        has_files = self._evaluator.device.rank == 0
        is_over = has_files and self._without_gain(step) >= self._stop_after
        self.is_over = self._ranks.exchange(is_over)[0]

    def evaluate(self, path, step):
        """Evaluates a checkpoint, and keeps it if it is the best.

        Args:
          path: str, prefix of the checkpoint's files.
          step: int, training step of the checkpoint.

        Raises:
          UserError: see Evaluator.evaluate; or the files of earlier evaluations cannot
            be read, or the folder of the best checkpoint cannot be written.
        """
        figures = self._evaluator.evaluate(path, step)
        if not figures:
            return
        with as_user_error("--model_dir:"):
            best_step, best_ap = best.read(self._model_dir)
        ap = figures["COCO/AP"]
        if ap > best_ap:
            best_step, best_ap = step, ap
            metrics_path = os.path.join(self._folder, f"metrics-{step}.json")
            label_map = self._evaluator.label_map
            best.replace(self._model_dir, path, metrics_path, label_map)
        tf.logging.info(
            "best so far: COCO/AP %.4f at step %d, in %s; evaluations since without "
            "gain: %d",
            best_ap,
            best_step,
            best.folder_of(self._model_dir),
            self._without_gain(step),
        )

    def _without_gain(self, step):
        """Returns how many evaluations there were after the best, up to a step."""
        with as_user_error("--model_dir:"):
            best_step, _ = best.read(self._model_dir)
            steps = history.read(self._folder)
        return sum(best_step is not None and best_step < s <= step for s in steps)


def watch(evaluator, find_checkpoint, last_step):
    """Evaluates the newest checkpoint and each later one until the last step.

    Args:
      evaluator: evaluator.Evaluator.
      find_checkpoint: function of the keyword argument limit that returns (step, path)
        of the newest usable checkpoint up to that step, the same on all ranks;
        (None, None) if there is none.
      last_step: int, the last step of the training.

    Raises:
      UserError, ValueError, tf.errors.OpError: those of find_checkpoint and of
        Evaluator.evaluate. A single rank logs a warning instead if the training
        has deleted the checkpoint.
    """
    tf.logging.info(
        "--watch: waiting for checkpoints in %s up to step %d, which follows from the "
        "flags of the schedule; Ctrl-C ends this",
        evaluator.model_dir,
        last_step,
    )
    done, failed = -1, None
    while done < last_step:
        step = _next_step(evaluator, done)
        # A checkpoint that is unusable twice in a row is damaged, and is skipped. The
        # first time, other ranks may still be saving it in folders of their own.
        if step is not None and (
            _evaluate(evaluator, find_checkpoint, done, step) or step == failed
        ):
            done = step
        else:
            failed = step
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _next_step(evaluator, done):
    """Returns the step to evaluate after the step `done`; None if there is none yet.

    The first one is the newest. Then all are evaluated, including those that were
    saved during an evaluation.
    """
    steps = [step for step in checkpoints.steps(evaluator.model_dir) if step > done]
    step = (steps[0] if done >= 0 else steps[-1]) if steps else -1
    # The choice of rank 0 counts for all ranks.
    step = evaluator.device.ranks.exchange(step)[0]
    return None if step < 0 else step


def _evaluate(evaluator, find_checkpoint, done, step):
    """Evaluates the newest usable checkpoint after the step `done`, up to `step`.

    Returns:
      bool, whether `step` is done: evaluated, or deleted by the training.
    """
    try:
        found, path = find_checkpoint(limit=step)
        if not path or found <= done:
            return False
        evaluator.evaluate(path, found)
        # At first, an older one may be usable before the newest is saved completely.
        return found == step
    except (UserError, ValueError, tf.errors.OpError):
        is_there = step in checkpoints.steps(evaluator.model_dir)
        if is_there or evaluator.device.num_ranks > 1:
            raise
        tf.logging.warning(
            "--watch: the training has deleted step %d before it was evaluated; a "
            "larger --keep_checkpoint_max keeps more",
            step,
        )
    return True
