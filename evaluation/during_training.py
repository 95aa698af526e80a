# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluations during a training: when, which checkpoint was best, when to stop.

They run in the process of the training, whose session waits. The files of earlier
evaluations alone tell what was best (best.py) and how many evaluations there were since
(history.py), so a training that resumes goes on as if it had not been stopped. Only
rank 0 has these files.
"""

import math
import os

import tensorflow.compat.v1 as tf

import ssd_model
from console.errors import as_user_error
from evaluation import best, history
from trainer import heartbeat


class Evaluations(tf.train.CheckpointSaverListener):
    """Evaluates a training at intervals, with all ranks, and may end it.

    Attributes:
      is_over: bool, whether they have ended the training.
    """

    def __init__(
        self, evaluator, device, model_dir, label_map, every_steps, stop_after
    ):
        """Initializes the listener.

        Args:
          evaluator: evaluator.Evaluator.
          device: base.Device, started.
          model_dir: str, folder of the checkpoints.
          label_map: categories.LabelMap of the model.
          every_steps: int, an evaluation is due when a checkpoint reaches or passes a
            multiple of it.
          stop_after: int, evaluations in a row without gain that end the training; 0:
            they do not.
        """
        self._evaluator = evaluator
        self._ranks = device.ranks
        self._has_files = device.rank == 0
        self._model_dir = model_dir
        self._folder = os.path.join(model_dir, "eval")
        self._label_map = label_map
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
        if step // self._every_steps > self._last // self._every_steps:
            with heartbeat.paused(), ssd_model.TrainingLogHook.paused():
                self._evaluate_together(step)
        return self.is_over

    def _evaluate_together(self, step):
        # All ranks wait until rank 0 has saved. A signal leaves no time to evaluate.
        if any(self._ranks.exchange(self._ranks.is_stop_wanted)):
            return
        self.evaluate(os.path.join(self._model_dir, f"model.ckpt-{step}"), step)
        self._last = step
        self._decide(step)

    def _decide(self, step):
        """Decides on rank 0 whether the training is over; waits for all ranks."""
        is_over = self._has_files and self._without_gain(step) >= self._stop_after
        self.is_over = self._ranks.exchange(is_over)[0]

    def evaluate(self, path, step):
        """Evaluates a checkpoint, and keeps it if it is the best. See Evaluator."""
        figures = self._evaluator.evaluate(path, step)
        if not figures:
            return
        with as_user_error("--model_dir:"):
            best_step, best_ap = best.read(self._model_dir)
        ap = figures["COCO/AP"]
        if ap > best_ap:
            best_step, best_ap = step, ap
            metrics_path = os.path.join(self._folder, f"metrics-{step}.json")
            best.replace(self._model_dir, path, metrics_path, self._label_map)
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
