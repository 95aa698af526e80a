# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the files of an export; their formats: head of tools/export_model.py."""

import json
import os

import tensorflow.compat.v1 as tf

from console import paths
from detection import model_file
from evaluation import postprocess

OUTPUTS = ("boxes", "classes", "scores", "num_detections")
SAVED_MODEL_DIR = "saved_model"
RAW_FILE = "raw.pb"


def image_input():
    """Creates the input `images`; returns it and the resized images."""
    images = tf.placeholder(tf.uint8, [None, None, None, 3], "images")
    return images, model_file.resize(images)


def build_outputs(resized, label_map, detections=postprocess.detections):
    """Builds the graph from float32 [B, 300, 300, 3] in 0..1 to detections.

    Returns:
      dict from OUTPUTS to tensors of these names, see the head of export_model.py.
    """
    raw = model_file.build_network(resized, label_map)
    boxes, scores, classes, counts = detections(*raw)
    category_ids = tf.constant([0] + list(label_map.names), tf.int32)
    is_there = tf.sequence_mask(counts, postprocess.MAX_PER_IMAGE, tf.int32)
    outputs = (boxes, tf.gather(category_ids, classes * is_there), scores, counts)
    return {name: tf.identity(t, name) for name, t in zip(OUTPUTS, outputs)}


def export(checkpoint_path, label_map, folder, batch_size):
    """Writes all files of an export except those of ONNX and ATC to an empty folder.

    Raises:
      UserError: the checkpoint has another network or another number of classes.
      OSError: the folder cannot be written to.
    """
    with tf.Graph().as_default(), cpu_session() as session:
        # TensorFlow 2 cannot load SavedModels with the older kind of variables.
        tf.get_variable_scope().set_use_resource(True)
        images, resized = image_input()
        # One of the two is to be fed.
        resized = tf.placeholder_with_default(resized, resized.shape, model_file.INPUT)
        outputs = build_outputs(resized, label_map)
        model_file.restore(session, checkpoint_path, label_map)
        saved_model = os.path.join(folder, SAVED_MODEL_DIR)
        _write_saved_model(session, images, resized, outputs, saved_model)
        _write(freeze(session, OUTPUTS), folder, model_file.DETECT_FILE)
    with tf.Graph().as_default(), cpu_session() as session:
        model_file.build_network(model_file.image_input(batch_size), label_map)
        model_file.restore(session, checkpoint_path, label_map)
        _write(freeze(session, model_file.RAW_OUTPUTS), folder, RAW_FILE)
    _write_label_map(label_map, checkpoint_path, folder)


def cpu_session():
    """Returns a session on the default graph that uses the CPU only."""
    return tf.Session(config=tf.ConfigProto(device_count={"GPU": 0}))


def _write_saved_model(session, images, resized, outputs, folder):
    def signature(**inputs):
        return tf.saved_model.signature_def_utils.predict_signature_def(inputs, outputs)

    builder = tf.saved_model.Builder(folder)
    builder.add_meta_graph_and_variables(
        session,
        [tf.saved_model.SERVING],
        {
            tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature(images=images),
            "resized": signature(input=resized),
        },
        clear_devices=True,
        # Attributes with default values may be unknown to the other TensorFlow.
        strip_default_attrs=True,
    )
    try:
        builder.save()
    except tf.errors.OpError as error:
        raise OSError(error.message.splitlines()[0]) from error


def freeze(session, outputs):
    """Returns a tf.GraphDef that computes the outputs from the session's weights."""
    frozen = tf.graph_util.convert_variables_to_constants(
        session, session.graph.as_graph_def(), list(outputs)
    )
    for node in frozen.node:
        node.device = ""
    with tf.Graph().as_default():
        # The only function that strips default values without a SavedModel.
        return tf.train.export_meta_graph(
            graph_def=frozen, strip_default_attrs=True
        ).graph_def


def _write(graph_def, folder, name):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(graph_def.SerializeToString())


def _write_label_map(label_map, checkpoint_path, folder):
    path = paths.without_wildcards(checkpoint_path)
    info = {
        "model": "SSD-ResNet34",
        "checkpoint": os.path.basename(checkpoint_path),
        "step": int(tf.train.load_variable(path, tf.GraphKeys.GLOBAL_STEP)),
        "best_score": model_file.best_score(checkpoint_path),
    }
    path = os.path.join(folder, model_file.LABEL_MAP_FILE)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"info": info, "categories": label_map.entries()}, file, indent=1)
