# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Losses, schedule and training log, where no reference has figures for them."""

import logging
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
import ssd_model


def hardest(losses, is_negative, count):
    with tf.Graph().as_default(), tf.Session() as session:
        mask = ssd_model.hardest_negatives(
            tf.constant(losses, tf.float32),
            tf.constant(is_negative),
            tf.constant(count),
        )
        return session.run(mask)


def test_hardest_negatives_with_ties_and_too_few():
    ties, not_the_10 = [0.0, 5.0, 10.0, 9.0, 5.0], [True, True, False, True, True]
    expected = {
        0: [0, 0, 0, 0, 0],
        1: [0, 0, 0, 1, 0],  # 9 is the largest negative
        2: [0, 1, 0, 1, 0],  # the first of the two 5s
        3: [0, 1, 0, 1, 1],
        4: [1, 1, 0, 1, 1],
        5: [1, 1, 0, 1, 1],  # there are only four negatives
        100: [1, 1, 0, 1, 1],
    }
    mask = hardest([ties] * 7, [not_the_10] * 7, list(expected))
    assert mask.astype(int).tolist() == list(expected.values())
    # Losses below 0 count as 0: all four are ties.
    mask = hardest([[-1.0, -0.0, 0.0, -2.0]], [[True] * 4], [2])
    assert mask.astype(int).tolist() == [[1, 1, 0, 0]]


def test_hardest_negatives_equal_a_sort_for_random_losses():
    seed = np.random.randint(2**31)
    print("seed", seed)
    random = np.random.RandomState(seed)
    losses = random.exponential(size=[6, 500]).astype(np.float32)
    losses[3:] = np.round(losses[3:], 1)  # many ties, zeros too
    is_negative = random.uniform(size=losses.shape) < 0.9
    count = random.randint(0, 520, 6).astype(np.int32)
    mask = hardest(losses, is_negative, count)
    assert not (mask & ~is_negative).any()
    for row in range(6):
        negatives = np.sort(losses[row][is_negative[row]])[::-1]
        taken = np.sort(losses[row][mask[row]])[::-1]
        np.testing.assert_array_equal(taken, negatives[: count[row]])


def test_an_image_without_any_match_has_no_loss(graph):
    labels = {
        "classes": tf.zeros([1, 8732], tf.int32),
        "boxes": tf.zeros([1, 8732, 4]),
        "num_matched_boxes": tf.zeros([1]),
    }
    levels = list(zip(anchors.LEVELS, anchors.FEATURE_SIZES, anchors.BOXES_PER_CELL))
    outputs = [
        {level: tf.ones([1, side, side, depth * k]) for level, side, k in levels}
        for depth in (81, 4)
    ]
    with tf.Session() as session:
        assert session.run(ssd_model.detection_loss(*outputs, labels)) == (0, 0, 0)


def test_steps_of_the_published_schedule():
    params = dict(ssd_model.DEFAULT_PARAMS)
    assert {type(value) for value in params.values()} == {int, float}
    for num_ranks, epoch, total in ((1, 3750, 432000), (8, 468, 54000)):
        params["num_ranks"] = num_ranks
        assert ssd_model.steps_per_epoch(params) == epoch
        assert ssd_model.total_steps(params) == total


def test_mode_eval_is_refused():
    with pytest.raises(ValueError, match="predict"):
        ssd_model.ssd_model_fn({}, None, "eval", ssd_model.DEFAULT_PARAMS)


def log_of_a_run(
    caplog, steps_per_run, start, total, every, summary_dir=None, between=lambda: None
):
    """Returns the log lines of a training with steps_per_run steps per session run."""
    params = dict(
        ssd_model.DEFAULT_PARAMS,
        batch_size=1,
        num_ranks=4,
        num_examples_per_epoch=4 * total,
        num_epochs=1,
        log_every_n_steps=every,
        iterations_per_loop=steps_per_run,
        summary_dir=summary_dir,
    )
    tf.logging.set_verbosity(tf.logging.INFO)
    caplog.set_level(logging.INFO)
    caplog.clear()
    # caplog listens at the root logger.
    logging.getLogger("tensorflow").propagate = True
    with tf.Graph().as_default():
        step = tf.train.get_or_create_global_step()
        train_op = tf.assign_add(step, steps_per_run)
        hook = ssd_model.TrainingLogHook(
            tf.constant(0.02377195), tf.constant(7.5), params
        )
        scaffold = tf.train.Scaffold(
            init_op=tf.group(tf.global_variables_initializer()),
            init_fn=lambda _, session: step.load(start, session),
        )
        creator = tf.train.ChiefSessionCreator(scaffold)
        with tf.train.MonitoredSession(creator, [hook]) as session:
            for _ in range((total - start) // steps_per_run):
                session.run(train_op)
                between()
    return [record.getMessage() for record in caplog.records]


def test_log_has_the_users_line_and_the_progress_every_n_steps(caplog, tmp_path):
    folder = str(tmp_path)
    lines = log_of_a_run(caplog, 1, start=0, total=40, every=20, summary_dir=folder)
    starts = [line.split(":")[0] for line in lines if line.startswith(("FPS", "step"))]
    assert starts == [
        "step 10 of 40 (25.0 %), 0",  # the time left is told soon
        "FPS",
        "step 20 of 40 (50.0 %), 0",
        "FPS",
        "step 40 of 40 (100.0 %), 0",
    ]
    assert lines[-1].endswith("0:00:00 left")
    assert not any(line.startswith("resumed") for line in lines)
    rates = [line for line in lines if line.startswith("FPS")]
    assert rates[0].endswith(", learning rate: 0.02377195, loss: 7.5")
    with tf.Graph().as_default():
        tf.summary.FileWriterCache.get(folder).flush()
    (path,) = tmp_path.iterdir()
    values = {
        event.step: value.simple_value
        for event in tf.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == "FPS"
    }
    assert list(values) == [20, 40]
    logged = [float(line.split()[1][:-1]) for line in rates]
    assert list(values.values()) == pytest.approx(logged, rel=1e-2)


def test_the_speed_leaves_out_the_time_of_an_evaluation(caplog):
    def evaluate():
        with ssd_model.TrainingLogHook.paused():
            time.sleep(0.3)

    lines = log_of_a_run(caplog, 1, start=0, total=10, every=5, between=evaluate)
    # With it, five steps of four images would take 1.5 s.
    rates = [line.split()[1] for line in lines if line.startswith("FPS: ")]
    assert min(float(rate.rstrip(",")) for rate in rates) > 20 / 1.5


def test_log_when_a_session_run_takes_many_steps(caplog):
    # Runs of 40 steps do not reach 100 or 200 exactly.
    lines = log_of_a_run(caplog, steps_per_run=40, start=40, total=320, every=100)
    steps = [line.split()[1] for line in lines if line.startswith("step ")]
    assert steps == ["120", "200", "320"]
    assert "resumed at step 40" in lines
