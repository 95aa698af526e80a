# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""A process of test_stop_signal.py: a training whose only weight is the step.

  PYTHONPATH=<this repository> python3 stoppable.py MODEL_DIR SECONDS_PER_STEP

With -1 seconds, a step never ends. It prints "ready" before the first step.
"""

import sys
import time

import tensorflow.compat.v1 as tf

from devices import rank_messages
from trainer import stop_signal


def main(model_dir, seconds):
    """Trains until a signal stops it; prints the step at which it has stopped."""
    tf.logging.set_verbosity(tf.logging.INFO)
    tf.disable_eager_execution()
    train_op = tf.assign_add(tf.train.get_or_create_global_step(), 1)
    endless = tf.FIFOQueue(1, tf.int32).dequeue()
    with stop_signal.StopOnSignal(rank_messages.Ranks(), 1) as stop:
        with tf.train.MonitoredTrainingSession(
            checkpoint_dir=model_dir, hooks=[stop], save_checkpoint_steps=10**6
        ) as session:
            print("ready", flush=True)
            while not session.should_stop():
                session.run(train_op if seconds >= 0 else endless)
                time.sleep(max(seconds, 0))
    print(f"stopped at {stop.stopped_at}")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
