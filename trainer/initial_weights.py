# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The weights that a training starts from, and those that it leaves unchanged.

--resnet_checkpoint gives the weights of the backbone. --init_checkpoint gives those of
a whole detector: the class predictors take the outputs of the categories that both
label maps have, and keep random weights for the others. Weights are assigned when the
variables are initialized; the operators of a training step are the same as without
initial weights.
"""

import collections
import os
import re

import tensorflow.compat.v1 as tf

import anchors
import resnet
import ssd_architecture
from console import paths
from console.errors import as_user_error, check
from dataset import categories
from trainer import checkpoints
from trainer.flags import FLAGS

BACKBONE_SCOPE = "resnet34/"
_EXTRA_LEVELS = "ssd/block"
# Starts of the names of the variables that --freeze leaves unchanged.
_FROZEN = {
    "none": (),
    "backbone": (BACKBONE_SCOPE,),
    "all_but_heads": (BACKBONE_SCOPE, _EXTRA_LEVELS),
}
_MAX_NAMES = 20


class InitialWeights(
    collections.namedtuple("InitialWeights", "path variables channels")
):
    """Values that variables of the network get from a checkpoint.

    Attributes:
      path: str, prefix of the checkpoint.
      variables: dict from the name of a variable in the checkpoint to its name in the
        network. Their shapes are the same.
      channels: dict from the name of a variable of the class predictors to a list of
        int, one for each of its output channels: an index into the checkpoint's
        channels followed by the random ones.
    """


def from_flags(label_map):
    """Reads the checkpoint that a training starts from, and logs what it takes.

    Args:
      label_map: categories.LabelMap of the dataset.

    Returns:
      InitialWeights, or None without --init_checkpoint and --resnet_checkpoint.

    Raises:
      UserError: the checkpoint cannot be used, or --freeze needs a checkpoint that is
        not given.
    """
    check(
        FLAGS.init_checkpoint
        or FLAGS.freeze == "none"
        or (FLAGS.freeze == "backbone" and FLAGS.resnet_checkpoint),
        "--freeze=%s needs weights to start from: give --init_checkpoint",
        FLAGS.freeze,
    )
    if FLAGS.init_checkpoint:
        if FLAGS.resnet_checkpoint:
            tf.logging.info("--resnet_checkpoint is ignored: --init_checkpoint wins")
        with as_user_error("--init_checkpoint:"):
            return of_detector(FLAGS.init_checkpoint, label_map)
    if FLAGS.resnet_checkpoint:
        with as_user_error("--resnet_checkpoint:"):
            return of_backbone(FLAGS.resnet_checkpoint)
    return None


def of_backbone(checkpoint_path):
    """Matches the variables of a pretrained ResNet34 checkpoint with the backbone.

    Weights and batch norm statistics are matched by name. Other variables (classifier,
    optimizer slots, step) are ignored. The checkpoint may also be one of a whole SSD,
    with any classes.

    Args:
      checkpoint_path: str, prefix of the checkpoint, such as model.ckpt-28152.

    Returns:
      InitialWeights.

    Raises:
      ValueError: one line; the checkpoint cannot be read, or a variable of the backbone
        is missing or has another shape.
    """
    checkpoints.read(checkpoint_path)
    available = checkpoints.shapes(checkpoint_path)
    is_ssd = any(name.startswith(BACKBONE_SCOPE) for name in available)
    start = 0 if is_ssd else len(BACKBONE_SCOPE)
    needed = backbone_shapes()
    variables = {name[start:]: name for name in needed}
    shapes = {name[start:]: shape for name, shape in needed.items()}
    _check_shapes(checkpoint_path, available, shapes, "ResNet34")
    tf.logging.info(
        "--resnet_checkpoint=%s: loading %d variables", checkpoint_path, len(variables)
    )
    return InitialWeights(checkpoint_path, variables, {})


def backbone_shapes():
    """Returns a dict from the name of each variable of the backbone to its shape."""
    return _shapes(lambda images: resnet.resnet34(images, is_training=False))


def _shapes(build):
    """Returns a dict from name to shape of the variables of a network."""
    with tf.Graph().as_default():
        build(tf.zeros([1, anchors.IMAGE_SIZE, anchors.IMAGE_SIZE, 3]))
        return {v.op.name: v.shape.as_list() for v in tf.global_variables()}


def _check_shapes(path, available, needed, network):
    for name, shape in needed.items():
        if available.get(name) != shape:
            raise ValueError(
                f"{path} is not a checkpoint of {network}: the network needs {name} of "
                f"shape {shape}, but it has {available.get(name, 'none')}"
            )


def of_detector(path, label_map):
    """Matches the variables of a checkpoint of this network, with any categories.

    Args:
      path: str, see checkpoints.find. A file label_map.json beside the checkpoint has
        the names of its categories.
      label_map: categories.LabelMap of the dataset to train on.

    Returns:
      InitialWeights.

    Raises:
      ValueError: one line; the checkpoint or its label map cannot be used.
    """
    step, prefix = checkpoints.find(path)
    available = checkpoints.shapes(prefix)
    num_classes = checkpoints.num_classes(prefix)
    needed = _shapes(
        lambda images: ssd_architecture.ssd(images, False, max(num_classes, 1))
    )
    _check_shapes(prefix, available, needed, "SSD-ResNet34")
    classes = _match_classes(prefix, num_classes, label_map)
    channels = {}
    for level, boxes in zip(anchors.LEVELS, anchors.BOXES_PER_CELL):
        for kind in ("kernel", "bias"):
            name = f"ssd/class_net/class-{level}/{kind}"
            channels[name] = _channels(boxes, classes, num_classes)
            del needed[name]
    tf.logging.info(
        "--init_checkpoint=%s: loading %d variables of step %d",
        prefix,
        len(needed) + len(channels),
        step,
    )
    return InitialWeights(prefix, {name: name for name in needed}, channels)


def _channels(boxes, classes, num_classes):
    """Returns the channels of a class predictor, see InitialWeights.

    Args:
      boxes: int, boxes per cell.
      classes: list with the checkpoint's class, int or None, for each class.
      num_classes: int, number of classes of the checkpoint.
    """
    # The channels of a variable are ordered by box, then by class. The random ones
    # follow the boxes * num_classes channels of the checkpoint.
    return [
        boxes * num_classes + box * len(classes) + number
        if old is None
        else box * num_classes + old
        for box in range(boxes)
        for number, old in enumerate(classes)
    ]


def _match_classes(prefix, num_classes, label_map):
    """Returns, for each class of label_map, the checkpoint's class or None.

    The list starts with background. Classes are matched by name, or by id if the names
    of the checkpoint's classes are not known.
    """
    source = _source_label_map(prefix, num_classes)
    if source:
        # In reversed order, the first of equal names is the one that stays in the dict.
        same = {_plain(name): key for key, name in reversed(list(source.names.items()))}
        found = {key: same.get(_plain(name)) for key, name in label_map.names.items()}
        how = "by name"
    else:
        ids = label_map.names
        if num_classes != label_map.num_classes:
            ids = range(1, num_classes)
        source = categories.LabelMap({key: str(key) for key in ids})
        found = {key: key if key in ids else None for key in label_map.names}
        how = "by id, for there is no label_map.json beside the checkpoint"
    known = [name for key, name in label_map.names.items() if found[key] is not None]
    new = [name for key, name in label_map.names.items() if found[key] is None]
    tf.logging.info(
        "categories taken over %s: background, %s; new categories: %s",
        how,
        _listed(known),
        _listed(new),
    )
    return [0] + [
        None if old is None else source.class_of_category(old) for old in found.values()
    ]


def _source_label_map(prefix, num_classes):
    """Returns the LabelMap of a checkpoint, or None if it is not known."""
    path = categories.find_label_map(None, os.path.dirname(prefix))
    if not path:
        is_coco = num_classes == categories.COCO.num_classes
        return categories.COCO if is_coco else None
    source = categories.read_label_map(path)
    if source.num_classes != num_classes:
        raise ValueError(
            f"{prefix} was trained with {num_classes - 1} categories, but {path} lists "
            f"{source.num_classes - 1}; remove or replace that file"
        )
    return source


def _plain(name):
    """Returns a name in lower case, with one space for spaces, hyphens, underscores."""
    return re.sub(r"[\s_-]+", " ", name).strip().lower() or name


def _listed(names):
    more = len(names) - _MAX_NAMES
    listed = ", ".join(names[:_MAX_NAMES]) or "none"
    return listed + (f" and {more} more" if more > 0 else "")


def check_resumable(checkpoint_path, freeze):
    """Checks that a training with --freeze can resume from a checkpoint.

    Args:
      checkpoint_path: str, prefix of the checkpoint.
      freeze: str, value of --freeze.

    Raises:
      ValueError: one line; the checkpoint was trained with more variables frozen, so
        it lacks the optimizer's momentum for them.
    """
    names = checkpoints.shapes(checkpoint_path)
    trained = [name for name in names if name.endswith("/Momentum")]
    for scope in _FROZEN["all_but_heads"]:
        is_trained = any(name.startswith(scope) for name in trained)
        if trained and not is_trained and scope not in _FROZEN[freeze]:
            raise ValueError(
                f"{checkpoint_path} was not trained with --freeze={freeze}: {scope} "
                "was frozen; resume with the same --freeze, or start from it with "
                "--init_checkpoint in another --model_dir"
            )


def apply(model_fn, weights, freeze):
    """Creates a model_fn that starts from weights and does not train frozen variables.

    Args:
      model_fn: function of (features, labels, mode, params).
      weights: InitialWeights, or None for random ones or those of a resumed training.
      freeze: str, value of --freeze.

    Returns:
      function with the arguments and the result of model_fn.
    """

    path = weights and paths.without_wildcards(weights.path)

    def get_variable(getter, name, *args, **kwargs):
        if name.startswith(_FROZEN[freeze]):
            kwargs["trainable"] = False
        if weights and name in weights.channels:
            kwargs["initializer"] = _initializer(
                path, name, weights.channels[name], kwargs["initializer"]
            )
        return getter(name, *args, **kwargs)

    def initialized_model_fn(features, labels, mode, params):
        # The names of operators and summaries stay as they are.
        with tf.variable_scope(
            tf.get_variable_scope(),
            custom_getter=get_variable,
            auxiliary_name_scope=False,
        ):
            spec = model_fn(features, labels, mode, params)
        if weights:
            tf.train.init_from_checkpoint(path, weights.variables)
        return spec

    return initialized_model_fn


def _initializer(path, name, channels, random_initializer):
    """Returns an initializer that selects channels, see InitialWeights."""

    def initialize(shape, dtype=None, partition_info=None):
        del partition_info
        random = random_initializer(shape, dtype=dtype)
        saved = _restored(path, name, random.dtype)
        saved.set_shape(list(shape[:-1]) + [None])
        both = tf.concat([saved, random], axis=-1)
        return tf.gather(both, channels, axis=-1)

    return initialize


def _restored(path, name, dtype):
    """Returns the value of a checkpoint's variable as tf.train.Saver reads it.

    A constant in the graph would make the graph that is saved with each checkpoint tens
    of megabytes larger.
    """
    types = tf.AttrValue.ListValue(type=[dtype.as_datatype_enum])
    # Only CPUs have this operation.
    with tf.device("/cpu:0"):
        inputs = [tf.constant(path), tf.constant([name]), tf.constant([""])]
        operation = tf.get_default_graph().create_op(
            "RestoreV2", inputs, [dtype], attrs={"dtypes": tf.AttrValue(list=types)}
        )
    return operation.outputs[0]
