# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ranks and hosts, from the environment that the launchers set."""

import os

import pytest

import processes
from console.errors import UserError
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


@pytest.mark.parametrize(
    "rank, size, table, hosts, local_rank",
    [
        ("1", "3", "", ["127.0.0.1"] * 3, 1),
        # One server is this machine.
        ("3", "8", "8p.json", ["127.0.0.1"] * 8, 3),
        ("9", "16", "16p_2servers.json", ["10.0.0.1"] * 8 + ["10.0.0.2"] * 8, 1),
    ],
)
def test_the_servers_of_a_rank_table_are_the_hosts(
    read, rank, size, table, hosts, local_rank
):
    path = table and rank_table(table)
    found = read(RANK_ID=rank, RANK_SIZE=size, RANK_TABLE_FILE=path)
    ports = range(20000, 20000 + int(size))
    assert found.workers == [f"{host}:{port}" for host, port in zip(hosts, ports)]
    assert found.meeting_point == (hosts[0], 20000 + int(size))
    assert found.local_rank == local_rank


@pytest.mark.parametrize(
    "rank, size, message",
    [
        ("x", "1", "RANK_ID=x: must be a whole number"),
        ("1", "1", "RANK_ID=1 RANK_SIZE=1: the rank must lie in"),
        ("0", "0", "the rank must lie in"),
        ("0", "2", "RANK_SIZE=2: RANK_TABLE_FILE=.*8p.json has 8 ranks"),
    ],
)
def test_variables_that_contradict_each_other_are_named(read, rank, size, message):
    table = rank_table("8p.json")
    with pytest.raises(UserError, match=message):
        read(RANK_ID=rank, RANK_SIZE=size, RANK_TABLE_FILE=table)


def test_an_empty_job_id_counts_as_none(read):
    for given, job_id in (("", "10087"), ("7", "7")):
        read(JOB_ID=given)
        assert cluster.job_id() == job_id
