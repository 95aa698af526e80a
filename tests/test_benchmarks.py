# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks that need no trained model run on today's code, however short."""

import os
import subprocess
import sys

import numpy as np
import pytest
import records

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """Six records of a picture with a box."""
    folder = tmp_path_factory.mktemp("benchmark")
    encoded = records.encode_image(np.full([40, 60, 3], 80, np.uint8))
    box = [0.1, 0.2, 0.8, 0.9]
    numbers = range(1, 7)
    records.write(
        folder / "train", [records.record(i, encoded, [box], [18]) for i in numbers]
    )
    return str(folder / "train")


def run(name, *flags, stdin=""):
    """Runs a benchmark; gives what it printed."""
    script = os.path.join(ROOT, "benchmarks", name)
    result = subprocess.run(
        [sys.executable, script, *flags],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.parametrize(
    "kinds, figure",
    [
        ("decode,training,unchecked,evaluation", "rate"),
        ("stages", "decoding the window, resizing"),
    ],
)
def test_the_input_pipeline_is_measured(pattern, kinds, figure):
    flags = ["--rounds=1", "--seconds=0.1", "--batch_size=2", f"--kinds={kinds}"]
    output = run("input_pipeline.py", f"--pattern={pattern}", *flags, stdin="\n")
    assert output.count(f'"{figure}": ') == len(kinds.split(","))


def test_hard_negative_mining_is_compared_with_sorting():
    output = run("hard_negatives.py", "--batch_size=2", "--repeats=1")
    assert "ratio" in output
