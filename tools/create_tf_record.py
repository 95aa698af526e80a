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
unless it is killed in its last moment; see conversion/outputs.py.
"""

import gc
import os
import sys

from absl import flags

# The modules of the project are in the folder above this one.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import command
from console.errors import UserError, as_user_error
from conversion import annotations, label_map, outputs, pascal_voc, shards, voc_folder
from dataset import categories, coco_json

FLAGS = flags.FLAGS


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
    flags.DEFINE_float(
        "val_fraction",
        0,
        "Share of the images, for example 0.2, that become the validation set. With "
        "--output_prefix=DIR/train they are written to DIR/val. 0: one set only.",
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
    # Not true for NaN either.
    if not 0 <= FLAGS.val_fraction < 1:
        raise UserError(
            f"--val_fraction={FLAGS.val_fraction:g}: must be at least 0 and less than "
            "1, for example 0.2"
        )


def main(_):
    """Converts the dataset that the flags name."""
    _check_flags()
    prefixes, is_split = [FLAGS.output_prefix], FLAGS.val_fraction > 0
    if is_split:
        prefixes.append(outputs.prefix_of_validation(FLAGS.output_prefix))
    # Checked before reading the json, which takes long if it is large.
    for prefix in prefixes:
        outputs.check_free(prefix, FLAGS.num_shards, FLAGS.annotations, is_split)
    unusable = shards.UnusableImages(FLAGS.skip_unusable)
    map_path = categories.find_label_map(None, os.path.dirname(FLAGS.output_prefix))
    # Saves a third of the time: the millions of objects of a json have no cycles.
    gc.disable()
    try:
        names, entries, counts = _read(map_path, unusable)
    finally:
        gc.enable()
    sets = {prefixes[0]: entries}
    if is_split:
        parts = outputs.split(entries, FLAGS.val_fraction, FLAGS.seed)
        sets = dict(zip(prefixes, parts))
    changes = {}
    with outputs.all_or_none(FLAGS.output_prefix) as folder:
        for prefix in prefixes:
            sets[prefix], changes[prefix] = shards.write(
                os.path.join(folder, os.path.basename(prefix)),
                sets[prefix],
                names,
                FLAGS.num_shards,
                FLAGS.workers,
                FLAGS.ignore_exif,
                unusable,
            )
        paths = outputs.write_others(folder, sets, names, FLAGS.annotations)
    for prefix in prefixes:
        annotations.print_set(prefix, sets[prefix], changes[prefix])
    annotations.print_counts(counts)
    if unusable.texts:
        print(f"  left out: {len(unusable.texts)} images (--skip_unusable):")
    for text in sorted(unusable.texts):
        print("    " + " ".join(text.split()))
    print(f"beside the shards: {', '.join(paths) or 'nothing new'}")


def _read(map_path, unusable):
    """Returns a dict from category id to name, and the results of annotations.plan.

    Args:
      map_path: path of the label map beside the shards, or None.
      unusable: shards.UnusableImages, to which images are added.
    """
    if FLAGS.voc_dir:
        folder = voc_folder.find(FLAGS.voc_dir)
        image_dir = folder.image_dir
        dataset = pascal_voc.read(
            folder,
            FLAGS.image_set,
            FLAGS.label_map,
            map_path,
            FLAGS.ignore_exif,
            unusable,
        )
    else:
        image_dir = FLAGS.image_dir or os.path.dirname(FLAGS.annotations) or "."
        with as_user_error("--annotations:"):
            dataset = coco_json.load(FLAGS.annotations)
        label_map.check_coco(dataset)
    with as_user_error("--annotations:"):
        names = categories.read_names(dataset["categories"])
    if map_path:
        label_map.check_agreement(names, map_path)
    is_voc = bool(FLAGS.voc_dir)
    return (names, *annotations.plan(dataset, image_dir, unusable, is_voc))


if __name__ == "__main__":
    command.run(main, _define_flags)
