# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two ranks on CPUs: gradients are averaged, jobs end together and resume."""

import ast
import json
import os
import re
import signal
import subprocess
import sys

import pytest
import tensorflow.compat.v1 as tf

import processes


@pytest.mark.slow
def test_two_ranks_take_the_step_of_their_averaged_gradients(tmp_path):
    options = {
        "precision_mode": "must_keep_origin_dtype",
        "base_port": processes.free_ports(3),
    }
    script = os.path.join(processes.ROOT, "tests", "helpers", "one_weight_rank.py")
    outputs = processes.run_ranks(
        2,
        [sys.executable, script, "cpu", str(tmp_path / "model"), json.dumps(options)],
    )
    # The mean of the gradients 5 (w - 3) and 5 (w - 4) is 5 (w - 3.5). Accumulated with
    # momentum 0.5 it is -17.5, -17.5, -8.75 and 0; w is 1.75, 3.5, 4.375 and 4.375.
    for step, accumulated, weight in ((0, 0, 0), (2, -17.5, 3.5), (4, 0, 4.375)):
        reader = tf.train.load_checkpoint(
            str(tmp_path / "model" / f"model.ckpt-{step}")
        )
        assert reader.get_tensor("weight") == pytest.approx([weight], abs=1e-5)
        momentum = reader.get_tensor("weight/Momentum")
        assert momentum == pytest.approx([accumulated], abs=1e-4)
    # Both ranks predict with the weight that rank 0 has saved.
    gathered = re.search(r"^\[b'.*\]$", outputs[0], re.MULTILINE).group()
    predicted = [json.loads(text.decode()) for text in ast.literal_eval(gathered)]
    assert predicted == [[pytest.approx(4.375), pytest.approx(8.75)]] * 2
    assert "\nNone\n" in outputs[1]


def ignore_signals():
    """Does what `nohup ... &` does to a command."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Job:
    """run_npu_8p.sh with two ranks, started as by nohup, in a copy of the project."""

    def __init__(self, clone):
        self._clone = clone
        with open(str(clone / "output"), "w") as output:
            self.process = subprocess.Popen(
                [str(clone / "run_npu_8p.sh")]
                + ["--num_examples_per_epoch=12", "--num_epochs=1", "--decay_epochs=1"]
                + ["--train_batch_size=1", "--save_checkpoints_steps=2"]
                + ["--log_every_n_steps=1", "--eval_batch_size=2", "--eval_samples=5"]
                + [f"--base_port={processes.free_ports(3)}"],
                cwd="/",
                env=dict(os.environ, PYTHON=sys.executable, RANK_SIZE="2"),
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=ignore_signals,
            )

    def output(self):
        return (self._clone / "output").read_text()

    def end(self, seconds=300):
        """Waits; returns the exit status and the output."""
        return self.process.wait(timeout=seconds), self.output()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The project in a folder of its own, with a space in its name."""
    return processes.copy_project(tmp_path_factory.mktemp("clone") / "two ranks")


@pytest.fixture(scope="module")
def jobs(clone):
    """(status, output) of three jobs: a rank is killed; SIGTERM; the rest."""
    killed = Job(clone)
    processes.wait_for(lambda: "step 3 of 6" in killed.output())
    os.kill(processes.pid_of_rank(clone, 1), signal.SIGKILL)
    results = [killed.end(seconds=60)]

    stopped = Job(clone)
    processes.wait_for(lambda: re.search(r":step \d of 6", stopped.output()))
    stopped.process.terminate()
    results.append(stopped.end())

    return results + [Job(clone).end()]


@pytest.mark.slow
def test_a_killed_rank_ends_the_job_and_is_named(jobs):
    status, output = jobs[0]
    assert status == 137
    assert "rank 1 was killed by SIGKILL" in output


@pytest.mark.slow
def test_sigterm_saves_also_under_nohup_and_the_same_command_resumes(clone, jobs):
    status, output = jobs[1]
    assert status == 0
    assert re.search(r"resumed at step [2-4]\n", output)
    assert "Eval results" not in output
    stopped = re.search(r"stopped at step (\d) of 6; the same command", output).group(1)
    status, output = jobs[2]
    assert status == 0
    assert f"resumed at step {stopped}\n" in output
    assert "step 6 of 6 (100.0 %)" in output
    model_dir = clone / "training" / "D0" / "result_npu"
    newest = tf.train.latest_checkpoint(str(model_dir))
    assert newest.endswith("model.ckpt-6")


@pytest.mark.slow
def test_the_ranks_share_the_evaluation_with_the_result_of_one(clone, jobs):
    log = (clone / "training" / "D1" / "train_1.log").read_text()
    # Rank 0 has the first, third and fifth image.
    assert "2 images detected; rank 0 has the result" in log
    assert "Eval results" not in log
    output = subprocess.run(
        [str(clone / "run_npu_1p.sh"), "--mode=eval"]
        + ["--eval_batch_size=2", "--eval_samples=5"],
        env=dict(os.environ, PYTHON=sys.executable),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=240,
    ).stdout
    both = processes.results_of(jobs[2][1])
    assert processes.results_of(output) == pytest.approx(both, abs=1e-6)
