# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a check of a dataset found: counts, and faults with their first places."""

import collections

import coco_metric
import dataset_parser
from console.errors import UserError
from dataset import categories
from inspection import record_check

REPEATED = "ids that occur again"
NOT_IN_JSON = "ids that the json lacks"
NO_RECORD = "images of the json without a record"
CATEGORIES = "categories of the json's boxes that the label map lacks"
OTHER_NAMES = "categories that the json names otherwise"
ANNOTATION_IDS = "annotation ids of the json that are 0, missing or not the only one"
BAD_CATEGORIES = "jsons whose categories make no sense"
REFUSED = "jsons with an entry that makes no sense"
IMAGE_IDS = "image ids of the json that occur again"
UNKNOWN_IMAGES = "image ids of annotations that the json does not list"
NO_RECORDS = "files without any record"

_CONSEQUENCES = dict(
    record_check.CONSEQUENCES,
    **{
        REPEATED: "training takes each, evaluation only the last",
        NOT_IN_JSON: "evaluation leaves the image out, or stops if it is the first",
        NO_RECORD: "evaluation counts them as nothing detected",
        CATEGORIES: "evaluation counts their boxes as missed; give --label_map",
        OTHER_NAMES: "training and evaluation take the label map's; give --label_map",
        ANNOTATION_IDS: "evaluation takes 0 for none, and stops at the others",
        BAD_CATEGORIES: "the converter stops, and so does --label_map",
        REFUSED: "evaluation stops at once",
        IMAGE_IDS: "the converter stops; evaluation takes them for one",
        UNKNOWN_IMAGES: "training and evaluation leave the annotations out",
        NO_RECORDS: "training and evaluation stop at once",
    },
)
# COCO's limits, pixels of area.
_SMALL, _LARGE = 32**2, 96**2
_COMMON_SIZES = 3


def _faults_of_json(dataset, label_map):
    """Yields (kind, text) of what is wrong with a json by itself."""
    for kind, check, part in (
        (REFUSED, coco_metric.complete, dataset),
        (BAD_CATEGORIES, categories.read_names, dataset["categories"]),
    ):
        try:
            check(part)
        except ValueError as error:
            yield kind, str(error)
    for text in label_map.other_names(dataset["categories"]):
        yield OTHER_NAMES, text
    image_ids = collections.Counter(image["id"] for image in dataset["images"])
    for number, count in image_ids.items():
        if count > 1:
            yield IMAGE_IDS, f"image id {number}, of {count} images"
    annotations = dataset["annotations"]
    for number, count in collections.Counter(a.get("id") for a in annotations).items():
        if not number or count > 1:
            yield ANNOTATION_IDS, f"id {number}, of {count} annotations"
    for kind, name, known in (
        (UNKNOWN_IMAGES, "image_id", image_ids),
        (CATEGORIES, "category_id", label_map.names),
    ):
        counts = collections.Counter(a[name] for a in annotations if name in a)
        for number in sorted(counts.keys() - known.keys(), key=str):
            text = name.replace("_", " ")
            yield kind, f"{text} {number}, of {counts[number]} annotations"


class Findings:
    """Collects what is in the records; memory grows with image ids and files only."""

    def __init__(self, label_map, max_places):
        """Starts with nothing.

        Args:
          label_map: categories.LabelMap.
          max_places: int, how many to keep of each kind of fault.
        """
        self._label_map, self._max_places = label_map, max_places
        # Kind of fault: how often.
        self.counts = collections.Counter()
        self._places = collections.defaultdict(list)
        # Image id: (width, height) as --json has it; None without one.
        self._json_sizes = None
        self._first_places = {}
        # Files from which a record was read.
        self._used_paths = set()
        self._totals = collections.Counter(records=0, boxless=0, left_out=0)
        self._areas = collections.Counter()
        self._sizes = collections.Counter()
        self._boxes, self._images = collections.Counter(), collections.Counter()

    def add_json(self, path, dataset):
        """Takes the ids to compare the records with.

        Args:
          path: str, of the json.
          dataset: dict, see coco_source.read_annotations.

        Raises:
          UserError: when an entry lacks its id.
        """
        try:
            self._json_sizes = {
                image["id"]: (image.get("width"), image.get("height"))
                for image in dataset["images"]
            }
            faults = list(_faults_of_json(dataset, self._label_map))
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(f"--json={path}: a wrong entry: {error!r}") from error
        for kind, text in faults:
            self._add_fault(kind, f"{path}: {text}")

    def add(self, record, facts):
        """Counts one record.

        Args:
          record: record_check.Record.
          facts: record_check.Facts.
        """
        image = f" (image {facts.id_text})" if facts.id_text else ""
        where = record.place + image
        problems = list(facts.problems)
        number = facts.image_id
        if number is not None:
            first = self._first_places.setdefault(number, record[:2])
            if first != record[:2]:
                text = "it has the id of {}, record {}".format(*first)
                problems.append(record_check.Problem(REPEATED, text))
            problems += self._compared_with_json(number, facts.size)
        for problem in problems:
            self._add_fault(problem.kind, f"{where}: {problem.text}")
        self._totals["left_out"] += facts.is_left_out
        if record.serialized is not None:
            self._used_paths.add(record.path)
            self._count(facts)

    def _compared_with_json(self, number, size):
        if self._json_sizes is None:
            return []
        if number not in self._json_sizes:
            return [record_check.Problem(NOT_IN_JSON, "it is not in the json")]
        said = self._json_sizes[number]
        if size is None or None in said:
            return []
        return record_check.compare_sizes(size, said, "the json")

    def _add_fault(self, kind, text):
        self.counts[kind] += 1
        if len(self._places[kind]) < self._max_places:
            self._places[kind].append(" ".join(text.split()))

    def _count(self, facts):
        self._totals["records"] += 1
        labels = facts.labels.tolist()
        self._totals["boxless"] += not (facts.has_known_box or facts.is_left_out)
        self._boxes.update(labels)
        self._images.update(set(labels))
        if facts.size is not None:
            self._sizes[facts.size] += 1
        if facts.size is not None and not facts.is_left_out:
            width, height = facts.size
            sides = facts.boxes[:, 2:] - facts.boxes[:, :2]
            for area in (sides[:, 0] * sides[:, 1] * width * height).tolist():
                self._areas[(area >= _SMALL) + (area >= _LARGE)] += 1

    def finish(self):
        """Adds what no single record shows."""
        if not self._totals["records"]:
            self._add_fault(NO_RECORDS, "not one in all of them")
        missing = set(self._json_sizes or ()) - set(self._first_places)
        for number in sorted(missing, key=str):
            self._add_fault(NO_RECORD, f"image {number}")

    def print(self, paths):
        """Prints the counts, then the faults.

        Args:
          paths: list of str, of all files.
        """
        print(
            "{records} records in {files} files, {boxes} boxes; {boxless} records have "
            "no box of these categories: not trained on".format(
                **self._totals, files=len(paths), boxes=sum(self._boxes.values())
            )
        )
        unused = [path for path in paths if path not in self._used_paths]
        if unused:
            print(f"no record in {len(unused)} files, {unused[0]} first")
        self._print_sizes()
        self._print_categories()
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
            print(f"{count} {kind}: {_CONSEQUENCES[kind]}")
            print("".join(f"    {place}\n" for place in self._places[kind]), end="")
            if count > self._max_places > 0:
                print(f"    and {count - self._max_places} more (see --max_lines)")

    def _print_sizes(self):
        if self._sizes:
            sizes = sorted(self._sizes, key=lambda size: size[0] * size[1])
            common = self._sizes.most_common(_COMMON_SIZES)
            print(
                "images: {} x {} to {} x {} pixels, most often ".format(
                    *sizes[0], *sizes[-1]
                )
                + ", ".join("{} x {} ({})".format(*size, n) for size, n in common)
            )
        if self._areas:
            total = sum(self._areas.values())
            print(
                "boxes: {:.1f} % small (below 32 x 32 pixels), {:.1f} % medium, "
                "{:.1f} % large (from 96 x 96)".format(
                    *(100 * self._areas[i] / total for i in range(3))
                )
            )

    def _print_categories(self):
        print("category id and name, boxes, images:")
        names = self._label_map.names
        for number in sorted(set(names) & set(self._boxes)):
            counts = f"{self._boxes[number]:9} {self._images[number]:8}"
            print(f"  {number:5} {names[number]:24} {counts}")
        missing = [name for number, name in names.items() if not self._boxes[number]]
        if missing:
            print(f"no box of {len(missing)} categories: {', '.join(missing)}")
