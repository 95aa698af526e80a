# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What both stand-ins share: a log of calls, and checks of what the device refuses.

Each call is appended to the file that NPU_STANDIN_LOG names, as a line of JSON.
"""

import atexit
import contextlib
import json
import os

import numpy as np
import tensorflow.compat.v1 as tf

_LARGEST_K = 4096
_MISSING_ON_THE_DEVICE = ("NonMaxSuppression", "CombinedNonMaxSuppression")

# The state of this process; "system" is "imported", "started" or "stopped", and
# "sessions" is the number of open ones.
state = {"system": "imported", "sessions": 0}


def record(call, **arguments):
    """Appends one call to the log."""
    with open(os.environ["NPU_STANDIN_LOG"], "a") as file:
        file.write(json.dumps(dict(arguments, call=call), default=str) + "\n")


def start_up(package):
    """Does what importing the package does: checks, and registers an exit handler."""
    record(
        f"import {package}",
        **{k: v for k, v in os.environ.items() if k in _ENVIRONMENT},
    )
    _check_environment()
    atexit.register(lambda: record("exit", system=state["system"]))


_ENVIRONMENT = ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "JOB_ID", "RANK_TABLE_FILE")


def num_ranks():
    """Returns RANK_SIZE."""
    if os.environ.get("CM_WORKER_SIZE") and os.environ.get("RANK_SIZE"):
        raise ValueError("CM_WORKER_SIZE and RANK_SIZE cannot both be set")
    return int(os.environ.get("RANK_SIZE", "1"))


def _check_environment():
    table = os.environ.get("RANK_TABLE_FILE")
    if num_ranks() == 1 and table:
        raise RuntimeError("EI0004: a single rank with a RANK_TABLE_FILE")
    if table and os.environ.get("CM_CHIEF_IP"):
        raise RuntimeError("CM_CHIEF_IP and RANK_TABLE_FILE cannot both be set")
    device = os.environ.get("DEVICE_ID")
    if device and os.environ.get("ASCEND_DEVICE_ID", device) != device:
        raise RuntimeError("ASCEND_DEVICE_ID names another device than DEVICE_ID")
    if num_ranks() > 1 and not (table and os.path.isabs(table)):
        raise RuntimeError("EI0004: RANK_TABLE_FILE must be an absolute path")
    if num_ranks() > 1:
        with open(table) as file:
            json.load(file)


def check_started():
    """Refuses work before initialize_system or after shutdown_system."""
    if state["system"] != "started":
        raise RuntimeError(f"E19999: the system is {state['system']}")


@contextlib.contextmanager
def session():
    """Counts a session: several may be open at once, but none when the system stops."""
    check_started()
    state["sessions"] += 1
    try:
        yield
    finally:
        state["sessions"] -= 1


def check_tensors(tensors):
    """Refuses tensors that cannot be inputs of the device."""
    for tensor in tf.nest.flatten(tensors):
        if not tensor.shape.is_fully_defined() or tensor.dtype == tf.string:
            raise ValueError(f"E19999: {tensor} cannot go to the device")


def check_operations(graph, known):
    """Refuses operations that the device lacks, or that are known to fail on it.

    Args:
      graph: tf.Graph.
      known: set of the names of operations that were there before the model.
    """
    for operation in graph.get_operations():
        if operation.name in known:
            continue
        kind = operation.type
        if kind.startswith(_MISSING_ON_THE_DEVICE) or "String" in kind:
            raise ValueError(f"E19999: no {kind} on the device ({operation.name})")
        if kind.startswith("TopK"):
            size = tf.get_static_value(operation.inputs[1])
            if size is None or size > _LARGEST_K:
                raise ValueError(f"E19999: {operation.name} has a k of {size}")
        if kind == "Const" and operation.outputs[0].dtype.is_floating:
            value = tf.get_static_value(operation.outputs[0])
            if not np.isfinite(value).all():
                raise ValueError(f"{operation.name} is not finite: saturates on a 910")
