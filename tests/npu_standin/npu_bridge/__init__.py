# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stands in for Huawei's npu_bridge, which exists on Ascend machines only.

It has the names that this project uses, refuses what the real package refuses, and
appends what it is given to the file that NPU_STANDIN_LOG names, a line of JSON a call.
The training itself runs on the CPU.
"""

import json
import os


def record(call, **arguments):
    """Appends one call to the log."""
    with open(os.environ["NPU_STANDIN_LOG"], "a") as file:
        file.write(json.dumps(dict(arguments, call=call), default=str) + "\n")


record("import npu_bridge")
