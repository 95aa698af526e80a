# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Optimizer of several devices."""

import os

import tensorflow.compat.v1 as tf

import npu_bridge


class NPUDistributedOptimizer(tf.train.Optimizer):
    """Says when it would average gradients."""

    def __init__(self, optimizer):
        super().__init__(use_locking=False, name="NPUDistributedOptimizer")
        self._optimizer = optimizer

    def compute_gradients(self, *args, **kwargs):
        num_ranks = int(os.environ.get("RANK_SIZE", "1"))
        npu_bridge.record("compute_gradients", num_ranks=num_ranks)
        return self._optimizer.compute_gradients(*args, **kwargs)

    def apply_gradients(self, *args, **kwargs):
        return self._optimizer.apply_gradients(*args, **kwargs)
