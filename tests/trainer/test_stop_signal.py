# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Signals in a training of real processes, also of those that ignored them before."""

import os
import re
import signal
import subprocess
import sys

import pytest

import processes
from trainer import checkpoints

PROGRAM = os.path.join(processes.ROOT, "tests", "helpers", "stoppable.py")
pytestmark = pytest.mark.slow


def start(folder, seconds_per_step, ignored=()):
    """Starts stoppable.py as a child of a shell that ignores some signals."""
    shell = ["sh", "-c", f'trap "" {" ".join(ignored)}; exec "$@"', "sh"]
    process = subprocess.Popen(
        (shell if ignored else [])
        + [sys.executable, PROGRAM, str(folder), str(seconds_per_step)],
        env=dict(os.environ, PYTHONPATH=processes.ROOT, TF_CPP_MIN_LOG_LEVEL="3"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_background_job_saves_and_stops(tmp_path):
    # nohup and the & of shell scripts start a job with these signals ignored.
    process = start(tmp_path, 0.01, ignored=("INT", "HUP"))
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    output, log = process.communicate(timeout=100)
    assert process.returncode == 0, log
    assert "SIGINT: the training stops after this step and saves" in log
    stopped = int(re.fullmatch(r"stopped at (\d+)\n", output).group(1))
    assert checkpoints.steps(str(tmp_path)) == [0, stopped]


def test_the_same_signal_again_ends_within_the_step(tmp_path):
    process = start(tmp_path, -1)
    process.send_signal(signal.SIGTERM)
    # Two pending signals would be one.
    while "SIGTERM: the training stops after" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=100) == 143
    assert process.stdout.read() == ""
