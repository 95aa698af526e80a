# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints at multiples of a number of steps, also after a resumed training."""

import os
import shutil

import tensorflow.compat.v1 as tf

from trainer import checkpoints

_MEGABYTE, _GIGABYTE = 1e6, 1e9


class SaveAtMultiples(tf.train.SessionRunHook):
    """Saves a checkpoint at each multiple of some numbers, except at the last step.

    The Estimator's own hook counts from the step at which a training resumes, for
    example from 137 after a signal. It therefore saves only the first and the
    last step: its save_checkpoints_steps is the number of all steps.
    """

    def __init__(
        self,
        folder,
        every_steps,
        total_steps,
        steps_per_run,
        max_kept,
        plan,
        listener=None,
    ):
        """Initializes the hook.

        Args:
          folder: str, folder of the checkpoints of this rank.
          every_steps: set of int, the numbers.
          total_steps: int, the last step of the training.
          steps_per_run: int, training steps per session run.
          max_kept: int, how many checkpoints are kept.
          plan: str, see hyperparameters.plan.
          listener: tf.train.CheckpointSaverListener, or None. It is told of the
            checkpoint that the training starts from and of each later one, and may end
            the training.
        """
        self._folder = folder
        self._every_steps = sorted(every_steps)
        self._listener = listener
        self._is_over = False
        self._total_steps = total_steps
        self._steps_per_run = steps_per_run
        self._max_kept = max_kept
        self._plan = plan

    def begin(self):
        """Logs the plan and the disk space it needs. See the base class."""
        size = sum(v.shape.num_elements() * v.dtype.size for v in tf.global_variables())
        # TensorFlow saves the graph as well.
        size += tf.get_default_graph().as_graph_def().ByteSize()
        # With the checkpoints of step 0 and of the last step.
        kept = 1 + sum(-(-self._total_steps // every) for every in self._every_steps)
        kept = min(kept, self._max_kept)
        os.makedirs(self._folder, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        # One more, because the oldest is deleted after the newest is saved.
        missing = kept + 1 - len(checkpoints.steps(self._folder))
        is_enough = missing * size <= free
        log = tf.logging.info if is_enough else tf.logging.warning
        log(
            "%s; checkpoints: every %s steps, about %d of %.0f MB each are kept in %s, "
            "%.1f GB together; its disk has %.1f GB free%s",
            self._plan,
            " and ".join(map(str, self._every_steps)),
            kept,
            size / _MEGABYTE,
            self._folder,
            kept * size / _GIGABYTE,
            free / _GIGABYTE,
            "" if is_enough else ": too little; lower --keep_checkpoint_max",
        )

    def after_create_session(self, session, coord):
        """Reads the step at which the training starts. See the base class."""
        del coord
        self._read_step(session)
        self._find_next()
        self._tell_listener(session)

    def after_run(self, run_context, run_values):
        """Saves a checkpoint if a multiple has been reached. See the base class."""
        del run_values
        self._step += self._steps_per_run
        if self._step >= self._next:
            self._save(run_context.session)
        if self._is_over:
            run_context.request_stop()

    def _save(self, session):
        # Loss scaling skips a step whose gradients overflow in float16.
        self._read_step(session)
        if self._next <= self._step < self._total_steps:
            self._find_next()
            path = os.path.join(self._folder, "model.ckpt")
            tf.logging.info("Saving checkpoints for %d into %s.", self._step, path)
            # The Estimator's own, which deletes the oldest checkpoints.
            (saver,) = session.graph.get_collection(tf.GraphKeys.SAVERS)
            saver.save(session, path, global_step=self._step)
            self._tell_listener(session)

    def _tell_listener(self, session):
        if self._listener:
            self._is_over = self._listener.after_save(session, self._step)

    def _read_step(self, session):
        self._step = int(session.run(tf.train.get_global_step(session.graph)))

    def _find_next(self):
        self._next = min((self._step // n + 1) * n for n in self._every_steps)
