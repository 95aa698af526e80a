# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files: which one to restore.

A checkpoint is named by its prefix, for example MODEL_DIR/model.ckpt-5000 for the files
model.ckpt-5000.index and model.ckpt-5000.data-00000-of-00001.
"""

import os
import re

import numpy as np
import tensorflow.compat.v1 as tf

import anchors
from console import paths

_INDEX_NAME = re.compile(r"(model\.ckpt-(\d+))\.index")


def steps(model_dir):
    """Returns the steps of all checkpoints in a folder, ascending, damaged ones too."""
    return [step for step, _ in _checkpoints(model_dir)]


def _checkpoints(model_dir):
    """Lists (step, prefix) of all checkpoints in a folder by their names, ascending."""
    names = tf.gfile.ListDirectory(model_dir) if tf.gfile.IsDirectory(model_dir) else []
    matches = filter(None, map(_INDEX_NAME.fullmatch, names))
    return sorted(
        (int(m.group(2)), os.path.join(model_dir, m.group(1))) for m in matches
    )


def newest_usable(model_dir, limit=None):
    """Finds the newest checkpoint that is not damaged.

    A damaged checkpoint is logged and left where it is. The file "checkpoint", in which
    TensorFlow stores the name of the newest, is ignored: it may be missing or wrong.

    Args:
      model_dir: str; the folder need not exist.
      limit: int, the largest step to consider, or None.

    Returns:
      (step, path): int and str, its prefix; (None, None) if there is none.
    """
    for step, path in reversed(_checkpoints(model_dir)):
        if limit is None or step <= limit:
            try:
                read(path)
                return step, path
            except ValueError as error:
                tf.logging.warning("skipped a checkpoint: %s", error)
    return None, None


def read(path):
    """Opens a checkpoint and reads every byte, which compares all checksums.

    Args:
      path: str, prefix of the checkpoint.

    Returns:
      tf.train.CheckpointReader.

    Raises:
      ValueError: one line; it is damaged, or a variable is not finite.
    """
    link = paths.without_wildcards(path)
    try:
        reader = tf.train.load_checkpoint(link)
        for name in reader.get_variable_to_shape_map():
            value = reader.get_tensor(name)
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise ValueError(f"variable {name} is not finite")
        return reader
    # TensorFlow's reader raises many classes, such as IndexError for a truncated file.
    except Exception as error:
        lines = str(error).splitlines() or [repr(error)]
        reason = lines[0].replace(link, path)
        raise ValueError(f"cannot read {path}: {reason}") from error


def find(path):
    """Finds the checkpoint that a user names.

    Args:
      path: str, the prefix of a checkpoint, one of its files, or a folder, which stands
        for the newest usable checkpoint in it.

    Returns:
      (step, path): int and str, its prefix.

    Raises:
      ValueError: one line; there is none, or it is damaged.
    """
    if tf.gfile.IsDirectory(path):
        step, prefix = newest_usable(path)
        if not prefix:
            raise ValueError(f"the folder {path} does not hold a usable checkpoint")
        return step, prefix
    prefix = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path)
    if not tf.gfile.Exists(prefix + ".index"):
        raise ValueError(f"{path} is not a checkpoint: there is no file {prefix}.index")
    reader = read(prefix)
    # The file may have another name than the training gave it.
    if not reader.has_tensor(tf.GraphKeys.GLOBAL_STEP):
        raise ValueError(f"{path} has no variable {tf.GraphKeys.GLOBAL_STEP}")
    return int(reader.get_tensor(tf.GraphKeys.GLOBAL_STEP)), prefix


def select(model_dir, path):
    """Makes a checkpoint the one that TensorFlow restores when it resumes a training.

    Newer checkpoints, which are damaged or missing on other ranks, stay in the folder
    until the training overwrites them.

    Args:
      model_dir: str.
      path: str, prefix of a checkpoint in model_dir; None to start from step 0.
    """
    if path:
        folder = paths.without_wildcards(model_dir)
        found = [other for _, other in _checkpoints(folder)]
        path = os.path.join(folder, os.path.basename(path))
        # This writes a new file and renames it, so the file is always whole.
        tf.train.update_checkpoint_state(folder, path, found[: found.index(path) + 1])
    elif tf.gfile.Exists(os.path.join(model_dir, "checkpoint")):
        tf.gfile.Remove(os.path.join(model_dir, "checkpoint"))


def newest_common(model_dir, device, save_checkpoints_steps, limit=None):
    """Finds the newest usable checkpoint that every rank has.

    If the ranks have folders of their own and were killed while they saved a step, some
    of them may have that step and others may not.

    Args:
      model_dir: str, this rank's folder.
      device: base.Device, started.
      save_checkpoints_steps: int; without any common checkpoint, a newest step above
        this number means that a rank has lost its checkpoints.
      limit: int, the largest step to consider, or None.

    Returns:
      (step, path), see `newest_usable`.

    Raises:
      ValueError: one line; a rank has lost its checkpoints.
    """
    first = None
    while True:
        step, path = newest_usable(model_dir, limit)
        # -1 stands for no checkpoint.
        steps_of_ranks = device.ranks.exchange(-1 if step is None else step)
        first = first or steps_of_ranks
        limit = common = min(steps_of_ranks)
        if common == max(steps_of_ranks):
            break
    newest = max(first)
    if common == newest:
        return step, path
    if device.shares_model_dir or (common < 0 and newest > save_checkpoints_steps):
        remedy = "copy that checkpoint; the weights of all ranks are the same"
        if device.shares_model_dir:
            remedy = "all servers must share that folder under the same name"
        raise ValueError(
            f"rank {first.index(min(first))} finds no checkpoint of step {newest} in "
            f"its folder, but rank {first.index(newest)} does; {remedy}"
        )
    tf.logging.warning(
        "continues from step %d, the newest that every rank has; one rank has step %d",
        max(common, 0),
        newest,
    )
    return step, path


def shapes(checkpoint_path):
    """Returns a dict from the name of each variable of a checkpoint to its shape."""
    return dict(tf.train.list_variables(paths.without_wildcards(checkpoint_path)))


def num_classes(checkpoint_path):
    """Returns the number of classes, with background; 0 if it has another network."""
    bias = f"ssd/class_net/class-{anchors.LEVELS[0]}/bias"
    (outputs,) = shapes(checkpoint_path).get(bias, [0])
    return outputs // anchors.BOXES_PER_CELL[0]


def check_classes(checkpoint_path, expected):
    """Raises a ValueError unless a checkpoint has this number of classes."""
    found = num_classes(checkpoint_path)
    if found != expected:
        raise ValueError(
            f"{checkpoint_path} was trained with {found - 1} categories, not "
            f"{expected - 1}; give its --label_map or another checkpoint"
        )
