# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Signals that stop a training; test_faults.py has them in a real one."""

import os
import signal

import pytest

from devices import rank_messages
from processes import wait_for
from trainer import stop_signal


@pytest.mark.parametrize("has_launcher, statuses", [(False, [143]), (True, [])])
def test_the_same_signal_again_ends_at_once_unless_a_launcher_counts_them(
    monkeypatch, has_launcher, statuses
):
    monkeypatch.delenv("SSD_HEARTBEAT_FILE", raising=False)
    if has_launcher:
        monkeypatch.setenv("SSD_HEARTBEAT_FILE", "heartbeat")
    exits, wishes = [], []
    monkeypatch.setattr(os, "_exit", exits.append)
    ranks = rank_messages.Alone()
    monkeypatch.setattr(ranks, "want_stop", lambda: wishes.append("stop"))
    with stop_signal.StopOnSignal(ranks, 1):
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: len(wishes) == 1, seconds=20)
        os.kill(os.getpid(), signal.SIGTERM)
        # Another signal is handled after the second one.
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: len(wishes) >= 2, seconds=20)
    assert exits == statuses
    assert len(wishes) == 2
