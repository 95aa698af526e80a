# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progress on the standard error: a bar on a terminal, lines of text elsewhere."""

import contextlib
import functools
import sys


def progress_bar(total, unit="image", **arguments):
    """Opens a progress display.

    tqdm draws a bar where the standard error is a terminal. Elsewhere, and where tqdm
    is not installed, each tenth of the work prints one line, which a log can hold.

    Args:
      total: int, units of work.
      unit: str, their name in the singular.
      **arguments: further arguments of tqdm.

    Returns:
      context manager with the methods update(count), which reports finished work, and
      write(text), which prints a line above the bar.
    """
    try:
        import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not sys.stderr.isatty():
        return _Lines(max(total, 1), unit)
    bar = tqdm.tqdm(total=total, unit=unit, mininterval=0.5, **arguments)
    # tqdm's own method writes to the standard output.
    bar.write = functools.partial(bar.write, file=sys.stderr)
    return bar


class _Lines(contextlib.AbstractContextManager):
    """The display without a terminal."""

    def __init__(self, total, unit):
        self._total, self._unit = total, unit
        self._finished = 0

    def __exit__(self, *unused):
        pass

    def update(self, count):
        tenths_before = self._finished * 10 // self._total
        self._finished += count
        if self._finished * 10 // self._total > tenths_before:
            self.write(f"{self._finished} of {self._total} {self._unit}s")

    def write(self, text):
        print(text, file=sys.stderr)
