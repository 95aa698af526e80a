# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Models from files, for the tools and benchmarks; picture_stream.py runs them.

A model is a checkpoint, a training's model_dir, or what tools/export_model.py wrote.
Only its network is run here; suppression is always that of postprocess.py, so that all
of them give what --mode=eval gives for the same weights and precision.

Glossary: B images a batch, N = 8732 default boxes, C classes; boxes are ltrb,
[ymin, xmin, ymax, xmax] in 0..1 of height and width.
"""

import logging
import os
import warnings

from console.errors import UserError

# Read when TensorFlow is imported: what it says below warnings is not for users.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

import tensorflow.compat.v1 as tf

import anchors
import ssd_model
from dataset import categories
from devices import base, selection
from trainer import checkpoints

DEVICES = ("auto", "cpu", "gpu")

# Names that every exported graph has: 300 x 300 pixels in 0..1, and the raw outputs.
INPUT = "input"
RAW_OUTPUTS = ("class_logits", "box_offsets")

# Of an export's folder.
LABEL_MAP_FILE = "label_map.json"
SAVED_MODEL_DIR = "saved_model"
_SAVED_MODEL_FILE = "saved_model.pb"


def quiet_tensorflow():
    """Leaves only those of TensorFlow's messages that a user can do something about."""
    tf.disable_eager_execution()
    tf.logging.set_verbosity(tf.logging.WARN)
    logging.getLogger("tensorflow").addFilter(
        lambda record: "Instructions for updating" not in record.getMessage()
    )
    warnings.filterwarnings("ignore", category=UserWarning, message="`tf.layers")


def session_config(device="auto", precision_mode=base.PRECISION_MODES[0]):
    """Gives the configuration that the evaluation uses on a CPU or GPU.

    Args:
      device: one of DEVICES; "auto" is a GPU where TensorFlow finds one.
      precision_mode: one of base.PRECISION_MODES.

    Returns:
      tf.ConfigProto.

    Raises:
      UserError: there is no GPU, but one is asked for.
    """
    options = base.Options(precision_mode=precision_mode)
    kinds = ("gpu", "cpu") if device == "auto" else (device,)
    for kind in kinds:
        try:
            return selection.create(kind, options).session_config()
        except ValueError as error:
            reason = str(error)
    raise UserError(reason)


def read_label_map(path):
    """Reads the categories that a flag names.

    Args:
      path: str, see categories.read_label_map; None or "" for COCO's.

    Returns:
      categories.LabelMap.

    Raises:
      UserError: it can't be read, or makes no sense.
    """
    if not path:
        return categories.COCO
    try:
        return categories.read_label_map(path)
    except ValueError as error:
        raise UserError(f"--label_map: {error}") from error


def resize(pixels):
    """Resizes as the evaluation does: bilinear, without half-pixel centers.

    Args:
      pixels: uint8 [..., height, width, 3].

    Returns:
      float32 [..., 300, 300, 3] in 0..1.
    """
    size = [anchors.IMAGE_SIZE, anchors.IMAGE_SIZE]
    return tf.image.resize_images(tf.cast(pixels, tf.float32), size) / 255.0


def build_network(images, label_map):
    """Builds the network of the evaluation in the default graph.

    Args:
      images: float32 [B, 300, 300, 3] in 0..1.
      label_map: categories.LabelMap.

    Returns:
      (class_logits, box_offsets): float32 [B, N, C] and [B, N, 4]; their operations
      are named so.
    """
    # What the evaluation hands through from its records plays no part here.
    unused = {"source_id": tf.zeros([1], tf.int64), "raw_shape": tf.zeros([1, 3])}
    spec = ssd_model.ssd_model_fn(
        dict(unused, image=images),
        None,
        tf.estimator.ModeKeys.PREDICT,
        {"num_classes": label_map.num_classes},
    )
    return tuple(tf.identity(spec.predictions[name], name) for name in RAW_OUTPUTS)


def find_checkpoint(path):
    """Finds the checkpoint that is meant, the newest of a folder.

    Args:
      path: str, a model_dir, the prefix of a checkpoint's files or one of the files.

    Returns:
      str, the prefix of its files; None when path is nothing of these.

    Raises:
      UserError: the folder's checkpoints, or the one that is named, are damaged.
    """
    try:
        return checkpoints.find(path)[1]
    except checkpoints.NoCheckpointError:
        return None
    except ValueError as error:
        raise UserError(f"--model: {error}") from error


def restore(session, checkpoint_path, label_map):
    """Loads a checkpoint into the variables of the session's graph.

    Args:
      session: tf.Session on a graph with the network.
      checkpoint_path: str, prefix of the checkpoint's files.
      label_map: categories.LabelMap.

    Raises:
      UserError: it is of another network, or of other classes.
    """
    with session.graph.as_default():
        variables = tf.global_variables()
        available = {name for name, _ in tf.train.list_variables(checkpoint_path)}
        missing = [v.op.name for v in variables if v.op.name not in available]
        if missing:
            raise UserError(
                f"--model={checkpoint_path} is no checkpoint of SSD-ResNet34: it lacks "
                f"{len(missing)} variables, {missing[0]} first"
            )
        try:
            checkpoints.check_classes(checkpoint_path, label_map.num_classes)
        except ValueError as error:
            raise UserError(f"--model: {error}") from error
        tf.train.Saver(variables).restore(session, checkpoint_path)


class Network:
    """A network to run, from whatever file.

    Attributes:
      label_map: categories.LabelMap, its categories.
      batch_size: int, the only batch that it takes; None where it takes any.
    """

    def __init__(self, session, label_map):
        """Takes over a session; see `open_model`."""
        graph = session.graph
        self.label_map = label_map
        self._session = session
        self._images = graph.get_tensor_by_name(INPUT + ":0")
        self._outputs = [graph.get_tensor_by_name(n + ":0") for n in RAW_OUTPUTS]
        self.batch_size = self._images.shape.as_list()[0]
        # Prepared once: half a millisecond less for each batch.
        self._run = session.make_callable(self._outputs, feed_list=[self._images])

    @property
    def num_classes(self):
        """C, the classes of its outputs, with background."""
        return self._outputs[0].shape.as_list()[-1]

    def __call__(self, images):
        """Runs it.

        Args:
          images: float32 [B, 300, 300, 3] in 0..1; B is batch_size, if that is set.

        Returns:
          (class_logits, box_offsets): float32 arrays [B, N, C] and [B, N, 4].
        """
        return tuple(self._run(images))

    def close(self):
        """Frees what it holds."""
        self._session.close()


def open_model(path, label_map_path=None, config=None):
    """Opens a model of whatever kind.

    Args:
      path: str, a checkpoint's prefix, a model_dir, an export's folder, the SavedModel
        in it, or one of its frozen graphs.
      label_map_path: str, the json of its categories; None: the one beside the export,
        or COCO's.
      config: tf.ConfigProto of the session.

    Returns:
      Network.

    Raises:
      UserError: one line; there is no model, it can't be read or has other classes.
    """
    if os.path.isfile(os.path.join(path, SAVED_MODEL_DIR, _SAVED_MODEL_FILE)):
        path = os.path.join(path, SAVED_MODEL_DIR)
    session = tf.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        if os.path.isfile(os.path.join(path, _SAVED_MODEL_FILE)):
            return _open_export(session, path, label_map_path, _load_saved_model)
        if os.path.isfile(path) and path.endswith(".pb"):
            return _open_export(session, path, label_map_path, _load_frozen_graph)
        return _open_checkpoint(session, path, label_map_path)


def _open_checkpoint(session, path, label_map_path):
    label_map = read_label_map(label_map_path)
    checkpoint_path = find_checkpoint(path)
    if checkpoint_path is None:
        raise UserError(
            f"--model={path}: neither a checkpoint (model.ckpt-N), a folder of "
            "checkpoints, a SavedModel, nor a frozen graph (.pb)"
        )
    size = anchors.IMAGE_SIZE
    images = tf.placeholder(tf.float32, [None, size, size, 3], INPUT)
    build_network(images, label_map)
    restore(session, checkpoint_path, label_map)
    return Network(session, label_map)


def _open_export(session, path, label_map_path, load):
    beside = os.path.join(os.path.dirname(os.path.abspath(path)), LABEL_MAP_FILE)
    if not label_map_path and os.path.isfile(beside):
        label_map_path = beside
    label_map = read_label_map(label_map_path)
    try:
        load(session, path)
        network = Network(session, label_map)
    # What is no graph makes TensorFlow's and protobuf's readers raise what they like.
    except Exception as error:
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise UserError(
            f"--model={path} is no export of tools/export_model.py: {reason}"
        ) from error
    if network.num_classes != label_map.num_classes:
        raise UserError(
            f"--model={path} is of a network with {network.num_classes - 1} "
            f"categories, not {label_map.num_classes - 1}; give its --label_map"
        )
    return network


def _load_saved_model(session, path):
    tf.saved_model.load(session, [tf.saved_model.SERVING], path)


def _load_frozen_graph(session, path):
    del session
    with open(path, "rb") as file:
        tf.import_graph_def(tf.GraphDef.FromString(file.read()), name="")
