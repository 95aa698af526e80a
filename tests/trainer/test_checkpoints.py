# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint a training resumes from."""

import tempfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from console.errors import UserError
from trainer import checkpoints


def test_another_number_of_categories_is_named(tmp_path):
    path = str(tmp_path / "model.ckpt-7")
    # The first level has 4 default boxes per cell, and 21 classes each.
    models.save(path, {"ssd/class_net/class-3/bias": np.zeros(84, np.float32)})
    checkpoints.check_classes(path, 21)
    with pytest.raises(ValueError, match="was trained with 20 categories, not 80"):
        checkpoints.check_classes(path, 81)


def write_training(folder, steps, weights=(1.0, 2.0)):
    """Saves a small model like a training does, one checkpoint for each step."""
    for step in steps:
        values = {"weights": np.resize(np.float32(weights), [40, 50])}
        models.save(
            folder / f"model.ckpt-{step}", dict(values, global_step=np.int64(step))
        )


@pytest.mark.parametrize(
    "suffix, damage",
    [
        ("data-00000-of-00001", lambda content: content[: len(content) // 2]),
        ("data-00000-of-00001", lambda content: b""),
        ("data-00000-of-00001", lambda content: content[:99] + b"X" + content[100:]),
        ("index", lambda content: content[:5] + b"X" + content[6:]),
    ],
    ids=["cut short", "empty", "a changed byte", "a damaged index"],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path, caplog, suffix, damage
):
    write_training(tmp_path, [5, 10, 20])
    path = tmp_path / f"model.ckpt-20.{suffix}"
    path.write_bytes(damage(path.read_bytes()))
    expected = (10, str(tmp_path / "model.ckpt-10"))
    assert checkpoints.steps(str(tmp_path)) == [5, 10, 20]
    assert checkpoints.newest_usable(str(tmp_path)) == expected
    assert f"skipped a checkpoint: cannot read {tmp_path}/model.ckpt-20" in caplog.text


@pytest.mark.parametrize("name", ["a*b [1]", "back\\slash"])
def test_a_folder_whose_name_is_a_pattern_does_not_matter(tmp_path, caplog, name):
    plain, folder = tmp_path / "plain", tmp_path / name
    plain.mkdir()
    write_training(plain, [5, 10, 20])
    plain.rename(folder)
    index = folder / "model.ckpt-20.index"
    index.write_bytes(index.read_bytes()[:5])
    expected = (10, f"{folder}/model.ckpt-10")
    assert checkpoints.newest_usable(str(folder)) == expected
    assert checkpoints.find(f"{folder}/model.ckpt-10.index") == expected
    assert f"cannot read {folder}/model.ckpt-20: " in caplog.text
    checkpoints.select(str(folder), expected[1])
    state = (folder / "checkpoint").read_text().splitlines()
    assert state == [
        'model_checkpoint_path: "model.ckpt-10"',
        'all_model_checkpoint_paths: "model.ckpt-5"',
        'all_model_checkpoint_paths: "model.ckpt-10"',
    ]


def test_without_a_temporary_folder_no_checkpoint_is_taken_for_damaged(
    tmp_path, monkeypatch
):
    write_training(tmp_path, [5])
    folder = tmp_path / "run [1]"
    folder.mkdir()
    for path in tmp_path.glob("model.ckpt-5.*"):
        path.rename(folder / path.name)
    for tempdir in (f"{tmp_path}/none", str(folder)):
        monkeypatch.setattr(tempfile, "tempdir", tempdir)
        with pytest.raises(UserError, match="TensorFlow takes"):
            checkpoints.newest_usable(str(folder))


def test_weights_that_are_not_finite_are_left_out(tmp_path, caplog):
    write_training(tmp_path, [10])
    write_training(tmp_path, [20], weights=(1.0, np.nan))
    assert checkpoints.newest_usable(str(tmp_path))[0] == 10
    assert "model.ckpt-20: variable weights is not finite" in caplog.text


def test_a_state_file_that_is_missing_or_wrong_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    write_training(folder, [10, 20])
    for state in (None, "", 'model_checkpoint_path: "gone-7"', "\0\1"):
        (folder / "checkpoint").unlink()
        if state is not None:
            (folder / "checkpoint").write_text(state)
        step, path = checkpoints.newest_usable("model")
        assert step == 20
        checkpoints.select("model", path)
        assert tf.train.latest_checkpoint("model") == path


class Device:
    """A rank that knows the steps of the other ranks in advance."""

    def __init__(self, others, shares_model_dir=False):
        self.rank, self.ranks = 0, self
        self.shares_model_dir = shares_model_dir
        self._others = others
        self._limit = np.inf

    def exchange(self, step):
        # Like this rank, the others return to their newest step up to the smallest one.
        below = [[s for s in have if s <= self._limit] for have in self._others]
        steps = [step] + [max(have, default=-1) for have in below]
        self._limit = min(steps)
        return steps


def test_ranks_go_on_from_the_newest_step_that_all_have(tmp_path):
    write_training(tmp_path, [10, 20, 30])
    device = Device([[10, 20], [10, 30]])
    assert checkpoints.newest_common(str(tmp_path), device, 10)[0] == 10


def test_ranks_killed_in_their_first_save_start_from_step_0(tmp_path):
    write_training(tmp_path, [10])
    assert checkpoints.newest_common(str(tmp_path), Device([[]]), 10) == (None, None)
    checkpoints.select(str(tmp_path), None)
    assert tf.train.latest_checkpoint(str(tmp_path)) is None


@pytest.mark.parametrize(
    "is_shared, remedy", [(False, "copy that checkpoint"), (True, "share that folder")]
)
def test_a_rank_that_lost_its_checkpoints_is_named(tmp_path, is_shared, remedy):
    write_training(tmp_path, [20])
    device = Device([[]], shares_model_dir=is_shared)
    with pytest.raises(ValueError, match=f"rank 1 finds .* step 20 .*{remedy}"):
        checkpoints.newest_common(str(tmp_path), device, 10)
