# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""A file that tells the launcher how the training advances.

devices/rank_process.py describes the file and reads it. The launcher finds out from it
whether a training hangs, and whether it has saved a checkpoint since its start.
"""

import contextlib
import faulthandler
import os
import signal

import tensorflow.compat.v1 as tf

_STANDARD_ERROR = 2


def hooks(model_dir):
    """Returns a list with a Heartbeat if the launcher wants one, otherwise empty."""
    path = os.environ.get("SSD_HEARTBEAT_FILE")
    return [Heartbeat(path, model_dir)] if path else []


@contextlib.contextmanager
def paused():
    """Sets the time stamp to 0 during a block, which may take any time."""
    path = os.environ.get("SSD_HEARTBEAT_FILE", "")
    _set_time(path, (0, 0))
    yield
    _set_time(path)


def _set_time(path, times=None):
    # A full disk ends the training when it saves a checkpoint, not here.
    with contextlib.suppress(OSError):
        os.utime(path, times)


class Heartbeat(tf.train.SessionRunHook):
    """Changes a file's time stamp after each session run.

    It also lets SIGUSR1 write the stack of each thread to the standard error, even
    while the training hangs.
    """

    def __init__(self, path, model_dir):
        """Initializes the hook; path: str, the file; model_dir: str."""
        self._path = path
        self._model_dir = model_dir
        faulthandler.register(signal.SIGUSR1, file=_STANDARD_ERROR)

    def after_create_session(self, session, coord):
        """Writes the step that the training starts from. See the base class."""
        del coord
        step = session.run(tf.train.get_global_step(session.graph))
        with contextlib.suppress(OSError), open(self._path, "w") as file:
            file.write(f"{step} {self._model_dir}")

    def after_run(self, run_context, run_values):
        """Renews the time stamp. See the base class."""
        del run_context, run_values
        _set_time(self._path)

    def end(self, session):
        """Sets the time stamp to 0: the training has ended. See the base class."""
        del session
        _set_time(self._path, (0, 0))
