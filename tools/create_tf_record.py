# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Converts a dataset, COCO's or Pascal VOC's kind, to sharded TFRecords.

  python3 tools/create_tf_record.py --annotations=instances_train2017.json \
    --image_dir=train2017 --output_prefix=tfrecord/train2017 --num_shards=256

  python3 tools/create_tf_record.py --voc_dir=VOCdevkit/VOC2007 --image_set=test \
    --output_prefix=tfrecord/test2007

writes tfrecord/train2017-00000-of-00256.tfrecord and so on, with all cores, and counts
what went in and what was left out. For VOC it also writes the json that evaluation
needs, tfrecord/instances_test2007.json; conversion/pascal_voc.py says what becomes of
boxes, difficult objects, own categories and ids.

JPEGs are stored as they are, for which no package is needed; other images, CMYK and
those that EXIF data turns become JPEGs once, by Pillow (see image_file). The same input
and number of shards give the same bytes. A run that fails or is killed changes no
shard, unless it is killed in its last moment (see shards).
"""

import json
import os
import sys

from absl import flags

# The rooms lie in the folder above this one.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import atomic_file, command
from console.errors import UserError
from conversion import coco_json, pascal_voc, shards
from dataset import categories

FLAGS = flags.FLAGS

_JSON_INFO = {"description": "Pascal VOC, converted by create_tf_record.py"}


def _define_flags():
    flags.DEFINE_string("annotations", None, "COCO instances json.")
    flags.DEFINE_string("image_dir", None, "Folder of the images; for --annotations.")
    flags.DEFINE_string("voc_dir", None, "Folder in VOC's layout, instead of both.")
    flags.DEFINE_string(
        "image_set", None, "File of ImageSets/Main, without .txt; for --voc_dir."
    )
    flags.DEFINE_string(
        "label_map", None, "Json whose categories give the ids; for --voc_dir."
    )
    flags.DEFINE_string(
        "output_prefix", None, "Folder and start of the shards' names: DIR/train2017."
    )
    flags.DEFINE_integer("num_shards", 16, "Files to write.", 1, shards.MAX_SHARDS)
    flags.DEFINE_integer("workers", os.cpu_count(), "Processes.", lower_bound=1)
    flags.DEFINE_integer("max_images", 0, "First N by id; 0: all.", lower_bound=0)
    flags.DEFINE_boolean(
        "ignore_exif",
        False,
        "The annotators saw the pixels as they are stored: never turn them. By default "
        "the annotations' width and height tell, and where both fit they are turned.",
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
            raise UserError(f"--{name} does not go with --{needed[0]}; leave it out")


def main(_):
    """Converts as the flags say."""
    _check_flags()
    # A large json takes long to read, so what can be checked before is.
    shards.check_other_shards(FLAGS.output_prefix, FLAGS.num_shards)
    if FLAGS.voc_dir:
        _check_json_path()
        dataset, counts = _read_voc()
        image_dir = os.path.join(FLAGS.voc_dir, "JPEGImages")
    else:
        dataset, counts = coco_json.read_annotations(FLAGS.annotations), {}
        image_dir = FLAGS.image_dir
    entries, found = coco_json.plan(dataset, image_dir, FLAGS.max_images)
    found.update(counts)
    if not FLAGS.voc_dir:
        # Half of the memory, and no longer needed.
        del dataset
    changes = shards.convert(
        *(entries, FLAGS.output_prefix, FLAGS.num_shards, FLAGS.workers),
        ignore_exif=FLAGS.ignore_exif,
    )
    if FLAGS.voc_dir:
        _write_json(dataset)
    coco_json.print_counts(found + changes, FLAGS.output_prefix)


def _read_voc():
    label_map = None
    if FLAGS.label_map:
        try:
            label_map = categories.read_label_map(FLAGS.label_map)
        except ValueError as error:
            raise UserError(f"--label_map: {error}") from error
    return pascal_voc.read(
        *(FLAGS.voc_dir, FLAGS.image_set, label_map, FLAGS.max_images),
        ignore_exif=FLAGS.ignore_exif,
    )


def _json_path():
    folder, name = os.path.split(FLAGS.output_prefix)
    return os.path.join(folder, f"instances_{name}.json")


def _check_json_path():
    """Only a json that this tool wrote may be overwritten."""
    path = _json_path()
    try:
        with open(path, encoding="utf-8") as file:
            info = json.load(file).get("info")
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError):
        info = None
    if info != _JSON_INFO:
        raise UserError(
            f"--output_prefix={FLAGS.output_prefix}: {path} is there and not from this "
            "tool; move it away"
        )


def _write_json(dataset):
    path = _json_path()
    try:
        with atomic_file.AtomicFile(path) as file:
            for text in json.JSONEncoder().iterencode(dict(dataset, info=_JSON_INFO)):
                file.write(text.encode())
    except atomic_file.NotWritableError as error:
        raise UserError(f"--output_prefix: {error}") from error
    names = {entry["id"]: entry["name"] for entry in dataset["categories"]}
    hint = "--val_json_file"
    if names != categories.COCO.names:
        hint += " and, for its categories are not COCO's, --label_map"
    print(f"{path}: for {hint}")


if __name__ == "__main__":
    command.run(main, _define_flags)
