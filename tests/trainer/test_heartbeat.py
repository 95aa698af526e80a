# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The heartbeat of a training, as the launcher reads it."""

import faulthandler
import signal
import time

import pytest
import tensorflow.compat.v1 as tf

from devices import rank_process
from trainer import heartbeat


@pytest.fixture
def rank(tmp_path):
    rank = rank_process.RankProcess(0, 0, str(tmp_path))
    rank.create_log()
    return rank


def test_each_session_run_and_the_end_are_seen(rank, graph, monkeypatch):
    monkeypatch.delenv("SSD_HEARTBEAT_FILE", raising=False)
    assert heartbeat.hooks("model") == []
    monkeypatch.setenv("SSD_HEARTBEAT_FILE", f"{rank.folder}/heartbeat_0")
    tf.train.create_global_step()
    step = tf.assign_add(tf.train.get_global_step(), 1)
    hooks = heartbeat.hooks("model_dir")
    assert rank.heartbeat() is None
    beats = []
    with tf.train.MonitoredSession(hooks=hooks) as session:
        for _ in range(3):
            time.sleep(0.02)
            session.run(step)
            beats.append(rank.heartbeat())
        assert beats == sorted(set(beats))
        with heartbeat.paused():
            # An evaluation may take any time.
            assert rank.heartbeat() is None
        assert rank.heartbeat() > beats[-1]
    # The evaluation that follows the training may take any time.
    assert rank.heartbeat() is None
    assert faulthandler.unregister(signal.SIGUSR1)


def test_a_checkpoint_after_the_first_step_is_progress(rank, graph, tmp_path):
    # A relative folder is relative to the rank's own.
    path = tmp_path / "training" / "D0"
    (path / "my model").mkdir()
    (path / "my model" / "model.ckpt-99.index.tempstate").touch()
    hook = heartbeat.Heartbeat(str(path / "heartbeat_0"), "my model")
    step = tf.train.get_or_create_global_step()
    with tf.Session() as session:
        session.run(tf.assign(step, 10))
        hook.after_create_session(session, None)
    assert not rank.has_new_checkpoint()
    for number, is_new in ((2, False), (10, False), (12, True)):
        (path / "my model" / f"model.ckpt-{number}.index").touch()
        assert rank.has_new_checkpoint() == is_new
