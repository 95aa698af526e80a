# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Operations that start and stop the device, each run once per process."""

import standin
import tensorflow.compat.v1 as tf

_NEXT = {"initialize_system": "imported", "shutdown_system": "started"}
_THEN = {"initialize_system": "started", "shutdown_system": "stopped"}


def _operation(name):
    def run():
        if standin.state["system"] != _NEXT[name]:
            raise RuntimeError(f"{name}: the system is {standin.state['system']}")
        if standin.state["sessions"]:
            raise RuntimeError(f"{name}: {standin.state['sessions']} sessions are open")
        standin.state["system"] = _THEN[name]
        standin.record(name)
        return True

    return tf.py_func(run, [], tf.bool, name=name)


def initialize_system():
    """Starts the device."""
    return _operation("initialize_system")


def shutdown_system():
    """Stops the device."""
    return _operation("shutdown_system")
