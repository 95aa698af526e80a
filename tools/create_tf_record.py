# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Converts a dataset in the format of COCO or Pascal VOC to sharded TFRecords.

  python3 tools/create_tf_record.py --annotations=instances_train2017.json \
    --image_dir=train2017 --output_prefix=tfrecord/train2017 --num_shards=256

  python3 tools/create_tf_record.py --voc_dir=VOCdevkit/VOC2007 --image_set=test \
    --output_prefix=tfrecord/test2007

writes tfrecord/train2017-00000-of-00256.tfrecord and so on, and prints how many images
and boxes were written and left out. For VOC it also writes the json that evaluation
needs, tfrecord/instances_test2007.json; see conversion/pascal_voc.py for boxes,
difficult objects, own categories and ids.

JPEGs are stored unchanged. Other images, CMYK JPEGs and images that EXIF data turns are
encoded as JPEGs once; see conversion/image_file.py. The same input and number of shards
give the same bytes. A run that fails or is killed leaves all shards as they were,
unless it is killed in its last moment; see conversion/shards.py.
"""

import json
import os
import sys

from absl import flags

# The modules of the project are in the folder above this one.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import atomic_file, command
from console.errors import UserError, blaming
from conversion import annotations, pascal_voc, shards
from dataset import categories, coco_json

FLAGS = flags.FLAGS

_JSON_INFO = {"description": "Pascal VOC, converted by create_tf_record.py"}


def _define_flags():
    flags.DEFINE_string("annotations", None, "COCO instances json.")
    flags.DEFINE_string("image_dir", None, "Folder of the images; for --annotations.")
    flags.DEFINE_string("voc_dir", None, "Folder in VOC's layout, instead of both.")
    flags.DEFINE_string(
        "image_set", None, "File in ImageSets/Main, without .txt; for --voc_dir."
    )
    flags.DEFINE_string(
        "label_map", None, "Json whose categories define the ids; for --voc_dir."
    )
    flags.DEFINE_string(
        "output_prefix", None, "Folder and start of the shards' names: DIR/train2017."
    )
    flags.DEFINE_integer("num_shards", 16, "Files to write.", 1, shards.MAX_SHARDS)
    flags.DEFINE_integer("workers", os.cpu_count(), "Threads.", lower_bound=1)
    flags.DEFINE_integer(
        "max_images", 0, "Convert only the first N images by id; 0: all.", lower_bound=0
    )
    flags.DEFINE_boolean(
        "ignore_exif",
        False,
        "The annotators saw the pixels as they are stored: never turn them. By default "
        "the annotations' width and height decide; if both fit, the pixels are turned.",
    )


def _check_flags():
    if not FLAGS.voc_dir and not FLAGS.annotations:
        raise UserError("--annotations (COCO) or --voc_dir (Pascal VOC) is missing")
    needed, others = ["annotations", "image_dir"], ["image_set", "label_map"]
    if FLAGS.voc_dir:
        needed, others = ["voc_dir", "image_set"], ["annotations", "image_dir"]
    for name in needed + ["output_prefix"]:
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing")
    for name in others:
        if FLAGS[name].value:
            raise UserError(f"--{name} cannot be used with --{needed[0]}; leave it out")


def main(_):
    """Converts the dataset that the flags name."""
    _check_flags()
    # Checked before reading the json, which takes long if it is large.
    shards.check_other_shards(FLAGS.output_prefix, FLAGS.num_shards)
    if FLAGS.voc_dir:
        counts = _convert_voc()
    else:
        with blaming("--annotations:"):
            dataset = coco_json.load(FLAGS.annotations)
        counts = _convert(dataset, FLAGS.image_dir)
    annotations.print_counts(counts, FLAGS.output_prefix)


def _convert(dataset, image_dir):
    entries, counts = annotations.plan(dataset, image_dir, FLAGS.max_images)
    return counts + shards.convert(
        entries,
        FLAGS.output_prefix,
        FLAGS.num_shards,
        FLAGS.workers,
        FLAGS.ignore_exif,
    )


def _convert_voc():
    folder, name = os.path.split(FLAGS.output_prefix)
    json_path = os.path.join(folder, f"instances_{name}.json")
    _check_json(json_path)
    label_map = None
    if FLAGS.label_map:
        with blaming("--label_map:"):
            label_map = categories.read_label_map(FLAGS.label_map)
    dataset, counts = pascal_voc.read(
        FLAGS.voc_dir, FLAGS.image_set, label_map, FLAGS.max_images, FLAGS.ignore_exif
    )
    counts += _convert(dataset, os.path.join(FLAGS.voc_dir, "JPEGImages"))
    with blaming("--output_prefix:", atomic_file.NotWritableError):
        text = json.dumps(dict(dataset, info=_JSON_INFO))
        atomic_file.write_atomically(json_path, text.encode())
    print(f"{json_path}: for --val_json_file and --label_map")
    return counts


def _check_json(path):
    """Checks that no json of the user is in the way."""
    try:
        with open(path, encoding="utf-8") as file:
            info = json.load(file).get("info")
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError):
        info = None
    if info != _JSON_INFO:
        raise UserError(
            f"--output_prefix={FLAGS.output_prefix}: {path} exists and was not written "
            "by this tool; move it away"
        )


if __name__ == "__main__":
    command.run(main, _define_flags)
