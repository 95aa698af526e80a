# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The pretrained backbone, and where a training stands."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import resnet
import ssd_architecture
import ssd_model
from trainer import checkpoints


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


def write_training(folder, steps):
    """Saves a small model as a training does, a checkpoint for each of the steps."""
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.train.get_or_create_global_step()
        tf.get_variable("weights", [40, 50])
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(max_to_keep=None)
        for number in steps:
            session.run(step.assign(number))
            saver.save(session, str(folder / "model.ckpt"), global_step=number)


def damage_data(folder, step, how):
    path = folder / f"model.ckpt-{step}.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    if how == "cut short":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = b""
    else:
        content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut short", "empty", "a flipped bit"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path, caplog, how
):
    write_training(tmp_path, [10, 20, 30])
    damage_data(tmp_path, 30, how)
    step, path = checkpoints.newest_usable(str(tmp_path))
    assert (step, path) == (20, str(tmp_path / "model.ckpt-20"))
    assert "left out the checkpoint" in caplog.text and "model.ckpt-30" in caplog.text


def test_a_checkpoint_with_a_damaged_index_is_left_out(tmp_path):
    write_training(tmp_path, [10, 20])
    index = tmp_path / "model.ckpt-20.index"
    content = bytearray(index.read_bytes())
    content[5] ^= 1
    index.write_bytes(content)
    assert checkpoints.newest_usable(str(tmp_path))[0] == 10


def test_weights_that_are_not_finite_are_left_out(tmp_path):
    write_training(tmp_path, [10])
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("weights", initializer=[1.0, np.nan])
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), global_step=20)
    assert checkpoints.newest_usable(str(tmp_path))[0] == 10


@pytest.mark.parametrize("state", [None, "", 'model_checkpoint_path: "gone-7"', "\0\1"])
@pytest.mark.parametrize("is_relative", [False, True])
def test_a_state_file_that_is_missing_or_wrong_does_not_matter(
    tmp_path, monkeypatch, state, is_relative
):
    folder = tmp_path / "model"
    folder.mkdir()
    write_training(folder, [10, 20])
    (folder / "checkpoint").unlink()
    if state is not None:
        (folder / "checkpoint").write_text(state)
    monkeypatch.chdir(tmp_path)
    model_dir = "model" if is_relative else str(folder)
    step, path = checkpoints.newest_usable(model_dir)
    assert step == 20
    checkpoints.select(model_dir, path)
    assert tf.train.latest_checkpoint(model_dir) == path


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert checkpoints.newest_usable(str(tmp_path / "none")) == (None, None)


class Device:
    """A rank that knows in advance what the others have."""

    def __init__(self, others, shares_model_dir=False):
        self.rank, self.ranks = 0, self
        self.shares_model_dir = shares_model_dir
        self._others = others

    def exchange(self, step):
        # Each of the others goes back to its newest step of at most the limit, too.
        limit = getattr(self, "limit", np.inf)
        steps = [step] + [
            max([s for s in have if s <= limit], default=-1) for have in self._others
        ]
        self.limit = min(steps)
        return steps


def test_ranks_go_on_from_the_newest_step_that_all_have(tmp_path):
    write_training(tmp_path, [10, 20, 30])
    device = Device([[10, 20], [10, 30]])
    assert checkpoints.agree(str(tmp_path), device, 10)[0] == 10


def test_ranks_killed_in_their_first_save_start_anew(tmp_path):
    write_training(tmp_path, [10])
    assert checkpoints.agree(str(tmp_path), Device([[]]), 10) == (None, None)
    checkpoints.select(str(tmp_path), None)
    assert tf.train.latest_checkpoint(str(tmp_path)) is None


def test_a_rank_that_lost_its_checkpoints_is_named(tmp_path):
    write_training(tmp_path, [10, 20])
    with pytest.raises(ValueError, match="rank 1 finds .* step 20 .*copy"):
        checkpoints.agree(str(tmp_path), Device([[]]), 10)


def test_a_folder_that_servers_should_share_and_do_not_is_refused(tmp_path):
    write_training(tmp_path, [10])
    device = Device([[]], shares_model_dir=True)
    with pytest.raises(ValueError, match="rank 1 finds no .*must share that folder"):
        checkpoints.agree(str(tmp_path), device, 10)


def save_ssd(path, num_classes):
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.zeros([1, 300, 300, 3])
        ssd_architecture.ssd(images, is_training=False, num_classes=num_classes)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(path))


def test_a_checkpoint_of_other_classes_gives_its_backbone_but_not_its_head(tmp_path):
    path = str(tmp_path / "model.ckpt-7")
    save_ssd(path, 21)
    checkpoints.check_classes(path, 21)
    with pytest.raises(ValueError, match="a network with 20 categories, not 80"):
        checkpoints.check_classes(path, 81)
    assignment, _ = checkpoints.backbone_variables(path)
    assert assignment["resnet34/conv2d/kernel"] == "resnet34/conv2d/kernel"
