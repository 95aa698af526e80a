# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of flags, input files and some records before the device starts."""

import itertools

import tensorflow.compat.v1 as tf

import coco_metric
from console import atomic_file, paths
from console.errors import as_user_error, check
from dataset import box_rules, json_faults, json_match, record_rules
from trainer import checkpoints, hyperparameters, initial_weights, inputs
from trainer import flags as settings
from trainer.flags import FLAGS

# The largest int32; only a typo exceeds it.
_LARGEST_NUMBER = 2**31 - 1
# TensorFlow itself reads these files, also from some remote file systems.
_PATTERNS = ("training_file_pattern", "validation_file_pattern")
# At most this many records are checked, from at most this many files.
_MAX_RECORDS = 256
_MAX_FILES = 16


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
            with as_user_error(f"--{flag.name}: the path must be UTF-8:", UnicodeError):
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
        FLAGS.eval_every_epochs or not FLAGS.stop_after,
        "--stop_after=%d needs evaluations: give --eval_every_epochs, for example 1",
        FLAGS.stop_after,
    )
    check(
        FLAGS.seed is not None or not FLAGS.deterministic,
        "--deterministic needs a --seed, for example --seed=1",
    )


def _check_writable(flag):
    with as_user_error(f"--{flag}:"):
        atomic_file.check_folder(FLAGS[flag].value)


def read_annotations(label_map):
    """Checks --validation_file_pattern and reads the --val_json_file of its records.

    Args:
      label_map: categories.LabelMap.

    Returns:
      pycocotools COCO.

    Raises:
      UserError: the json or the records cannot be used, no box of the json has a
        category of the label map, or the json does not describe the records' images.
    """
    records = read_some("validation_file_pattern")
    check(FLAGS.val_json_file, "--val_json_file is missing: give a COCO JSON file")
    with as_user_error("--val_json_file:"):
        coco_gt = coco_metric.create_coco(FLAGS.val_json_file)
    _log_faults(coco_gt, label_map)
    compare_with_json(records, coco_gt)
    return coco_gt


def _log_faults(coco_gt, label_map):
    """Logs the faults of the json.

    Args:
      coco_gt: pycocotools COCO, see coco_metric.create_coco.
      label_map: categories.LabelMap.

    Raises:
      UserError: the json has boxes, but none has a category of the label map.
    """
    boxes = [a for a in coco_gt.dataset["annotations"] if not a["iscrowd"]]
    check(
        not boxes or any(a["category_id"] in label_map.names for a in boxes),
        "--val_json_file=%s: no box counts: --label_map=%s has none of their "
        "categories, such as id %s",
        FLAGS.val_json_file,
        FLAGS.label_map or "(COCO)",
        boxes and boxes[0]["category_id"],
    )
    found = json_faults.find(coco_gt, label_map)
    for kind, texts in json_match.group(found).items():
        tf.logging.warning(
            "--val_json_file=%s: %d %s (%s): %s",
            FLAGS.val_json_file,
            len(texts),
            kind,
            texts[0],
            json_faults.CONSEQUENCES[kind],
        )


def read_some(flag):
    """Reads some records of the files that a flag's pattern matches.

    Args:
      flag: str, the flag without dashes.

    Returns:
      list of (path, serialized), str and bytes, at least one.

    Raises:
      UserError: no file matches, or no record can be read.
    """
    # A dataset with fewer images than files has empty files.
    files = inputs.find_files(flag)
    filled = [path for path in files if tf.gfile.Stat(path).length]
    check(filled, "--%s: every file is empty, such as %s", flag, files[0])
    # The files are evenly spaced, because records may be sorted by category. The
    # negative step starts at the last file and chooses at most _MAX_FILES.
    chosen = filled[:: len(filled) // -_MAX_FILES]
    records = [
        (path, serialized)
        for path in chosen
        for serialized in _first_records(path, _MAX_RECORDS // len(chosen))
    ]
    check(records, "--%s: %s is not a TFRecord file", flag, chosen[0])
    return records


def _first_records(path, count):
    """Yields the first records of a file, up to the first that cannot be read."""
    try:
        yield from itertools.islice(tf.python_io.tf_record_iterator(path), count)
    except tf.errors.OpError as error:
        tf.logging.warning("%s cannot be read any further: %s", path, error)


def check_categories(records, label_map):
    """Checks that the label map has all categories of records, with the same names.

    Args:
      records: list of (path, serialized), str and bytes, see `read_some`.
      label_map: categories.LabelMap.

    Raises:
      UserError: the label map lacks a category or names it differently.
    """
    for path, serialized in records:
        found = label_map.contradictions(record_rules.categories_of(serialized))
        check(
            not found,
            "--training_file_pattern: in %s %s (%s); give the --label_map of the "
            "dataset",
            path,
            found and found[0],
            FLAGS.label_map or "COCO's, because no --label_map is given or found",
        )


def _check_units(records):
    """Refuses records whose boxes all end within the first pixel of their image."""
    farthest = 0
    for _, serialized in records:
        record = record_rules.read_record(serialized)
        if not record.problem(is_training=True):
            ends = record.boxes[:, 2:] * record.height_width
            farthest = max(farthest, ends.max(initial=0))
    check(
        not 0 < farthest <= box_rules.LARGEST_FRACTION,
        "--training_file_pattern=%s: all boxes of %d records end within the first "
        "pixel: they were divided by the size of the image twice",
        FLAGS.training_file_pattern,
        len(records),
    )


def compare_with_json(records, coco_gt):
    """Checks that records can be used, and that the json describes their images.

    Contradictions of at most half of the records are only logged.

    Args:
      records: list of (path, serialized), str and bytes, see `read_some`.
      coco_gt: pycocotools COCO.

    Raises:
      UserError: a record cannot be used, or the json contradicts more than half of
        them.
    """
    found = []
    for path, serialized in records:
        record = record_rules.read_record(serialized)
        problem = record.problem(is_training=False)
        check(
            not problem,
            "--validation_file_pattern: a record of %s cannot be used: %s; "
            "tools/check_dataset.py checks all records",
            path,
            problem,
        )
        image = coco_gt.imgs.get(record.image_id)
        annotations = coco_gt.imgToAnns.get(record.image_id, [])
        found.append(json_match.contradiction(record, image, annotations))
    json_match.check_all(found)


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
        records = read_some("training_file_pattern")
        check_categories(records, label_map)
        _check_units(records)
    hyperparameters.check_steps(params)
    _check_writable("model_dir")
    if FLAGS.profiling:
        _check_writable("profiling")
    if checkpoints.steps(FLAGS.model_dir):
        return None
    return initial_weights.from_flags(label_map)
