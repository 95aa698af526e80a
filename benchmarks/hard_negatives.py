# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures hard-negative mining: bisection over the bits against a full sort.

  python3 benchmarks/hard_negatives.py

Prints the milliseconds per batch on this CPU of ssd_model.hardest_negatives and of
ranking all 8732 losses by top_k: the fastest of runs that take turns. Takes seconds.
"""

import os
import sys
import time

import numpy as np
import tensorflow.compat.v1 as tf
from absl import app, flags

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import anchors
import ssd_model

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch_size", 32, "Images.", lower_bound=1)
flags.DEFINE_integer("repeats", 50, "Runs of each of the two.", lower_bound=1)


def by_sorting(losses, is_negative, count):
    """Returns the same mask as ssd_model.hardest_negatives, bool [B, N]."""
    masked = tf.where(is_negative, losses, -tf.ones_like(losses))
    size = anchors.NUM_DEFAULT_BOXES
    order = tf.nn.top_k(masked, size).indices
    rank = tf.nn.top_k(-order, size).indices
    return (rank < count[:, None]) & is_negative


def main(_):
    """Measures and prints."""
    random = np.random.RandomState(1)
    shape = [FLAGS.batch_size, anchors.NUM_DEFAULT_BOXES]
    # Variables, because TensorFlow would evaluate constants only once.
    losses = tf.get_variable(
        "losses", initializer=random.gamma(1.0, size=shape).astype(np.float32)
    )
    is_negative = tf.get_variable("mask", initializer=random.uniform(size=shape) > 0.01)
    count = tf.fill([FLAGS.batch_size], 200)
    masks = [f(losses, is_negative, count) for f in (MINING, by_sorting)]
    seconds = [[], []]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        ours, sorted_ = session.run(masks)
        if not (ours == sorted_).all():
            raise AssertionError("the two differ")
        for _ in range(FLAGS.repeats):
            for mask, times in zip(masks, seconds):
                start = time.perf_counter()
                session.run(mask.op)
                times.append(time.perf_counter() - start)
    bisection, sorting = (1000 * min(times) for times in seconds)
    print(
        f"batch {FLAGS.batch_size}: bisection {bisection:.1f} ms, sorting "
        f"{sorting:.1f} ms, ratio {bisection / sorting:.2f}"
    )


MINING = ssd_model.hardest_negatives

if __name__ == "__main__":
    tf.disable_eager_execution()
    app.run(main)
