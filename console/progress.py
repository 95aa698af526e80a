# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progress on the standard error: one line for each tenth of the work."""

import contextlib
import sys


class Progress(contextlib.nullcontext):
    """A progress display, for use in a `with` statement."""

    def __init__(self, total, unit="image"):
        """Initializes the display.

        Args:
          total: int, units of work.
          unit: str, their name in the singular.
        """
        super().__init__(self)
        self._total, self._unit = max(total, 1), unit
        self._finished = 0

    def update(self, count):
        """Reports finished work; count: int."""
        tenths_before = self._finished * 10 // self._total
        self._finished += count
        if self._finished * 10 // self._total > tenths_before:
            print(f"{self._finished} of {self._total} {self._unit}s", file=sys.stderr)
