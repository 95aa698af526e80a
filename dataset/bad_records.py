# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts and names the records, and the boxes of records, that were left out."""

import collections
import threading

import tensorflow.compat.v1 as tf


class BadRecords:
    """The records of one dataset that were left out; any thread may add to it.

    Attributes:
      error: str, None until more than the limit are left out; then one line that names
        the record that exceeded the limit. The dataset ends there.
      boxes: collections.Counter of the boxes that were left out of used records, by
        reason.
    """

    def __init__(self, limit):
        """Starts with no record left out.

        Args:
          limit: int, how many different records may be left out; 0 for none.
        """
        self._limit = limit
        self._places = set()
        self._lock = threading.Lock()
        self.error = None
        self._box_places = set()
        self.boxes = collections.Counter()

    @property
    def count(self):
        """int, how many different records were left out."""
        return len(self._places)

    def add(self, place, problem):
        """Counts a record and logs why it is left out, unless its place is known.

        Args:
          place: str, the file and the record.
          problem: str, what is wrong with it.
        """
        with self._lock:
            if place in self._places or self.error:
                return
            self._places.add(place)
            if self.count > self._limit:
                self.error = f"{place}: {problem}"
                return
            tf.logging.warning(
                "left out broken record %d of at most %d: %s: %s",
                self.count,
                self._limit,
                place,
                problem,
            )

    def add_boxes(self, place, reason, count):
        """Counts boxes of a record, unless its place is known; logs the first of each.

        Args:
          place: str, the file and the record.
          reason: str, "boxes of ...".
          count: int.
        """
        with self._lock:
            if not count or (place, reason) in self._box_places:
                return
            self._box_places.add((place, reason))
            if reason not in self.boxes:
                tf.logging.warning(
                    "leaving out %s, the first in %s; the end of the training tells "
                    "how many",
                    reason,
                    place,
                )
            self.boxes[reason] += count

    def log_boxes(self):
        """Logs how many boxes were left out, and why."""
        for reason, count in self.boxes.items():
            tf.logging.warning("left out of the training: %d %s", count, reason)
