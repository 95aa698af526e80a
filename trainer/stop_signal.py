# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT end a training with a checkpoint instead of losing it."""

import os
import signal
import threading

import tensorflow.compat.v1 as tf

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopOnSignal(tf.train.SessionRunHook):
    """Stops after the session run in which the first signal came, all ranks together.

    The Estimator then saves a checkpoint, as it does at the end. The same signal again
    ends the process at once, with the status that shells give to such an end.

    A step may take minutes, in which Python runs no handler in the main thread: a
    thread learns of the signals through a pipe that Python's own C code writes to.

    Attributes:
      stopped_at: int, the step at which a signal stopped the training, or None.
    """

    def __init__(self, ranks, steps_per_run):
        """Keeps whom to agree with.

        Args:
          ranks: ranks.Alone or ranks.Ranks.
          steps_per_run: int, steps that a session run takes.
        """
        self._ranks = ranks
        self._steps_per_run = steps_per_run
        self.stopped_at = None

    def __enter__(self):
        """Takes the signals over."""
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        self._install()
        reading_end, self._writing_end = os.pipe()
        os.set_blocking(self._writing_end, False)
        self._former_end = signal.set_wakeup_fd(
            self._writing_end, warn_on_full_buffer=False
        )
        threading.Thread(target=self._watch, args=(reading_end,), daemon=True).start()
        return self

    def _install(self):
        for number in _SIGNALS:
            # Only signals that have a handler get into the pipe.
            signal.signal(number, lambda *unused: None)

    def _watch(self, reading_end):
        seen = set()
        with open(reading_end, "rb", buffering=0) as pipe:
            for number in iter(lambda: ord(pipe.read(1) or b"\0"), 0):
                if number in seen:
                    # A job manager may signal the launcher and the ranks, and the
                    # launcher passes its signal on. It counts the signals itself.
                    if "SSD_HEARTBEAT_FILE" not in os.environ:
                        os._exit(128 + number)
                elif number in _SIGNALS:
                    seen.add(number)
                    self._ranks.want_stop()
                    tf.logging.info(
                        "%s: the training stops after this step and saves a "
                        "checkpoint; once more ends it at once",
                        signal.Signals(number).name,
                    )

    def after_create_session(self, session, coord):
        """Takes the signals over once more. See the base class."""
        del session, coord
        # The server of TensorFlow 2.15 puts in a handler of SIGTERM of its own.
        self._install()

    def __exit__(self, *unused):
        """Gives the signals back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_end)
        os.close(self._writing_end)

    def after_run(self, run_context, run_values):
        """Stops where the ranks agreed to. See the base class."""
        del run_values
        if not self._ranks.is_stop_wanted:
            return
        session = run_context.session
        step = int(session.run(tf.train.get_global_step(session.graph)))
        stop_step = self._ranks.stop_step(step, self._steps_per_run)
        if stop_step is not None and step >= stop_step:
            self.stopped_at = step
            run_context.request_stop()
