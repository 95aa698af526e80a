# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progress: lines on the standard error."""

from console import progress


def test_each_tenth_is_a_line(capsys):
    with progress.Progress(30) as display:
        for _ in range(15):
            display.update(2)
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert len(lines) == 10 and lines[0] == "4 of 30 images"
    assert lines[-1] == "30 of 30 images"
    assert output.out == ""
