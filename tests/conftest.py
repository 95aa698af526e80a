# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What all tests share: graph mode, and the figures of the published reference."""

import fcntl
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

tf.disable_eager_execution()

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")


@pytest.fixture(scope="session")
def golden():
    """Figures of the published reference, by name (NumPy arrays)."""
    with np.load(os.path.join(DATA, "ssd_resnet34.npz")) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture
def graph():
    """A graph of the test's own, as the default one."""
    with tf.Graph().as_default() as graph:
        yield graph


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Function (name, fill) that returns a folder filled once for all processes.

    fill is called with the path of the new, empty folder. Tests must not change what
    is in it.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each process has a folder of its own below the one of the whole run.
        root = root.parent

    def make(name, fill):
        folder, marker = root / name, root / f"{name}.done"
        with open(str(root / f"{name}.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not marker.exists():
                folder.mkdir()
                fill(folder)
                marker.touch()
        return folder

    return make


@pytest.fixture
def coco_sample():
    """Folder of real COCO photographs, if this machine has it."""
    root = os.path.dirname(os.path.dirname(DATA))
    folder = os.environ.get(
        "SSD_COCO_SAMPLE", os.path.join(root, "..", "shared", "coco128")
    )
    if not os.path.exists(os.path.join(folder, "instances.json")):
        pytest.skip(f"no COCO sample in {folder}; SSD_COCO_SAMPLE names another")
    return folder
