# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Opens models from files: checkpoints, and exports of tools/export_model.py.

An opened model runs the network only. Suppression is always that of postprocess.py, so
that every kind of file gives the detections that --mode=eval gives for the same weights
and precision.

Glossary: B images per batch, N = 8732 default boxes, C classes with background.
"""

import logging
import os
import warnings

import tensorflow.compat.v1 as tf

import anchors
import ssd_model
from console import paths, text_file
from console.errors import UserError, as_user_error
from dataset import categories
from devices import base, selection
from evaluation import postprocess
from trainer import checkpoints

DEVICES = ("auto", "cpu", "gpu")

# Tensors of every exported graph: the input, float32 [B, 300, 300, 3] in 0..1, and the
# network's outputs, see `build_network`.
INPUT = "input"
RAW_OUTPUTS = ("class_logits", "box_offsets")
_TENSORS = [name + ":0" for name in RAW_OUTPUTS]

# Files in the folder of an export that `open_model` reads.
DETECT_FILE = "detect.pb"
LABEL_MAP_FILE = "label_map.json"

# Values of --model, for help texts and error messages.
CHECKPOINTS = "a checkpoint (model.ckpt-N) or a folder of checkpoints"
MODELS = CHECKPOINTS + ", or the folder of an export of export_model.py"


def quiet_tensorflow():
    """Hides the messages of TensorFlow that users of a command cannot act on."""
    tf.disable_eager_execution()
    tf.logging.set_verbosity(tf.logging.WARN)
    # Deprecation notices of TensorFlow 1.15, and of tf.layers in TensorFlow 2.
    logging.getLogger("tensorflow").addFilter(
        lambda record: "Instructions for updating" not in record.getMessage()
    )
    warnings.filterwarnings("ignore", category=UserWarning, message="`tf.layers")


def session_config(device="auto", precision_mode=base.PRECISION_MODES[0]):
    """Returns the tf.ConfigProto that the evaluation uses on a CPU or GPU.

    Args:
      device: one of DEVICES; "auto" is a GPU if TensorFlow finds one, else the CPU.
      precision_mode: one of base.PRECISION_MODES.

    Raises:
      UserError: device is "gpu", but there is none.
    """
    options = base.Options(precision_mode=precision_mode)
    if device == "auto":
        try:
            return selection.create("gpu", options).session_config()
        except ValueError:
            device = "cpu"
    with as_user_error():
        return selection.create(device, options).session_config()


def resize(pixels):
    """Resizes images as the evaluation does: bilinear, without half-pixel centers.

    From uint8 [..., height, width, 3] to float32 [..., 300, 300, 3] in 0..1.
    """
    size = [anchors.IMAGE_SIZE, anchors.IMAGE_SIZE]
    return tf.image.resize_images(tf.cast(pixels, tf.float32), size) / 255.0


def build_network(images, label_map):
    """Builds the network in the default graph, as the evaluation runs it.

    Args:
      images: float32 [B, 300, 300, 3] in 0..1.
      label_map: categories.LabelMap, which gives C.

    Returns:
      (class_logits, box_offsets): float32 [B, N, C] and [B, N, 4], named RAW_OUTPUTS.
    """
    # The evaluation passes these features on from its records.
    unused = {"source_id": tf.zeros([1], tf.int64), "raw_shape": tf.zeros([1, 3])}
    spec = ssd_model.ssd_model_fn(
        dict(unused, image=images),
        None,
        tf.estimator.ModeKeys.PREDICT,
        {"num_classes": label_map.num_classes},
    )
    return tuple(tf.identity(spec.predictions[name], name) for name in RAW_OUTPUTS)


def image_input(batch_size):
    """Creates the placeholder INPUT, float32 [B or None, 300, 300, 3] in 0..1."""
    size = anchors.IMAGE_SIZE
    return tf.placeholder(tf.float32, [batch_size, size, size, 3], INPUT)


def find_checkpoint(path, allowed=CHECKPOINTS):
    """Returns the prefix of a checkpoint's files.

    Args:
      path: str: a folder, whose newest checkpoint is taken; the prefix of a
        checkpoint's files (model.ckpt-N); or one of these files.
      allowed: str, the values of --model, for the error message.

    Raises:
      UserError: there is no checkpoint, or it (in a folder: every one) is damaged.
    """
    with as_user_error(f"--model must be {allowed}:"):
        return checkpoints.find(path)[1]


def restore(session, checkpoint_path, label_map):
    """Loads a checkpoint into the variables of the session's graph.

    Raises:
      UserError: the checkpoint has another network or another number of classes.
    """
    with session.graph.as_default():
        variables = tf.global_variables()
        path = paths.without_wildcards(checkpoint_path)
        available = {name for name, _ in tf.train.list_variables(path)}
        missing = [v.op.name for v in variables if v.op.name not in available]
        if missing:
            raise UserError(
                f"--model={checkpoint_path} is not a checkpoint of SSD-ResNet34: it "
                f"lacks {len(missing)} variables, the first is {missing[0]}"
            )
        with as_user_error("--model:"):
            checkpoints.check_classes(checkpoint_path, label_map.num_classes)
        tf.train.Saver(variables).restore(session, path)


def write_checkpoint(prefix, values):
    """Writes a checkpoint DIR/model.ckpt-N without a graph into an existing folder.

    Args:
      prefix: str, DIR/model.ckpt-N.
      values: dict from the name of a variable to its value, a NumPy array.

    Raises:
      OSError: it cannot be written.
    """
    folder, name = os.path.split(prefix)
    prefix = os.path.join(paths.without_wildcards(folder), name)
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in values.items():
            tf.get_variable(name, value.shape, value.dtype).load(value, session)
        try:
            tf.train.Saver().save(
                session, prefix, write_meta_graph=False, write_state=False
            )
        except tf.errors.OpError as error:
            raise OSError(error.message.splitlines()[0]) from error


class Network:
    """An opened model; see `open_model`.

    Attributes:
      label_map: categories.LabelMap.
      best_score: float, see `best_score`, or None.
    """

    def __init__(self, session, label_map, score):
        """Takes a session on a graph with the tensors INPUT and RAW_OUTPUTS."""
        self.label_map, self.best_score = label_map, score
        # A callable saves half a millisecond per batch.
        self._run = session.make_callable(_TENSORS, feed_list=[INPUT + ":0"])

    def __call__(self, images):
        """Returns float32 arrays, class logits [B, N, C] and box offsets [B, N, 4]."""
        return tuple(self._run(images))


def open_model(path, label_map_path=None, config=None):
    """Opens a model as a Network.

    Args:
      path: str: a checkpoint or a folder of checkpoints, see `find_checkpoint`, or the
        folder of an export.
      label_map_path: str, the value of --label_map, or None.
      config: tf.ConfigProto of the session.

    Raises:
      UserError: there is no such model, it cannot be read, or it has another number of
        classes than the label map.
    """
    is_export = os.path.isfile(os.path.join(path, DETECT_FILE))
    model = path if is_export else find_checkpoint(path, MODELS)
    folder = path if is_export else os.path.dirname(model)
    label_map = read_label_map(label_map_path, folder)
    session = tf.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        if is_export:
            _import_frozen_graph(os.path.join(path, DETECT_FILE), label_map)
        else:
            build_network(image_input(None), label_map)
            restore(session, model, label_map)
    score = _read_score(path, LABEL_MAP_FILE) if is_export else best_score(model)
    return Network(session, label_map, score)


def best_score(checkpoint_path):
    """Returns the score with the highest F1 in the evaluation of a checkpoint.

    It is None if the checkpoint was not evaluated, or no detection was right.
    """
    step, _ = checkpoints.find(checkpoint_path)
    folder = os.path.dirname(checkpoint_path)
    # The second one comes with a copy of the best checkpoint.
    names = (os.path.join("eval", f"metrics-{step}.json"), "metrics.json")
    return next(filter(None, (_read_score(folder, name, step) for name in names)), None)


def _read_score(folder, name, step=None):
    """Returns "best_score" of the json of a step, or of an export's "info"; or None."""
    try:
        entries = text_file.read_json(os.path.join(folder, name))
        if step is None:
            entries = entries["info"]
        elif entries["step"] != step:
            return None
        score = float(entries["best_score"])
    except (KeyError, TypeError, ValueError):
        return None
    return score if postprocess.MIN_SCORE <= score <= 1 else None


def read_label_map(flag_value, *folders):
    """Reads --label_map, or what categories.find_label_map finds in the folders.

    Returns:
      categories.LabelMap.

    Raises:
      UserError: the file cannot be used.
    """
    path = categories.find_label_map(flag_value, *folders)
    with as_user_error("--label_map:"):
        return categories.read_label_map(path)


def _import_frozen_graph(path, label_map):
    """Imports an exported graph into the default graph."""
    try:
        with open(path, "rb") as file:
            graph_def = tf.GraphDef.FromString(file.read())
        logits, _ = tf.import_graph_def(graph_def, name="", return_elements=_TENSORS)
    # For other files TensorFlow and protobuf raise exceptions of many classes.
    except Exception as error:
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise UserError(
            f"--model: {path} is not an export of tools/export_model.py: {reason}"
        ) from error
    num_classes = logits.shape.as_list()[-1]
    if num_classes != label_map.num_classes:
        raise UserError(
            f"--model: {path} was exported with {num_classes - 1} categories, not "
            f"{label_map.num_classes - 1}; give its --label_map"
        )
