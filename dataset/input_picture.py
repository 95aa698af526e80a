# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws training images as the network sees them, by Pillow.

A panel is one input of 300 x 300 pixels with its target boxes and, in thin lines, the
default boxes that are matched to them. The targets are those that the network learns,
decoded back to boxes. A target box and its default boxes have the same color.

Pillow is imported only when something is drawn, as in drawing.py. Glossary: N default
boxes; boxes are ltrb, [ymin, xmin, ymax, xmax], in 0..1 of the image.
"""

import io

import numpy as np
import tensorflow.compat.v1 as tf

import anchors
from dataset import color, drawing

# Pixels: side of a panel, gap around it, and height of the text above and below it.
SIDE = anchors.IMAGE_SIZE
_GAP, _TEXT, _FONT = 8, 20, 13
_BACKGROUND, _INK = (250, 250, 250), (30, 30, 30)
# Decimal digits to which the decoded targets of one box are equal.
_DIGITS = 3


def tensors(features, labels):
    """Returns the tensors that `panel` draws.

    Args:
      features, labels: dicts of a training input, see dataset_parser.SSDInputReader, of
        a batch or without the axis B.

    Returns:
      (images, classes, boxes): uint8 [..., 300, 300, 3]; int32 [..., N]; and float32
      [..., N, 4], the decoded targets.
    """
    images = features["image"]
    if "color_changes" in features:
        # These colors are changed on the device.
        images = color.adjust_color(
            tf.cast(images, tf.float32), features["color_changes"]
        )
    pixels = tf.cast(tf.clip_by_value(images, 0.0, 1.0) * 255.0 + 0.5, tf.uint8)
    return pixels, labels["classes"], anchors.decode_offsets(labels["boxes"])


def panel(image, classes, boxes, label_map):
    """Draws one input.

    Args:
      image: uint8 [300, 300, 3].
      classes: int32 [N]; 0 for default boxes without a match.
      boxes: float32 [N, 4], the decoded targets.
      label_map: categories.LabelMap.

    Returns:
      (image, caption): PIL.Image.Image and str.
    """
    from PIL import Image

    positive = np.flatnonzero(classes)
    classes, boxes = classes[positive], boxes[positive]
    # Default boxes with equal rounded targets are matched to the same box. For each of
    # these, the first row; for each default box, the number of its target.
    targets = np.column_stack([classes, boxes.round(_DIGITS)])
    _, rows, owners = np.unique(targets, axis=0, return_index=True, return_inverse=True)
    labels = [name_of(number, label_map) for number in classes[rows]]
    default_boxes = anchors.DefaultBoxes()("ltrb")[positive]
    image = Image.fromarray(image)
    image = with_boxes(image, default_boxes, [""] * len(owners), owners, width=1)
    image = with_boxes(image, boxes[rows], labels, range(len(rows)))
    return image, f"input; target boxes: {len(rows)}, default boxes: {len(owners)}"


def with_boxes(image, boxes, labels, numbers, width=None):
    """Returns the image with boxes in 0..1; equal numbers have equal colors."""
    scale = np.array(image.size[::-1] * 2) - 1
    colors = [drawing.color_of(number) for number in numbers]
    return drawing.draw(image, boxes * scale, labels, colors, width)


def name_of(class_number, label_map):
    """Returns the name of the category that a class stands for."""
    return label_map.names[label_map.category_of_class(int(class_number))]


def sheet(rows):
    """Joins panels to one image.

    Args:
      rows: list of (title, panels): str; list of (PIL.Image.Image, caption), as many in
        each row, or fewer in the last.

    Returns:
      bytes, a PNG.
    """
    from PIL import Image, ImageDraw

    row_height = SIDE + 2 * _TEXT + _GAP
    columns = len(rows[0][1])
    size = columns * (SIDE + _GAP) + _GAP, len(rows) * row_height + _GAP
    image = Image.new("RGB", size, _BACKGROUND)
    pen, font = ImageDraw.Draw(image), drawing.font_of(_FONT)
    for number, (title, panels) in enumerate(rows):
        top = number * row_height + _GAP
        pen.text((_GAP, top), drawing.drawable(title, font), _INK, font)
        for column, (part, caption) in enumerate(panels):
            left = _GAP + column * (SIDE + _GAP)
            image.paste(part, (left, top + _TEXT))
            pen.text((left, top + _TEXT + SIDE + 2), caption, _INK, font)
    png = io.BytesIO()
    # A sixth of the default's time, for files that are a tenth larger.
    image.save(png, "PNG", compress_level=1)
    return png.getvalue()
