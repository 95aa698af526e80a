# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Converts a dataset in the format of COCO or Pascal VOC to sharded TFRecords.

  python3 tools/create_tf_record.py --voc_dir=VOCdevkit/VOC2007 --image_set=trainval \
    --output_prefix=data/train
  python3 tools/create_tf_record.py --annotations=train/_annotations.coco.json \
    --output_prefix=data/train
  python3 tools/create_tf_record.py --voc_dir=LABELIMG --val_fraction=0.2 \
    --output_prefix=data/train

writes data/train-00000-of-00016.tfrecord and so on, data/instances_train.json and
data/label_map.json, and prints how many images and boxes were written and left out. The
last command also writes the validation set, data/val-00000-of-00016.tfrecord and so on.
See conversion/voc_folder.py for the layouts of --voc_dir, conversion/pascal_voc.py for
its boxes, difficult objects and ids, and conversion/outputs.py for the files.

JPEGs are stored unchanged. Other images, CMYK JPEGs and images that EXIF data turns are
encoded as JPEGs once; see conversion/image_file.py. The same input and number of shards
give the same bytes. A run that fails or is killed leaves all files as they were,
unless it is killed in its last moment; see conversion/shards.py.
"""

import collections
import contextlib
import gc
import os
import sys

from absl import flags

# The modules of the project are in the folder above this one.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import command, paths
from console.errors import MAX_LISTED, UserError, as_user_error
from conversion import annotations, label_map, pascal_voc, shards, split, voc_folder
from conversion.outputs import Outputs, prefix_of_validation
from conversion.unusable import UnusableImages
from dataset import categories, coco_json

FLAGS = flags.FLAGS

_PATH_FLAGS = ("output_prefix", "voc_dir", "image_dir", "annotations", "label_map")


def _define_flags():
    flags.DEFINE_string("annotations", None, "COCO instances json.")
    flags.DEFINE_string(
        "image_dir", None, "Folder of its images; by default the folder of the json."
    )
    flags.DEFINE_string(
        "voc_dir", None, "Folder of images and xml files, instead of --annotations."
    )
    flags.DEFINE_string(
        "image_set",
        None,
        "File in ImageSets/Main, without .txt; for --voc_dir. By default all images.",
    )
    flags.DEFINE_string(
        "label_map", None, "Json or pbtxt with the ids of the names; for --voc_dir."
    )
    flags.DEFINE_string(
        "output_prefix", None, "Folder and start of the shards' names: DIR/train2017."
    )
    flags.DEFINE_integer("num_shards", 16, "Files to write.", 1, shards.MAX_SHARDS)
    flags.DEFINE_integer("workers", os.cpu_count(), "Threads.", lower_bound=1)
    flags.DEFINE_integer(
        "max_images", 0, "Convert only the first N images by id; 0: all.", lower_bound=0
    )
    flags.DEFINE_float(
        "val_fraction",
        0,
        "Share of the images, for example 0.2, that become the validation set. With "
        "--output_prefix=DIR/train they are written to DIR/val. 0: one set only.",
        lower_bound=0,
    )
    flags.DEFINE_integer("seed", 0, "Seed for choosing them.")
    flags.DEFINE_integer(
        "skip_unusable",
        0,
        "Leave out and name up to N images that are missing or broken; more end the "
        "run.",
        lower_bound=0,
    )
    flags.DEFINE_boolean(
        "ignore_exif",
        False,
        "The annotators saw the pixels as they are stored: never turn them. By default "
        "the annotations' width and height decide; if both fit, the pixels are turned.",
    )


def _check_flags():
    for name in _PATH_FLAGS:
        paths.check_local(name, FLAGS[name].value)
    if not FLAGS.voc_dir and not FLAGS.annotations:
        raise UserError("--annotations (COCO) or --voc_dir (Pascal VOC) is missing")
    source, others = "annotations", ("image_set", "label_map")
    if FLAGS.voc_dir:
        source, others = "voc_dir", ("annotations", "image_dir")
    for name in others:
        if FLAGS[name].value:
            raise UserError(f"--{name} cannot be used with --{source}; leave it out")
    if not os.path.basename(FLAGS.output_prefix or ""):
        raise UserError(
            f"--output_prefix={FLAGS.output_prefix or ''}: must be the folder and the "
            "start of the names of the shards, for example data/train"
        )
    # True for NaN as well.
    if not FLAGS.val_fraction < 1:
        raise UserError(
            f"--val_fraction={FLAGS.val_fraction:g}: must be less than 1, for example "
            "0.2"
        )


def main(_):
    """Converts the dataset that the flags name."""
    _check_flags()
    prefixes = [FLAGS.output_prefix]
    if FLAGS.val_fraction:
        prefixes.append(prefix_of_validation(FLAGS.output_prefix))
    # Checked before reading the json, which takes long if it is large.
    outputs = Outputs(
        prefixes, FLAGS.num_shards, FLAGS.annotations, bool(FLAGS.val_fraction)
    )
    unusable = UnusableImages(FLAGS.skip_unusable)
    read = _read_voc if FLAGS.voc_dir else _read_coco
    dataset, image_dir, names, counts = read(outputs, unusable)
    label_map.check_agreement(names, outputs.label_map_path, outputs.label_map)
    with _without_garbage_collection():
        entries, other_counts = annotations.plan(
            dataset, image_dir, FLAGS.max_images, unusable
        )
    sets = [entries]
    if FLAGS.val_fraction:
        sets = split.split(entries, FLAGS.val_fraction, FLAGS.seed)
    sets, changes = shards.convert(
        dict(zip(prefixes, sets)),
        FLAGS.num_shards,
        FLAGS.workers,
        FLAGS.ignore_exif,
        unusable,
        lambda sets: outputs.contents(sets, names),
    )
    annotations.print_counts(counts + other_counts + changes, sets)
    unusable.print_all()
    _print_missing_categories(sets)
    outputs.print_paths()


@contextlib.contextmanager
def _without_garbage_collection():
    """Saves a third of the time: the millions of objects of a json have no cycles."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _read_coco(unused_outputs, unused_unusable):
    """Returns (dataset, folder of the images, names of the categories, counts)."""
    with as_user_error("--annotations:"), _without_garbage_collection():
        dataset = coco_json.load(FLAGS.annotations)
    names = label_map.read_coco(dataset)
    image_dir = FLAGS.image_dir or os.path.dirname(FLAGS.annotations) or "."
    return dataset, image_dir, names, collections.Counter()


def _read_voc(outputs, unusable):
    """Returns the same as `_read_coco`."""
    own_map, complete_path = outputs.label_map, outputs.label_map_path
    if FLAGS.label_map:
        with as_user_error("--label_map:"):
            own_map, complete_path = categories.read_label_map(FLAGS.label_map), None
    folder = voc_folder.find(FLAGS.voc_dir)
    dataset, counts = pascal_voc.read(
        folder,
        FLAGS.image_set,
        own_map,
        complete_path,
        FLAGS.max_images,
        FLAGS.ignore_exif,
        unusable,
    )
    names = {entry["id"]: entry["name"] for entry in dataset["categories"]}
    return dataset, folder.image_dir, names, counts


def _print_missing_categories(sets):
    """Prints which categories only one of the sets shows."""
    for prefix, names in zip(sets, split.missing_categories(list(sets.values()))):
        if names:
            more = f", and {len(names) - MAX_LISTED} more" * (len(names) > MAX_LISTED)
            print(f"  {prefix} has no box of: {', '.join(names[:MAX_LISTED])}{more}")


if __name__ == "__main__":
    command.run(main, _define_flags)
