# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads every record of a dataset, tells what is in it and what is wrong.

  python3 tools/check_dataset.py "tfrecord/val2017-*" --json=instances_val2017.json

prints counts of images, boxes, classes and sizes; then each kind of fault: how often it
occurs, what training (and evaluation) does about it, and the first places. It draws
some records as the network sees them into contact_sheet.png (see contact_sheet;
--sheet= for none). The status is 0 when nothing is wrong, 1 when something is, and 2
for a wrong flag or a file that cannot be read at all.
"""

import contextlib
import glob
import os
import random
import sys

from absl import flags

# The rooms lie in the folder above this one.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import command, progress
from console.errors import UserError, blaming
from dataset import categories, coco_json

FLAGS = flags.FLAGS

_PNG_START = b"\x89PNG"


def _define_flags():
    flags.DEFINE_string(
        "json", None, "COCO json of these images: ids and categories are compared."
    )
    flags.DEFINE_string(
        "label_map", None, "Json with the dataset's own categories; default: COCO's."
    )
    flags.DEFINE_string("sheet", "contact_sheet.png", "PNG to draw; empty: none.")
    flags.DEFINE_integer("sheet_images", 8, "Records drawn.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Another one draws other records.")
    flags.DEFINE_integer("max_lines", 10, "Places shown of each kind of fault.", 0)


def main(patterns):
    """Checks the files of the patterns (a shell may have expanded them)."""
    paths = _paths(patterns)
    label_map = _label_map()
    _check_sheet()
    with blaming("--json:"):
        dataset = coco_json.load(FLAGS.json) if FLAGS.json else None
    # Import TensorFlow, which takes seconds.
    from detection import model_file
    from inspection import findings, record_check

    model_file.quiet_tensorflow()
    found = findings.Findings(label_map, FLAGS.max_lines)
    if dataset:
        found.add_json(FLAGS.json, dataset)
    samples = _Samples(FLAGS.sheet_images if FLAGS.sheet else 0, FLAGS.seed)
    checked = record_check.check_all(_records(paths), label_map)
    with contextlib.closing(checked):
        for record, facts in checked:
            found.add(record, facts)
            samples.add(record, facts)
    found.finish()
    found.print(paths)
    if FLAGS.sheet:
        _draw(samples.chosen, label_map)
    return 1 if found.counts else 0


def _paths(patterns):
    if not patterns:
        raise UserError('name the files: check_dataset.py "tfrecord/train2017-*"')
    paths = set()
    for pattern in patterns:
        found = [path for path in glob.glob(pattern) if os.path.isfile(path)]
        if not found:
            raise UserError(f"{pattern}: no file matches")
        paths.update(found)
    return sorted(paths)


def _label_map():
    if not FLAGS.label_map:
        return categories.COCO
    try:
        return categories.read_label_map(FLAGS.label_map)
    except ValueError as error:
        raise UserError(f"--label_map: {error}") from error


def _check_sheet():
    """Finds out before the long work what would fail after it."""
    folder = os.path.dirname(FLAGS.sheet) or "."
    if FLAGS.sheet and not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"--sheet={FLAGS.sheet}: cannot write into {folder}")
    if not os.path.exists(FLAGS.sheet):
        return
    if not os.path.isfile(FLAGS.sheet):
        raise UserError(f"--sheet={FLAGS.sheet} is no file that can be written anew")
    try:
        with open(FLAGS.sheet, "rb") as file:
            start = file.read(len(_PNG_START))
    except OSError as error:
        raise UserError(f"--sheet={FLAGS.sheet}: {error.strerror}") from error
    if start not in (b"", _PNG_START):
        raise UserError(f"--sheet={FLAGS.sheet} is there and no PNG; name another file")


def _records(paths):
    """The records of all files, with a progress bar over their bytes."""
    from inspection import record_check

    total = sum(os.path.getsize(path) for path in paths)
    with progress.progress_bar(total, "byte", unit_scale=True) as bar:
        for path in paths:
            for record in record_check.read(path):
                yield record
                bar.update(len(record.serialized or b"") + record_check.FRAMING_BYTES)


class _Samples:
    """Keeps a random choice of the records that training takes."""

    def __init__(self, size, seed):
        self._size, self._random = size, random.Random(seed)
        self._seen = 0
        # list of (title, serialized).
        self.chosen = []

    def add(self, record, facts):
        """Offers a record, which is passed over unless training takes it."""
        if not self._size or facts.is_left_out or not facts.has_known_box:
            return
        self._seen += 1
        # Reservoir sampling: each record seen so far is kept equally likely.
        index = self._random.randrange(self._seen)
        if len(self.chosen) < self._size:
            index = len(self.chosen)
            self.chosen.append(None)
        if index < self._size:
            title = "image {}, {} x {}".format(facts.id_text or "?", *facts.size)
            place = os.path.basename(record.place)
            self.chosen[index] = f"{title} ({place})", record.serialized


def _draw(samples, label_map):
    from inspection import contact_sheet

    if not samples:
        print("no contact sheet: no record has a box to train on")
        return
    try:
        contact_sheet.draw(samples, label_map, FLAGS.sheet)
    except ImportError:
        print("no contact sheet: it needs Pillow (pip install Pillow)")
        return
    print(f"{FLAGS.sheet}: {len(samples)} records as the network sees them")


if __name__ == "__main__":
    command.run(main, _define_flags, takes_arguments=True)
