# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files: the newest one, and the pretrained backbone."""

import os
import re

import numpy as np
import tensorflow.compat.v1 as tf

import anchors
import resnet

_BACKBONE_SCOPE = "resnet34/"
_INDEX_NAME = re.compile(r"model\.ckpt-(\d+)\.index$")


def steps(model_dir):
    """Finds the steps of all checkpoints, usable or not.

    Args:
      model_dir: str, folder of the model; it need not exist.

    Returns:
      list of int, ascending.
    """
    return sorted(_paths_by_step(model_dir))


def newest_step(model_dir):
    """Finds how far the training in a folder is.

    Args:
      model_dir: str, folder of the model; it need not exist.

    Returns:
      int, the largest step of its checkpoints, or None when there is none. Whether
      they can be read is not looked at, see `newest_usable`.
    """
    return max(_paths_by_step(model_dir), default=None)


def newest_usable(model_dir, limit=None):
    """Finds the newest checkpoint that can be restored.

    Every byte is read, for the checksums that TensorFlow keeps with each variable. A
    damaged checkpoint is named in the log and left where it is. The file "checkpoint",
    where TensorFlow notes the newest, does not count: it may be lost or wrong.

    Args:
      model_dir: str, folder of the model; it need not exist.
      limit: int, the largest step that is wanted, or None.

    Returns:
      (step, path): int and str, the prefix of the checkpoint's files; (None, None)
      when there is none.
    """
    paths = _paths_by_step(model_dir)
    for step in sorted(paths, reverse=True):
        if limit is not None and step > limit:
            continue
        damage = _damage(paths[step])
        if not damage:
            return step, paths[step]
        tf.logging.warning("left out the checkpoint %s: %s", paths[step], damage)
    return None, None


def _paths_by_step(model_dir):
    """dict from step to the prefix of every checkpoint with an index file."""
    paths = {}
    names = tf.gfile.ListDirectory(model_dir) if tf.gfile.IsDirectory(model_dir) else []
    for name in names:
        match = _INDEX_NAME.match(name)
        if match:
            prefix = os.path.join(model_dir, name[: -len(".index")])
            paths[int(match.group(1))] = prefix
    return paths


def _damage(path):
    """What is wrong with a checkpoint, in one line; None if nothing is."""
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            value = reader.get_tensor(name)
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                return f"variable {name} is not finite"
    # Its reader raises what it likes: IndexError for a file cut short, for one.
    except Exception as error:
        lines = str(error).splitlines() or [repr(error)]
        return f"damaged: {lines[0]}"
    return None


class NoCheckpointError(ValueError):
    """A path is no checkpoint's; one line."""


def find(path):
    """Finds the checkpoint that a user means.

    Args:
      path: str, the prefix of a checkpoint's files, one of these files, or a folder:
        its newest checkpoint that can be used.

    Returns:
      (step, path): int and str, the prefix of its files.

    Raises:
      NoCheckpointError: there is none.
      ValueError: one line; it is damaged.
    """
    if tf.gfile.IsDirectory(path):
        step, prefix = newest_usable(path)
        if step is not None:
            return step, prefix
        if newest_step(path) is not None:
            raise ValueError(f"every checkpoint in {path} is damaged")
        raise NoCheckpointError(f"the folder {path} holds no checkpoint")
    prefix = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path)
    if not tf.gfile.Exists(prefix + ".index"):
        raise NoCheckpointError(
            f"{path} is no checkpoint, for there is no {prefix}.index"
        )
    return _step_of(prefix), prefix


def _step_of(path):
    """The step of a checkpoint, which must not be damaged."""
    try:
        step = tf.train.load_checkpoint(path).get_tensor(tf.GraphKeys.GLOBAL_STEP)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise ValueError(f"cannot read {path}: {reason}") from error
    damage = _damage(path)
    if damage:
        raise ValueError(f"cannot read {path}: {damage}")
    return int(step)


def select(model_dir, path):
    """Makes a checkpoint the one that TensorFlow goes on from.

    Newer ones, damaged or of a step that other ranks never reached, stay where they
    are until the training writes them anew.

    Args:
      model_dir: str.
      path: str, prefix of its files, or None: start anew.
    """
    if path is None:
        state = os.path.join(model_dir, "checkpoint")
        if tf.gfile.Exists(state):
            tf.gfile.Remove(state)
        return
    paths = _paths_by_step(model_dir)
    last = int(path.rpartition("-")[2])
    # Its atomic writing leaves the old file or the new one.
    tf.train.update_checkpoint_state(
        model_dir,
        path,
        [paths[step] for step in sorted(paths) if step <= last],
    )


def agree(model_dir, device, save_checkpoints_steps, limit=None):
    """Chooses the checkpoint that all ranks go on from.

    It is the newest that every rank has, and that is not damaged: ranks may have been
    killed between their savings of the same step.

    Args:
      model_dir: str, this rank's folder.
      device: base.Device, started.
      save_checkpoints_steps: int; no rank lacks checkpoints of more steps than these.
      limit: int, the largest step that is wanted, or None.

    Returns:
      (step, path), or (None, None) to start anew; see `newest_usable`.

    Raises:
      ValueError: one line; a rank has lost its checkpoints.
    """
    step, path = newest_usable(model_dir, limit)
    steps = first_steps = device.ranks.exchange(-1 if step is None else step)
    while min(steps) < max(steps):
        step, path = newest_usable(model_dir, limit=min(steps))
        steps = device.ranks.exchange(-1 if step is None else step)
    newest, oldest = max(first_steps), min(first_steps)
    is_lost = steps[0] < 0 and newest > save_checkpoints_steps
    if is_lost or (device.shares_model_dir and oldest < newest):
        raise ValueError(
            f"rank {first_steps.index(oldest)} finds no checkpoint of step {newest} in "
            f"its folder, as rank {first_steps.index(newest)} does; "
            + (
                "all servers must share that folder under the same name"
                if device.shares_model_dir
                else "copy that one, for all ranks have the same weights"
            )
        )
    if steps[0] < newest:
        tf.logging.warning(
            "goes on from step %d, the newest that every rank has; one has step %d",
            *(max(steps[0], 0), newest),
        )
    return step, path


def check_classes(checkpoint_path, num_classes):
    """Refuses a checkpoint of a network with another number of classes.

    Args:
      checkpoint_path: str, prefix of the checkpoint's files.
      num_classes: int, with background.

    Raises:
      ValueError: one line that says both numbers.
    """
    level, boxes_per_cell = anchors.LEVELS[0], anchors.BOXES_PER_CELL[0]
    name = f"ssd/class_net/class-{level}/bias"
    shapes = dict(tf.train.list_variables(checkpoint_path))
    found = shapes[name][0] // boxes_per_cell if name in shapes else 0
    if found != num_classes:
        raise ValueError(
            f"{checkpoint_path} is of a network with {found - 1} categories, not "
            f"{num_classes - 1}; give its --label_map"
        )


def backbone_variables(checkpoint_path):
    """Matches a pretrained ResNet34 checkpoint with the backbone.

    Weights and batch norm statistics are matched by name; the checkpoint's other
    variables (classifier, optimizer slots, step) are left aside. A checkpoint of a
    whole SSD, of whatever classes, is taken as well.

    Args:
      checkpoint_path: str, prefix of the checkpoint's files, like model.ckpt-28152.

    Returns:
      (assignment, in_checkpoint): dict from the checkpoint's variable name to the
      network's, and int, how many variables the checkpoint has.

    Raises:
      ValueError: when there is no such checkpoint, it cannot be read, or one of the
        backbone's variables is missing in it or has another shape; one line that
        names the first.
    """
    try:
        available = dict(tf.train.list_variables(checkpoint_path))
    except (tf.errors.OpError, ValueError) as error:
        # The first line: TensorFlow appends an essay.
        reason = str(error).splitlines()[0]
        raise ValueError(f"cannot read {checkpoint_path}: {reason}") from error
    is_ssd = any(name.startswith(_BACKBONE_SCOPE) for name in available)
    assignment = {}
    for name, shape in _backbone_shapes():
        source = name if is_ssd else name[len(_BACKBONE_SCOPE) :]
        if source not in available:
            raise ValueError(
                f"{checkpoint_path} has no variable {source}; the first of its "
                f"{len(available)} is {min(available, default='-')}"
            )
        if available[source] != shape:
            raise ValueError(
                f"variable {source} of {checkpoint_path} has shape "
                f"{available[source]}, but the backbone needs {shape}"
            )
        assignment[source] = name
    return assignment, len(available)


def _backbone_shapes():
    """(name, shape) of the backbone's variables in the order of creation."""
    with tf.Graph().as_default():
        size = anchors.IMAGE_SIZE
        resnet.resnet34(tf.zeros([1, size, size, 3]), is_training=False)
        return [(v.op.name, v.shape.as_list()) for v in tf.global_variables()]


def with_backbone(model_fn, checkpoint_path, assignment):
    """Makes a model_fn that starts its backbone from a pretrained checkpoint.

    A checkpoint of the training itself still wins: it is restored over these values.

    Args:
      model_fn: function of (features, labels, mode, params).
      checkpoint_path: str, prefix of the checkpoint's files.
      assignment: dict, see `backbone_variables`.

    Returns:
      function of the same arguments.
    """

    def pretrained_model_fn(features, labels, mode, params):
        spec = model_fn(features, labels, mode, params)
        if mode == tf.estimator.ModeKeys.TRAIN:
            tf.train.init_from_checkpoint(checkpoint_path, assignment)
        return spec

    return pretrained_model_fn
