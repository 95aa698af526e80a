# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files: the newest one, and the pretrained backbone."""

import tensorflow.compat.v1 as tf

import anchors
import resnet

_BACKBONE_SCOPE = "resnet34/"


def newest_step(model_dir):
    """Finds how far the training in a folder is.

    Args:
      model_dir: str, folder of the model; it need not exist.

    Returns:
      int, the step of the newest checkpoint, or None when there is none.
    """
    path = tf.train.latest_checkpoint(model_dir)
    if path is None:
        return None
    return int(tf.train.load_checkpoint(path).get_tensor(tf.GraphKeys.GLOBAL_STEP))


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
            f"{num_classes - 1}; give its --label_map, or train into another "
            "--model_dir, with --resnet_checkpoint to take its backbone over"
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
