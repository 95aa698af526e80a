# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks that need no trained model run on today's code, however short."""

import os
import re
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


def run(name, *flags):
    """Runs a benchmark; gives what it printed."""
    script = os.path.join(ROOT, "benchmarks", name)
    result = subprocess.run(
        [sys.executable, script, *flags], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_the_input_pipeline_is_measured(pattern):
    flags = ["--stages", "--rounds=1", "--seconds=0.1", "--batch_size=2"]
    output = run("input_pipeline.py", f"--pattern={pattern}", *flags)
    kinds = r"decoding alone|training|evaluation|peak memory of training at batch 2"
    found = re.findall(rf"^({kinds}): \d", output, re.MULTILINE)
    assert len(set(found)) == len(found) == 4, output
    assert len(re.findall(r"^  .+ -?\d\.\d{3} ms an image$", output, re.MULTILINE)) == 6
    assert re.search(r"^looking for broken records: -?\d", output, re.MULTILINE)
    if len(os.sched_getaffinity(0)) > 1:
        assert re.search(r"^training on 1 core: \d+ images/s, on 2: \d", output, re.M)


def test_hard_negative_mining_is_compared_with_sorting():
    output = run("hard_negatives.py", "--batch_size=2", "--repeats=1")
    assert "ratio" in output
