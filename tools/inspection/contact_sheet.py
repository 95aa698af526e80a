# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws a contact sheet (PNG): records as the network sees them during training.

Each record has one row with panels of 300 x 300 pixels: the whole image with its ground
truth boxes; then, for each of two random augmentations, the network's input with the
target boxes and, in thin lines, the default boxes that are matched to them. Input and
targets come from the training's own functions; the targets are decoded back to boxes. A
target box and its default boxes have the same color.

Glossary: N default boxes, P matched ones; boxes are ltrb, [ymin, xmin, ymax, xmax] in
0..1 of the image.
"""

import io

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image, ImageDraw

import anchors
import dataset_parser
from console import atomic_file
from console.errors import as_user_error
from dataset import augmentation
from evaluation import drawing

AUGMENTATIONS = 2
# Pixels: side of a panel, gap around it, and height of the text above and below it.
SIDE = anchors.IMAGE_SIZE
GAP = 8
TEXT = 20

_FONT = 13
_BACKGROUND, _INK = (250, 250, 250), (30, 30, 30)
_EMPTY = (225, 225, 225)
# Decimal digits to which the decoded targets of one box are equal.
_DIGITS = 3


def draw(samples, label_map, path):
    """Draws the contact sheet and writes it to a file.

    Args:
      samples: list of (title, serialized): str, title of the row; bytes, a record that
        is trained on and has a box.
      label_map: categories.LabelMap.
      path: str, path of the PNG.

    Raises:
      UserError: the file cannot be written.
    """
    row_height = SIDE + 2 * TEXT + GAP
    size = (1 + AUGMENTATIONS) * (SIDE + GAP) + GAP, len(samples) * row_height + GAP
    sheet = Image.new("RGB", size, _BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), drawing.font_of(_FONT)
    rows = _inputs([serialized for _, serialized in samples], label_map)
    for number, ((title, _), (record, augmented)) in enumerate(zip(samples, rows)):
        top = number * row_height + GAP
        pen.text((GAP, top), drawing.drawable(title, font), _INK, font)
        panels = [_record_panel(record, label_map)]
        panels += [_input_panel(example, label_map) for example in augmented]
        for column, (panel, caption) in enumerate(panels):
            left = GAP + column * (SIDE + GAP)
            sheet.paste(panel, (left, top + TEXT))
            pen.text((left, top + TEXT + SIDE + 2), caption, _INK, font)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    with as_user_error("--sheet:"):
        atomic_file.write_atomically(path, png.getvalue())


def _inputs(records, label_map):
    """Yields (record, augmented) for each record.

    record: dict of "pixels", "boxes" and "classes". augmented: for each augmentation a
    dict of "image" and the targets "classes" [N] and "boxes" [N, 4], decoded.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        serialized = tf.placeholder(tf.string, [])
        record = dataset_parser.parse_record(serialized, label_map)
        features, labels = dataset_parser.training_example(record)
        record["pixels"] = augmentation.decode(record.pop("encoded"))
        augmented = {
            "image": features["image"],
            "classes": labels["classes"],
            "boxes": anchors.decode_offsets(labels["boxes"]),
        }
        for raw in records:
            feed = {serialized: raw}
            yield (
                session.run(record, feed),
                [session.run(augmented, feed) for _ in range(AUGMENTATIONS)],
            )


def _record_panel(record, label_map):
    """Returns the whole image, in its aspect ratio, with its boxes; and a caption."""
    image = Image.fromarray(record["pixels"])
    scale = SIDE / max(image.size)
    size = [max(int(side * scale), 1) for side in image.size]
    labels = [_label(number, label_map) for number in record["classes"]]
    panel = Image.new("RGB", (SIDE, SIDE), _EMPTY)
    image = image.resize(size, Image.BILINEAR)
    panel.paste(_with_boxes(image, record["boxes"], labels, range(len(labels))))
    return panel, f"the record; boxes: {len(labels)}"


def _input_panel(augmented, label_map):
    """Returns the network's input with target and default boxes, and a caption."""
    image = Image.fromarray(np.uint8(np.clip(augmented["image"], 0, 1) * 255 + 0.5))
    positive = np.flatnonzero(augmented["classes"])
    classes, boxes = augmented["classes"][positive], augmented["boxes"][positive]
    # Default boxes with equal rounded targets are matched to the same box. For each of
    # these, the first row; for each default box, the number of its target.
    targets = np.column_stack([classes, boxes.round(_DIGITS)])
    _, rows, owners = np.unique(targets, axis=0, return_index=True, return_inverse=True)
    labels = [_label(number, label_map) for number in classes[rows]]
    default_boxes = anchors.DefaultBoxes()("ltrb")[positive]
    image = _with_boxes(image, default_boxes, [""] * len(owners), owners, width=1)
    image = _with_boxes(image, boxes[rows], labels, range(len(rows)))
    return image, f"input; target boxes: {len(rows)}, default boxes: {len(owners)}"


def _with_boxes(image, boxes, labels, numbers, width=None):
    """Returns the image with boxes in 0..1; equal numbers have equal colors."""
    scale = np.array(image.size[::-1] * 2) - 1
    colors = [drawing.color_of(number) for number in numbers]
    return drawing.draw(image, boxes * scale, labels, colors, width)


def _label(class_number, label_map):
    return label_map.names[label_map.category_of_class(int(class_number))]
