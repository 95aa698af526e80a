# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What ranks say to each other, by real connections on this machine."""

import os
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

import processes
from devices import rank_messages


@pytest.fixture
def connected():
    """Gives a function that connects some ranks, each by a thread of its own."""
    channels = []

    def connect(count):
        address = ("127.0.0.1", processes.free_ports(1))
        found = each(
            range(count), lambda rank: rank_messages.Ranks(rank, count, address)
        )
        channels.extend(found)
        return found

    yield connect
    each(channels, lambda channel: channel.close())


def each(values, function):
    """Calls a function for all values at once; gives the results in their order."""
    results = {}

    def call(number, value):
        results[number] = function(value)

    threads = [
        threading.Thread(target=call, args=pair) for pair in enumerate(list(values))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(results) == len(threads)
    return [results[number] for number in sorted(results)]


def test_alone_a_rank_has_everything_itself():
    alone = rank_messages.Alone()
    assert alone.gather(b"x") == [b"x"]
    assert alone.broadcast(b"x") == b"x"
    assert alone.exchange({"step": 3}) == [{"step": 3}]
    assert alone.stop_step(7, 2) is None
    alone.want_stop()
    assert alone.stop_step(7, 2) == 7


def test_rank_0_gathers_in_the_order_of_the_ranks(connected):
    channels = connected(4)
    large = os.urandom(3 << 20)
    payloads = [b"", b"one", large, b"three"]
    gathered = each(range(4), lambda rank: channels[rank].gather(payloads[rank]))
    assert gathered == [payloads, None, None, None]


def test_all_ranks_learn_what_each_has(connected):
    channels = connected(3)
    steps = [500, 400, None]
    assert each(range(3), lambda r: channels[r].exchange(steps[r])) == [steps] * 3
    assert each(channels, lambda c: c.broadcast(b"from 0")) == [b"from 0"] * 3


def test_a_silent_stranger_keeps_nobody_waiting():
    address = ("127.0.0.1", processes.free_ports(1))
    found = {}

    def connect(rank):
        found[rank] = rank_messages.Ranks(rank, 2, address)

    threads = [threading.Thread(target=connect, args=(rank,)) for rank in (0, 1)]
    threads[0].start()

    def stranger():
        try:
            return socket.create_connection(address)
        except ConnectionRefusedError:
            return None

    with processes.wait_for(stranger, seconds=20):
        threads[1].start()
        for thread in threads:
            thread.join(timeout=20)
    assert sorted(found) == [0, 1]
    each([found[0], found[1]], lambda channel: channel.close())


def test_a_rank_gives_up_on_a_port_that_never_answers(monkeypatch):
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(
            ValueError, match="rank 0 cannot be reached at .* after 1 s"
        ):
            rank_messages.Ranks(1, 2, silent.getsockname())


@pytest.mark.parametrize("asker", [0, 2])
def test_all_ranks_stop_at_the_end_of_rank_0s_next_run(connected, asker):
    channels = connected(3)
    channels[asker].want_stop()
    processes.wait_for(lambda: channels[0].is_stop_wanted, seconds=20)
    # The others may have done the next run already, but none more.
    assert channels[0].stop_step(40, 10) == 50
    assert [channel.stop_step(50, 10) for channel in channels] == [50, 50, 50]


def python(script, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=dict(os.environ, PYTHONPATH=processes.ROOT, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_takes_the_others_along(victim):
    port = processes.free_ports(1)
    script = f"""
        import sys, threading
        from devices import rank_messages
        channel = rank_messages.Ranks({{}}, 3, ("127.0.0.1", {port}))
        print("there", flush=True)
        threading.Event().wait(60)
    """
    running = [python(script.format(rank)) for rank in range(3)]
    for process in running:
        assert process.stdout.readline() == "there\n"
    running[victim].kill()
    running[victim].wait(timeout=20)
    survivors = [rank for rank in range(3) if rank != victim]
    outputs = [running[rank].communicate(timeout=20)[0] for rank in survivors]
    assert [running[rank].returncode for rank in survivors] == [75, 75]
    assert f"rank {victim} is gone" in "".join(outputs)


def test_ranks_that_do_not_appear_are_named():
    port = processes.free_ports(1)
    script = f"""
        from devices import rank_messages
        rank_messages.Ranks({{}}, 4, ("127.0.0.1", {port}))
    """
    running = [python(script.format(rank), HCCL_CONNECT_TIMEOUT="2") for rank in (0, 2)]
    output = running[0].communicate(timeout=60)[0]
    assert "after 2 s no sign of rank 1 (2 of 4 ranks are missing)" in output
    running[1].communicate(timeout=60)


def test_rank_0_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "1")
    port = processes.free_ports(1)
    message = f"rank 0 cannot be reached at 127.0.0.1:{port} after 1 s"
    with pytest.raises(ValueError, match=message):
        rank_messages.Ranks(1, 2, ("127.0.0.1", port))


def test_a_port_that_is_taken_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ValueError, match="--base_port chooses other ports"):
            rank_messages.Ranks(0, 2, other.getsockname())


def test_a_rank_of_another_job_is_kept_out(monkeypatch):
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "2")
    port = processes.free_ports(1)
    script = f"""
        from devices import rank_messages
        rank_messages.Ranks(1, 2, ("127.0.0.1", {port}))
    """
    stranger = python(script, JOB_ID="another", HCCL_CONNECT_TIMEOUT="2")
    with pytest.raises(ValueError, match="no sign of rank 1"):
        rank_messages.Ranks(0, 2, ("127.0.0.1", port))
    assert stranger.communicate(timeout=60)[0]
    assert stranger.returncode == 1


def test_a_wait_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "ten")
    with pytest.raises(ValueError, match="HCCL_CONNECT_TIMEOUT=ten: must be whole"):
        rank_messages.Ranks(0, 2, ("127.0.0.1", 1))


def test_without_a_rank_table_all_ranks_are_on_this_machine(monkeypatch):
    monkeypatch.delenv("RANK_TABLE_FILE", raising=False)
    cluster = rank_messages.Cluster(1, 3, 20000)
    assert cluster.workers == [f"127.0.0.1:{port}" for port in (20000, 20001, 20002)]
    assert cluster.meeting_point == ("127.0.0.1", 20003)
    assert cluster.local_rank == 1


def test_the_servers_of_a_rank_table_are_the_hosts(monkeypatch):
    folder = os.path.join(processes.ROOT, "npu_config")
    monkeypatch.setenv("RANK_TABLE_FILE", os.path.join(folder, "8p.json"))
    # 0.0.0.0 means this machine; of eight ranks two are wanted.
    assert rank_messages.Cluster(0, 2, 20000).workers == [
        "127.0.0.1:20000",
        "127.0.0.1:20001",
    ]
    two_servers = [name for name in os.listdir(folder) if "server" in name]
    monkeypatch.setenv("RANK_TABLE_FILE", os.path.join(folder, two_servers[0]))
    cluster = rank_messages.Cluster(9, 16, 20000)
    hosts = [worker.split(":")[0] for worker in cluster.workers]
    assert hosts[:8] == [hosts[0]] * 8 and hosts[8:] == [hosts[8]] * 8
    assert hosts[0] != hosts[8]
    assert cluster.meeting_point == (hosts[0], 20016)
    assert cluster.local_rank == 1
