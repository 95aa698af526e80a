# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Each benchmark runs, with as little work as possible, and prints its figures."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import commands
import records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """Path of a file of six records, each with a picture and a box."""
    folder = tmp_path_factory.mktemp("benchmark")
    encoded = records.encode_image(np.full([40, 60, 3], 80, np.uint8))
    box = [0.1, 0.2, 0.8, 0.9]
    numbers = range(1, 7)
    records.write(
        folder / "train", [records.record(i, encoded, [box], [18]) for i in numbers]
    )
    return str(folder / "train")


def run(name, *flags):
    """Runs a benchmark; returns what it printed."""
    result = subprocess.run(
        [sys.executable, str(commands.ROOT / "benchmarks" / name), *flags],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_the_input_pipeline_is_measured(pattern):
    flags = ["--stages", "--rounds=1", "--seconds=0.1", "--batch_size=2"]
    output = run("input_pipeline.py", f"--pattern={pattern}", *flags)
    lines = [re.sub(r"-?\d+(\.\d+)?", "N", line) for line in output.splitlines()]
    starts = ["decoding alone: N images/s on", "training: N images/s, ratio N, N"]
    starts += ["evaluation: N images/s, ratio N, N", "peak memory of training at batch"]
    if len(os.sched_getaffinity(0)) > 1:
        starts += ["training on N core: N images/s, on N: N, N times as many"]
        starts += ["decoding alone on N core: N images/s, on N: N, N times as many"]
    starts += ["each stage alone"] + ["  "] * 6
    assert [line[: len(start)] for line, start in zip(lines, starts)] == starts
    assert all(line.endswith(" N ms per image") for line in lines[-6:])


def test_the_training_step_is_compared_with_a_matrix_product():
    output = run(
        "train_step.py",
        "--batch_size=1",
        "--steps=1",
        "--precision_mode=must_keep_origin_dtype",
    )
    assert re.search(r"images/s at batch 1, ratio \d\.\d\d, peak memory \d", output)


def test_two_ranks_are_compared_with_one():
    output = run("scaling.py", "--batch_size=1", "--steps=2", "--repeats=1")
    assert re.search(r"two ranks \d+\.\d\d images/s, ratio \d\.\d\d$", output)
