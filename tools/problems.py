# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a dataset, and what training and evaluation do about it."""

import collections
from typing import NamedTuple

_LEFT_OUT = "training leaves the record out, evaluation stops"
_LEFT_OUT_OF_TRAINING = "training leaves the record out"
_BOX_LEFT_OUT = "training leaves the box out"

# Kind of problem: what becomes of it.
NO_EXAMPLE = "records that are no tf.train.Example"
FEATURE = "features that are missing or of another kind"
BAD_ID = "ids that are no whole numbers"
BAD_IMAGE = "images that cannot be decoded"
UNEQUAL = "records whose boxes and labels differ in number"
OUTSIDE = "boxes outside their image, or not of numbers"
BACKWARD = "boxes that end before they start"
BEYOND = "boxes that reach a little out of their image"
EMPTY = "boxes of no size"
UNKNOWN = "boxes of a category that is not in the label map"
EXCHANGED = "images with width and height exchanged"
OTHER_SIZE = "images of another size than said"
REPEATED = "ids that occur again"
NOT_IN_JSON = "ids that the json lacks"
OTHER = "records with another fault"
CUT = "files that cannot be read to their end"
SHARDS = "sets of files with some missing"
NO_RECORD = "images of the json without a record"
CATEGORIES = "categories of the json that the label map lacks"

CONSEQUENCES = {
    NO_EXAMPLE: _LEFT_OUT,
    FEATURE: f"{_LEFT_OUT} (not for boxes and labels)",
    BAD_ID: _LEFT_OUT,
    BAD_IMAGE: _LEFT_OUT,
    UNEQUAL: _LEFT_OUT_OF_TRAINING,
    OUTSIDE: _LEFT_OUT_OF_TRAINING,
    BACKWARD: _LEFT_OUT_OF_TRAINING,
    BEYOND: "training clips the box",
    EMPTY: "training takes it; the size it is to learn is a logarithm of nothing",
    UNKNOWN: _BOX_LEFT_OUT,
    EXCHANGED: "training goes by the pixels; the boxes may be wrong, see the sheet",
    OTHER_SIZE: "training goes by the pixels; the boxes may be wrong, see the sheet",
    REPEATED: "training takes each, evaluation only the last",
    NOT_IN_JSON: "evaluation leaves the image out",
    OTHER: _LEFT_OUT_OF_TRAINING,
    CUT: "training leaves out what is behind, evaluation stops",
    SHARDS: "training and evaluation never see their images",
    NO_RECORD: "evaluation counts them as nothing detected",
    CATEGORIES: "evaluation counts their boxes as missed; give --label_map",
}
NEVER_TRAINED = frozenset(
    kind
    for kind, text in CONSEQUENCES.items()
    if text.startswith(_LEFT_OUT_OF_TRAINING)
)


class Problem(NamedTuple):
    """One fault.

    Attributes:
      kind: one of the keys of CONSEQUENCES.
      text: what is wrong, after the record's place.
    """

    kind: str
    text: str


class Report:
    """Prints problems as they come, a limited number of each kind; counts all."""

    def __init__(self, max_lines):
        """Starts without any problem.

        Args:
          max_lines: int, of each kind.
        """
        self._max_lines = max_lines
        # Kind: how often.
        self.counts = collections.Counter()

    def add(self, kind, text):
        """Counts a problem, and prints it unless there were many of its kind.

        Args:
          kind: one of the keys of CONSEQUENCES.
          text: str, one line.
        """
        self.counts[kind] += 1
        if self.counts[kind] <= self._max_lines:
            print(" ".join(text.split()))
        elif self.counts[kind] == self._max_lines + 1 and self._max_lines:
            print(f"(more {kind}; --max_lines={self._max_lines} are shown)")

    def print_summary(self):
        """Prints each kind with its number and what becomes of it."""
        if not self.counts:
            print("no problem found")
            return
        print("problems:")
        for kind, count in self.counts.most_common():
            print(f"  {count} {kind}: {CONSEQUENCES[kind]}")
