# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The pretrained backbone, and where a training stands."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import checkpoints
import resnet
import ssd_model


def save(path, leave_out=(), reshape=(), extra=("dense/kernel", "global_step")):
    """Saves a backbone checkpoint as others train it; gives its values by name."""
    with tf.Graph().as_default():
        resnet.resnet34(tf.zeros([1, 300, 300, 3]), is_training=False)
        names = [v.op.name[len("resnet34/") :] for v in tf.global_variables()]
        shapes = [v.shape.as_list() for v in tf.global_variables()]
    random = np.random.RandomState(3)
    values = {}
    with tf.Graph().as_default(), tf.Session() as session:
        for name, shape in zip(names, shapes):
            if name in reshape:
                shape = shape[:-1] + [shape[-1] + 1]
            if name not in leave_out:
                values[name] = random.normal(size=shape).astype(np.float32)
                tf.get_variable(name, initializer=values[name])
        for name in extra:
            tf.get_variable(name, initializer=[1.0, 2.0])
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(path))
    return values


def test_backbone_is_taken_and_everything_else_is_left_aside(tmp_path, graph):
    path = str(tmp_path / "model.ckpt-28152")
    values = save(path)
    assignment, in_checkpoint = checkpoints.backbone_variables(path)
    assert (len(assignment), in_checkpoint) == (len(values), len(values) + 2)

    model_fn = checkpoints.with_backbone(ssd_model.ssd_model_fn, path, assignment)
    labels = {
        "classes": tf.zeros([1, 8732], tf.int32),
        "boxes": tf.zeros([1, 8732, 4]),
        "num_matched_boxes": tf.ones([1]),
    }
    features = {"image": tf.zeros([1, 300, 300, 3])}
    model_fn(features, labels, "train", ssd_model.DEFAULT_PARAMS)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found = {v.op.name: v for v in tf.global_variables()}
        taken = session.run([found["resnet34/" + name] for name in values])
        for array, value in zip(taken, values.values()):
            np.testing.assert_array_equal(array, value)
        assert session.run(found["global_step"]) == 0
        momentum = [v for name, v in found.items() if name.endswith("Momentum")]
        assert len(momentum) == len(tf.trainable_variables())
        assert not any(array.any() for array in session.run(momentum))


def test_first_missing_variable_is_named(tmp_path):
    path = str(tmp_path / "model.ckpt")
    save(path, leave_out=["conv2d_3/kernel", "conv2d_9/kernel"])
    with pytest.raises(ValueError, match="model.ckpt has no variable conv2d_3/kernel"):
        checkpoints.backbone_variables(path)


def test_first_variable_of_another_shape_is_named(tmp_path):
    path = str(tmp_path / "model.ckpt")
    save(path, reshape=["batch_normalization_1/gamma", "conv2d_9/kernel"])
    message = r"batch_normalization_1/gamma of .* has shape \[65\], .* needs \[64\]"
    with pytest.raises(ValueError, match=message):
        checkpoints.backbone_variables(path)


@pytest.mark.parametrize("content", [None, b"not an index"])
def test_checkpoint_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "model.ckpt"
    if content:
        (tmp_path / "model.ckpt.index").write_bytes(content)
    with pytest.raises(ValueError, match="cannot read .*model.ckpt"):
        checkpoints.backbone_variables(str(path))


def test_newest_step_is_none_without_a_checkpoint(tmp_path):
    assert checkpoints.newest_step(str(tmp_path)) is None
    assert checkpoints.newest_step(str(tmp_path / "missing")) is None


def test_newest_step_of_several(tmp_path, graph):
    step = tf.train.get_or_create_global_step()
    saver = tf.train.Saver()
    with tf.Session() as session:
        for value in (5, 10):
            step.load(value, session)
            saver.save(session, str(tmp_path / "model.ckpt"), global_step=value)
    assert checkpoints.newest_step(str(tmp_path)) == 10
