# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks TFRecord files: reads every record, reports contents and faults.

  python3 tools/check_dataset.py "tfrecord/val2017-*" --json=instances_val2017.json

takes TFRecord files (names or glob patterns) and, optionally, the COCO json of the same
images, whose ids, sizes and categories are compared with the records. It prints

- the numbers of records and boxes, the smallest and largest size of the images, and for
  each category its id, name and numbers of boxes and images;
- each kind of fault: how often it occurs, how training and evaluation treat it, and
  its first places (file, index of the record in the file, image id).

It draws some randomly chosen records as the network sees them into contact_sheet.png
(see inspection/contact_sheet.py; --sheet= for none). The exit status is 0 without
faults, 1 with faults, and 2 for a wrong flag or a file that cannot be opened.
"""

import contextlib
import heapq
import os
import random
import sys

from absl import flags

# The folder above this one has the imported modules.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import atomic_file, command
from console.errors import as_user_error, check
from dataset import coco_json

FLAGS = flags.FLAGS


def _define_flags():
    flags.DEFINE_string(
        "json", None, "COCO json of the same images, to compare with the records."
    )
    flags.DEFINE_string(
        "label_map",
        None,
        "Json or pbtxt with the dataset's own categories; default: the label map "
        "beside the files, else COCO's.",
    )
    flags.DEFINE_string(
        "sheet", "contact_sheet.png", "PNG file for the contact sheet; empty for none."
    )
    flags.DEFINE_integer(
        "sheet_images", 8, "Number of records on the contact sheet.", lower_bound=1
    )
    flags.DEFINE_integer("seed", 0, "Seed for choosing the records of the sheet.")
    flags.DEFINE_integer(
        "max_lines", 10, "Places to list per kind of fault.", lower_bound=0
    )


def main(patterns):
    """Checks the files that match the patterns; returns the exit status."""
    check(patterns, 'name the files: check_dataset.py "tfrecord/train2017-*"')
    if FLAGS.sheet:
        # Before the long work.
        is_png = FLAGS.sheet.lower().endswith(".png")
        check(is_png, "--sheet=%s: must end with .png", FLAGS.sheet)
        with as_user_error("--sheet:", atomic_file.NotWritableError):
            atomic_file.check_folder(os.path.dirname(FLAGS.sheet) or ".")
    dataset = None
    if FLAGS.json:
        with as_user_error("--json:"):
            dataset = coco_json.load(FLAGS.json)
    # These import TensorFlow, which takes seconds.
    from dataset import record_files
    from detection import model_file
    from inspection import contact_sheet, findings, record_check

    model_file.quiet_tensorflow()
    with as_user_error():
        paths = sorted({path for p in patterns for path in record_files.find(p)})
    label_map = model_file.read_label_map(FLAGS.label_map, *map(os.path.dirname, paths))
    found = findings.Findings(label_map, FLAGS.max_lines)
    if dataset:
        found.add_json(FLAGS.json, dataset)
    checked = record_check.check_all(record_check.read_all(paths), label_map)
    with contextlib.closing(checked):
        trained_on = _add_all(found, checked, FLAGS.seed)
        # Only these are in memory at a time.
        sample = heapq.nlargest(FLAGS.sheet_images, trained_on)
    found.finish()
    found.print(paths)
    chosen = [entry[1:] for entry in sorted(sample)]
    if FLAGS.sheet and chosen:
        contact_sheet.draw(chosen, label_map, FLAGS.sheet)
        print(f"{FLAGS.sheet}: {len(chosen)} records as the network sees them")
    elif FLAGS.sheet:
        print("no contact sheet: no record has a box to train on")
    return 1 if found.counts else 0


def _add_all(found, checked, seed):
    """Adds record_check.Records to the findings.

    Yields:
      (random number, title, serialized) of those that are trained on.
    """
    generator = random.Random(seed)
    for record in checked:
        found.add(record)
        # The size is None if the image cannot be decoded.
        if record.has_known_box and record.size and not record.is_left_out:
            id_text = record.content.id_text or "?"
            place = os.path.basename(record.place)
            title = "image {}, {} x {} ({})".format(id_text, *record.size, place)
            yield generator.random(), title, record.serialized


if __name__ == "__main__":
    command.run(main, _define_flags, takes_arguments=True)
