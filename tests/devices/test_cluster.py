# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ranks and hosts, from the environment that the launchers set."""

import os

import pytest

import processes
from devices import cluster


@pytest.fixture
def read(monkeypatch):
    """Function that reads the cluster from an environment, with base port 20000."""

    def from_environment(**variables):
        for name in ("RANK_ID", "RANK_SIZE", "RANK_TABLE_FILE", "JOB_ID"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return cluster.from_environment(20000)

    return from_environment


def rank_table(name):
    return os.path.join(processes.ROOT, "npu_config", name)


def test_without_variables_there_is_one_rank(read):
    alone = read()
    assert (alone.rank, alone.num_ranks, alone.local_rank) == (0, 1, 0)
    # It does not need the ranks of a table.
    assert read(RANK_TABLE_FILE="/no/such/file") == alone


def test_without_a_rank_table_all_ranks_are_on_this_machine(read):
    third = read(RANK_ID="1", RANK_SIZE="3")
    assert third.workers == [f"127.0.0.1:{port}" for port in (20000, 20001, 20002)]
    assert third.meeting_point == ("127.0.0.1", 20003)
    assert third.local_rank == 1


def test_one_server_of_a_rank_table_is_this_machine(read):
    found = read(RANK_ID="3", RANK_SIZE="8", RANK_TABLE_FILE=rank_table("8p.json"))
    assert found.workers == [f"127.0.0.1:{20000 + rank}" for rank in range(8)]
    assert found.local_rank == 3


def test_several_servers_of_a_rank_table_are_the_hosts(read):
    table = rank_table("16p_2servers.json")
    found = read(RANK_ID="9", RANK_SIZE="16", RANK_TABLE_FILE=table)
    hosts = [worker.split(":")[0] for worker in found.workers]
    assert hosts == [hosts[0]] * 8 + [hosts[8]] * 8
    assert hosts[0] != hosts[8]
    assert found.meeting_point == (hosts[0], 20016)
    assert found.local_rank == 1


@pytest.mark.parametrize(
    "rank, size, message",
    [
        ("x", "1", "RANK_ID=x RANK_SIZE=1: both must be whole numbers"),
        ("1", "1", "RANK_ID=1 RANK_SIZE=1: the rank must lie in"),
        ("-1", "8", "the rank must lie in"),
        ("0", "0", "the rank must lie in"),
        ("0", "2", "RANK_SIZE=2: RANK_TABLE_FILE=.*8p.json has 8 ranks"),
    ],
)
def test_variables_that_contradict_each_other_are_named(read, rank, size, message):
    table = rank_table("8p.json")
    with pytest.raises(ValueError, match=message):
        read(RANK_ID=rank, RANK_SIZE=size, RANK_TABLE_FILE=table)


def test_an_empty_job_id_counts_as_none(read):
    read(JOB_ID="")
    default = cluster.job_id()
    assert default
    read()
    assert cluster.job_id() == default
    read(JOB_ID="7")
    assert cluster.job_id() == "7"
