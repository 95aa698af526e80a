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
import sys
import time
from multiprocessing import connection, forkserver

from command_line import InputError

_REPORT_SECONDS = 0.2


def run(function, jobs: list, workers: int, total: int, preload=()) -> list:
    """Calls function(job, advance) for every job; only from the main thread.

    Args:
      function: a module's function; it calls advance(1) after each item. Its result
        and the jobs travel between processes.
      jobs: arguments.
      workers: processes; with 1 everything happens in this one.
      total: items of all jobs, for the progress bar.
      preload: names of modules that are slow to import; it is done once for all
        processes. Importing them must start no threads that work on.

    Returns:
      list of results, in no order.

    Raises:
      InputError: the first that a job raised, or an OSError or ImportError as one, or
        a process was killed.
    """
    with progress_bar(total) as bar:
        if workers == 1:
            # Starting a process would take longer than a small dataset does.
            return [_unwrap(_call(function, job, bar.update)) for job in jobs]
        return _run_processes(function, jobs, workers, preload, bar)


def _run_processes(function, jobs, workers, preload, bar):
    # Fork is not safe beside the threads of TensorFlow and of NPU drivers; the fork
    # server only imports, and runs nothing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    processes, pipes = [], []
    try:
        try:
            _start_fork_server()
            for _ in range(workers):
                pipe, other_end = context.Pipe()
                pipes.append(pipe)
                processes.append(
                    context.Process(
                        target=_work, args=(function, other_end), daemon=True
                    )
                )
                processes[-1].start()
                other_end.close()
        except (EOFError, OSError) as error:
            raise InputError(
                f"--workers={workers}: the processes cannot be started: {error!r}; "
                "take fewer"
            ) from error
        return _results(jobs, pipes, bar)
    finally:
        started = [process for process in processes if process.pid]
        for process in started:
            process.kill()
        for process in started:
            process.join()


def _start_fork_server():
    # Ctrl-C reaches every process, and this one alone ends the others: what is ignored
    # now stays so in those that it starts.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)


def _results(jobs, pipes, bar):
    waiting, results = list(reversed(jobs)), []
    while len(results) < len(jobs):
        for pipe in connection.wait(pipes):
            try:
                finished, is_free, outcome = pipe.recv()
                if is_free and waiting:
                    pipe.send(waiting.pop())
            except (EOFError, OSError):
                raise InputError(
                    f"--workers={len(pipes)}: a process was killed, perhaps for lack "
                    "of memory; take fewer"
                ) from None
            bar.update(finished)
            if outcome is not None:
                results.append(_unwrap(outcome))
    return results


def _work(function, pipe):
    """Does jobs until this process is killed.

    Sends (items finished since the last time, whether it is free for a job, the outcome
    of the one before or None).
    """
    finished, outcome, sent_at = 0, None, time.monotonic()

    def advance(count):
        nonlocal finished, sent_at
        finished += count
        if time.monotonic() - sent_at > _REPORT_SECONDS:
            pipe.send((finished, False, None))
            finished, sent_at = 0, time.monotonic()

    while True:
        try:
            pipe.send((finished, True, outcome))
            finished = 0
            job = pipe.recv()
        except (EOFError, OSError):
            # Nobody is left to work for.
            os._exit(1)
        outcome = _call(function, job, advance)


def _call(function, job, advance):
    """(result, None) or (None, text): not every exception can travel."""
    try:
        return function(job, advance), None
    except (InputError, OSError) as error:
        return None, str(error) or repr(error)
    except ImportError as error:
        return None, f"{error}; install requirements.txt"


def _unwrap(outcome):
    result, error = outcome
    if error:
        raise InputError(error)
    return result


class _PlainBar(contextlib.AbstractContextManager):
    """What tqdm does, in a line for every tenth of the work."""

    def __init__(self, total, unit):
        self._total, self._unit = total, unit
        self.n = 0

    def __exit__(self, *unused):
        pass

    def update(self, count):
        tenth = self.n * 10 // self._total
        self.n += count
        if self.n * 10 // self._total > tenth:
            print(f"{self.n} of {self._total} {self._unit}s", file=sys.stderr)


def progress_bar(total: int, unit: str = "image", **arguments):
    """Opens a bar on the standard error; without tqdm, it is some lines.

    Args:
      total: units of work.
      unit: their name.
      **arguments: of tqdm, more.

    Returns:
      context manager; its update(count) tells of work done.
    """
    try:
        import tqdm
    except ImportError:
        return _PlainBar(max(total, 1), unit)
    return tqdm.tqdm(total=total, unit=unit, mininterval=0.5, **arguments)
