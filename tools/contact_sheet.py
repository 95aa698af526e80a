# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws what the network sees of some records: a contact sheet, as PNG.

A row a record: the image with the boxes of the record; then, for each of two random
augmentations, the input of the network with the boxes that it is to find, and with the
default boxes that are matched to them. Input and boxes come out of training's own
pipeline: its targets are decoded again. A box and its default boxes have one color.

Glossary: N default boxes, P those that matched, G boxes to find; ltrb, [ymin, xmin,
ymax, xmax] in 0..1 of the panel's image.
"""

import colorsys
import os
import tempfile
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

import anchors
import dataset_parser
from command_line import InputError

AUGMENTATIONS = 2

_SIDE = anchors.IMAGE_SIZE
_MARGIN = 8
_LINE = 14
_BACKGROUND = (250, 250, 250)
_INK = (30, 30, 30)
# Targets of one box, decoded from different default boxes, agree to rounding.
_SAME_BOX = 1e-3
# Hues far apart for successive numbers.
_GOLDEN_RATIO = 0.618034


class Sample(NamedTuple):
    """A record to draw.

    Attributes:
      title: of its row.
      serialized: the record; training must take it, and it must have a box.
    """

    title: str
    serialized: bytes


class _Panel(NamedTuple):
    """pixels: uint8 [300, 300, 3]; boxes: list of (ltrb, color, text or "")."""

    pixels: np.ndarray
    boxes: list
    caption: str


def draw(samples: list, label_map, path: str):
    """Writes the contact sheet.

    Args:
      samples: list of Sample.
      label_map: categories.LabelMap.
      path: of the PNG.

    Raises:
      ImportError: when Pillow is missing.
      InputError: when the file cannot be written.
    """
    from PIL import Image, ImageDraw

    rows = [(sample.title, _panels(sample, label_map)) for sample in samples]
    width = (1 + 2 * AUGMENTATIONS) * (_SIDE + _MARGIN) + _MARGIN
    row_height = _SIDE + 2 * _LINE + 2 * _MARGIN
    sheet = Image.new("RGB", (width, len(rows) * row_height + _MARGIN), _BACKGROUND)
    pen = ImageDraw.Draw(sheet, "RGBA")
    for number, (title, panels) in enumerate(rows):
        top = number * row_height + _MARGIN
        pen.text((_MARGIN, top), _plain(title), _INK)
        for column, panel in enumerate(panels):
            left = _MARGIN + column * (_SIDE + _MARGIN)
            sheet.paste(_painted(panel), (left, top + _LINE))
            pen.text((left, top + _LINE + _SIDE + 1), _plain(panel.caption), _INK)
    _save(sheet, path)


def _save(sheet, path):
    folder, name = os.path.split(path)
    partial = os.path.join(folder, ".partial-" + name)
    try:
        sheet.save(partial, "PNG")
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"--sheet={path}: cannot write: {error.strerror}") from error


def _plain(text):
    """Pillow's own font knows little more."""
    return text.encode("ascii", "replace").decode()


def _painted(panel):
    from PIL import Image, ImageDraw

    image = Image.fromarray(panel.pixels)
    pen = ImageDraw.Draw(image, "RGBA")
    for box, color, _ in panel.boxes:
        ymin, xmin, ymax, xmax = (float(x) * (_SIDE - 1) for x in box)
        pen.rectangle([xmin, ymin, max(xmax, xmin), max(ymax, ymin)], outline=color)
    for box, color, text in panel.boxes:
        if text:
            _write_label(pen, box, color, _plain(text))
    return image


def _write_label(pen, box, color, text):
    """Above the box, or in it where there is no room."""
    width, height = pen.textbbox((0, 0), text)[2:]
    x = min(max(float(box[1]) * _SIDE, 0), max(_SIDE - width - 3, 0))
    y = float(box[0]) * _SIDE - height - 2
    y = y if y >= 0 else float(box[0]) * _SIDE + 1
    y = min(max(y, 0), _SIDE - height - 2)
    pen.rectangle([x, y, x + width + 2, y + height + 1], fill=color[:3] + (200,))
    pen.text((x + 1, y), text, (255, 255, 255))


def _color(number, alpha=255):
    """A strong color that white text can be read on."""
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN_RATIO % 1, 1, 0.8)
    return tuple(int(255 * x) for x in (red, green, blue)) + (alpha,)


def _panels(sample, label_map):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "record")
        with tf.python_io.TFRecordWriter(path) as writer:
            writer.write(sample.serialized)
        with tf.Graph().as_default(), tf.Session() as session:
            fetched, inputs = _fetch(session, sample.serialized, path, label_map)
    panels = [_record_panel(fetched, label_map)]
    for features, targets in inputs:
        panels += _input_panels(features, targets, label_map)
    return panels


def _fetch(session, serialized, path, label_map):
    """(the record as parsed, list of (pixels, targets) of its augmentations)."""
    example = dataset_parser.parse_record(tf.constant(serialized), label_map)
    example["pixels"] = tf.image.decode_jpeg(example.pop("encoded"), channels=3)
    reader = dataset_parser.SSDInputReader(path, is_training=True)
    dataset = reader({"batch_size": 1, "label_map": label_map})
    iterator = tf.data.make_initializable_iterator(dataset)
    features, labels = iterator.get_next()
    targets = {
        "classes": labels["classes"][0],
        "matched": anchors.decode_offsets(labels["boxes"][0]),
    }
    step = features["image"][0], targets
    session.run(iterator.initializer)
    fetched = session.run(example)
    return fetched, [session.run(step) for _ in range(AUGMENTATIONS)]


def _record_panel(example, label_map):
    """The whole image, its sides kept in proportion, with the boxes of the record."""
    from PIL import Image

    image = Image.fromarray(example["pixels"])
    width, height = image.size
    scale = _SIDE / max(width, height)
    size = max(int(width * scale), 1), max(int(height * scale), 1)
    pixels = np.full([_SIDE, _SIDE, 3], 225, np.uint8)
    pixels[: size[1], : size[0]] = np.asarray(image.resize(size, Image.BILINEAR))
    shrink = np.array([size[1], size[0]] * 2) / _SIDE
    boxes = [
        (box * shrink, _color(number), _label(class_number, label_map))
        for number, (box, class_number) in enumerate(
            zip(example["boxes"], example["classes"])
        )
    ]
    return _Panel(pixels, boxes, f"the record: {len(boxes)} boxes")


def _label(class_number, label_map):
    category_id = label_map.category_of_class(int(class_number))
    return f"{category_id} {label_map.names[category_id]}"


def _input_panels(image, targets, label_map):
    """The network's input twice: with the boxes to find, and the matched ones."""
    pixels = np.uint8(np.clip(image, 0, 1) * 255 + 0.5)
    positive = np.flatnonzero(targets["classes"])
    classes = targets["classes"][positive]
    found, owners = group_boxes(targets["matched"][positive], classes)
    default_boxes = anchors.DefaultBoxes()("ltrb")[positive]
    wanted = [
        (targets["matched"][positive[row]], _color(number))
        + (_label(classes[row], label_map),)
        for number, row in enumerate(found)
    ]
    matched = [
        (box, _color(owner, 150), "") for box, owner in zip(default_boxes, owners)
    ]
    return [
        _Panel(pixels, wanted, f"the network's input: {len(wanted)} boxes to find"),
        _Panel(pixels, matched, f"{len(matched)} default boxes are to find them"),
    ]


def group_boxes(boxes, classes):
    """Finds the boxes that targets of several default boxes stand for.

    Args:
      boxes: float32 [P, 4], ltrb, decoded targets.
      classes: int [P].

    Returns:
      (rows, owners): list of int [G], a row of `boxes` for each different box, and
      list of int [P], the number 0..G-1 of each row's box.
    """
    rows, owners = [], []
    for row in range(len(boxes)):
        for number, other in enumerate(rows):
            is_near = np.abs(boxes[row] - boxes[other]).max() < _SAME_BOX
            if is_near and classes[row] == classes[other]:
                owners.append(number)
                break
        else:
            owners.append(len(rows))
            rows.append(row)
    return rows, owners
