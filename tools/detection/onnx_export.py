# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the ONNX files of an export; their formats: head of tools/export_model.py.

Glossary: B images per batch, N = 8732 default boxes, C classes with background.
"""

import importlib.util
import logging
import os

import tensorflow.compat.v1 as tf

import anchors
from console.errors import check
from detection import exporter, model_file
from evaluation import postprocess

RAW_FILE = "raw.onnx"
DETECTIONS_FILE = "detections.onnx"
# The oldest set of operators that has all of them; also one that ATC takes.
_OPSET = 13


def check_packages():
    """Raises a UserError if the packages of --onnx are not installed."""
    check(
        all(map(importlib.util.find_spec, ("tf2onnx", "onnx"))),
        "--onnx needs the packages tf2onnx and onnx; run "
        "python3 -m pip install -r requirements.txt -r tools/requirements-export.txt",
    )


def export(checkpoint_path, label_map, folder):
    """Writes detections.onnx, and raw.onnx of the raw.pb in the export's folder."""
    with open(os.path.join(folder, exporter.RAW_FILE), "rb") as file:
        graph_def = tf.GraphDef.FromString(file.read())
    outputs = model_file.RAW_OUTPUTS
    _convert(graph_def, model_file.INPUT, outputs, os.path.join(folder, RAW_FILE))
    with tf.Graph().as_default(), exporter.cpu_session() as session:
        exporter.build_outputs(exporter.image_input()[1], label_map, detections)
        model_file.restore(session, checkpoint_path, label_map)
        graph_def = exporter.freeze(session, exporter.OUTPUTS)
    path = os.path.join(folder, DETECTIONS_FILE)
    _convert(graph_def, "images", exporter.OUTPUTS, path)


def detections(class_logits, box_offsets):
    """Builds the graph of postprocess.detections from operators that ONNX has.

    ONNX suppresses with one set of boxes for all classes, so the scores that are not
    among the 200 best of their class become zeros in their places. Boxes and classes
    that cannot reach 0.05 are not removed first, which takes more time.

    From float32 [B, N, C] and [B, N, 4] to the results of postprocess.detections.
    """
    boxes = postprocess.give_extent(anchors.decode_offsets(box_offsets))
    scores = tf.transpose(tf.nn.softmax(class_logits)[:, :, 1:], [0, 2, 1])
    boxes, scores, classes, counts = tf.image.combined_non_max_suppression(
        tf.expand_dims(boxes, 2),  # [B, N, 1, 4]
        tf.transpose(_best(scores), [0, 2, 1]),  # [B, N, C - 1]
        max_output_size_per_class=postprocess.MAX_PER_CLASS,
        max_total_size=postprocess.MAX_PER_IMAGE,
        iou_threshold=postprocess.SUPPRESSION_IOU,
        score_threshold=postprocess.MIN_SCORE,
        clip_boxes=False,
    )
    is_there = tf.sequence_mask(counts, postprocess.MAX_PER_IMAGE, tf.int32)
    classes = (tf.cast(classes, tf.int32) + 1) * is_there
    return postprocess.in_order(boxes, scores, classes) + (counts,)


def _best(scores):
    """Returns scores [B, C - 1, N] with zeros except for the 200 best of each row."""
    shape = tf.shape(scores)
    rows = tf.reshape(scores, [-1, anchors.NUM_DEFAULT_BOXES])
    best, places = tf.nn.top_k(rows, postprocess.MAX_PER_CLASS)
    row = tf.expand_dims(tf.range(tf.shape(rows)[0]), 1) + tf.zeros_like(places)
    places = tf.stack([row, places], axis=2)
    return tf.reshape(tf.scatter_nd(places, best, tf.shape(rows)), shape)


def _convert(graph_def, graph_input, outputs, path):
    """Converts a frozen graph; its input and outputs keep their names."""
    import tf2onnx

    # It reports every pass over the graph.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    names = [name + ":0" for name in outputs]
    tf2onnx.convert.from_graph_def(
        graph_def,
        input_names=[graph_input + ":0"],
        output_names=names,
        tensors_to_rename={name: name[:-2] for name in [graph_input + ":0"] + names},
        opset=_OPSET,
        output_path=path,
    )
