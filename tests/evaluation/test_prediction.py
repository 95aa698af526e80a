# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""One session predicts with one checkpoint after another."""

import contextlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from evaluation import prediction

BATCH = 2


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Prefixes of two checkpoints, whose weights are 2 and 5."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for weight in (2, 5):
        values = {"weight": np.float32(weight), "global_step": np.int64(weight)}
        models.save(folder / f"model.ckpt-{weight}", values)
    return [str(folder / f"model.ckpt-{weight}") for weight in (2, 5)]


@pytest.fixture
def start():
    """Function of a number of images that starts a Prediction of w * source_id.

    Its attribute graphs lists the graphs that were built.
    """

    def model_fn(features, mode):
        start.graphs.append(tf.get_default_graph())
        weight = tf.get_variable("weight", [])
        output = weight * tf.cast(features["source_id"], tf.float32)
        predictions = dict(features, output=output)
        return tf.estimator.EstimatorSpec(mode, predictions=predictions)

    def start(num_images):
        def input_fn():
            ids = np.arange(1, num_images + 1)
            # As the reader fills the last batch up.
            ids = np.append(ids, [-1] * (-num_images % BATCH))
            dataset = tf.data.Dataset.from_tensor_slices({"source_id": ids})
            return dataset.batch(BATCH, drop_remainder=True)

        estimator = tf.estimator.Estimator(model_fn)
        return stack.enter_context(prediction.Prediction(estimator, input_fn))

    start.graphs = []
    with contextlib.ExitStack() as stack:
        yield start


def outputs(batches):
    """What was predicted, without the padding."""
    rows = [row for b in batches for row in zip(b["source_id"], b["output"])]
    return [float(output) for source_id, output in rows if source_id >= 0]


@pytest.mark.parametrize("num_images", [0, 1, 4, 5])
def test_each_checkpoint_predicts_all_images_in_the_same_session(
    start, checkpoints, num_images
):
    predicts = start(num_images)
    with tf.Graph().as_default() as graph:
        for path, weight in zip(checkpoints + checkpoints[:1], (2, 5, 2)):
            expected = [float(weight * i) for i in range(1, num_images + 1)]
            assert outputs(predicts.batches(path)) == expected
            # That of a training must not change.
            assert tf.get_default_graph() is graph
    assert len(start.graphs) == 1


def test_after_one_that_was_left_early_the_next_starts_with_the_first_image(
    start, checkpoints
):
    predicts = start(5)
    assert outputs([next(predicts.batches(checkpoints[0]))]) == [2, 4]
    assert outputs(predicts.batches(checkpoints[1])) == [5, 10, 15, 20, 25]


def test_after_a_checkpoint_that_has_vanished_the_next_is_predicted(start, checkpoints):
    predicts = start(1)
    assert outputs(predicts.batches(checkpoints[0])) == [2]
    with pytest.raises((ValueError, tf.errors.OpError)):
        next(predicts.batches(checkpoints[0] + "0"))
    assert outputs(predicts.batches(checkpoints[1])) == [5]
