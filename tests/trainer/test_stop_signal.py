# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Signals during a training whose only weight is the step."""

import os
import signal
import threading

import pytest
import tensorflow.compat.v1 as tf

from devices import rank_messages
from processes import wait_for
from trainer import checkpoints, stop_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_background_job_saves_and_stops(graph, tmp_path, number):
    # Shell scripts start the jobs of & with SIGINT ignored.
    former = signal.signal(number, signal.SIG_IGN)
    try:
        step = tf.assign_add(tf.train.get_or_create_global_step(), 1)
        with stop_signal.StopOnSignal(rank_messages.Ranks(), 1) as stop:
            with tf.train.MonitoredTrainingSession(
                checkpoint_dir=str(tmp_path), hooks=[stop], save_checkpoint_steps=10**6
            ) as session:
                os.kill(os.getpid(), number)
                while not session.should_stop():
                    assert session.run(step) < 10**5
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, former)
    assert stop.stopped_at > 0
    assert checkpoints.steps(str(tmp_path)) == [0, stop.stopped_at]


@pytest.mark.parametrize(
    "number, other, has_launcher, statuses",
    [
        (signal.SIGTERM, signal.SIGINT, False, [143]),
        (signal.SIGINT, signal.SIGTERM, False, [130]),
        (signal.SIGTERM, signal.SIGINT, True, []),
    ],
)
def test_the_same_signal_again_ends_within_the_step_unless_a_launcher_counts_them(
    graph, monkeypatch, number, other, has_launcher, statuses
):
    monkeypatch.delenv("SSD_HEARTBEAT_FILE", raising=False)
    if has_launcher:
        monkeypatch.setenv("SSD_HEARTBEAT_FILE", "heartbeat")
    exits, wishes = [], []
    monkeypatch.setattr(os, "_exit", exits.append)
    ranks = rank_messages.Ranks()
    monkeypatch.setattr(ranks, "want_stop", lambda: wishes.append("stop"))
    queue = tf.FIFOQueue(1, tf.int32)
    long_step, end_of_step = queue.dequeue(), queue.enqueue(1)

    def send_signals():
        os.kill(os.getpid(), number)
        wait_for(lambda: len(wishes) == 1, seconds=20)
        os.kill(os.getpid(), number)
        # Another signal is handled after the second one.
        os.kill(os.getpid(), other)
        wait_for(lambda: len(wishes) == 2, seconds=20)
        session.run(end_of_step)

    with tf.Session() as session, stop_signal.StopOnSignal(ranks, 1):
        thread = threading.Thread(target=send_signals, daemon=True)
        thread.start()
        session.run(long_step)
        thread.join()
    assert exits == statuses
    assert len(wishes) == 2
