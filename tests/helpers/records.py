# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes small TFRecord files for the tests: real JPEGs and PNGs of unequal sides."""

import itertools
import struct
import zlib

import tensorflow.compat.v1 as tf


def encode_image(pixels, kind="jpeg"):
    """JPEG (of best quality) or PNG bytes of a uint8 [height, width, 3] array."""
    with tf.Graph().as_default(), tf.Session() as session:
        if kind == "png":
            return session.run(tf.image.encode_png(pixels))
        return session.run(tf.image.encode_jpeg(pixels, quality=100))


def png(side, depth, color_type, pixels):
    """A PNG that claims side x side pixels, and holds these bytes, compressed."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, depth, color_type, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def black_png(side):
    """A PNG of one bit a pixel, of some bytes for a thousand pixels."""
    return png(side, 1, 0, bytes(side * (1 + (side + 7) // 8)))


def record(source_id, encoded, boxes=(), category_ids=(), change=None):
    """A serialized example.

    boxes are ltrb in 0..1; change is a function of its features, which it may change.
    """
    example = tf.train.Example()
    feature = example.features.feature
    feature["image/encoded"].bytes_list.value.append(encoded)
    feature["image/source_id"].bytes_list.value.append(str(source_id).encode())
    feature["image/object/class/label"].int64_list.value.extend(category_ids)
    for i, name in enumerate(("ymin", "xmin", "ymax", "xmax")):
        values = [box[i] for box in boxes]
        feature["image/object/bbox/" + name].float_list.value.extend(values)
    if change:
        change(feature)
    return example.SerializeToString()


def write(path, records):
    """Writes a TFRecord file."""
    with tf.python_io.TFRecordWriter(str(path)) as writer:
        for serialized in records:
            writer.write(serialized)


def elements(dataset, limit=None):
    """List of the elements of a tf.data.Dataset of the current graph."""
    return list(iterate(dataset, limit))


def iterate(dataset, limit=None):
    """The elements of a tf.data.Dataset of the current graph, one at a time."""
    element = tf.data.make_one_shot_iterator(dataset).get_next()
    with tf.Session() as session:
        for _ in itertools.count() if limit is None else range(limit):
            try:
                fetched = session.run(element)
            except tf.errors.OutOfRangeError:
                return
            yield fetched
