# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Converts a COCO json and its folder of images to sharded TFRecords.

  python3 tools/create_tf_record.py --annotations=instances_train2017.json \
    --image_dir=train2017 --output_prefix=tfrecord/train2017 --num_shards=256

writes tfrecord/train2017-00000-of-00256.tfrecord and so on, with all cores, and counts
what went in and what was left out. Images are stored as they are (JPEG or PNG). The
same input and number of shards give the same bytes. Shards are written under other
names and renamed when all are whole: a run that fails changes no shard.
"""

import os

from absl import flags

import coco_source
import command_line
import shards
from command_line import InputError

FLAGS = flags.FLAGS


def _define_flags():
    flags.DEFINE_string("annotations", None, "COCO instances json.")
    flags.DEFINE_string("image_dir", None, "Folder of the images.")
    flags.DEFINE_string(
        "output_prefix", None, "Folder and start of the shards' names: DIR/train2017."
    )
    flags.DEFINE_integer("num_shards", 16, "Files to write.", lower_bound=1)
    flags.DEFINE_integer("workers", os.cpu_count(), "Processes.", lower_bound=1)
    flags.DEFINE_integer("max_images", 0, "First N by id; 0: all.", lower_bound=0)


def main(_):
    """Converts as the flags say."""
    for name in ("annotations", "image_dir", "output_prefix"):
        if not FLAGS[name].value:
            raise InputError(f"--{name} is missing")
    # COCO's json takes long to read, so what can be checked before is.
    shards.check_other_shards(FLAGS.output_prefix, FLAGS.num_shards)
    dataset = coco_source.read_annotations(FLAGS.annotations)
    try:
        entries, counts = coco_source.plan(dataset, FLAGS.image_dir, FLAGS.max_images)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"--annotations: an entry of {FLAGS.annotations} is wrong: {error!r}"
        ) from error
    shards.convert(entries, FLAGS.output_prefix, FLAGS.num_shards, FLAGS.workers)
    coco_source.print_counts(counts, FLAGS.output_prefix)


if __name__ == "__main__":
    command_line.run(main, _define_flags)
