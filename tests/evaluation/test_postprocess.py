# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Detections equal those of the definition, independent of the rest of the batch.

test_golden.py compares them with the published reference.
"""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
from evaluation import postprocess

N = anchors.NUM_DEFAULT_BOXES


def trained_logits(seed, num_classes, objects):
    """Logits like a trained model's: all background but for some default boxes."""
    print(f"seed {seed}")
    random = np.random.RandomState(seed)
    logits = random.standard_normal((N, num_classes))
    logits[:, 0] += 12
    rows = random.choice(N, objects, replace=False)
    classes = random.randint(1, num_classes, objects)
    logits[rows, classes] += random.uniform(8, 16, objects)
    offsets = random.standard_normal((N, 4))
    return logits.astype(np.float32), offsets.astype(np.float32)


def one_crowded_class(seed):
    """500 default boxes of class 2 that hardly overlap: more than 200 remain."""
    logits, offsets = trained_logits(seed, 4, 0)
    # Level 3 has four boxes per cell; take the first one of every second cell.
    rows = np.arange(0, 4 * 38 * 38, 8)[:500]
    logits[rows] = 0
    logits[rows, 2] = np.linspace(0, 4, 500)
    offsets[:] = 0
    return logits, offsets


def equal_scores(seed, objects=150):
    """Very confident logits: many scores of several classes are exactly 1."""
    logits, offsets = trained_logits(seed, 6, objects)
    logits[logits.argmax(axis=1) > 0] *= 40
    return logits, offsets


CASES = {
    "trained": lambda: trained_logits(1, 81, 150),
    "own classes": lambda: trained_logits(2, 3, 400),
    "more than 200 of a class": lambda: one_crowded_class(3),
    "equal scores": lambda: equal_scores(4),
}


@pytest.fixture(scope="module")
def detect():
    """Function from arrays [B, N, C] and [B, N, 4] to the outputs of `detections`."""
    with tf.Graph().as_default():
        logits = tf.placeholder(tf.float32, [None, N, None])
        offsets = tf.placeholder(tf.float32, [None, N, 4])
        outputs = postprocess.detections(logits, offsets)
        with tf.Session() as session:
            yield lambda *arrays: session.run(
                outputs, dict(zip((logits, offsets), arrays))
            )


def decoded(offsets):
    """Boxes of one image, ltrb, as they are before suppression."""
    with tf.Graph().as_default(), tf.Session() as session:
        boxes = session.run(anchors.decode_offsets(tf.constant(offsets)))
    boxes = np.where(boxes < 0, np.float32(1e-5), boxes)
    boxes[:, 2:] = np.where(
        boxes[:, 2:] <= boxes[:, :2], boxes[:, :2] + np.float32(1e-5), boxes[:, 2:]
    )
    return boxes


def iou(box, others):
    size = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    intersection = np.prod(np.maximum(size, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return intersection / (np.prod(box[2:] - box[:2]) + areas - intersection)


def by_definition(logits, offsets):
    """Rows (score, class, box) of one image in order, computed class by class."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = exponentials / exponentials.sum(axis=1, keepdims=True)
    boxes, rows = decoded(offsets), []
    for number in range(1, logits.shape[1]):
        best = np.argsort(-scores[:, number], kind="mergesort")[:200]
        best = best[scores[best, number] > 0.05]
        while len(best):
            box = boxes[best[0]]
            rows.append((scores[best[0], number], number, *box))
            best = best[1:][iou(box, boxes[best[1:]]) <= 0.5]
    rows = sorted(rows, key=lambda row: (-row[0],) + row[1:])
    return np.array(rows[:200])


@pytest.mark.parametrize("case", sorted(CASES))
def test_detections_are_those_of_the_definition(detect, case):
    logits, offsets = CASES[case]()
    expected = by_definition(logits, offsets)
    boxes, scores, classes, counts = (x[0] for x in detect(logits[None], offsets[None]))
    assert counts == len(expected) > 0
    np.testing.assert_allclose(scores[:counts], expected[:, 0], atol=1e-6)
    np.testing.assert_array_equal(classes[:counts], expected[:, 1])
    np.testing.assert_allclose(boxes[:counts], expected[:, 2:], atol=1e-6)
    for rest in (boxes[counts:], scores[counts:], classes[counts:]):
        assert not rest.any()


def test_the_other_images_of_the_batch_change_nothing(detect):
    images = [equal_scores(6, 20), trained_logits(7, 6, 0), trained_logits(8, 6, 150)]
    logits, offsets = (np.stack(arrays) for arrays in zip(*images))
    together = detect(logits, offsets)
    assert together[3][1] == 0 < together[3][0] < together[3][2]
    for i in range(3):
        alone = detect(logits[i : i + 1], offsets[i : i + 1])
        for ours, theirs in zip(alone, together):
            np.testing.assert_allclose(ours[0], theirs[i], atol=1e-6)


def test_an_untrained_model_detects_nothing(detect):
    boxes, _, _, counts = detect(np.zeros((2, N, 81)), np.zeros((2, N, 4)))
    assert boxes.shape == (2, 200, 4)
    assert counts.tolist() == [0, 0]


def test_padding_of_the_last_batch_is_left_out():
    logits, offsets = trained_logits(9, 81, 5)
    batch = {
        "class_logits": np.stack([logits] * 3),
        "box_offsets": np.stack([offsets] * 3),
        "source_id": np.array([139, 632, -1]),
        "raw_shape": np.array([[426, 640, 3], [483, 640, 3], [1, 1, 3]]),
    }
    first, second = postprocess.Detector()(batch)
    assert (first["source_id"], second["source_id"]) == (139, 632)
    assert second["raw_shape"].tolist() == [483, 640, 3]
    assert len(first["boxes"]) == len(first["classes"]) == len(first["scores"]) > 0
