# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs jobs on all cores, with a progress bar; a killed process ends the run.

multiprocessing.Pool hangs when it is to end while jobs larger than a pipe, 64 KB, are
on their way to its processes. Here each process has a pipe of its own, and gets a job
when it asks for one, so that nobody sends what nobody reads.
"""

import contextlib
import multiprocessing
import os
import signal
import time
from multiprocessing import connection, forkserver

from console import progress
from console.errors import UserError

_REPORT_SECONDS = 0.2


def run(function, jobs: list, workers: int, total: int, preload=()):
    """Calls function(job, bar) for every job; only from the main thread.

    Args:
      function: a module's function; it calls bar.update(1) after each item, and
        bar.write(text) for a line above the bar. Its result and the jobs travel
        between processes.
      jobs: arguments.
      workers: processes; with 1 everything happens in this one.
      total: items of all jobs, for the progress bar.
      preload: names of modules that are slow to import; it is done once for all
        processes. Importing them must start no threads that work on.

    Yields:
      the results, in no order; closing this ends the processes.

    Raises:
      UserError: the first that a job raised, or an OSError or ImportError as one, or
        a process was killed.
    """
    with progress.progress_bar(total) as bar:
        if workers == 1:
            # Starting a process would take longer than a small dataset does.
            for job in jobs:
                yield _unwrap(_call(function, job, bar))
        else:
            yield from _run_processes(function, jobs, workers, preload, bar)


def _run_processes(function, jobs, workers, preload, bar):
    processes, pipes = [], []
    try:
        _start(function, workers, preload, processes, pipes)
        yield from _results(jobs, pipes, bar)
    finally:
        started = [process for process in processes if process.pid]
        for process in started:
            process.kill()
        for process in started:
            process.join()
        _kill_fork_server()


def _start(function, workers, preload, processes, pipes):
    # Fork is not safe beside the threads of TensorFlow and of NPU drivers; the fork
    # server only imports, and runs nothing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    try:
        _start_fork_server()
        for _ in range(workers):
            pipe, other_end = context.Pipe()
            pipes.append(pipe)
            arguments = {"args": (function, other_end), "daemon": True}
            processes.append(context.Process(target=_work, **arguments))
            # The first waits until all is imported. The others are quick, and a signal
            # between the request and its data would leave a process with a traceback.
            with _held_back() if len(processes) > 1 else contextlib.nullcontext():
                processes[-1].start()
            other_end.close()
    except (EOFError, OSError) as error:
        raise UserError(
            f"--workers={workers}: the processes cannot be started: {error!r}; "
            "take fewer"
        ) from error


@contextlib.contextmanager
def _held_back():
    """Ctrl-C and SIGTERM come into effect afterwards."""
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_fork_server():
    # Ctrl-C reaches every process, and this one alone ends the others: what is ignored
    # now stays so in those that it starts.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)


def _kill_fork_server():
    # Left alone it would import to the end, start a process for nobody and clean up,
    # while who reads this output waits for seconds. No public function ends it.
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if pid:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            # The next run looks for its end itself.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _results(jobs, pipes, bar):
    waiting, missing = list(reversed(jobs)), len(jobs)
    while missing:
        for pipe in connection.wait(pipes):
            try:
                finished, text, is_free, outcome = pipe.recv()
                if is_free and waiting:
                    pipe.send(waiting.pop())
            except (EOFError, OSError):
                raise UserError(
                    f"--workers={len(pipes)}: a process was killed, perhaps for lack "
                    "of memory; take fewer"
                ) from None
            bar.update(finished)
            if text is not None:
                bar.write(text)
            if outcome is not None:
                missing -= 1
                yield _unwrap(outcome)


class _DistantBar:
    """The progress bar of the process at the other end of a pipe.

    Sends (items finished since the last time, text or None, whether this process is
    free for a job, the outcome of the one before or None).
    """

    def __init__(self, pipe):
        self._pipe = pipe
        self._finished, self._sent_at = 0, time.monotonic()

    def update(self, count):
        self._finished += count
        if time.monotonic() - self._sent_at > _REPORT_SECONDS:
            self._send()

    def write(self, text):
        self._send(text)

    def ask_for_job(self, outcome):
        self._send(None, True, outcome)
        return self._pipe.recv()

    def _send(self, text=None, is_free=False, outcome=None):
        self._pipe.send((self._finished, text, is_free, outcome))
        self._finished, self._sent_at = 0, time.monotonic()


def _work(function, pipe):
    """Does jobs until this process is killed."""
    bar, outcome = _DistantBar(pipe), None
    while True:
        try:
            job = bar.ask_for_job(outcome)
        except (EOFError, OSError):
            # Nobody is left to work for.
            os._exit(1)
        outcome = _call(function, job, bar)


def _call(function, job, bar):
    """(result, None) or (None, text): not every exception can travel."""
    try:
        return function(job, bar), None
    except (UserError, OSError) as error:
        return None, str(error) or repr(error)
    except ImportError as error:
        return None, f"{error}; install requirements.txt"


def _unwrap(outcome):
    result, error = outcome
    if error:
        raise UserError(error)
    return result
