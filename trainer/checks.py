# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of flags and input files before the device starts."""

import itertools

import tensorflow.compat.v1 as tf
from google.protobuf import message

import coco_metric
import ssd_model
from console import atomic_file
from console.errors import UserError, blaming, check
from dataset import record_rules
from trainer import checkpoints
from trainer import flags as settings
from trainer.flags import FLAGS, evaluates, trains

# Names of categories are compared in this number of training records.
_RECORDS_WITH_NAMES = 32


def check_flags():
    """Checks the flags, and whether the files and folders that they name can be used.

    Raises:
      UserError: one line that names the flag or file.
    """
    _check_values()
    check(FLAGS.model_dir, "--model_dir is missing: give a folder for the checkpoints")
    if trains():
        if not FLAGS.synthetic_data:
            _first_record("training_file_pattern")
        _check_writable("model_dir")
        if FLAGS.profiling:
            _check_writable("profiling")
        for name in ("checkpoint_path", "watch"):
            check(not FLAGS[name].value, "--%s is for --mode=eval", name)
    if evaluates():
        _first_record("validation_file_pattern")
        check(FLAGS.val_json_file, "--val_json_file is missing: give a COCO JSON file")
    check(
        not (FLAGS.checkpoint_path and FLAGS.watch),
        "--checkpoint_path and --watch exclude each other: evaluate either one "
        "checkpoint or every new one",
    )
    check(
        FLAGS.seed is not None or not FLAGS.deterministic,
        "--deterministic needs a --seed, for example --seed=1",
    )


def _check_values():
    for flag in settings.own_flags():
        # NaN passes the bounds of a flag, and is the only value unequal to itself.
        is_number = flag.value == flag.value
        check(is_number, "--%s=%s: must be a number", flag.name, flag.value)
        check(
            flag.value != "",
            "--%s is empty: give it a value, or leave the flag out",
            flag.name,
        )


def _check_writable(flag):
    with blaming(f"--{flag}:", atomic_file.NotWritableError):
        atomic_file.check_folder(FLAGS[flag].value)


def _first_file(flag):
    """Returns the first file that a flag's pattern matches and that is not empty.

    A dataset with fewer images than files has empty ones.
    """
    pattern = FLAGS[flag].value
    check(pattern, "--%s is missing: give a glob pattern of TFRecord files", flag)
    try:
        paths = sorted(tf.gfile.Glob(pattern))
    except tf.errors.OpError as error:
        raise UserError(f"--{flag}={pattern}: {error.message}") from error
    check(paths, "--%s=%s matches no file", flag, pattern)
    filled = [path for path in paths if tf.gfile.Stat(path).length]
    check(filled, "--%s=%s: every file is empty, such as %s", flag, pattern, paths[0])
    return filled[0]


def _first_record(flag):
    """Returns the first record of the files that a flag's pattern matches."""
    path = _first_file(flag)
    try:
        return next(tf.python_io.tf_record_iterator(path))
    except (tf.errors.OpError, StopIteration) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--{flag}: {path} is not a TFRecord file: {reason}") from error


def read_annotations(label_map):
    """Reads --val_json_file and compares it with the records and the label map.

    Args:
      label_map: categories.LabelMap.

    Returns:
      pycocotools COCO.

    Raises:
      UserError: the file cannot be used, or the first record does not belong to it.
    """
    with blaming("--val_json_file:"):
        coco_gt = coco_metric.create_coco(FLAGS.val_json_file)
    _check_first_image(coco_gt)
    _warn_about_annotations(coco_gt, label_map)
    return coco_gt


def _check_first_image(coco_gt):
    flag = "validation_file_pattern"
    record = record_rules.read_record(_first_record(flag))
    problem = record.problem(is_training=False)
    check(
        not problem,
        "--%s=%s: the first record cannot be used: %s; tools/check_dataset.py checks "
        "all records",
        flag,
        FLAGS[flag].value,
        problem,
    )
    check(
        record.image_id in coco_gt.imgs,
        "--val_json_file=%s has no image %s, the first of --%s=%s; do they belong "
        "together?",
        FLAGS.val_json_file,
        record.image_id,
        flag,
        FLAGS[flag].value,
    )


def _warn_about_annotations(coco_gt, label_map):
    """Logs annotations that the evaluation ignores or counts as missed."""

    def warn(text, *values):
        tf.logging.warning("--val_json_file=%s " + text, FLAGS.val_json_file, *values)

    annotations = coco_gt.anns.values()
    if 0 in coco_gt.anns:
        warn(
            "has an annotation with id 0: pycocotools counts its detections as false "
            "positives, and AP is too low; number all annotations from 1"
        )
    unlisted = [a for a in annotations if a["category_id"] not in coco_gt.cats]
    if unlisted:
        warn(
            "has %d annotations of categories that it does not list (the first is %d): "
            "they do not count",
            len(unlisted),
            unlisted[0]["category_id"],
        )
    if len(unlisted) == len(annotations):
        warn("has no annotation that counts: every figure will be -1")
    unknown = [
        a["category_id"]
        for a in annotations
        if a["category_id"] in coco_gt.cats
        and a["category_id"] not in label_map.names
        and a["image_id"] in coco_gt.imgs
        and not a["iscrowd"]
    ]
    flag = f"--label_map={FLAGS.label_map or '(COCO)'}"
    if unknown:
        warn(
            "has %d annotations of categories that are not in %s (the first is %d): "
            "they count as missed",
            len(unknown),
            flag,
            unknown[0],
        )
    others = label_map.other_names(coco_gt.dataset["categories"])
    if others:
        warn(
            "names %d categories differently than %s: %s", len(others), flag, others[0]
        )


def check_training(params, label_map):
    """Checks the schedule and the pretrained backbone, and compares category names.

    Args:
      params: dict, see ssd_model.DEFAULT_PARAMS.
      label_map: categories.LabelMap.

    Returns:
      dict, see checkpoints.backbone_variables; None if there is nothing to load: no
      --resnet_checkpoint, or --model_dir has checkpoints to resume from.

    Raises:
      UserError: the schedule has no step, or the backbone cannot be loaded.
    """
    _check_schedule(params)
    if not FLAGS.synthetic_data:
        _warn_about_names(label_map)
    if not FLAGS.resnet_checkpoint or checkpoints.steps(FLAGS.model_dir):
        return None
    with blaming("--resnet_checkpoint:"):
        return checkpoints.backbone_variables(FLAGS.resnet_checkpoint)


def _check_schedule(params):
    num_steps = min(ssd_model.steps_per_epoch(params), ssd_model.total_steps(params))
    check(
        num_steps >= 1,
        "--num_examples_per_epoch=%d --num_epochs=%g --train_batch_size=%d on %d "
        "devices is less than one step",
        FLAGS.num_examples_per_epoch,
        FLAGS.num_epochs,
        FLAGS.train_batch_size,
        params["num_ranks"],
    )
    check(
        int(FLAGS.decay_epochs * ssd_model.steps_per_epoch(params)) >= 1,
        "--decay_epochs=%g is less than one step",
        FLAGS.decay_epochs,
    )


def _warn_about_names(label_map):
    """Logs a training record that names a category differently from the label map."""
    flag = "training_file_pattern"
    path = _first_file(flag)
    records = tf.python_io.tf_record_iterator(path)
    try:
        for record in itertools.islice(records, _RECORDS_WITH_NAMES):
            feature = tf.train.Example.FromString(record).features.feature
            others = label_map.other_names(record_rules.named_categories(feature))
            if others:
                tf.logging.warning(
                    "--%s: in %s %s; training uses the number: give the --label_map of "
                    "the dataset",
                    flag,
                    path,
                    others[0],
                )
                return
    except (tf.errors.OpError, message.DecodeError):
        # The training itself skips and names broken records.
        pass
