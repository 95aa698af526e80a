# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the ranks of one training say to each other outside of TensorFlow.

Small messages over TCP, each rank with rank 0: which checkpoint to go on from, the
detections of every rank's share of the images, and the step at which to stop. A rank
that is gone is noticed at once, where a collective operation would wait for minutes.

Connections are those of multiprocessing.connection, with the key JOB_ID; only plain
bytes are received, nothing is unpickled.
"""

import json
import os
import queue
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

from devices import rank_table

_DATA, _STOP_WANTED, _STOP_AT, _SEEN, _BYE = b"d", b"w", b"s", b"a", b"b"
_SECONDS_BETWEEN_TRIES = 0.2
# HCCL's own patience where HCCL_CONNECT_TIMEOUT does not say.
_SECONDS_FOR_OTHERS = 120
_LOOPBACK = "127.0.0.1"
# Of a rank that only left because another one was gone: EX_TEMPFAIL of sysexits.h.
# run_npu_8p.sh looks for the cause elsewhere then.
_STATUS_OF_THE_LEFT = 75


def from_environment():
    """Finds which rank this process is.

    Returns:
      (rank, num_ranks): ints, RANK_ID and RANK_SIZE as the launchers set them, or the
      only rank.

    Raises:
      ValueError: one line; the two make no sense.
    """
    rank = os.environ.get("RANK_ID") or "0"
    num_ranks = os.environ.get("RANK_SIZE") or "1"
    given = f"RANK_ID={rank} RANK_SIZE={num_ranks}"
    try:
        rank, num_ranks = int(rank), int(num_ranks)
    except ValueError as error:
        raise ValueError(f"{given}: not whole numbers") from error
    if not 0 <= rank < num_ranks:
        raise ValueError(f"{given}: the rank must lie in 0..RANK_SIZE - 1")
    return rank, num_ranks


class Cluster:
    """Where the ranks are.

    Attributes:
      workers: list of "host:port", a port for TensorFlow's server of each rank.
      meeting_point: (host, port), where rank 0 listens for the messages of this module.
      local_rank: int, place of this rank among those of its server.
    """

    def __init__(self, rank, num_ranks, base_port):
        """Reads RANK_TABLE_FILE; without one all ranks are on this machine.

        Args:
          rank: int.
          num_ranks: int; the table may have more.
          base_port: int, rank r's port is this plus r, the meeting point's comes next.

        Raises:
          ValueError: one line; the table cannot be read or has fewer ranks.
        """
        path = os.environ.get("RANK_TABLE_FILE")
        hosts = [_LOOPBACK] * num_ranks
        if path:
            table = rank_table.first_ranks(rank_table.read(path), num_ranks)
            if len(table.servers) > 1:
                hosts = [entry.server_id for entry in table.ranks]
        self.workers = [f"{host}:{base_port + i}" for i, host in enumerate(hosts)]
        self.meeting_point = (hosts[0], base_port + num_ranks)
        self.local_rank = hosts[:rank].count(hosts[rank])


class Alone:
    """The only rank; the base of the others, and what they do with one rank."""

    def __init__(self):
        """Starts without a wish to stop."""
        self._stop_at = None
        self._stop_wanted = False

    def gather(self, payload):
        """Brings what each rank has to rank 0.

        Args:
          payload: bytes.

        Returns:
          list of bytes in the order of the ranks; None on the others than rank 0.
        """
        return [payload]

    def broadcast(self, payload):
        """Gives all ranks what rank 0 has; payload, bytes, is ignored elsewhere."""
        return payload

    def exchange(self, value):
        """Lets all ranks know what each of them has.

        Args:
          value: anything that JSON can hold.

        Returns:
          list of the ranks' values, in their order.
        """
        gathered = self.gather(json.dumps(value).encode())
        everything = b"[%s]" % b",".join(gathered) if gathered else b""
        return json.loads(self.broadcast(everything).decode())

    def want_stop(self):
        """Asks all ranks to stop soon; may be called by a signal handler."""
        self._stop_wanted = True

    @property
    def is_stop_wanted(self):
        """Whether `stop_step` has something to tell: else it need not be asked."""
        return self._stop_wanted or self._stop_at is not None

    def stop_step(self, step, steps_per_run):
        """Tells at which step to stop, asked by every rank after each session run.

        Args:
          step: int, steps that are done.
          steps_per_run: int, how many the next session run takes.

        Returns:
          int, the same for all ranks and never in the past; or None: go on.
        """
        del steps_per_run
        if self._stop_wanted and self._stop_at is None:
            self._stop_at = step
        return self._stop_at

    def close(self):
        """Says goodbye; a rank that leaves without it takes the others along."""


class _Peer:
    """The connection with one other rank, and a thread that listens to it."""

    def __init__(self, connection, rank, on_message):
        self.rank = rank
        self.data = queue.Queue()
        self.has_seen_stop = threading.Event()
        self._connection = connection
        self._on_message = on_message
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, kind, payload=b""):
        with self._lock:
            try:
                self._connection.send_bytes(kind + payload)
            except OSError:
                # The listening thread meets the same, and knows what to do.
                pass

    def _listen(self):
        kind = None
        while kind != _BYE:
            try:
                message = self._connection.recv_bytes()
            except (EOFError, OSError):
                self._on_message(self, None, b"")
                return
            kind, payload = message[:1], message[1:]
            if kind == _DATA:
                self.data.put(payload)
            elif kind == _SEEN:
                self.has_seen_stop.set()
            else:
                self._on_message(self, kind, payload)


class Ranks(Alone):
    """One of several ranks, connected with the others."""

    def __init__(self, rank, num_ranks, address):
        """Connects; returns when all ranks are there.

        Waits for HCCL_CONNECT_TIMEOUT seconds. JOB_ID, the same for all ranks of one
        training, keeps those of another out.

        Args:
          rank: int.
          num_ranks: int, at least 2.
          address: (host, port) of rank 0.

        Raises:
          ValueError: one line; the port is taken, or ranks did not appear.
        """
        super().__init__()
        self._rank = rank
        self._is_closed = False
        seconds = _seconds_for_others()
        key = (os.environ.get("JOB_ID") or "0").encode()
        if rank:
            connection = _connect(rank, address, key, seconds)
            self._peers = [_Peer(connection, 0, self._on_message)]
        else:
            connections = _accept(num_ranks, address, key, seconds)
            self._peers = [
                _Peer(connections[peer], peer, self._on_message)
                for peer in sorted(connections)
            ]
        # Nobody goes on, and maybe fails, before all are there.
        self.exchange(rank)

    def gather(self, payload):
        """See the base class."""
        if self._rank:
            self._peers[0].send(_DATA, payload)
            return None
        return [payload] + [peer.data.get() for peer in self._peers]

    def broadcast(self, payload):
        """See the base class."""
        if self._rank:
            return self._peers[0].data.get()
        for peer in self._peers:
            peer.send(_DATA, payload)
        return payload

    def want_stop(self):
        """See the base class."""
        super().want_stop()
        if self._rank:
            # Not from here: a signal handler may have interrupted a message.
            sender = threading.Thread(target=self._peers[0].send, args=(_STOP_WANTED,))
            sender.start()

    def stop_step(self, step, steps_per_run):
        """See the base class.

        Rank 0 decides. The others are at most one session run ahead, and wait in it
        for rank 0's gradients: the end of that run is a step that all can still meet.
        """
        if self._rank == 0 and self._stop_wanted and self._stop_at is None:
            self._stop_at = step + steps_per_run
            for peer in self._peers:
                peer.send(_STOP_AT, b"%d" % self._stop_at)
            for peer in self._peers:
                peer.has_seen_stop.wait()
        return self._stop_at

    def close(self):
        """See the base class."""
        self._is_closed = True
        for peer in self._peers:
            peer.send(_BYE)

    def _on_message(self, peer, kind, payload):
        if kind is None:
            self._on_lost(peer)
        elif kind == _STOP_WANTED:
            self._stop_wanted = True
        elif kind == _STOP_AT:
            self._stop_at = int(payload)
            peer.send(_SEEN)

    def _on_lost(self, peer):
        if self._is_closed:
            return
        print(
            f"rank {self._rank}: rank {peer.rank} is gone; look for the first error in "
            "its log",
            file=sys.stderr,
            flush=True,
        )
        # The main thread may wait in a collective operation that nothing interrupts.
        os._exit(_STATUS_OF_THE_LEFT)


def _seconds_for_others():
    text = os.environ.get("HCCL_CONNECT_TIMEOUT") or str(_SECONDS_FOR_OTHERS)
    if not text.isdigit():
        raise ValueError(f"HCCL_CONNECT_TIMEOUT={text}: must be whole seconds")
    return int(text)


def _connect(rank, address, key, seconds):
    """The connection of another rank with rank 0."""
    connected, last_error = queue.Queue(), ["no answer"]

    def try_again_and_again():
        while True:
            try:
                connection = Client(tuple(address), authkey=key)
                connection.send_bytes(b"%d" % rank)
                connected.put(connection)
                return
            except (EOFError, OSError, AuthenticationError) as error:
                last_error[0] = error
            time.sleep(_SECONDS_BETWEEN_TRIES)

    # In a thread of its own: what listens there may never answer.
    threading.Thread(target=try_again_and_again, daemon=True).start()
    try:
        return connected.get(timeout=seconds)
    except queue.Empty:
        raise ValueError(
            f"rank 0 cannot be reached at {address[0]}:{address[1]} after {seconds} s "
            f"({last_error[0]}); look for an error in its log"
        ) from None


def _accept(num_ranks, address, key, seconds):
    """dict from rank to connection, of all ranks but 0."""
    try:
        listener = Listener(tuple(address), backlog=num_ranks)
    except OSError as error:
        raise ValueError(
            f"cannot listen at {address[0]}:{address[1]}: {error.strerror}; is another "
            "training running? --base_port chooses other ports"
        ) from error
    arrived = queue.Queue()
    # In threads of their own: neither accept nor a stranger's silence has a time limit.
    threading.Thread(
        target=_accept_all, args=(listener, key, arrived), daemon=True
    ).start()
    deadline = time.monotonic() + seconds
    connections = {}
    while len(connections) < num_ranks - 1:
        try:
            rank, connection = arrived.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            missing = sorted(set(range(1, num_ranks)) - set(connections))
            raise ValueError(
                f"after {seconds} s no sign of rank {missing[0]} ({len(missing)} of "
                f"{num_ranks} ranks are missing); look for an error in its log"
            ) from None
        if 0 < rank < num_ranks:
            connections[rank] = connection
    return connections


def _accept_all(listener, key, arrived):
    while True:
        try:
            connection = listener.accept()
        except OSError:
            # Whoever it was has gone: the others still come.
            continue
        threading.Thread(
            target=_welcome, args=(connection, key, arrived), daemon=True
        ).start()


def _welcome(connection, key, arrived):
    """Passes a rank on that knows the key, as Client wants it asked."""
    try:
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        arrived.put((int(connection.recv_bytes(maxlength=9)), connection))
    except (EOFError, OSError, ValueError, AuthenticationError):
        # A stranger, or a rank that died meanwhile.
        connection.close()
