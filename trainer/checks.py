# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds what is wrong with flags and files before TensorFlow builds anything."""

import itertools

import tensorflow.compat.v1 as tf
from google.protobuf import message

import ssd_model
from console import atomic_file
from console.errors import UserError, check
from dataset import record_rules
from trainer import flags as settings
from trainer.flags import FLAGS, evaluates, trains


def check_flags():
    """Checks what can be checked by the flags and files alone.

    Raises:
      UserError: one line that names the flag or file.
    """
    _check_values()
    check(FLAGS.model_dir, "--model_dir is missing: where should checkpoints go?")
    if trains():
        if not FLAGS.synthetic_data:
            _first_record("training_file_pattern")
        _check_writable("model_dir")
        if FLAGS.profiling:
            _check_writable("profiling")
    if evaluates():
        _first_record("validation_file_pattern")
        check(FLAGS.val_json_file, "--val_json_file is missing: a COCO json")
    if FLAGS.mode != "eval":
        for name in ("checkpoint_path", "watch"):
            check(not FLAGS[name].value, "--%s is for --mode=eval", name)
    check(
        not (FLAGS.checkpoint_path and FLAGS.watch),
        "--checkpoint_path and --watch: one checkpoint or each new one, not both",
    )
    check(
        FLAGS.seed is not None or not FLAGS.deterministic,
        "--deterministic needs a --seed, like --seed=1",
    )


def _check_values():
    """What a flag's own range does not tell."""
    for flag in FLAGS.flags_by_module_dict()[settings.__name__]:
        # Not in any range, nor outside of one.
        is_number = flag.value == flag.value
        check(is_number, "--%s=%s: must be a number", flag.name, flag.value)
        check(
            flag.value != "",
            "--%s is empty: give it a value, or leave it out",
            flag.name,
        )


def _filled_files(flag):
    """The files that a flag's pattern matches, without those of no record.

    There are some where there are more shards than images.
    """
    pattern = FLAGS[flag].value
    check(pattern, "--%s is missing: a glob of TFRecord files", flag)
    try:
        paths = sorted(tf.gfile.Glob(pattern))
    except tf.errors.OpError as error:
        raise UserError(f"--{flag}={pattern}: {error.message}") from error
    check(paths, "--%s=%s matches no file", flag, pattern)
    filled = [path for path in paths if tf.gfile.Stat(path).length]
    check(filled, "--%s=%s: every file is empty, %s too", flag, pattern, paths[0])
    return filled


def _first_record(flag):
    """The first record of the files that a flag's pattern matches."""
    path = _filled_files(flag)[0]
    try:
        return next(tf.python_io.tf_record_iterator(path))
    except (tf.errors.OpError, StopIteration) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--{flag}: {path} is no TFRecord file: {reason}") from error


def check_record_in_json(coco_gt):
    """Catches records and annotations that do not belong together, for one image."""
    flag = "validation_file_pattern"
    record = _first_record(flag)
    found = record_rules.read_record(record)
    problem = found.problem(is_training=False)
    check(
        not problem,
        "--%s=%s: the first record cannot be used: %s; tools/check_dataset.py looks at "
        "all of them",
        *(flag, FLAGS[flag].value, problem),
    )
    image_id = found.image_id
    check(
        image_id in coco_gt.imgs,
        "--val_json_file=%s has no image %s, the first of --%s=%s; "
        "do they belong together?",
        *(FLAGS.val_json_file, image_id, flag, FLAGS[flag].value),
    )


def warn_of_names(label_map):
    """Says when the first training records name categories otherwise.

    Args:
      label_map: categories.LabelMap.
    """
    flag = "training_file_pattern"
    path = _filled_files(flag)[0]
    try:
        for record in itertools.islice(tf.python_io.tf_record_iterator(path), 32):
            feature = tf.train.Example.FromString(record).features.feature
            others = label_map.other_names(record_rules.named_categories(feature))
            if others:
                tf.logging.warning(
                    "--%s: in %s %s; training goes by the number: give the --label_map "
                    "of the dataset",
                    *(flag, path, others[0]),
                )
                return
    except (tf.errors.OpError, message.DecodeError):
        # Training names what it cannot read.
        pass


def check_schedule(params):
    """Refuses a schedule of less than a step; params: see ssd_model."""
    for name in ("steps_per_epoch", "total_steps"):
        check(
            getattr(ssd_model, name)(params) >= 1,
            "--num_examples_per_epoch=%d --num_epochs=%g --train_batch_size=%d on %d "
            "devices: that is less than one step",
            *(FLAGS.num_examples_per_epoch, FLAGS.num_epochs),
            *(FLAGS.train_batch_size, params["num_ranks"]),
        )
    check(
        int(FLAGS.decay_epochs * ssd_model.steps_per_epoch(params)) >= 1,
        "--decay_epochs=%g is less than one step",
        FLAGS.decay_epochs,
    )


def _check_writable(flag):
    try:
        atomic_file.check_folder(FLAGS[flag].value)
    except atomic_file.NotWritableError as error:
        raise UserError(f"--{flag}={error}") from error
