# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The factor of the loss; TensorFlow 1.15's adapter only."""

import standin

if __name__.startswith("npu_device"):
    raise ImportError("the TensorFlow 2.6.5 line has no loss scaling")


class FixedLossScaleManager:
    """Always the same factor."""

    def __init__(self, loss_scale, enable_overflow_check=True):
        if loss_scale < 1:
            raise ValueError("loss scale must be at least 1")
        self.loss_scale = loss_scale
        standin.record("FixedLossScaleManager", loss_scale=loss_scale)


class ExponentialUpdateLossScaleManager:
    """A factor that grows, and shrinks after overflows."""

    def __init__(
        self,
        init_loss_scale,
        incr_every_n_steps,
        decr_every_n_nan_or_inf=2,
        incr_ratio=2,
        decr_ratio=0.8,
    ):
        if not (init_loss_scale >= 1 and incr_ratio > 1 and 0 < decr_ratio < 1):
            raise ValueError("loss scale, its growth or decay make no sense")
        self.loss_scale = init_loss_scale
        standin.record("ExponentialUpdateLossScaleManager", loss_scale=init_loss_scale)
