# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pictures of training batches, for TensorBoard and as train_batches.png."""

import os

import tensorflow.compat.v1 as tf

from console import atomic_file
from dataset import image_header, input_picture

_FILE = "train_batches.png"
_TAG = "training_batch"
# Each picture shows this number of images of a batch, and this number in each row.
_IMAGES, _IMAGES_PER_ROW = 8, 4


class BatchPictures:
    """Draws some batches of a training on the host, before the device receives them.

    The input pipeline calls it while it prepares a batch ahead of time, so no step
    waits for the picture. Without Pillow, or after an error, it draws nothing and the
    training goes on.
    """

    def __init__(self, every_steps, first_step, last_step, label_map, model_dir):
        """Initializes the pictures.

        Args:
          every_steps: int, steps between two pictures; 0: draw none.
          first_step: int, the step that the first batch is for.
          last_step: int. Later batches are prepared but not used.
          label_map: categories.LabelMap.
          model_dir: str, folder of the training's event files.
        """
        self._every_steps = every_steps
        self._first_step = first_step
        self._last_step = last_step
        self._label_map = label_map
        self._model_dir = model_dir

    # Without this, AutoGraph would convert the functions, which takes seconds.
    @tf.autograph.experimental.do_not_convert
    def watch(self, dataset):
        """Returns a tf.data.Dataset of the same training batches that draws some.

        The graph has the same operations whether batches are drawn or not, because the
        initial weights of a --seed depend on the number of operations before them.
        """
        return dataset.enumerate().map(self._look).prefetch(1)

    def _look(self, index, batch):
        if not self._every_steps:
            return batch
        step = index + self._first_step
        is_due = tf.equal(index % self._every_steps, 0) & (step <= self._last_step)

        def draw():
            features, labels = tf.nest.map_structure(lambda x: x[:_IMAGES], batch)
            inputs = input_picture.tensors(features, labels)
            return tf.py_func(self._draw, (step,) + inputs, tf.bool)

        is_drawn = tf.cond(is_due, draw, lambda: tf.constant(False))
        with tf.control_dependencies([is_drawn]):
            return tf.nest.map_structure(tf.identity, batch)

    def _draw(self, step, images, classes, boxes):
        """Draws one batch; returns whether this has worked."""
        if not self._every_steps:
            return False
        try:
            png = self._picture(step, images, classes, boxes)
            if step == self._first_step:
                self._write_file(png)
            self._write_summary(png, step)
            return True
        # A picture never ends a training.
        except Exception as error:
            self._every_steps = 0
            tf.logging.warning(
                "--summary_images_every: no pictures of training batches from step %d "
                "on: %s: %s",
                step,
                type(error).__name__,
                error,
            )
            return False

    def _picture(self, step, *columns):
        """Returns a PNG; columns: the values of input_picture.tensors."""
        panels = [input_picture.panel(*row, self._label_map) for row in zip(*columns)]
        starts = range(0, len(panels), _IMAGES_PER_ROW)
        rows = [["", panels[start : start + _IMAGES_PER_ROW]] for start in starts]
        rows[0][0] = f"step {step}: the first {len(panels)} images of the batch"
        return input_picture.sheet(rows)

    def _write_file(self, png):
        # A launcher starts each rank in the folder of its log.
        folder = os.getcwd() if "SSD_CALLED_FROM" in os.environ else self._model_dir
        path = os.path.join(folder, _FILE)
        atomic_file.write_atomically(path, png)
        tf.logging.info("the first batch as the network sees it: %s", path)

    def _write_summary(self, png, step):
        summary = tf.Summary(value=[image_value(_TAG, png)])
        # Without a graph, the writer refuses to work in a thread of TensorFlow 2.
        with tf.Graph().as_default():
            # The Estimator's own writer.
            writer = tf.summary.FileWriterCache.get(self._model_dir)
            writer.add_summary(summary, step)


def image_value(tag, encoded):
    """Returns a tf.Summary.Value of an image; encoded: bytes, a JPEG or PNG of RGB."""
    height, width = image_header.read_size(encoded)
    image = tf.Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=encoded
    )
    return tf.Summary.Value(tag=tag, image=image)
