# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progress: a bar on a terminal, lines of text elsewhere."""

import sys

import pytest

from console import progress


@pytest.mark.parametrize(
    "has_tqdm, is_terminal, last",
    [
        (True, True, "12/12"),
        (True, False, "12 of 12 images"),
        (False, True, "12 of 12 images"),
    ],
)
def test_the_display_fits_its_medium(monkeypatch, capsys, has_tqdm, is_terminal, last):
    if not has_tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    with progress.progress_bar(12) as bar:
        for _ in range(6):
            bar.update(2)
    output = capsys.readouterr()
    assert last in output.err
    assert output.out == ""
    # A bar returns to the start of its line, which fills a log.
    assert ("\r" in output.err) == (last == "12/12")
