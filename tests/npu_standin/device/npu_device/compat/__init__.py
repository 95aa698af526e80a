# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow 1 on TensorFlow 2."""

import standin
import tensorflow.compat.v1 as tf


def enable_v1():
    """Turns the behavior of TensorFlow 2 off."""
    tf.disable_v2_behavior()
    standin.state["v1"] = True
    standin.record("enable_v1")
