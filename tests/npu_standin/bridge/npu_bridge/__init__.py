# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stands in for Huawei's npu_bridge, which exists on Ascend machines only.

It has the names that this project uses, and raises errors where the real package does.
The training itself runs on the CPU.
"""

import standin

standin.start_up("npu_bridge")
