# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of flags and input files before the device starts."""

import tensorflow.compat.v1 as tf

import coco_metric
from console import atomic_file, paths
from console.errors import UserError, blaming, check
from trainer import checkpoints, initial_weights, inputs, json_checks, schedule
from trainer import flags as settings
from trainer.flags import FLAGS

# Only a typo exceeds it. It is the largest number of protocol buffers' int32.
_LARGEST_NUMBER = 2**31 - 1
# TensorFlow itself reads these files, also from some remote file systems.
_PATTERNS = ("training_file_pattern", "validation_file_pattern")


def check_flags():
    """Checks the values of the flags, but not the files that they name.

    Raises:
      UserError: one line that names the flag.
    """
    for flag in settings.own_flags():
        value = flag.value
        check(value != "", "--%s is empty: give it a value or leave it out", flag.name)
        if isinstance(value, str):
            if flag.name not in _PATTERNS:
                paths.check_local(flag.name, value)
            with blaming(f"--{flag.name}: the path must be UTF-8:", UnicodeError):
                value.encode()
        # NaN is refused as well.
        is_usable = not isinstance(value, (int, float)) or abs(value) <= _LARGEST_NUMBER
        check(is_usable, "--%s=%s: must be at most 2^31 - 1", flag.name, value)
    check(FLAGS.model_dir, "--model_dir is missing: give a folder for the checkpoints")
    for name in ("checkpoint_path", "watch"):
        is_allowed = FLAGS.mode == "eval" or not FLAGS[name].value
        check(is_allowed, "--%s is for --mode=eval", name)
    check(
        not (FLAGS.checkpoint_path and FLAGS.watch),
        "--checkpoint_path and --watch exclude each other: evaluate either one "
        "checkpoint or every new one",
    )
    check(
        FLAGS.seed is not None or not FLAGS.deterministic,
        "--deterministic needs a --seed, for example --seed=1",
    )


def _check_writable(flag):
    with blaming(f"--{flag}:", atomic_file.NotWritableError):
        atomic_file.check_folder(FLAGS[flag].value)


def _first_file(flag):
    """Returns the first file that a flag's pattern matches and that is not empty.

    A dataset with fewer images than files has empty ones.
    """
    files = inputs.find_files(flag)
    filled = [path for path in files if tf.gfile.Stat(path).length]
    check(
        filled,
        "--%s=%s: every file is empty, such as %s",
        flag,
        FLAGS[flag].value,
        files[0],
    )
    return filled[0]


def _first_record(flag):
    """Returns the first record of the files that a flag's pattern matches."""
    path = _first_file(flag)
    try:
        return next(tf.python_io.tf_record_iterator(path))
    except (tf.errors.OpError, StopIteration) as error:
        # StopIteration has no text.
        reason = str(error).partition("\n")[0] or "it is too short"
        raise UserError(f"--{flag}: {path} is not a TFRecord file: {reason}") from error


def read_annotations(label_map):
    """Checks --validation_file_pattern and reads the --val_json_file of its records.

    Args:
      label_map: categories.LabelMap.

    Returns:
      pycocotools COCO.

    Raises:
      UserError: the file cannot be used, or is not of the records.
    """
    _first_record("validation_file_pattern")
    check(FLAGS.val_json_file, "--val_json_file is missing: give a COCO JSON file")
    with blaming("--val_json_file:"):
        coco_gt = coco_metric.create_coco(FLAGS.val_json_file)
    json_checks.check_records(
        _first_file("validation_file_pattern"),
        coco_gt,
        f"--validation_file_pattern={FLAGS.validation_file_pattern}",
        f"--val_json_file={FLAGS.val_json_file}",
    )
    _warn_about_annotations(coco_gt, label_map)
    return coco_gt


def _warn_about_annotations(coco_gt, label_map):
    """Logs annotations that the evaluation ignores or counts as missed."""
    label_flag = f"--label_map={FLAGS.label_map or '(COCO)'}"
    problems = json_checks.problems_of(coco_gt)
    if 0 in coco_gt.anns:
        problems.append(
            "has an annotation with id 0: pycocotools counts its detections as false "
            "positives, and AP is too low; number all annotations from 1"
        )
    boxes = [a for a in coco_gt.dataset["annotations"] if not a["iscrowd"]]
    numbers = [annotation["category_id"] for annotation in boxes]
    unknown = [number for number in numbers if number not in label_map.names]
    if unknown:
        check(
            len(unknown) < len(numbers),
            "--val_json_file=%s: no box counts: all %d are of categories that are not "
            "in %s, the first is %s",
            FLAGS.val_json_file,
            len(unknown),
            label_flag,
            unknown[0],
        )
        problems.append(
            f"has {len(unknown)} annotations of categories that are not in "
            f"{label_flag} (the first is {unknown[0]}): they count as missed"
        )
    others = label_map.other_names(coco_gt.dataset["categories"])
    if others:
        problems.append(
            f"names {len(others)} categories differently than {label_flag}: {others[0]}"
        )
    for problem in problems:
        tf.logging.warning("--val_json_file=%s %s", FLAGS.val_json_file, problem)


def check_training(params, label_map):
    """Checks the schedule, the files to train from and the folders to write to.

    Args:
      params: dict, see ssd_model.DEFAULT_PARAMS.
      label_map: categories.LabelMap.

    Returns:
      initial_weights.InitialWeights to start from; None without them, or if --model_dir
      has checkpoints to resume from.

    Raises:
      UserError: one line; the schedule has no step, a file or folder cannot be used,
        or the records contradict the label map.
    """
    if not FLAGS.synthetic_data:
        _first_record("training_file_pattern")
        inputs.check_categories(label_map)
        json_checks.check_units(
            _first_file("training_file_pattern"),
            f"--training_file_pattern={FLAGS.training_file_pattern}",
        )
    schedule.check_steps(params)
    schedule.log_plan(params, label_map)
    _check_writable("model_dir")
    if FLAGS.profiling:
        _check_writable("profiling")
    if checkpoints.steps(FLAGS.model_dir):
        return None
    return initial_weights.from_flags(label_map)
