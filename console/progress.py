# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progress on the standard error: a bar on a terminal, lines of text elsewhere."""

import contextlib
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
      context manager with the method update(count), which reports finished work.
    """
    try:
        import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not sys.stderr.isatty():
        return _Lines(max(total, 1), unit)
    return tqdm.tqdm(total=total, unit=unit, mininterval=0.5, **arguments)


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
            print(f"{self._finished} of {self._total} {self._unit}s", file=sys.stderr)
