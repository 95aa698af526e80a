# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Control messages between the ranks of one training, over TCP.

Every rank has one connection to rank 0. The ranks agree over it on the checkpoint to
resume from and on the step to stop at, and rank 0 collects the detections of all. If a
rank dies, all others notice at once and exit, whereas a collective operation of
TensorFlow or HCCL would wait for minutes.

The connections are those of multiprocessing.connection, authenticated with JOB_ID.
Only plain bytes are received; nothing is unpickled.
"""

import contextlib
import json
import os
import queue
import socket
import sys
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Client,
    Listener,
    answer_challenge,
    deliver_challenge,
)

from devices import cluster

# First byte of a message.
_DATA, _STOP_WANTED, _STOP_AT, _SEEN, _BYE = b"d", b"w", b"s", b"a", b"b"
_SECONDS_BETWEEN_TRIES = 0.2
# HCCL's default for HCCL_CONNECT_TIMEOUT.
_SECONDS_FOR_OTHERS = "120"
# Exit status of a rank that stopped because a peer disconnected: EX_TEMPFAIL of
# sysexits.h. The launcher then looks for the cause in the other ranks.
STATUS_OF_A_LOST_PEER = 75


class _Peer:
    """The connection to one other rank."""

    def __init__(self, rank, connection):
        self.rank = rank
        self.connection = connection
        self.data = queue.Queue()
        self.has_seen_stop = threading.Event()
        self._lock = threading.Lock()

    def send(self, kind, payload=b""):
        # The receiving thread sees the same errors and handles them.
        with self._lock, contextlib.suppress(OSError):
            self.connection.send_bytes(kind + payload)


class Ranks:
    """This rank's connections to the other ranks; without any, it is the only rank."""

    def __init__(self, rank=0, connections=None):
        """Initializes one rank; connections: dict from rank to Connection."""
        self._rank = rank
        self._is_closed = False
        self._stop_at = None
        self._stop_wanted = False
        self._peers = [_Peer(*item) for item in sorted((connections or {}).items())]
        for peer in self._peers:
            _start_thread(self._receive, peer)

    def gather(self, payload):
        """Sends bytes of every rank to rank 0.

        Args:
          payload: bytes.

        Returns:
          list of bytes in the order of the ranks; None on all ranks except 0.
        """
        if self._rank:
            self._peers[0].send(_DATA, payload)
            return None
        return [payload] + [peer.data.get() for peer in self._peers]

    def broadcast(self, payload):
        """Returns rank 0's payload, bytes, on all ranks; others' are ignored."""
        if self._rank:
            return self._peers[0].data.get()
        for peer in self._peers:
            peer.send(_DATA, payload)
        return payload

    def exchange(self, value):
        """Sends a value of every rank to all ranks; waits until all have called it.

        Args:
          value: anything that JSON can represent.

        Returns:
          list of the values in the order of the ranks.
        """
        gathered = self.gather(json.dumps(value).encode())
        everything = b"[%s]" % b",".join(gathered) if gathered else b""
        return json.loads(self.broadcast(everything).decode())

    def want_stop(self):
        """Asks all ranks to stop soon; any thread may call it."""
        self._stop_wanted = True
        # Rank 0 passes it on to all others.
        for peer in self._peers:
            peer.send(_STOP_WANTED)

    @property
    def is_stop_wanted(self):
        """Whether any rank asked to stop; before that, `stop_step` is not needed."""
        return self._stop_wanted or self._stop_at is not None

    def stop_step(self, step, steps_per_run):
        """Returns the step to stop at; every rank asks after each session run.

        Rank 0 decides. The other ranks are at most one session run ahead and wait in it
        for rank 0's gradients, so all can still stop at the end of that run.

        Args:
          step: int, number of finished steps.
          steps_per_run: int, number of steps of the next session run.

        Returns:
          int, the same on all ranks and never in the past; None to go on.
        """
        if self._rank == 0 and self._stop_wanted and self._stop_at is None:
            self._stop_at = step + steps_per_run if self._peers else step
            for peer in self._peers:
                peer.send(_STOP_AT, b"%d" % self._stop_at)
            for peer in self._peers:
                peer.has_seen_stop.wait()
        return self._stop_at

    def close(self):
        """Says goodbye. A rank that exits without it ends the other ranks."""
        self._is_closed = True
        for peer in self._peers:
            peer.send(_BYE)

    def _receive(self, peer):
        kind = None
        while kind != _BYE:
            try:
                message = peer.connection.recv_bytes()
            except (EOFError, OSError):
                self._exit_without(peer)
                return
            kind, payload = message[:1], message[1:]
            if kind == _DATA:
                peer.data.put(payload)
            elif kind == _STOP_WANTED and self._rank:
                self._stop_wanted = True
            elif kind == _STOP_WANTED:
                self.want_stop()
            elif kind == _STOP_AT:
                self._stop_at = int(payload)
                peer.send(_SEEN)
            elif kind == _SEEN:
                peer.has_seen_stop.set()

    def _exit_without(self, peer):
        if self._is_closed:
            return
        print(
            f"rank {self._rank}: rank {peer.rank} is gone; look for the first error in "
            "its log",
            file=sys.stderr,
            flush=True,
        )
        # The main thread may wait in a collective operation that nothing interrupts.
        os._exit(STATUS_OF_A_LOST_PEER)


def connect(rank, num_ranks, address):
    """Connects the ranks; returns when all are connected.

    Waits for HCCL_CONNECT_TIMEOUT seconds. JOB_ID keeps ranks of other trainings out.

    Args:
      rank: int, this rank.
      num_ranks: int, at least 2.
      address: (host, port) where rank 0 listens.

    Returns:
      Ranks.

    Raises:
      UserError: one line; HCCL_CONNECT_TIMEOUT is not a number.
      ValueError: one line; the port is taken, or a rank did not connect in time.
    """
    name = "HCCL_CONNECT_TIMEOUT"
    seconds = cluster.whole_number(name, os.environ.get(name) or _SECONDS_FOR_OTHERS)
    key = cluster.job_id().encode()
    # In threads, because neither accepting nor a silent stranger has a time limit.
    arrivals = queue.Queue()
    if rank:
        missing = {0}
        _start_thread(_connect_with_retries, rank, address, key, arrivals)
    else:
        missing = set(range(1, num_ranks))
        _start_thread(_accept_all, _listener(num_ranks, address), key, arrivals)
    connections, last_error = {}, ""
    deadline = time.monotonic() + seconds
    while missing:
        try:
            peer, arrived = arrivals.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            raise ValueError(
                f"rank {rank}: no connection with rank {min(missing)} at {address[0]}:"
                f"{address[1]} after {seconds} s{last_error}; {len(missing)} of "
                f"{num_ranks} ranks are missing: look for an error in their logs"
            ) from None
        if peer is None:
            last_error = f" ({arrived})"
        elif peer in missing:
            missing.remove(peer)
            connections[peer] = arrived
    ranks = Ranks(rank, connections)
    # No rank starts, and perhaps fails, before all are connected.
    ranks.exchange(rank)
    return ranks


def _start_thread(target, *arguments):
    threading.Thread(target=target, args=arguments, daemon=True).start()


def _connect_with_retries(rank, address, key, arrivals):
    """Puts (0, connection), before that (None, error) for each failed try."""
    while True:
        try:
            connection = Client(tuple(address), authkey=key)
            connection.send_bytes(b"%d" % rank)
            arrivals.put((0, connection))
            return
        except (EOFError, OSError, AuthenticationError) as error:
            arrivals.put((None, error))
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _listener(num_ranks, address):
    try:
        return Listener(tuple(address), backlog=num_ranks)
    except OSError as error:
        remedy = "is another training running? --base_port chooses other ports"
        if isinstance(error, socket.gaierror):
            remedy = "in the rank table, server_id must be an address or a known name"
        raise ValueError(
            f"cannot listen at {address[0]}:{address[1]}: {error.strerror}; {remedy}"
        ) from error


def _accept_all(listener, key, arrivals):
    while True:
        # After an error, because one has disconnected already, the others still come.
        with contextlib.suppress(OSError):
            _start_thread(_welcome, listener.accept(), key, arrivals)


def _welcome(connection, key, arrivals):
    """Puts (rank, connection) of a rank that knows the key: Client's counterpart."""
    try:
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        arrivals.put((int(connection.recv_bytes(maxlength=9)), connection))
    except (EOFError, OSError, ValueError, AuthenticationError):
        # A stranger, or a rank that has died in the meantime.
        connection.close()
