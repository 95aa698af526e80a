# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The modules of npu_bridge under another name: the same files."""

import os

import standin

if not standin.state.get("v1"):
    raise RuntimeError("call npu_device.compat.enable_v1() first")
_STANDINS = os.path.dirname(os.path.abspath(standin.__file__))
__path__ = [os.path.join(_STANDINS, "bridge", "npu_bridge")]
