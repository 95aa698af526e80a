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


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="'ltrb' or 'xywh'"):
        anchors.DefaultBoxes()("yxhw")


def test_iou_of_pairs_of_boxes(graph):
    box, empty = [0.0, 0.0, 0.5, 0.2], [0.3, 0.1, 0.3, 0.1]
    overlaps, touches = [0.0, 0.1, 0.5, 0.3], [0.5, 0.0, 1.0, 0.2]
    iou = anchors.iou_ltrb(
        tf.constant([box, empty]), tf.constant([box, overlaps, touches, empty])
    )
    with tf.Session() as session:
        found = session.run(iou)
    # The second one has half of its area in common with the first.
    np.testing.assert_allclose(found, [[1, 1 / 3, 0, 0], [0, 0, 0, 0]], atol=1e-6)


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
