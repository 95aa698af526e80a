# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads every record of a dataset, tells what is in it and what is wrong.

  python3 tools/check_dataset.py "tfrecord/val2017-*" --json=instances_val2017.json

prints each problem with file, record and byte, what training and evaluation would do
about it, and counts of images, boxes, classes and sizes. It draws some records as the
network sees them into contact_sheet.png (see contact_sheet; --sheet= for none). The
status is 0 when nothing is wrong, 1 when something is, and 2 for a wrong flag or file.
"""

import glob
import os
import sys

from absl import flags

# The folder of this file comes first on the path; the others lie above it.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import categories  # noqa: E402
import command_line  # noqa: E402
import problems  # noqa: E402
from command_line import InputError  # noqa: E402

FLAGS = flags.FLAGS


def _define_flags():
    flags.DEFINE_string("json", None, "COCO json that evaluation will use.")
    flags.DEFINE_string(
        "label_map", None, "Json with the dataset's own categories; default: COCO's."
    )
    flags.DEFINE_string("sheet", "contact_sheet.png", "PNG to draw; empty: none.")
    flags.DEFINE_integer("sheet_images", 8, "Records drawn.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Another one draws other records.")
    flags.DEFINE_integer(
        "max_lines", 10, "Lines for each kind of problem; all are counted.", 0
    )


def main(patterns):
    """Checks the files of the patterns (a shell may have expanded them)."""
    paths = _paths(patterns)
    label_map = _label_map()
    report = problems.Report(FLAGS.max_lines)
    # Import TensorFlow, which takes seconds.
    import dataset_check
    import inference

    inference.quiet_tensorflow()

    statistics, samples = dataset_check.check(
        *(paths, label_map, FLAGS.json, report),
        num_samples=FLAGS.sheet_images if FLAGS.sheet else 0,
        seed=FLAGS.seed,
    )
    statistics.print(len(paths), label_map)
    if FLAGS.sheet:
        _draw(samples, label_map)
    report.print_summary()
    return 1 if report.counts else 0


def _paths(patterns):
    if not patterns:
        raise InputError('name the files: check_dataset.py "tfrecord/train2017-*"')
    paths = set()
    for pattern in patterns:
        found = [path for path in glob.glob(pattern) if os.path.isfile(path)]
        if not found:
            raise InputError(f"{pattern}: no file matches")
        paths.update(found)
    return sorted(paths)


def _label_map():
    if not FLAGS.label_map:
        return categories.COCO
    try:
        return categories.read_label_map(FLAGS.label_map)
    except ValueError as error:
        raise InputError(f"--label_map: {error}") from error


def _draw(samples, label_map):
    import contact_sheet

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
    command_line.run(main, _define_flags, takes_arguments=True)
