# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two ranks on CPUs: the numbers of one, and what becomes of them when one dies."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
import processes
import ssd_architecture
import ssd_model
from devices import runtime

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STEPS, RANKS, BATCH = 2, 2, 1


def make_batches(random):
    """Images and targets by step and rank: leading sizes [STEPS, RANKS, BATCH]."""
    shape = [STEPS, RANKS, BATCH]
    images = random.uniform(size=shape + [300, 300, 3]).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        boxes = tf.placeholder(tf.float32, [None, 4])
        labels = tf.placeholder(tf.int32, [None])
        encoded = anchors.encode_labels(boxes, labels)
        targets = []
        for _ in range(np.prod(shape)):
            corner = random.uniform(0, 0.5, size=[3, 2])
            size = random.uniform(0.1, 0.5, size=[3, 2])
            ltrb = np.concatenate([corner, corner + size], axis=1)
            feed = {boxes: ltrb, labels: random.integers(1, 81, size=3)}
            targets.append(session.run(encoded, feed))
    names = ("classes", "boxes", "num_matched_boxes")
    arrays = {
        name: np.array(column).reshape(shape + list(column[0].shape))
        for name, column in zip(names, zip(*targets))
    }
    return dict(arrays, image=images)


def trained(path):
    """(weights, momenta) of a checkpoint, float64 arrays by the variable's name."""
    reader = tf.train.load_checkpoint(str(path))
    slot = "/Momentum"
    found = [name for name in reader.get_variable_to_shape_map() if name.endswith(slot)]
    names = [name[: -len(slot)] for name in found]
    weights = {name: reader.get_tensor(name).astype(np.float64) for name in names}
    momenta = {n: reader.get_tensor(n + slot).astype(np.float64) for n in names}
    return weights, momenta


def averaged_steps(starts, batches):
    """The weights after each step, with gradients of the ranks averaged in float64.

    Each rank's gradients come from a graph of its own batch alone, by the kernels that
    the ranks have; averaging, momentum and update are NumPy's. Each step starts where
    the ranks were: a difference in the last bit may turn a ReLU or choose another
    hardest negative in the next one.

    Args:
      starts: list of STEPS pairs, see `trained`.
      batches: see `make_batches`.

    Yields:
      dict from name to float64 array.
    """
    params = dict(
        ssd_model.DEFAULT_PARAMS,
        batch_size=BATCH,
        num_ranks=RANKS,
        num_examples_per_epoch=STEPS * RANKS * BATCH,
        num_epochs=1,
        decay_epochs=1,
        warmup_epochs=0,
    )
    options = runtime.Options(precision_mode="must_keep_origin_dtype")
    config = runtime.WorkerRuntime(0, RANKS, options).session_config()
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        feeds = {
            name: tf.placeholder(values.dtype, values.shape[2:])
            for name, values in batches.items()
        }
        images = (feeds["image"] - ssd_model.MEAN_RGB) / ssd_model.STD_RGB
        outputs = ssd_architecture.ssd(images, is_training=True)
        loss = ssd_model.detection_loss(*outputs, labels=feeds)[0]
        loss += ssd_model.weight_decay_loss(params["weight_decay"])
        variables = {v.op.name: v for v in tf.trainable_variables()}
        gradients = dict(zip(variables, tf.gradients(loss, list(variables.values()))))
        step_input = tf.placeholder(tf.int64, [])
        rate = ssd_model.learning_rate_schedule(params, step_input)
        session.run(tf.global_variables_initializer())
        for step, (weights, momenta) in enumerate(starts):
            for name, variable in variables.items():
                variable.load(weights[name].astype(np.float32), session)
            by_rank = [
                session.run(
                    gradients, {feeds[k]: v[step, rank] for k, v in batches.items()}
                )
                for rank in range(RANKS)
            ]
            learning_rate = session.run(rate, {step_input: step})
            after = {}
            for name in variables:
                mean = sum(g[name].astype(np.float64) for g in by_rank) / RANKS
                momentum = params["momentum"] * momenta[name] + mean
                after[name] = weights[name] - learning_rate * momentum
            yield after


def test_two_ranks_take_the_step_of_their_averaged_gradients(tmp_path):
    seed = 20170412
    print("seed", seed)
    batches = make_batches(np.random.default_rng(seed))
    np.savez(str(tmp_path / "input.npz"), **batches)
    base_port = processes.free_ports(RANKS + 1)
    logs = processes.run_ranks(
        RANKS,
        [sys.executable, os.path.join(TESTS, "helpers", "averaging_rank.py")]
        + [str(tmp_path / "input.npz"), str(tmp_path / "model"), str(base_port)]
        + [str(seed)],
    )

    checkpoints = [
        trained(tmp_path / "model" / f"model.ckpt-{step}") for step in range(STEPS + 1)
    ]
    steps = zip(checkpoints, checkpoints[1:], averaged_steps(checkpoints[:-1], batches))
    for step, ((start, _), (found, _), expected) in enumerate(steps):
        assert sorted(found) == sorted(expected)
        for name in sorted(found):
            moved = np.abs(expected[name] - start[name]).max()
            # The ranks' weights are rounded to float32, and so are their gradients:
            # behind a gamma of 0 these are nothing but rounding.
            eps = np.finfo(np.float32).eps
            rounding = eps * (np.abs(start[name]).max() + 1e-2)
            np.testing.assert_allclose(
                *(found[name], expected[name]),
                rtol=0,
                atol=1e-3 * moved + rounding,
                err_msg=f"{name} in step {step}",
            )
    # Of step 0, for a global batch of 2: 0.003 * 2 / 32.
    assert "learning rate: 0.00018750" in logs[0]


class Job:
    """run_npu_8p.sh with two ranks, in a copy of the project."""

    def __init__(self, clone, *flags):
        self._clone = clone
        self._output = open(str(clone / "output"), "w")
        self.process = subprocess.Popen(
            [str(clone / "run_npu_8p.sh")]
            + ["--num_examples_per_epoch=16", "--num_epochs=1", "--decay_epochs=1"]
            + ["--train_batch_size=1", "--save_checkpoints_steps=2"]
            + ["--log_every_n_steps=1", "--eval_batch_size=4", "--eval_samples=9"]
            + [f"--base_port={processes.free_ports(3)}"]
            + list(flags),
            cwd="/",
            env=dict(os.environ, PYTHON=sys.executable, RANK_SIZE="2"),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def output(self):
        with open(str(self._clone / "output")) as file:
            return file.read()

    def wait(self, seconds=300):
        status = self.process.wait(timeout=seconds)
        self._output.close()
        return status


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The project in a folder of its own, with a space in its name."""
    return processes.copy_project(tmp_path_factory.mktemp("clone") / "two ranks")


@pytest.fixture(scope="module")
def jobs(clone):
    """(status, output) of a job with a killed rank, one told to stop, a third."""
    done = []
    job = Job(clone)
    processes.wait_for(lambda: "step 3 of 8" in job.output())
    os.kill(processes.pid_of_rank(clone, 1), signal.SIGKILL)
    start = time.monotonic()
    status = job.wait()
    assert time.monotonic() - start < 60
    done.append((status, job.output()))

    job = Job(clone)
    processes.wait_for(lambda: re.search(r":step \d of 8", job.output()))
    job.process.terminate()
    status = job.wait()
    done.append((status, job.output()))

    job = Job(clone)
    done.append((job.wait(), job.output()))
    return done


def test_a_killed_rank_ends_the_job_and_is_named(jobs):
    status, output = jobs[0]
    assert status == 137
    assert "rank 1 was killed by SIGKILL" in output


def test_sigterm_saves_a_checkpoint_first(jobs):
    status, output = jobs[1]
    assert status == 0
    assert re.search(r"resumed at step [2-4]\n", output)
    assert re.search(r"stopped at step \d of 8; the same command continues", output)
    assert "Eval results" not in output


def test_the_same_command_goes_on_and_ends_at_the_same_step(clone, jobs):
    stopped = re.search(r"stopped at step (\d)", jobs[1][1]).group(1)
    status, output = jobs[2]
    assert status == 0
    assert f"resumed at step {stopped}\n" in output
    assert "step 8 of 8 (100.0 %)" in output
    model_dir = clone / "training" / "D0" / "result_npu"
    newest = tf.train.latest_checkpoint(str(model_dir))
    assert newest.endswith("model.ckpt-8")


def test_the_ranks_share_the_evaluation_with_the_result_of_one(clone, jobs):
    log = (clone / "training" / "D1" / "train_1.log").read_text()
    # Rank 0 has the first, third, ... ninth image.
    assert "4 images detected; rank 0 has the result" in log
    assert "Eval results" not in log
    output = subprocess.run(
        [str(clone / "run_npu_1p.sh"), "--mode=eval"]
        + ["--eval_batch_size=2", "--eval_samples=9"],
        env=dict(os.environ, PYTHON=sys.executable),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=240,
    ).stdout
    both = processes.results_of(jobs[2][1])
    assert processes.results_of(output) == pytest.approx(both, abs=1e-6)
