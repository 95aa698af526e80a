# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Control messages between ranks, over real connections on this machine."""

import concurrent.futures
import contextlib
import os
import socket
import subprocess
import sys
import textwrap

import pytest

import processes
from console.errors import UserError
from devices import rank_messages


def each(count, function):
    """Calls a function for 0..count - 1 at once; returns the list of results."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(function, range(count), timeout=60))


@contextlib.contextmanager
def connected(count):
    """List of connected Ranks, all in this process."""
    address = ("127.0.0.1", processes.free_ports(1))
    ranks = each(count, lambda rank: rank_messages.connect(rank, count, address))
    try:
        yield ranks
    finally:
        each(count, lambda rank: ranks[rank].close())


def test_the_only_rank_has_everything_itself():
    alone = rank_messages.Ranks()
    assert alone.gather(b"x") == [b"x"]
    assert alone.broadcast(b"x") == b"x"
    assert alone.exchange({"step": 3}) == [{"step": 3}]
    assert alone.stop_step(7, 2) is None
    alone.want_stop()
    assert alone.stop_step(7, 2) == 7


def test_rank_0_gathers_in_the_order_of_the_ranks_and_all_learn_what_each_has():
    payloads = [b"", b"one", os.urandom(3 << 20), b"three"]
    steps = [500, 400, None, 400]
    with connected(4) as ranks:
        gathered = each(4, lambda rank: ranks[rank].gather(payloads[rank]))
        assert gathered == [payloads, None, None, None]
        assert each(4, lambda rank: ranks[rank].exchange(steps[rank])) == [steps] * 4
        broadcast = each(4, lambda rank: ranks[rank].broadcast(b"from %d" % rank))
        assert broadcast == [b"from 0"] * 4


@pytest.mark.parametrize("asker", [0, 2])
def test_all_ranks_stop_at_the_end_of_rank_0s_next_run(asker):
    with connected(3) as ranks:
        ranks[asker].want_stop()
        # An evaluation ends early on all ranks.
        processes.wait_for(lambda: all(r.is_stop_wanted for r in ranks), seconds=20)
        # The others may have finished the next run already, but not more.
        assert ranks[0].stop_step(40, 10) == 50
        assert [rank.stop_step(50, 10) for rank in ranks] == [50, 50, 50]


def test_a_silent_stranger_keeps_nobody_waiting():
    address = ("127.0.0.1", processes.free_ports(1))

    def stranger():
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(address)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(rank_messages.connect, 0, 2, address)
        with processes.wait_for(stranger, seconds=20):
            second = pool.submit(rank_messages.connect, 1, 2, address)
            ranks = [first.result(timeout=20), second.result(timeout=20)]
    each(2, lambda rank: ranks[rank].close())


def start_rank(rank, num_ranks, port, **environment):
    """Starts a process that connects, prints "connected" and waits."""
    script = f"""
        import sys, threading
        from devices import rank_messages
        ranks = rank_messages.connect({rank}, {num_ranks}, ("127.0.0.1", {port}))
        print("connected", flush=True)
        threading.Event().wait(60)
    """
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
    running = [start_rank(rank, 3, port) for rank in range(3)]
    for process in running:
        assert process.stdout.readline() == "connected\n"
    running[victim].kill()
    running[victim].wait(timeout=20)
    survivors = [rank for rank in range(3) if rank != victim]
    outputs = [running[rank].communicate(timeout=20)[0] for rank in survivors]
    assert [running[rank].returncode for rank in survivors] == [75, 75]
    assert f"rank {victim} is gone" in "".join(outputs)


@pytest.mark.slow
def test_ranks_that_do_not_appear_or_have_another_job_id_are_named():
    port = processes.free_ports(1)
    running = [
        start_rank(rank, 4, port, HCCL_CONNECT_TIMEOUT="3", JOB_ID=job)
        for rank, job in ((0, "ours"), (1, "another"), (2, "ours"))
    ]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    missing = f"with rank 1 at 127.0.0.1:{port} after 3 s; 2 of 4 ranks are missing"
    assert f"rank 0: no connection {missing}" in outputs[0]
    assert "rank 1: no connection with rank 0" in outputs[1]
    assert [process.returncode for process in running] == [1, 1, 75]


@pytest.mark.slow
@pytest.mark.parametrize(
    "listens, reason", [(False, r" \(.*refused\)"), (True, "")], ids=["none", "silent"]
)
def test_rank_0_that_does_not_answer_is_named(monkeypatch, listens, reason):
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        with pytest.raises(ValueError, match=f"with rank 0 at .* after 1 s{reason};"):
            rank_messages.connect(1, 2, silent.getsockname())


def test_a_server_without_an_address_is_named():
    with pytest.raises(ValueError, match="at node_0:.*, server_id must be an address"):
        rank_messages.connect(0, 2, ("node_0", 21001))


def test_a_port_that_is_taken_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ValueError, match="--base_port chooses other ports"):
            rank_messages.connect(0, 2, other.getsockname())


def test_a_wait_that_is_not_a_number_is_named(monkeypatch):
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "ten")
    with pytest.raises(UserError, match="HCCL_CONNECT_TIMEOUT=ten: must be a whole"):
        rank_messages.connect(0, 2, ("127.0.0.1", 1))
