# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Optimizer of several devices."""

import standin
import tensorflow.compat.v1 as tf


class NPUDistributedOptimizer(tf.train.Optimizer):
    """Records when it would average gradients."""

    def __init__(self, optimizer, is_weighted_reduce=False):
        super().__init__(use_locking=False, name="NPUDistributedOptimizer")
        self._optimizer = optimizer

    def compute_gradients(self, *args, **kwargs):
        standin.record("compute_gradients", num_ranks=standin.num_ranks())
        return self._optimizer.compute_gradients(*args, **kwargs)

    def apply_gradients(self, *args, **kwargs):
        return self._optimizer.apply_gradients(*args, **kwargs)
