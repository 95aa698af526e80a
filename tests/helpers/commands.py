# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs commands of tools/ in the process of the tests: importing TensorFlow is slow."""

import contextlib
import io
import logging
import os
import pathlib
import runpy
import signal
import subprocess
import sys
from unittest import mock

import pytest
from absl import flags

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(name, arguments, cwd):
    """Runs a command as if it were a process of its own.

    Args:
      name: str, file name in tools/.
      arguments: list of str or paths.
      cwd: path of the working folder.

    Returns:
      subprocess.CompletedProcess with the exit status and what Python code printed.
    """
    path = str(ROOT / "tools" / name)
    argv = [path] + [str(argument) for argument in arguments]
    # Files rather than StringIO, because a command sets how they encode characters.
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with _own_process_state(str(cwd)), mock.patch.object(sys, "argv", argv):
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            with pytest.raises(SystemExit) as exit_info:
                runpy.run_path(path, run_name="__main__")
    texts = []
    for file in (output, errors):
        file.seek(0)
        texts.append(file.read())
    return subprocess.CompletedProcess(argv, exit_info.value.code or 0, *texts)


@contextlib.contextmanager
def _own_process_state(cwd):
    """Restores the folder, SIGTERM's handler, sys.path, TensorFlow's log and flags."""
    old_cwd, old_handler = os.getcwd(), signal.getsignal(signal.SIGTERM)
    logger = logging.getLogger("tensorflow")
    old_level, old_filters = logger.level, list(logger.filters)
    old_flags = _take_flags()
    os.chdir(cwd)
    try:
        with mock.patch.object(sys, "path", list(sys.path)):
            yield
    finally:
        os.chdir(old_cwd)
        signal.signal(signal.SIGTERM, old_handler)
        logger.setLevel(old_level)
        logger.filters[:] = old_filters
        _take_flags()
        for name, flag in old_flags.items():
            flags.FLAGS[name] = flag


def _take_flags():
    """Removes all flags, and returns them by name."""
    names = list(flags.FLAGS)  # short ones too
    taken = {flags.FLAGS[name].name: flags.FLAGS[name] for name in names}
    for name in names:
        delattr(flags.FLAGS, name)
    return taken
