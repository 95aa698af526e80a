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
from absl import app, flags

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


def fail(name, arguments, cwd):
    """Runs a command that must end with status 2 and one line; returns the line."""
    result = run(name, arguments, cwd)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{name}: ")
    return line


@contextlib.contextmanager
def _own_process_state(cwd):
    """Restores the folder, SIGTERM's handler, sys.path, TensorFlow's log and flags."""
    old_cwd, old_handler = os.getcwd(), signal.getsignal(signal.SIGTERM)
    logger = logging.getLogger("tensorflow")
    old_level, old_filters = logger.level, list(logger.filters)
    os.chdir(cwd)
    try:
        with mock.patch.object(sys, "path", list(sys.path)), _without_flags():
            yield
    finally:
        os.chdir(old_cwd)
        signal.signal(signal.SIGTERM, old_handler)
        logger.setLevel(old_level)
        logger.filters[:] = old_filters


@contextlib.contextmanager
def _without_flags():
    """Hides all flags, and restores them with the modules that define them."""
    state = vars(flags.FLAGS)
    # absl defines the help flags only once; they come back with the others.
    help_is_defined = app._define_help_flags_called
    app._define_help_flags_called = False
    saved = {k: dict(v) if isinstance(v, dict) else v for k, v in state.items()}
    for value in state.values():
        if isinstance(value, dict):
            value.clear()
    try:
        yield
    finally:
        app._define_help_flags_called = help_is_defined
        for name, value in saved.items():
            if isinstance(value, dict):
                state[name].clear()
                state[name].update(value)
            else:
                state[name] = value
