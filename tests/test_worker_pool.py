# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Jobs on several processes: all are done, and what goes wrong ends the run."""

import time

import pytest

import worker_pool
from command_line import InputError


def sizes(job, advance):
    advance(1)
    return len(job)


def fail_or_wait(job, advance):
    if job[0]:
        raise InputError("no good")
    time.sleep(60)


def test_all_jobs_are_done_and_counted(capsys):
    jobs = [b"x" * size for size in range(1, 20)]
    results = worker_pool.run(sizes, jobs, workers=3, total=len(jobs))
    assert sorted(results) == list(range(1, 20))
    assert "19/19" in capsys.readouterr().err


def test_jobs_larger_than_a_pipe_do_not_hang_a_run_that_fails():
    large = list(range(100000))
    jobs = [(0, large), (1, large), (0, large), (0, large), (0, large), (0, large)]
    for _ in range(5):
        with pytest.raises(InputError, match="no good"):
            worker_pool.run(fail_or_wait, jobs, workers=2, total=6)
