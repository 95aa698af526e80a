# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures how the training on CPUs scales from one rank to two.

  python3 benchmarks/scaling.py

takes about five minutes on two cores. It alternates between a training with one rank
and one with two ranks that average their gradients; each rank runs on one core of its
own, on a batch in memory. It prints images/s of the fastest step of each, and the
scaling efficiency: images/s of two ranks, divided by twice that of one rank. Run it on
an idle machine.
"""

import os
import random
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow.compat.v1 as tf
from absl import app, flags

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import anchors
import ssd_model
from devices import base, selection

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch_size", 8, "Images per step and rank.", lower_bound=1)
flags.DEFINE_integer("steps", 6, "Steps per training.", lower_bound=2)
flags.DEFINE_integer("repeats", 2, "Trainings with each number of ranks.", 1)
flags.DEFINE_integer("base_port", 0, "First TCP port of the ranks; 0: random.", 0)
flags.DEFINE_string("model_dir", None, "Set by the benchmark for its own ranks.")


class StepTimer(tf.train.SessionRunHook):
    """Records when each step ends.

    Attributes:
      ends: list of float, seconds since the epoch.
    """

    def __init__(self):
        """Initializes an empty record."""
        self.ends = []

    def after_run(self, run_context, run_values):
        """See the base class."""
        del run_context, run_values
        self.ends.append(time.time())


def run_rank():
    """Trains as rank RANK_ID of RANK_SIZE; prints the seconds of the fastest step."""
    timer = StepTimer()
    options = base.Options(base_port=FLAGS.base_port)
    with selection.create("cpu", options) as device:
        params = dict(
            ssd_model.DEFAULT_PARAMS,
            batch_size=FLAGS.batch_size,
            num_ranks=device.num_ranks,
        )
        device.train(
            ssd_model.ssd_model_fn,
            device.shared_model_dir(FLAGS.model_dir),
            params,
            _batch_in_memory,
            FLAGS.steps,
            [timer],
            save_checkpoints_steps=FLAGS.steps,
        )
    print(np.diff(timer.ends).min())


def _batch_in_memory():
    size, boxes = anchors.IMAGE_SIZE, anchors.NUM_DEFAULT_BOXES
    batch = FLAGS.batch_size
    classes = tf.tile(tf.cast(tf.range(boxes) < 20, tf.int32)[None], [batch, 1])
    labels = {
        "classes": classes,
        "boxes": tf.zeros([batch, boxes, 4]),
        "num_matched_boxes": tf.fill([batch], 20.0),
    }
    features = {"image": tf.random_uniform([batch, size, size, 3], seed=1)}
    return tf.data.Dataset.from_tensors((features, labels)).cache().repeat()


def rate(num_ranks):
    """Returns images/s of a training with num_ranks ranks."""
    base_port = FLAGS.base_port or random.randrange(10000, 32000)
    with tempfile.TemporaryDirectory() as model_dir:
        running = [
            subprocess.Popen(
                [sys.executable, os.path.abspath(__file__)]
                + [f"--model_dir={model_dir}", f"--base_port={base_port}"]
                + [f"--batch_size={FLAGS.batch_size}", f"--steps={FLAGS.steps}"],
                env=dict(os.environ, RANK_ID=str(rank), RANK_SIZE=str(num_ranks)),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for rank in range(num_ranks)
        ]
        outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError(f"a rank of {num_ranks} failed")
    seconds = max(float(output.split()[-1]) for output in outputs)
    return num_ranks * FLAGS.batch_size / seconds


def main(_):
    """Runs the benchmark or, in its child processes, one rank."""
    if FLAGS.model_dir:
        run_rank()
        return
    rates = {1: [], 2: []}
    for _ in range(FLAGS.repeats):
        for num_ranks in sorted(rates):
            rates[num_ranks].append(rate(num_ranks))
    one, two = max(rates[1]), max(rates[2])
    print(
        f"batch {FLAGS.batch_size} per rank: one rank {one:.2f} images/s, two ranks "
        f"{two:.2f} images/s, ratio {two / (2 * one):.2f}"
    )


if __name__ == "__main__":
    if "RANK_ID" in os.environ:
        cores = sorted(os.sched_getaffinity(0))
        # TensorFlow counts the cores later, and starts one thread for each.
        os.sched_setaffinity(0, {cores[int(os.environ["RANK_ID"]) % len(cores)]})
    app.run(main)
