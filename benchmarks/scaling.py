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

import functools
import os
import random
import re
import subprocess
import sys
import tempfile

from absl import app, flags

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch_size", 8, "Images per step and rank.", lower_bound=1)
flags.DEFINE_integer("steps", 6, "Steps per training.", lower_bound=2)
flags.DEFINE_integer("repeats", 2, "Trainings with each number of ranks.", 1)


def rate(num_ranks):
    """Returns images/s of all ranks together in the fastest step of a training."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as model_dir:
        command = [
            sys.executable,
            os.path.join(ROOT, "ssd_main.py"),
            "--mode=train",
            "--device=cpu",
            "--synthetic_data",
            f"--model_dir={model_dir}",
            f"--base_port={random.randrange(10000, 32000)}",
            f"--train_batch_size={FLAGS.batch_size}",
            f"--num_examples_per_epoch={FLAGS.batch_size * num_ranks * FLAGS.steps}",
            "--num_epochs=1",
            "--log_every_n_steps=1",
            # Not while the speed is measured.
            f"--save_checkpoints_steps={FLAGS.steps}",
        ]
        running = [
            subprocess.Popen(
                command,
                env=dict(os.environ, RANK_ID=str(rank), RANK_SIZE=str(num_ranks)),
                # TensorFlow starts one thread for each core.
                preexec_fn=functools.partial(
                    os.sched_setaffinity, 0, {cores[rank % len(cores)]}
                ),
                # Rank 0 logs the speed of all ranks.
                stderr=subprocess.DEVNULL if rank else subprocess.PIPE,
                universal_newlines=True,
            )
            for rank in range(num_ranks)
        ]
        log, *_ = [process.communicate()[1] for process in running]
    if any(process.returncode for process in running):
        sys.exit(f"scaling.py: a training with {num_ranks} ranks failed:\n{log}")
    return max(map(float, re.findall(r"FPS: ([0-9.]+)", log)))


def main(_):
    """Prints both speeds and their ratio."""
    rates = [(rate(1), rate(2)) for _ in range(FLAGS.repeats)]
    one, two = map(max, zip(*rates))
    print(
        f"batch {FLAGS.batch_size} per rank: one rank {one:.2f} images/s, two ranks "
        f"{two:.2f} images/s, ratio {two / (2 * one):.2f}"
    )


if __name__ == "__main__":
    app.run(main)
