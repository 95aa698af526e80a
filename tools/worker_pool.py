# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs jobs on all cores, with a progress bar; a killed process ends the run."""

import contextlib
import multiprocessing
import signal
import sys

from command_line import InputError

_POLL_SECONDS = 0.2

# In a worker: how many items all workers have finished (multiprocessing.Value).
_finished = None


def run(function, jobs: list, workers: int, total: int, preload=()) -> list:
    """Calls function(job, advance) for every job.

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
      InputError: the first that a job raised, or an OSError as one, or a process was
        killed.
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
    finished = context.Value("q", 0)
    with context.Pool(workers, _start_worker, (finished,)) as pool:
        processes = multiprocessing.active_children()
        calls = pool.imap_unordered(_call_in_worker, [(function, job) for job in jobs])
        return [
            _unwrap(_next_result(calls, processes, finished, bar))
            for _ in range(len(jobs))
        ]


def _start_worker(finished):
    global _finished
    _finished = finished
    # Ctrl-C reaches every process; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _advance(count):
    with _finished.get_lock():
        _finished.value += count


def _call_in_worker(call):
    function, job = call
    return _call(function, job, _advance)


def _call(function, job, advance):
    """(result, None) or (None, text): not every exception can travel."""
    try:
        return function(job, advance), None
    except (InputError, OSError) as error:
        return None, str(error)


def _unwrap(outcome):
    result, error = outcome
    if error:
        raise InputError(error)
    return result


def _next_result(calls, processes, finished, bar):
    """The next result; a pool alone waits forever for one of a killed process."""
    while True:
        try:
            return calls.next(timeout=_POLL_SECONDS)
        except multiprocessing.TimeoutError:
            if set(multiprocessing.active_children()) != set(processes):
                raise InputError(
                    f"--workers={len(processes)}: a process was killed, perhaps for "
                    "lack of memory; take fewer"
                ) from None
        finally:
            bar.update(finished.value - bar.n)


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
