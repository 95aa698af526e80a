# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""All ranks of this server as one job: they run, fail, start again and end together."""

import contextlib
import os
import signal
import threading
import time
from typing import Dict, List, NamedTuple, Optional

from devices.rank_messages import STATUS_OF_A_LOST_PEER
from devices.rank_process import RankProcess

_SECONDS_BETWEEN_LOOKS = 0.1
# Time for the other ranks to end after one has failed.
_SECONDS_TO_END = 10
_STATUS_USER_ERROR = 2
# The rank that made others stop may end later, because it cleans up; wait this long for
# its status.
_SECONDS_FOR_THE_CAUSE = 5
# The same exit status as that of the command `timeout`.
_STATUS_HANG = 124
_SECONDS_TO_DUMP_STACKS = 2
_FIRST_PAUSE, _LONGEST_PAUSE = 1, 60
_STDOUT, _STDERR = 1, 2


class Options(NamedTuple):
    """Settings of a job.

    seconds_to_save: seconds that the ranks have to save a checkpoint after a signal.
    max_restarts: upper bound on restarts in a row that bring no new checkpoint.
    hang_seconds: seconds without a finished step that count as a failure; 0: never.
    """

    seconds_to_save: int
    max_restarts: int
    hang_seconds: int


class _Failure(NamedTuple):
    """Why the job cannot go on; ranks are those that caused it."""

    text: str
    status: int
    ranks: List[RankProcess]


class _LogDisplay(threading.Thread):
    """Copies what is appended to a log to the standard output.

    It is a thread, because a terminal may stop taking output for any length of time.
    """

    def __init__(self, path: str):
        super().__init__(daemon=True)
        self._file = open(path, "rb", buffering=0)
        self._file.seek(0, os.SEEK_END)
        self._is_complete = threading.Event()
        self.start()

    def run(self):
        # After an error the terminal is gone. The training goes on without it.
        with contextlib.suppress(OSError):
            while True:
                # Check this before reading: a complete log does not grow any more.
                is_complete = self._is_complete.is_set()
                data = self._file.read(1 << 16)
                if is_complete and not data:
                    return
                while data:
                    data = data[os.write(_STDOUT, data) :]
                self._is_complete.wait(_SECONDS_BETWEEN_LOOKS)

    def finish(self):
        """Marks the log as complete; the thread ends when all of it is displayed."""
        self._is_complete.set()


class Job:
    """All ranks of this server, from their start to their end."""

    def __init__(
        self,
        name: str,
        ranks: List[RankProcess],
        flags: List[str],
        environment: Dict[str, str],
        options: Options,
    ):
        """Initializes the job and takes over the signals.

        Args:
          name: the launcher's name for messages.
          ranks: the ranks of this server, whose logs exist; the first log is
            displayed.
          flags: flags of ssd_main.py.
          environment: the variables that all ranks share.
          options: see Options.
        """
        self._name = name
        self._ranks = ranks
        self._flags = flags
        self._environment = environment
        self._options = options
        self._display = _LogDisplay(ranks[0].log)
        self._signals: List[int] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # An ignored SIGHUP (nohup) stays ignored. SIGINT is handled even if it was
            # inherited as ignored, as by background commands of a script, because its
            # sender wants the job to stop.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda number, _: self._signals.append(number))

    def run(self) -> int:
        """Runs the ranks, and restarts them after failures.

        Returns:
          int, the exit status: 0 if all ranks exited with 0, also after a signal; 128 +
          the signal's number if a signal ended the ranks and one of them did not exit
          with 0, or if it came during the pause before a restart; 124 if the ranks
          hung; otherwise the status of the first rank that caused the failure.
        """
        restarts = 0
        while True:
            for rank in self._ranks:
                rank.start(self._flags, self._environment)
            failure = self._watch()
            if self._signals:
                return self._end_after_signal()
            if not failure:
                return self._display_rest(0)
            text = f"{failure.text}; ending the other ranks"
            self._end_ranks(_SECONDS_TO_END, text)
            if any(rank.has_new_checkpoint() for rank in self._ranks):
                restarts = 0
            restarts += 1
            if not self._may_restart(failure, restarts):
                return self._end_after_failure(failure)
            self._wait_for_restart(failure, restarts)
            if self._signals:
                return self._display_rest(128 + self._signals[0])

    def _say(self, text: str):
        # A terminal that is gone must not end the launcher, and the ranks with it.
        with contextlib.suppress(OSError):
            os.write(_STDERR, os.fsencode(f"{self._name}: {text}\n"))

    def _running(self) -> List[RankProcess]:
        return [rank for rank in self._ranks if rank.status is None]

    def _failed(self) -> List[RankProcess]:
        return [rank for rank in self._ranks if rank.status]

    def _watch(self) -> Optional[_Failure]:
        """Returns the first failure; None after a signal, or if all have ended well."""
        heartbeats, last_change = {}, time.monotonic()
        while not self._signals:
            # Running ranks are counted before failed ones. In the other order, a rank
            # that fails in between would be taken for a success.
            running = self._running()
            if self._failed():
                return self._find_cause()
            if not running:
                return None
            former, heartbeats = heartbeats, {r: r.heartbeat() for r in running}
            # While no rank has a heartbeat, nothing counts as a hang: the training has
            # not begun or is over, or the ranks evaluate.
            if heartbeats != former or not any(heartbeats.values()):
                last_change = time.monotonic()
            elif 0 < self._options.hang_seconds < time.monotonic() - last_change:
                return self._dump_stacks()
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return None

    def _find_cause(self) -> _Failure:
        """Finds the ranks that caused the failure; others stopped because of them."""
        deadline = time.monotonic() + _SECONDS_FOR_THE_CAUSE
        while True:
            running, failed = self._running(), self._failed()
            causes = [rank for rank in failed if rank.status != STATUS_OF_A_LOST_PEER]
            is_over = time.monotonic() > deadline or self._signals
            if causes or is_over or not running:
                break
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        # If all have lost a peer, it is on another server.
        causes = causes or failed
        text = ", ".join(rank.describe_end() for rank in causes)
        return _Failure(text, causes[0].status, causes)

    def _dump_stacks(self) -> _Failure:
        text = f"no rank has finished a step for {self._options.hang_seconds} s"
        self._say(f"{text}; the end of each log shows the stacks of its rank")
        for rank in self._running():
            rank.dump_stacks()
        time.sleep(_SECONDS_TO_DUMP_STACKS)
        return _Failure(text, _STATUS_HANG, [])

    def _end_ranks(self, seconds: float, text: str):
        """Ends the ranks that still run; kills them after some time or a new signal."""
        num_signals = len(self._signals)
        deadline = time.monotonic() + seconds
        if self._running():
            self._say(text)
        for rank in self._running():
            rank.terminate()
        while self._running() and len(self._signals) == num_signals:
            if time.monotonic() > deadline:
                break
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        numbers = " ".join(str(rank.rank) for rank in self._running())
        if numbers:
            self._say(f"killing the ranks that did not end by themselves: {numbers}")
        while self._running():
            for rank in self._running():
                rank.kill()
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _may_restart(self, failure: _Failure, restarts: int) -> bool:
        max_restarts = self._options.max_restarts
        is_user_error = any(r.status == _STATUS_USER_ERROR for r in failure.ranks)
        if self._signals or is_user_error:
            return False
        if 0 < max_restarts < restarts:
            self._say(
                f"{failure.text}; not started again: {max_restarts} restart(s) have "
                "brought no new checkpoint"
            )
        return restarts <= max_restarts

    def _wait_for_restart(self, failure: _Failure, restarts: int):
        """Writes the restart to all logs, and waits; the screen shows the first log."""
        seconds = min(_FIRST_PAUSE * 2 ** (restarts - 1), _LONGEST_PAUSE)
        for rank in self._ranks:
            rank.append_to_log(
                f"{self._name}: {time.strftime('%Y-%m-%d %H:%M:%S')}: {failure.text}; "
                f"all ranks of this server start again in {seconds} s (restart "
                f"{restarts} of {self._options.max_restarts} since the last new "
                "checkpoint)"
            )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._signals:
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _end_after_failure(self, failure: _Failure) -> int:
        self._display_rest(0)
        for rank in failure.ranks:
            if rank is not self._ranks[0]:
                self._say(f"{rank.describe_end()}; the end of {rank.log}:")
                with contextlib.suppress(OSError):
                    os.write(_STDERR, rank.end_of_log())
            elif len(self._ranks) > 1 or rank.status > 128:
                # A single rank that exits has printed the reason itself.
                self._say(rank.describe_end())
        return failure.status

    def _end_after_signal(self) -> int:
        number = self._signals[0]
        seconds = self._options.seconds_to_save
        self._end_ranks(
            seconds,
            f"{signal.Signals(number).name}: the training saves a checkpoint and ends, "
            f"within {seconds} s; a second signal ends it at once",
        )
        for rank in self._failed():
            # A rank that was terminated before it could save did not fail.
            if rank.status != 128 + signal.SIGTERM:
                self._say(f"{rank.describe_end()}, see {rank.log}")
        return self._display_rest(128 + number if self._failed() else 0)

    def _display_rest(self, status: int) -> int:
        """Waits until the log is displayed or a signal comes; returns the status."""
        num_signals = len(self._signals)
        self._display.finish()
        while self._display.is_alive() and len(self._signals) == num_signals:
            self._display.join(_SECONDS_BETWEEN_LOOKS)
        return status
