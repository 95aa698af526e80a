# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ops that start and stop the device."""

import tensorflow.compat.v1 as tf

import npu_bridge


def _op(name):
    def call():
        npu_bridge.record(name)
        return True

    return tf.py_func(call, [], tf.bool)


def initialize_system():
    """Starts the device when it is run."""
    return _op("initialize_system")


def shutdown_system():
    """Stops the device when it is run."""
    return _op("shutdown_system")
