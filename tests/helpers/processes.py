# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What tests of whole commands share."""

import ast
import os
import random
import re
import shutil
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def copy_project(target):
    """Copies the project, without its results and tests, to a folder of its own."""
    shutil.copytree(
        ROOT,
        str(target),
        ignore=shutil.ignore_patterns(".*", "sample_dataset", "training", "tests"),
    )
    return target


def results_of(output):
    """The twelve figures that a log ends with."""
    return ast.literal_eval(re.findall(r"Eval results: (\{.*\})", output)[-1])


def free_ports(count):
    """The first of some TCP ports in a row that nothing listens on.

    Below those that Linux gives to connections by itself.
    """
    while True:
        first = random.randrange(10000, 32000)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue


def start_ranks(num_ranks, command, environment=os.environ):
    """Starts the same command as each rank; returns the list of subprocess.Popen.

    RANK_ID and RANK_SIZE are added to the environment.
    """
    return [
        subprocess.Popen(
            command,
            env=dict(environment, RANK_ID=str(rank), RANK_SIZE=str(num_ranks)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        for rank in range(num_ranks)
    ]


def run_ranks(num_ranks, command, environment=os.environ):
    """Runs ranks to their end, see `start_ranks`; returns what each printed."""
    ranks = start_ranks(num_ranks, command, environment)
    logs = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * num_ranks, logs[0][-3000:]
    return logs


def wait_for(condition, seconds=240):
    """Waits until a function gives something true, and gives that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")
