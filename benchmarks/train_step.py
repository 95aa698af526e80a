# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares a training step on a CPU with a large matrix product on the same CPU.

  python3 benchmarks/train_step.py

takes about three minutes on two cores. For float32 and then for bfloat16 (if the CPU
has it), each in its own process, it prints GFLOP/s of the matrix product, GFLOP/s and
images/s of the training step on a batch in memory, the ratio of the two, and the peak
memory in GiB. Products and steps alternate, so that the load of the machine affects
both; the fastest of each counts. Run it on an idle machine.
"""

import os
import resource
import subprocess
import sys
import time

import tensorflow.compat.v1 as tf
from absl import app, flags

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import dataset_parser
import ssd_model
from devices import base, selection

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch_size", 16, "Images per step.", lower_bound=1)
flags.DEFINE_integer("steps", 6, "Steps to measure.", lower_bound=1)
flags.DEFINE_enum(
    "precision_mode", None, base.PRECISION_MODES, "Measure this mode only."
)

# 31.7 in the forward pass, and twice as many in the backward pass.
GFLOP_PER_IMAGE = 95.1
MATMUL_SIDE = 4096
MATMUL_GFLOP = 2 * MATMUL_SIDE**3 / 1e9


def main(_):
    """Measures one precision mode, or starts one process for each."""
    if FLAGS.precision_mode:
        measure(FLAGS.precision_mode)
        return
    for mode in reversed(base.PRECISION_MODES):
        command = [sys.executable, os.path.abspath(__file__)] + sys.argv[1:]
        subprocess.run(command + [f"--precision_mode={mode}"], check=True)


def measure(precision_mode):
    """Prints both rates, their ratio and the peak memory of this process."""
    config = selection.create(
        "cpu", base.Options(precision_mode=precision_mode)
    ).session_config()
    rewrites = config.graph_options.rewrite_options
    is_mixed = getattr(rewrites, "auto_mixed_precision_onednn_bfloat16", 0)
    dtype = tf.bfloat16 if is_mixed else tf.float32
    with tf.Graph().as_default():
        product = _matrix_product(dtype)
        train_op = _train_op()
        with tf.Session(config=config) as session:
            session.run(tf.global_variables_initializer())
            seconds = _take_turns(session, [product, train_op])
    matmul_rate = MATMUL_GFLOP / seconds[0]
    images = FLAGS.batch_size / seconds[1]
    step_rate = images * GFLOP_PER_IMAGE
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{dtype.name}: matmul {matmul_rate:.0f} GFLOP/s, "
        f"step {step_rate:.0f} GFLOP/s = {images:.2f} images/s "
        f"at batch {FLAGS.batch_size}, ratio {step_rate / matmul_rate:.2f}, "
        f"peak memory {memory:.1f} GiB"
    )


def _take_turns(session, ops):
    """Returns the seconds of the fastest run of each op, over alternating runs.

    The fastest counts because other load on the machine can only slow a run down.
    """
    seconds = [[] for _ in ops]
    for turn in range(FLAGS.steps + 2):
        for op, kept in zip(ops, seconds):
            start = time.time()
            session.run(op)
            # The first runs also optimize the graph and allocate memory.
            if turn >= 2:
                kept.append(time.time() - start)
    return [min(kept) for kept in seconds]


def _matrix_product(dtype):
    shape = [MATMUL_SIDE, MATMUL_SIDE]
    left, right = (
        tf.Variable(tf.cast(tf.random_normal(shape), dtype), trainable=False)
        for _ in range(2)
    )
    return tf.matmul(left, right).op


def _train_op():
    """Returns the train_op on a batch in memory."""
    batches = dataset_parser.synthetic_batches(FLAGS.batch_size)
    features, labels = tf.data.make_one_shot_iterator(batches).get_next()
    params = dict(ssd_model.DEFAULT_PARAMS, batch_size=FLAGS.batch_size)
    mode = tf.estimator.ModeKeys.TRAIN
    return ssd_model.ssd_model_fn(features, labels, mode, params).train_op


if __name__ == "__main__":
    tf.disable_eager_execution()
    app.run(main)
