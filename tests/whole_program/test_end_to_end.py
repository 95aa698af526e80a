# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The real commands: a few steps of training, a kill, a resume, an evaluation."""

import os
import re
import signal
import subprocess
import sys

import pytest
import tensorflow.compat.v1 as tf

import coco_metric
import processes

# Six steps on the built-in sample; nine images leave a partial batch of one.
SHORT = [
    "--num_examples_per_epoch=12",
    "--num_epochs=1",
    "--decay_epochs=1",
    "--train_batch_size=2",
    "--save_checkpoints_steps=2",
    "--log_every_n_steps=2",
    "--eval_batch_size=4",
    "--eval_samples=9",
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The project in a folder of its own, with a space in its name."""
    return processes.copy_project(tmp_path_factory.mktemp("clone") / "ssd project")


def start(clone):
    return subprocess.Popen(
        [str(clone / "run_npu_1p.sh")] + SHORT,
        cwd="/",
        env=dict(os.environ, PYTHON=sys.executable),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def runs(clone):
    """Output of a run killed after step 2, of one interrupted, and of two more."""
    process = start(clone)
    killed = ""
    for line in process.stdout:
        killed += line
        # The checkpoint of step 2 is perhaps not whole by now.
        if "step 2 of 6" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    outputs = [killed]

    process = start(clone)
    interrupted = ""
    for line in process.stdout:
        interrupted += line
        # Once: a second signal would not wait for the checkpoint.
        if interrupted.count("Saving checkpoints for") == 1:
            os.killpg(process.pid, signal.SIGINT)
            break
    interrupted += process.stdout.read()
    assert process.wait() == 0, interrupted
    outputs.append(interrupted)

    for _ in range(2):
        process = start(clone)
        outputs.append(process.communicate()[0])
        assert process.returncode == 0, outputs[-1]
    return outputs


def test_first_run_says_what_it_does(runs):
    assert "built-in sample" in runs[0]
    assert runs[0].count("starts without --resnet_checkpoint: COCO AP is then") == 1
    assert re.search(
        r"device: \w+, rank 0 of 1, precision: .*--precision_mode=allow_mix", runs[0]
    )
    assert "resumed" not in runs[0]


def test_ctrl_c_saves_a_checkpoint_and_ends_well(runs):
    assert "SIGINT: the training saves a checkpoint and ends" in runs[1]
    stopped = re.search(r"stopped at step (\d) of 6; the same command", runs[1]).group(
        1
    )
    assert f"Saving checkpoints for {stopped} into" in runs[1]
    assert "Eval results" not in runs[1]
    assert f"resumed at step {stopped}\n" in runs[2]


def test_killed_run_resumes_from_its_newest_checkpoint_to_the_same_step(runs):
    # Step 0 is where it starts when the checkpoint of step 2 was not whole.
    assert ("resumed at step 2\n" in runs[1]) != ("resumed" not in runs[1])
    assert "step 6 of 6 (100.0 %), 0:00:00 left" in runs[2]
    assert "starts without --resnet_checkpoint" not in runs[2]
    number = r"-?\d+\.\d+(e[-+]?\d+)?"
    line = rf"FPS: {number}, learning rate: 0\.\d{{8}}, loss: {number}\n"
    assert re.search("INFO:tensorflow:" + line, runs[2])


def test_finished_run_says_so_and_evaluates_again_with_the_same_figures(runs):
    assert "the training is finished: step 6 of 6" in runs[3]
    assert "FPS" not in runs[3]
    assert processes.results_of(runs[3]) == processes.results_of(runs[2])


def test_evaluation_prints_the_twelve_figures_of_every_image(runs):
    assert "evaluated 9 of 80 images" in runs[2]
    assert list(processes.results_of(runs[2])) == coco_metric.METRIC_NAMES
    assert "Average Precision  (AP) @[ IoU=0.50:0.95" in runs[2]


def test_log_and_model_are_where_users_look_for_them(clone, runs):
    folder = clone / "training" / "D0"
    log = (folder / "train_0.log").read_text()
    # Nothing of the earlier runs is lost.
    assert log.count("built-in sample") == 4
    assert "Eval results" in log
    newest = tf.train.latest_checkpoint(str(folder / "result_npu"))
    assert newest.endswith("model.ckpt-6")


def test_figures_and_losses_are_written_as_summaries(clone, runs):
    model_dir = clone / "training" / "D0" / "result_npu"
    assert summaries(model_dir / "eval").keys() == set(coco_metric.METRIC_NAMES)
    assert summaries(model_dir / "eval")["COCO/AP"] == pytest.approx(
        processes.results_of(runs[3])["COCO/AP"]
    )
    assert {"loss", "learning_rate", "class_loss", "box_loss"} <= set(
        summaries(model_dir)
    )


def summaries(folder):
    values = {}
    # Only the newest file: the one of the killed run may end within a record.
    newest = sorted(folder.glob("events.out.tfevents.*"))[-1]
    for event in tf.train.summary_iterator(str(newest)):
        values.update({v.tag: v.simple_value for v in event.summary.value})
    return values
