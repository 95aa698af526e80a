# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stands in for Huawei's npu_device, the adapter of TensorFlow 2.6.5."""

import standin

from npu_device import compat  # noqa: F401

standin.start_up("npu_device")
