# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The result of checking a dataset: counts, and faults with their first places."""

import collections

import coco_metric
import dataset_parser
from dataset import box_rules, json_faults, json_match
from dataset.record_rules import Problem
from inspection import record_check


class Findings:
    """Collects the counts and faults; memory grows with image ids and files only.

    Attributes:
      counts: collections.Counter of faults by kind.
    """

    def __init__(self, label_map, max_places):
        """Keeps max_places places per kind of fault."""
        self._label_map, self._max_places = label_map, max_places
        self.counts = collections.Counter()
        # Kind of fault: its first places.
        self._places = collections.defaultdict(list)
        # pycocotools COCO; None without a json, or with one that is refused.
        self._coco = None
        # Image id: the place of its first record.
        self._first_places = {}
        self._totals = collections.Counter(records=0, boxless=0, left_out=0)
        # The largest distance of a box's side from the left or upper side, in pixels.
        self._farthest = 0.0
        # (width, height) of the images.
        self._sizes = set()
        # Category id: boxes, and images with such a box.
        self._boxes, self._images = collections.Counter(), collections.Counter()

    def add_json(self, path, dataset):
        """Checks a COCO json, and keeps its image ids to compare the records with.

        If evaluation would refuse the json, that is the only fault reported, and no ids
        are compared. For the dataset see coco_json.load.
        """
        try:
            self._coco = coco_metric.to_coco(dataset)
        except ValueError as error:
            self._add_fault(record_check.REFUSED, f"{path}: {error}")
            return
        for kind, text in json_faults.find(self._coco, self._label_map):
            self._add_fault(kind, f"{path}: {text}")

    def add(self, record):
        """Adds one record_check.Record."""
        where, id_text = record.place, record.content.id_text
        if id_text:
            where += f" (image {id_text})"
        for problem in record.problems + self._problems_of_id(record):
            self._add_fault(problem.kind, f"{where}: {problem.text}")
        self._totals["left_out"] += record.is_left_out
        if record.serialized is not None:
            self._add_counts(record)

    def _problems_of_id(self, record):
        """Compares a record with the records before it and with the json."""
        number = record.content.image_id
        if number is None:
            return []
        problems = []
        first = self._first_places.setdefault(number, record.place)
        if first != record.place:
            problems.append(Problem(record_check.REPEATED, f"it has the id of {first}"))
        if self._coco and number not in self._coco.imgs:
            problems.append(Problem(json_match.NO_ID, "it is not in the json"))
        elif self._coco:
            problems += self._compare(record, self._coco.imgs[number])
        return problems

    def _compare(self, record, image):
        """Compares a record with the json's entry of its id."""
        stated = record.size and box_rules.size_of(image)
        size = json_match.problem_of_size(record.size, stated, "in the json")
        problems = [Problem(json_match.OTHER_SIZE, size)]
        if not record.is_left_out:
            annotations = self._coco.imgToAnns[image["id"]]
            boxes = json_match.problem_of_boxes(record.content, annotations)
            problems.append(Problem(record_check.OTHER_BOXES, boxes))
        return [problem for problem in problems if problem.text]

    def _add_fault(self, kind, text):
        self.counts[kind] += 1
        if len(self._places[kind]) < self._max_places:
            self._places[kind].append(" ".join(text.split()))

    def _add_counts(self, record):
        self._totals["records"] += 1
        self._totals["boxless"] += not (record.has_known_box or record.is_left_out)
        self._boxes.update(record.content.labels)
        self._images.update(set(record.content.labels))
        if record.size is None:
            return
        self._sizes.add(record.size)
        if not record.is_left_out:
            width, height = record.size
            ends = record.content.boxes[:, 2:] * [height, width]
            self._farthest = max(self._farthest, ends.max(initial=0))

    def finish(self):
        """Adds the faults that only all records together show."""
        if not self._totals["records"]:
            self._add_fault(record_check.NO_RECORDS, "none of the files has a record")
        if 0 < self._farthest <= box_rules.LARGEST_FRACTION:
            text = f"none of {sum(self._boxes.values())} boxes is larger"
            self._add_fault(record_check.ONE_PIXEL, text)
        known_ids = self._coco.imgs if self._coco else ()
        for number in sorted(set(known_ids) - set(self._first_places)):
            self._add_fault(record_check.NO_RECORD, f"image {number}")

    def print(self, paths):
        """Prints the counts in the files, then the faults."""
        print(
            "{records} records in {files} files, {boxes} boxes; {boxless} records have "
            "no box of these categories: not trained on".format(
                **self._totals, files=len(paths), boxes=sum(self._boxes.values())
            )
        )
        if self._sizes:
            by_area = sorted(self._sizes, key=lambda size: size[0] * size[1])
            text = "images: {} x {} to {} x {} pixels"
            print(text.format(*by_area[0], *by_area[-1]))
        self._print_categories()
        self._print_faults()

    def _print_categories(self):
        print("category id and name, boxes, images:")
        names = self._label_map.names
        for number, name in names.items():
            if self._boxes[number]:
                counts = f"{self._boxes[number]:9} {self._images[number]:8}"
                print(f"  {number:5} {name:24} {counts}")
        missing = [name for number, name in names.items() if not self._boxes[number]]
        if missing:
            print(f"{len(missing)} categories without a box: {', '.join(missing)}")

    def _print_faults(self):
        if not self.counts:
            print("no fault found")
            return
        left_out, limit = self._totals["left_out"], dataset_parser.MAX_BAD_RECORDS
        print(
            f"faults; training leaves out {left_out} records"
            + (f", and stops at {limit + 1}" if left_out > limit else "")
            + " (see --max_bad_records):"
        )
        for kind, count in self.counts.most_common():
            print(f"{count} {kind}: {record_check.CONSEQUENCES[kind]}")
            for place in self._places[kind]:
                print(f"    {place}")
            if count > self._max_places > 0:
                print(f"    and {count - self._max_places} more (see --max_lines)")
