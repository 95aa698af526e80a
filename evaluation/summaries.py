# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The results of an evaluation for TensorBoard: figures, and images with boxes."""

import contextlib
import itertools
import os

import tensorflow.compat.v1 as tf

from dataset import drawing
from evaluation import analysis, report_images
from trainer import batch_pictures

# Red, green, blue.
RIGHT_COLOR = (0, 150, 70)
FALSE_COLOR = (214, 39, 40)
FOUND_COLOR = (150, 200, 255)
MISSED_COLOR = (255, 165, 0)

_MAX_IMAGES = 8
# Pixels.
_LONGER_SIDE = 640
_TRUTH_WIDTH, _DETECTION_WIDTH = 4, 2
_JPEG_QUALITY = 80


def write(results):
    """Writes an event file of analysis.Results: figures, AP by category, and images.

    The images are the first ones, the same in each evaluation; without Pillow there are
    none.
    """
    judgement = results.judgement
    curves = dict(judgement.figures)
    for category in judgement.categories:
        # The AP is -1 without ground truth.
        if category.ap >= 0:
            name = category.name.encode("utf-8", "replace").decode()
            curves[f"category_AP/{name}"] = category.ap
    values = [tf.Summary.Value(tag=k, simple_value=x) for k, x in curves.items()]
    # Without Pillow, the log line with the report's name tells that images are missing.
    with contextlib.suppress(ImportError):
        values += dict(itertools.islice(_images(results), _MAX_IMAGES)).values()
    # In a separate graph, because the writer raises an error in eager mode.
    with tf.Graph().as_default():
        # Files are named by the second in which they are opened.
        folder = os.path.join(results.model_dir, "eval")
        writer = tf.summary.FileWriter(folder, filename_suffix=f".{results.step}")
        writer.add_summary(tf.Summary(value=values), results.step)
        writer.close()


def _images(results):
    """Yields (tag, tf.Summary.Value) of each evaluated image that Pillow can read."""
    shown = results.judgement.detections.keys() - results.repeated_ids
    for image_id, encoded in report_images.read_records(results.file_pattern):
        if image_id in shown:
            boxes = report_images.boxes_of(results, image_id)
            shrunk = report_images.shrink(encoded, boxes, _LONGER_SIDE)
            if shrunk:
                image = _draw(*shrunk, results.analysis.score)
                jpeg = report_images.to_jpeg(image, _JPEG_QUALITY)
                tag = f"detections/{image_id}"
                yield tag, batch_pictures.image_value(tag, jpeg)


def _draw(image, boxes, score):
    """Returns a PIL.Image.Image with the boxes, and detections of at least a score."""
    truth = [b for b in boxes if b.kind == analysis.MISSED]
    image = drawing.draw(
        image,
        [_ltrb(b) for b in truth],
        ["" if b.score >= score else b.name for b in truth],
        [FOUND_COLOR if b.score >= score else MISSED_COLOR for b in truth],
        _TRUTH_WIDTH,
    )
    shown = [b for b in boxes if b.kind != analysis.MISSED and b.score >= score]
    return drawing.draw(
        image,
        [_ltrb(b) for b in shown],
        [f"{b.name} {b.score:.2f}" for b in shown],
        [RIGHT_COLOR if b.kind == analysis.RIGHT else FALSE_COLOR for b in shown],
        _DETECTION_WIDTH,
    )


def _ltrb(box):
    x, y, width, height = box.xywh
    return y, x, y + height, x + width
