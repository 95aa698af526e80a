# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Factors of the loss; only the adapter of TensorFlow 1.15 has them."""

import standin

if __name__.startswith("npu_device"):
    raise ImportError("the TensorFlow 2.6.5 line has no loss scaling")


class FixedLossScaleManager:
    """A constant factor."""

    def __init__(self, loss_scale, enable_overflow_check=True):
        if loss_scale < 1:
            raise ValueError("loss scale must be at least 1")
        self.loss_scale = loss_scale
        standin.record("FixedLossScaleManager", loss_scale=loss_scale)


class ExponentialUpdateLossScaleManager:
    """A factor that grows slowly and shrinks after overflows."""

    def __init__(
        self,
        init_loss_scale,
        incr_every_n_steps,
        decr_every_n_nan_or_inf=2,
        incr_ratio=2,
        decr_ratio=0.8,
    ):
        if not (init_loss_scale >= 1 and incr_ratio > 1 and 0 < decr_ratio < 1):
            raise ValueError("loss scale, growth or decay out of range")
        self.loss_scale = init_loss_scale
        standin.record("ExponentialUpdateLossScaleManager", loss_scale=init_loss_scale)
