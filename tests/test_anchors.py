# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Default boxes, matching, encoding and decoding beyond the reference's figures."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors


def encode(boxes, classes):
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(anchors.encode_labels(tf.constant(boxes), classes))


def test_there_are_8732_boxes_and_an_unknown_order_is_refused():
    assert anchors.NUM_DEFAULT_BOXES == 8732
    with pytest.raises(ValueError, match="'ltrb' or 'xywh'"):
        anchors.DefaultBoxes()("yxhw")


def test_the_first_cell_has_two_squares_and_two_oblongs():
    boxes = anchors.DefaultBoxes()("xywh")[:4] * 300
    large = np.sqrt(21 * 45)
    expected = [
        [4, 4, 21, 21],
        [4, 4, large, large],
        [4, 4, 21 / np.sqrt(2), 21 * np.sqrt(2)],  # wider than high
        [4, 4, 21 * np.sqrt(2), 21 / np.sqrt(2)],
    ]
    np.testing.assert_allclose(boxes, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "other, expected",
    [
        ([0.0, 0.0, 0.5, 0.2], 1.0),
        ([0.0, 0.1, 0.5, 0.3], 1 / 3),  # half of either
        ([0.5, 0.0, 1.0, 0.2], 0.0),  # only touches
        ([0.3, 0.1, 0.3, 0.1], 0.0),  # empty
    ],
)
def test_iou_of_two_boxes(graph, other, expected):
    iou = anchors.iou_ltrb(tf.constant([[0.0, 0.0, 0.5, 0.2]]), tf.constant([other]))
    with tf.Session() as session:
        assert session.run(iou)[0, 0] == pytest.approx(expected, abs=1e-6)


def test_iou_of_two_empty_boxes_is_zero(graph):
    empty = tf.constant([[0.3, 0.3, 0.3, 0.3]])
    with tf.Session() as session:
        assert session.run(anchors.iou_ltrb(empty, empty))[0, 0] == 0


def test_match_forces_best_box_below_half_iou():
    # 0.01 x 0.01 of the image is far smaller than any default box (0.05 x 0.1).
    classes, _, num_matched = encode([[0.5, 0.5, 0.51, 0.51]], [7])
    assert num_matched == 1
    assert sorted(classes)[-2:] == [0, 7]


def test_of_two_ground_truths_that_force_one_box_the_earlier_row_has_it():
    same = [[0.5, 0.5, 0.51, 0.51], [0.5, 0.5, 0.51, 0.51]]
    classes, _, num_matched = encode(same, [7, 8])
    assert num_matched == 1
    assert classes.max() == 7


def test_the_earlier_row_keeps_its_forced_box_from_a_better_fitting_one():
    # Both force default box 5000: the second is that box, the first a bit smaller.
    exact = anchors.DefaultBoxes()("ltrb")[5000]
    smaller = exact + [0.01, 0.01, -0.01, -0.01]
    classes, _, _ = encode(np.stack([smaller, exact]).astype(np.float32), [1, 2])
    assert classes[5000] == 1


def test_unmatched_boxes_are_background_with_zero_offsets():
    classes, offsets, num_matched = encode([[0.1, 0.2, 0.6, 0.9]], [3])
    assert (classes > 0).sum() == num_matched
    assert not offsets[classes == 0].any()
    assert np.abs(offsets[classes > 0]).sum(axis=1).all()


def test_decoding_undoes_encoding():
    seed = np.random.randint(2**31)
    print("seed", seed)
    random = np.random.RandomState(seed)
    corner = random.uniform(0, 0.7, [20, 2])
    size = random.uniform(0.02, 0.3, [20, 2])
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        rows, defaults = anchors.match(tf.constant(boxes))
        _, offsets, _ = anchors.encode_labels(tf.constant(boxes), tf.range(1, 21))
        decoded = anchors.decode_offsets(offsets)
        rows, defaults, decoded = session.run([rows, defaults, decoded])
    np.testing.assert_allclose(decoded[defaults], boxes[rows], atol=1e-5)
