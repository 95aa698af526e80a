# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which records cannot be used, for training or for evaluation, and what is said."""

import struct

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import records
from dataset import image_header, record_rules

BOX = [0.1, 0.2, 0.6, 0.9]
LABELS = record_rules.LABEL_FEATURE
# 90 x 120 pixels. The table below is made before any fixture.
Y, X = np.mgrid[0:90, 0:120]
JPEG = records.encode_image(np.stack([Y * 2, X * 2, X + Y], axis=-1).astype(np.uint8))


def record(*boxes, encoded=JPEG, labels=None):
    labels = len(boxes) if labels is None else labels
    return records.record(7, encoded, boxes, [1] * labels)


def changed(change):
    """A record whose features went through a function."""
    return records.record(7, JPEG, [BOX], [1], change)


def without(name):
    return changed(lambda feature: feature.pop(name))


def with_float(name):
    """A record with a number where there should be something else."""

    def change(feature):
        feature[name].Clear()
        feature[name].float_list.value.append(1.0)

    return changed(change)


def with_id(text):
    def change(feature):
        feature[record_rules.ID_FEATURE].bytes_list.value[0] = text

    return changed(change)


def claiming_65000_pixels_a_side():
    start = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:start] + struct.pack(">HH", 65000, 65000) + JPEG[start + 4 :]


def claiming_2_gb():
    """A record whose only feature claims an image of 2 GB, but ends."""
    item = b"\n\x80\x80\x80\x80\x08" + JPEG[:100]

    def nest(tag, data):
        return bytes([tag, len(data)]) + data

    name = nest(0x0A, b"image/encoded")
    return nest(0x0A, nest(0x0A, name + nest(0x12, nest(0x0A, item))))


def image(encoded):
    return record(BOX, encoded=encoded)


TRAINING, EVALUATION, BOTH = "training", "evaluation", "training and evaluation"
# A broken record, what is said about it, and where it matters.
BROKEN = {
    "no example": (b"\xff no example", "is not a valid tf.train.Example", BOTH),
    "image that claims 2 GB": (claiming_2_gb(), "not a valid tf.train.Example", BOTH),
    "empty record": (b"", "it has no image/encoded", BOTH),
    "no image": (without("image/encoded"), "it has no image/encoded", BOTH),
    "no id": (without("image/source_id"), "it has no image/source_id", EVALUATION),
    "label of another type": (
        with_float(LABELS),
        "its image/object/class/label is of type float_list, not int64_list",
        TRAINING,
    ),
    "id of another type": (
        with_float("image/source_id"),
        "its image/source_id is of type float_list, not bytes_list",
        EVALUATION,
    ),
    "id that is a word": (
        with_id(b"cat"),
        "its image/source_id b'cat' is not a number of at most 18 digits",
        EVALUATION,
    ),
    "negative id": (with_id(b"-1"), "is not a number", EVALUATION),
    "id with a space": (with_id(b" 1"), "is not a number", EVALUATION),
    "id beyond int64": (with_id(b"9" * 19), "is not a number", EVALUATION),
    "no picture": (image(b"no picture"), "is neither a JPEG nor a PNG", BOTH),
    "image of one byte": (image(b"\xff"), "is neither a JPEG nor a PNG", BOTH),
    "PNG of a huge size": (
        image(records.black_png(8200)),
        "its image claims 8200 x 8200 pixels; at least 1 and at most 67108864",
        BOTH,
    ),
    "JPEG of a huge size": (
        image(claiming_65000_pixels_a_side()),
        "its image claims 65000 x 65000 pixels",
        BOTH,
    ),
    "PNG of no pixels": (image(records.black_png(0)), "claims 0 x 0 pixels", BOTH),
    "JPEG cut in its header": (image(JPEG[:100]), "is a JPEG without a size", BOTH),
    "JPEG cut in half": (image(JPEG[: len(JPEG) // 2]), "its image is cut off", BOTH),
    "JPEG without its last byte": (image(JPEG[:-1]), "its image is cut off", BOTH),
    "PNG cut short": (
        image(records.black_png(90)[:-10]),
        "its image is cut off: it has no end marker",
        BOTH,
    ),
    "end before start": (
        record(BOX, [0.5, 0.2, 0.4, 0.9]),
        "its box [ymin 0.5, xmin 0.2, ymax 0.4, xmax 0.9] ends before it starts",
        TRAINING,
    ),
    "not a number": (
        record([0.1, np.nan, 0.4, 0.9]),
        "its box [ymin 0.1, xmin nan, ymax 0.4, xmax 0.9] lies outside the image",
        TRAINING,
    ),
    "pixels instead of fractions": (
        record([10, 20, 40, 90]),
        "[ymin 10, xmin 20, ymax 40, xmax 90] lies outside the image (0..1)",
        TRAINING,
    ),
    "fewer labels than boxes": (
        record(BOX, BOX, labels=1),
        "it has 1 labels, but [2, 2, 2, 2] values of ymin, xmin, ymax, xmax",
        TRAINING,
    ),
    "more labels than boxes": (
        record(BOX, labels=3),
        "it has 3 labels, but [1, 1, 1, 1] values",
        TRAINING,
    ),
    "sides of unequal number": (
        without(record_rules.BOX_FEATURES[1]),
        "it has 1 labels, but [1, 0, 1, 1] values",
        TRAINING,
    ),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_record_is_refused_where_it_matters(name):
    serialized, message, where = BROKEN[name]
    found = record_rules.read_record(serialized)
    for mode, is_training in ((TRAINING, True), (EVALUATION, False)):
        problem = found.problem(is_training)
        if where in (mode, BOTH):
            assert message in problem and "\n" not in problem
        else:
            assert problem is None


def test_the_first_problem_that_matters_is_named():
    def change(feature):
        feature[record_rules.ID_FEATURE].bytes_list.value[0] = b"cat"
        feature[record_rules.BOX_FEATURES[2]].float_list.value[0] = 0

    found = record_rules.read_record(changed(change))
    assert [p.kind for p in found.problems] == [
        record_rules.BAD_ID,
        record_rules.BACKWARD,
    ]
    assert "ends before it starts" in found.problem(is_training=True)
    assert "b'cat' is not a number" in found.problem(is_training=False)


# The limits too, although float32 makes 1.1 a little larger than 1.1.
@pytest.mark.parametrize("side", [-0.1, -0.09, 1.09, 1.1])
def test_boxes_a_little_outside_are_used(side):
    boxes = [[0.2, min(side, 0.1), 0.8, max(side, 0.9)], [0.3, 0.4, 0.4, 0.6]]
    found = record_rules.read_record(record(*boxes))
    assert found.problems == []
    np.testing.assert_allclose(found.boxes, boxes)


@pytest.mark.parametrize(
    "box",
    [
        [0.3, 0.4, 0.3, 0.6],
        [0.3, 0.4, 0.6, 0.4 + 0.004 / 120],  # 0.004 pixels wide
        [0.3, 1.02, 0.6, 1.08],
        [-0.1, 0.4, 0, 0.6],
    ],
)
def test_a_box_that_does_not_count_is_left_out_of_its_record(box):
    serialized = records.record(7, JPEG, [box, BOX], [3, 90])
    found = record_rules.read_record(serialized)
    (problem,) = found.problems
    assert problem.kind == record_rules.NO_SIZE
    assert "has no size or lies outside the image" in problem.text
    # Neither training nor evaluation leaves the record out.
    assert found.problem(is_training=True) is None
    assert found.problem(is_training=False) is None
    np.testing.assert_allclose(found.boxes, [BOX])
    assert list(found.labels) == [90]


def test_a_good_record_is_read_whole():
    found = record_rules.read_record(records.record(7, JPEG, [BOX, BOX], [3, 90]))
    assert found.problems == []
    assert found.encoded == JPEG
    assert found.height_width == (90, 120)
    assert (found.image_id, found.id_text) == (7, "7")
    assert list(found.labels) == [3, 90]


def segment(marker, data):
    return struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data


@pytest.mark.parametrize(
    "encoded",
    [
        # A thumbnail with a size and an end of its own, before those of the image.
        JPEG[:2] + segment(0xE1, JPEG) + JPEG[2:],
        JPEG[:2] + b"\xff\xff\xff" + JPEG[2:],  # fill bytes
        JPEG + b"bytes behind the end",
    ],
)
def test_the_size_of_a_jpeg_is_that_which_tensorflow_decodes(encoded):
    with tf.Graph().as_default(), tf.Session() as session:
        shape = session.run(tf.shape(tf.image.decode_jpeg(encoded)))
    assert tuple(shape) == image_header.read_size(encoded) + (3,)


def test_the_end_of_a_thumbnail_does_not_hide_that_the_image_is_cut_off():
    encoded = JPEG[:2] + segment(0xE1, JPEG) + JPEG[2 : len(JPEG) // 2]
    with pytest.raises(ValueError, match="cut off"):
        image_header.read_size(encoded)
