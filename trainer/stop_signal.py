# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT end a training with a checkpoint."""

import os
import signal
import threading

import tensorflow.compat.v1 as tf

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopOnSignal(tf.train.SessionRunHook):
    """Stops all ranks after the same step when one of them receives a signal.

    The Estimator then saves a checkpoint, as it does after the last step. A second
    signal of the same kind ends the process at once, with status 128 + its number.

    Python runs signal handlers in the main thread only, and not before a session run
    returns, which may take minutes. Therefore a thread waits for the signals: Python's
    C code writes the number of each one to a pipe (signal.set_wakeup_fd).

    This works although SIGINT is ignored when the process starts, as in a background
    job of a shell script.

    Attributes:
      stopped_at: int, the step at which a signal stopped the training, or None.
    """

    def __init__(self, ranks, steps_per_run):
        """Initializes the hook; steps_per_run: int, training steps per session run."""
        self._ranks = ranks
        self._steps_per_run = steps_per_run
        self.stopped_at = None

    def __enter__(self):
        """Replaces the signal handlers of the process."""
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        _install_handlers()
        reading_end, self._writing_end = os.pipe()
        os.set_blocking(self._writing_end, False)
        self._former_fd = signal.set_wakeup_fd(
            self._writing_end, warn_on_full_buffer=False
        )
        threading.Thread(target=self._watch, args=(reading_end,), daemon=True).start()
        return self

    def __exit__(self, *unused):
        """Restores the signal handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_fd)
        # The thread then reads the end of the pipe.
        os.close(self._writing_end)

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
                        "checkpoint; the same signal again ends it at once",
                        signal.Signals(number).name,
                    )

    def after_create_session(self, session, coord):
        """Replaces the handlers again. See the base class."""
        del session, coord
        # The gRPC server of TensorFlow 2.15 has installed a handler for SIGTERM.
        _install_handlers()

    def after_run(self, run_context, run_values):
        """Stops at the step that the ranks have agreed on. See the base class."""
        del run_values
        if not self._ranks.is_stop_wanted:
            return
        session = run_context.session
        step = int(session.run(tf.train.get_global_step(session.graph)))
        stop_step = self._ranks.stop_step(step, self._steps_per_run)
        if stop_step is not None and step >= stop_step:
            self.stopped_at = step
            run_context.request_stop()


def _install_handlers():
    for number in _SIGNALS:
        # Only a signal that has a handler is written to the pipe.
        signal.signal(number, lambda *unused: None)
