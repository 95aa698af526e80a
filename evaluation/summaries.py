# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The results of an evaluation for TensorBoard: one point on each curve."""

import contextlib

import tensorflow.compat.v1 as tf

from evaluation import first_images
from trainer import batch_pictures


def write(folder, step, coco_gt, judgement, result, file_pattern, repeated_ids):
    """Writes an event file with the figures, the AP of each category, and images.

    The images are the same ones in each evaluation; without Pillow there are none.

    Args:
      folder: str, which TensorBoard shows as one run.
      step: int, training step of the checkpoint.
      coco_gt: pycocotools COCO, see coco_metric.create_coco.
      judgement: coco_metric.Judgement.
      result: analysis.Analysis of it.
      file_pattern: str, glob of the TFRecord files with the images.
      repeated_ids: set of int, ids of images that are not to be shown.
    """
    curves = dict(judgement.figures)
    for category in judgement.categories:
        # The AP is -1 without ground truth.
        if category.ap >= 0:
            name = category.name.encode("utf-8", "replace").decode()
            curves[f"category_AP/{name}"] = category.ap
    values = [tf.Summary.Value(tag=k, simple_value=x) for k, x in curves.items()]
    # Without Pillow, the log line with the report's name tells that images are missing.
    with contextlib.suppress(ImportError):
        jpegs = first_images.draw(
            coco_gt, judgement, result, file_pattern, repeated_ids
        )
        values += [
            batch_pictures.image_value(f"detections/{image_id}", jpeg)
            for image_id, jpeg in jpegs.items()
        ]
    # In a separate graph, because the writer raises an error in eager mode.
    with tf.Graph().as_default():
        # Files are named by the second in which they are opened.
        writer = tf.summary.FileWriter(folder, filename_suffix=f".{step}")
        writer.add_summary(tf.Summary(value=values), step)
        writer.close()
