# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loss scaling; only the adapter of TensorFlow 1.15 has it.

NPU_STANDIN_OVERFLOWS, for example 2,5, lists the runs in which a gradient overflows.
"""

import os

import standin
import tensorflow.compat.v1 as tf

from .npu_optimizer import NPUDistributedOptimizer

if __name__.startswith("npu_device"):
    raise ImportError("the TensorFlow 2.6.5 line has no loss scaling")


class NPULossScaleOptimizer(tf.train.Optimizer):
    """Scales the loss, unscales the gradients, skips the steps that overflow."""

    def __init__(self, opt, loss_scale_manager, is_distributed=False):
        super().__init__(use_locking=False, name="NPULossScaleOptimizer")
        if is_distributed != (standin.num_ranks() > 1):
            raise ValueError(f"is_distributed={is_distributed}")
        if is_distributed != isinstance(opt, NPUDistributedOptimizer):
            raise ValueError("goes outside NPUDistributedOptimizer with several ranks")
        self._optimizer, self._scale = opt, float(loss_scale_manager.loss_scale)
        standin.record("NPULossScaleOptimizer", is_distributed=is_distributed)

    def compute_gradients(self, loss, *args, **kwargs):
        pairs = self._optimizer.compute_gradients(loss * self._scale, *args, **kwargs)
        return [(gradient / self._scale, variable) for gradient, variable in pairs]

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        runs = tf.get_variable("standin_runs", [], tf.int32, trainable=False)
        listed = os.environ.get("NPU_STANDIN_OVERFLOWS", "")
        overflows = [int(run) for run in listed.split(",") if run]
        with tf.control_dependencies([gradient for gradient, _ in grads_and_vars]):
            run = tf.assign_add(runs, 1)
        overflowed = tf.reduce_any(tf.equal(tf.constant(overflows, tf.int32), run))
        return tf.cond(
            overflowed,
            tf.no_op,
            lambda: self._optimizer.apply_gradients(grads_and_vars, global_step, name),
        )
