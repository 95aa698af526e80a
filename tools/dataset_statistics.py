# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts of a dataset: images, boxes, classes, sizes."""

import collections

# COCO's limits, pixels of area.
_SMALL, _LARGE = 32**2, 96**2
_COMMON_SIZES = 3


class Statistics:
    """Counts images, boxes, classes and sizes."""

    def __init__(self):
        """Starts at zero."""
        self.num_records = 0
        self._without_box = 0
        self._turned = 0
        self._sizes = collections.Counter()
        self._areas = collections.Counter()
        self._boxes = collections.Counter()
        self._images = collections.Counter()

    def add(self, facts):
        """Counts one record.

        Args:
          facts: record_check.Facts.
        """
        self.num_records += 1
        self._without_box += not len(facts.boxes)
        self._turned += facts.orientation != 1
        labels = facts.labels.tolist()
        self._boxes.update(labels)
        self._images.update(set(labels))
        if facts.size is not None:
            self._sizes[facts.size] += 1
            width, height = facts.size
            sides = facts.boxes[:, 2:] - facts.boxes[:, :2]
            for area in (sides[:, 0] * sides[:, 1] * width * height).tolist():
                limits = (_SMALL, _LARGE)
                self._areas[sum(area >= limit for limit in limits)] += 1

    def print(self, num_files, label_map):
        """Prints the counts.

        Args:
          num_files: int.
          label_map: categories.LabelMap.
        """
        total = sum(self._boxes.values())
        print(
            f"{self.num_records} records in {num_files} files, {total} boxes; "
            f"{self._without_box} records have no box: not trained on"
        )
        self._print_sizes(total)
        if self._turned:
            print(
                f"{self._turned} images have an EXIF orientation, which training and "
                "evaluation ignore: do their boxes fit the pixels as stored?"
            )
        print("category id and name, boxes, images:")
        for number, name in label_map.names.items():
            counts = f"{self._boxes[number]:9} {self._images[number]:8}"
            print(f"  {number:5} {name:24} {counts}")

    def _print_sizes(self, num_boxes):
        if self._sizes:
            common = ", ".join(
                f"{width} x {height} ({count})"
                for (width, height), count in self._sizes.most_common(_COMMON_SIZES)
            )
            areas = sorted(self._sizes, key=lambda size: size[0] * size[1])
            print(
                "image sizes: {} to {}, most often {}".format(
                    *("{} x {}".format(*areas[end]) for end in (0, -1)), common
                )
            )
        if num_boxes and self._areas:
            shares = [
                100 * self._areas[i] / sum(self._areas.values()) for i in range(3)
            ]
            print(
                "box sizes: {:.1f} % small (below 32 x 32 pixels), {:.1f} % medium, "
                "{:.1f} % large (from 96 x 96)".format(*shares)
            )
