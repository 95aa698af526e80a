# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Estimator of the device."""

import os

import standin
import tensorflow.compat.v1 as tf

from .npu_config import NPURunConfig


class _LoopHook(tf.train.SessionRunHook):
    """Runs all but one of a loop's steps, so that global_step jumps as on the NPU."""

    def __init__(self, train_op, iterations):
        self._train_op, self._iterations = train_op, iterations

    def before_run(self, run_context):
        for _ in range(self._iterations - 1):
            run_context.session.run(self._train_op)

    def end(self, session):
        # A total that is not a multiple of the loop is exceeded.
        step = int(session.run(tf.train.get_global_step()))
        standin.record("trained", step=step)


class NPUEstimator(tf.estimator.Estimator):
    """Checks environment, shapes, operations and steps; loops in training."""

    def __init__(self, model_fn=None, model_dir=None, config=None, params=None):
        if not os.environ.get("JOB_ID"):
            raise ValueError("JOB_ID is not set")
        if not isinstance(config, NPURunConfig):
            raise ValueError("config must be an NPURunConfig")
        standin.check_started()
        self._loop = config.iterations_per_loop
        if config.save_checkpoints_steps % self._loop:
            raise ValueError(f"checkpoints between the ends of {self._loop} steps")

        def looped(features, labels, mode, params):
            standin.check_started()
            standin.check_tensors([features] if labels is None else [features, labels])
            graph = tf.get_default_graph()
            known = {operation.name for operation in graph.get_operations()}
            spec = model_fn(features, labels, mode, params)
            standin.check_operations(graph, known)
            standin.record("model_fn", mode=mode)
            if mode != tf.estimator.ModeKeys.TRAIN:
                return spec
            if standin.num_ranks() > 1:
                standin.record("broadcast", variables=len(tf.trainable_variables()))
            hook = _LoopHook(spec.train_op, self._loop)
            return spec._replace(training_hooks=[hook] + list(spec.training_hooks))

        warm_start = os.environ.get("LOCAL_CHECKPOINT_DIR")
        super().__init__(
            looped,
            model_dir=model_dir,
            config=config,
            params=params,
            warm_start_from=warm_start or os.environ.get("RESTORE_FROM"),
        )

    def _assert_members_are_not_overridden(self):
        """Allows to count the sessions of these two."""

    def train(self, *args, **kwargs):
        with standin.session():
            return super().train(*args, **kwargs)

    def predict(self, *args, **kwargs):
        with standin.session():
            yield from super().predict(*args, **kwargs)
