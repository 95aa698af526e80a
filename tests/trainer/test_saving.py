# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints at the same steps whether a training is resumed or not."""

import collections
import shutil

import pytest
import tensorflow.compat.v1 as tf

from trainer import checkpoints, saving

DiskUsage = collections.namedtuple("DiskUsage", "free")


@pytest.fixture
def train(tmp_path):
    """Function that trains a model of one weight of 4 KB as devices/cpu_gpu.py does."""

    def model_fn(features, mode):
        weight = tf.get_variable("weight", [1000])
        loss = tf.reduce_sum(weight * features)
        optimizer = tf.train.GradientDescentOptimizer(0.1)
        train_op = optimizer.minimize(loss, tf.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    def run(stop_step, total=12, every=(5,), steps_per_run=1, listener=None):
        config = tf.estimator.RunConfig(
            str(tmp_path), save_checkpoints_steps=total, keep_checkpoint_max=9
        )
        hook = saving.SaveAtMultiples(
            str(tmp_path),
            every,
            total,
            steps_per_run,
            9,
            "training: 12 steps",
            listener,
        )
        tf.estimator.Estimator(model_fn, config=config).train(
            lambda: tf.data.Dataset.from_tensors([1.0]).repeat(),
            hooks=[hook],
            max_steps=stop_step,
        )
        return checkpoints.steps(str(tmp_path))

    return run


def test_a_resumed_training_saves_at_the_same_steps(train):
    # A signal stops it after step 3.
    assert train(3) == [0, 3]
    assert train(12) == [0, 3, 5, 10, 12]


def test_multiples_of_several_numbers_are_saved_until_the_listener_ends_the_training(
    train,
):
    saved = []

    class Listener(tf.train.CheckpointSaverListener):
        def after_save(self, session, global_step_value):
            saved.append(global_step_value)
            return global_step_value == 10

    assert train(12, every={4, 5}, listener=Listener()) == [0, 4, 5, 8, 10]
    # The Estimator has saved the first one.
    assert saved == [0, 4, 5, 8, 10]


def test_a_run_of_several_steps_saves_the_first_step_past_a_multiple(train):
    assert train(12, every={4}, steps_per_run=3) == [0, 4, 8, 12]


@pytest.mark.parametrize(
    "free, level, end",
    [
        (6e4, "INFO", "its disk has 0.0 GB free"),
        (9e3, "WARNING", "its disk has 0.0 GB free: too little; lower --keep"),
    ],
)
def test_the_start_tells_what_the_checkpoints_take_of_the_disk(
    train, monkeypatch, caplog, free, level, end
):
    caplog.set_level("INFO", logger="tensorflow")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(free))
    train(1, total=1, every={1})
    (line,) = [r for r in caplog.records if "checkpoints: every" in r.getMessage()]
    assert line.levelname == level
    start = "training: 12 steps; checkpoints: every 1 steps, about 2 of 0 MB each are "
    assert line.getMessage().startswith(start)
    assert end in line.getMessage()
