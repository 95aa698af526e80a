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
    kinds = r"decoding alone|training|evaluation|peak memory of training at batch 2"
    found = re.findall(rf"^({kinds}): \d", output, re.MULTILINE)
    assert len(set(found)) == len(found) == 4, output
    assert (
        len(re.findall(r"^  .+ -?\d\.\d{3} ms per image$", output, re.MULTILINE)) == 6
    )
    pattern = r"^(training|decoding alone) on 1 core: \d+ images/s, on 2: \d"
    found = re.findall(pattern, output, re.MULTILINE)
    assert len(found) == (2 if len(os.sched_getaffinity(0)) > 1 else 0), output


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
