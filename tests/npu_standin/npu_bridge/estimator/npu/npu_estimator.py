# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Estimator of the device."""

import os

import tensorflow.compat.v1 as tf

import npu_bridge


class _LoopHook(tf.train.SessionRunHook):
    """Takes all but one of a loop's steps, so that global_step jumps as on the NPU."""

    def __init__(self, train_op, iterations):
        self._train_op, self._iterations = train_op, iterations

    def before_run(self, run_context):
        for _ in range(self._iterations - 1):
            run_context.session.run(self._train_op)


class NPUEstimator(tf.estimator.Estimator):
    """Checks the environment and that shapes are static, and loops in training."""

    def __init__(self, model_fn, model_dir, config, params):
        if not os.environ.get("JOB_ID"):
            raise ValueError("JOB_ID is not set")
        if not hasattr(config, "iterations_per_loop"):
            raise TypeError("config must be an NPURunConfig")

        def looped(features, labels, mode, params):
            for tensor in features.values():
                if not tensor.shape.is_fully_defined() or tensor.dtype == tf.string:
                    raise ValueError(f"{tensor} cannot go to the device")
            spec = model_fn(features, labels, mode, params)
            npu_bridge.record("model_fn", mode=mode)
            if mode != tf.estimator.ModeKeys.TRAIN:
                return spec
            hook = _LoopHook(spec.train_op, config.iterations_per_loop)
            return spec._replace(training_hooks=[hook] + list(spec.training_hooks))

        super().__init__(looped, model_dir=model_dir, config=config, params=params)
