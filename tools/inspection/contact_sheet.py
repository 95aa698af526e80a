# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws a contact sheet (PNG): records as the network sees them during training.

Each record has one row with panels of 300 x 300 pixels: the whole image with its ground
truth boxes; then two random augmentations, see dataset/input_picture.py. They come from
the training's own functions.
"""

import tensorflow.compat.v1 as tf
from PIL import Image

import dataset_parser
from console import atomic_file
from console.errors import as_user_error
from dataset import augmentation, input_picture

AUGMENTATIONS = 2

_EMPTY = (225, 225, 225)


def draw(samples, label_map, path):
    """Draws the contact sheet and writes it to a file.

    Args:
      samples: list of (title, serialized): str, title of the row; bytes, a record that
        is trained on and has a box.

    Raises:
      UserError: the file cannot be written.
    """
    records = _inputs([serialized for _, serialized in samples], label_map)
    rows = []
    for (title, _), (record, inputs) in zip(samples, records):
        panels = [_record_panel(record, label_map)]
        panels += [input_picture.panel(*values, label_map) for values in inputs]
        rows.append((title, panels))
    with as_user_error("--sheet:"):
        atomic_file.write_atomically(path, input_picture.sheet(rows))


def _inputs(records, label_map):
    """Yields (record, inputs) for each record.

    record: dict of "pixels", "boxes" and "classes". inputs: for each augmentation the
    values of input_picture.tensors.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        serialized = tf.placeholder(tf.string, [])
        record = dataset_parser.parse_record(serialized, label_map)
        augmented = input_picture.tensors(*dataset_parser.training_example(record))
        record["pixels"] = augmentation.decode(record.pop("encoded"))
        for raw in records:
            feed = {serialized: raw}
            yield (
                session.run(record, feed),
                [session.run(augmented, feed) for _ in range(AUGMENTATIONS)],
            )


def _record_panel(record, label_map):
    """Returns the whole image, in its aspect ratio, with its boxes; and a caption."""
    image = Image.fromarray(record["pixels"])
    side = input_picture.SIDE
    scale = side / max(image.size)
    size = [max(int(length * scale), 1) for length in image.size]
    labels = [input_picture.name_of(number, label_map) for number in record["classes"]]
    panel = Image.new("RGB", (side, side), _EMPTY)
    image = image.resize(size, Image.BILINEAR)
    numbers = range(len(labels))
    panel.paste(input_picture.with_boxes(image, record["boxes"], labels, numbers))
    return panel, f"the record; boxes: {len(labels)}"
