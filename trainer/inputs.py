# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The input files that the flags name: --data_dir, records and the label map."""

import contextlib
import os

from console import atomic_file, paths
from console.errors import UserError, as_user_error, check
from dataset import categories, data_folder, record_files
from trainer import flags as settings
from trainer.flags import FLAGS


def use_data_dir():
    """Sets the flags of the files that --data_dir holds, unless they are given.

    Raises:
      UserError: a file that --mode needs is missing there, or there are several.
    """
    folder = FLAGS.data_dir
    if not folder:
        return
    check(os.path.isdir(folder), "--data_dir=%s is not a folder", folder)
    if FLAGS.mode != "eval" and not FLAGS.synthetic_data:
        _find_shards("training_file_pattern", data_folder.TRAINING)
    elif FLAGS.watch:
        # Only the length of the schedule depends on them.
        with contextlib.suppress(UserError):
            _find_shards("training_file_pattern", data_folder.TRAINING)
    if settings.evaluates():
        name = _find_shards("validation_file_pattern", data_folder.VALIDATION)
        if not FLAGS.val_json_file:
            FLAGS.val_json_file = _find(
                "val_json_file", data_folder.find_annotations, name
            )


def _find_shards(flag, starts):
    """Sets a flag unless it is given; returns the name of the shards, or None."""
    if FLAGS[flag].value:
        return None
    FLAGS[flag].value, name = _find(flag, data_folder.find_shards, starts)
    return name


def _find(flag, find, *arguments):
    """Calls a function of data_folder; its errors name the flag that helps."""
    try:
        return find(FLAGS.data_dir, *arguments)
    except ValueError as error:
        raise UserError(f"--data_dir: {error}; choose with --{flag}") from error


def find_files(flag):
    """Returns the sorted list of the TFRecord files that a flag's pattern matches.

    Raises:
      UserError: the flag is missing, no file matches, or one cannot be read.
    """
    pattern = FLAGS[flag].value
    check(
        pattern,
        "--%s is missing: give a glob pattern of TFRecord files, or --data_dir",
        flag,
    )
    with as_user_error(f"--{flag}:"):
        return record_files.find(pattern)


def read_label_map():
    """Finds and reads the label map, and sets --label_map to the file that was found.

    Training searches the folder of its records first, and then --model_dir; evaluation
    alone first searches the folder of --checkpoint_path and --model_dir.

    Returns:
      categories.LabelMap.

    Raises:
      UserError: the file cannot be used, or --model_dir has another label map.
    """
    trains = FLAGS.mode != "eval"
    flag = "training_file_pattern" if trains else "validation_file_pattern"
    pattern = FLAGS[flag].value or ""
    files = [] if paths.is_remote(pattern) else paths.expand(pattern)
    of_data, of_model = [os.path.dirname(path) for path in files], [FLAGS.model_dir]
    path = FLAGS.checkpoint_path
    if path:
        of_model.insert(0, path if os.path.isdir(path) else os.path.dirname(path))
    folders = of_data + of_model if trains else of_model + of_data
    FLAGS.label_map = categories.find_label_map(FLAGS.label_map, *folders)
    with as_user_error("--label_map:"):
        label_map = categories.read_label_map(FLAGS.label_map)
        if trains:
            _check_model_dir(label_map)
    return label_map


def _check_model_dir(label_map):
    """Refuses a label map that contradicts the one of an earlier training."""
    path = categories.find_label_map(None, FLAGS.model_dir)
    if not path:
        return
    others = categories.read_label_map(path)
    differences = label_map.contradictions(others.entries())
    differences += others.contradictions(label_map.entries())
    check(
        not differences,
        "--model_dir=%s has another label map than --label_map=%s: %s; name another "
        "--model_dir, or the label map of that training",
        FLAGS.model_dir,
        FLAGS.label_map or "(COCO)",
        "; ".join(differences[:1]),
    )


def save_label_map(label_map):
    """Writes the label map to --model_dir, where evaluation and tools find it."""
    if categories.find_label_map(None, FLAGS.model_dir):
        return
    path = os.path.join(FLAGS.model_dir, categories.LABEL_MAP_FILES[0])
    with as_user_error("--model_dir:"):
        atomic_file.write_atomically(path, label_map.to_json())
