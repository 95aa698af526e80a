# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Jobs on several processes: all are done, and what goes wrong ends the run."""

import re
import signal
import sys
import time

import pytest

from console.errors import UserError
from conversion import worker_pool


@pytest.fixture(autouse=True)
def _no_hanging():
    signal.alarm(100)
    yield
    signal.alarm(0)


def square(job, bar):
    for _ in range(3):
        # Often enough that it is told before the end, too.
        time.sleep(0.1)
        bar.update(2)
    bar.write(f"{job} is done")
    return job * job


@pytest.mark.parametrize("workers", [1, 3, 9])
@pytest.mark.parametrize(
    "tool, is_terminal, bar",
    [
        ("tqdm", True, "36/36"),
        ("tqdm", False, "36 of 36 images"),
        (None, True, "36 of 36 images"),
    ],
)
def test_all_jobs_are_done_counted_and_heard(
    monkeypatch, capsys, workers, tool, is_terminal, bar
):
    if not tool:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    results = worker_pool.run(square, list(range(6)), workers=workers, total=36)
    assert sorted(results) == [0, 1, 4, 9, 16, 25]
    shown = capsys.readouterr().err
    assert bar in shown
    # What goes back to the start of its line fills a log.
    assert ("\r" in shown) == (bar == "36/36")
    assert {f"{job} is done" for job in range(6)} <= set(re.split("[\r\n]", shown))


def fail_or_wait(job, bar):
    if job[0]:
        raise UserError("no good")
    time.sleep(60)


def test_jobs_larger_than_a_pipe_do_not_hang_a_run_that_fails():
    large = list(range(100000))
    jobs = [(0, large), (1, large), (0, large), (0, large), (0, large), (0, large)]
    for _ in range(5):
        with pytest.raises(UserError, match="no good"):
            list(worker_pool.run(fail_or_wait, jobs, workers=2, total=6))


def lack(job, bar):
    raise ImportError("No module named 'tensorflow'")


def test_a_missing_package_is_named():
    with pytest.raises(UserError, match="'tensorflow'; install requirements.txt"):
        list(worker_pool.run(lack, [1, 2], workers=2, total=2))
