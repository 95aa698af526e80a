# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The launcher on the built-in sample: training, kill, resume, evaluation."""

import os
import re
import signal
import subprocess
import sys

import pytest
import tensorflow.compat.v1 as tf

import coco_metric
import command_line
import processes
from trainer import checkpoints

pytestmark = pytest.mark.slow
# Six steps; five images leave a last evaluation batch of one.
SHORT = (
    "--num_examples_per_epoch=6 --num_epochs=1 --decay_epochs=1 --train_batch_size=1 "
    "--save_checkpoints_steps=2 --log_every_n_steps=2 --eval_batch_size=4 "
    "--eval_samples=5"
).split()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The project in a folder of its own, whose name is a pattern."""
    return processes.copy_project(
        tmp_path_factory.mktemp("clone") / "ssd 'project' [1] é*"
    )


def run(clone, *prefix, flags=(), until=None, then=None):
    """Runs run_npu_1p.sh, and sends it a signal when its output matches a pattern.

    Returns:
      (status, output).
    """
    process = subprocess.Popen(
        list(prefix) + [str(clone / "run_npu_1p.sh"), *SHORT, *flags],
        cwd="/",
        env=dict(os.environ, PYTHON=sys.executable),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        start_new_session=True,
    )
    output = ""
    for line in process.stdout:
        output += line
        if then and re.search(until, line):
            os.killpg(process.pid, then)
            # A second SIGINT would not wait for the checkpoint.
            then = None
    return process.wait(), output


@pytest.fixture(scope="module")
def model_dir(clone):
    return clone / "training" / "D0" / "result_npu"


@pytest.fixture(scope="module")
def runs(clone, model_dir):
    """Output of a run that is killed, one that is interrupted, and one that ends.

    The checkpoint of the interrupted run is damaged before the last run.
    """
    # The checkpoint of step 2 may be incomplete then.
    _, killed = run(clone, until="step 2 of 6", then=signal.SIGKILL)
    # Like a background job of a shell script.
    ignoring = ["sh", "-c", 'trap "" INT HUP; exec "$@"', "sh"]
    status, interrupted = run(
        clone, *ignoring, until="Saving checkpoints for", then=signal.SIGINT
    )
    assert status == 0, interrupted
    newest = checkpoints.steps(str(model_dir))[-1]
    data = model_dir / f"model.ckpt-{newest}.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[len(content) // 3] ^= 16
    data.write_bytes(content)
    # Only a fresh start would read it.
    status, finished = run(clone, flags=["--init_checkpoint=none"])
    assert status == 0, finished
    return killed, interrupted, finished


def test_killed_run_resumes_from_its_newest_checkpoint_to_the_same_step(runs):
    assert "built-in sample" in runs[0]
    assert runs[0].count("starts without --resnet_checkpoint: COCO AP is then") == 1
    assert re.search(
        r"device: \w+, rank 0 of 1, precision: .*--precision_mode=allow_mix", runs[0]
    )
    assert "resumed" not in runs[0]
    # It starts from step 0 if the checkpoint of step 2 was incomplete.
    assert ("resumed at step 2\n" in runs[1]) != ("resumed" not in runs[1])
    assert "step 6 of 6 (100.0 %), 0:00:00 left" in runs[2]
    assert "starts without --resnet_checkpoint" not in runs[2]
    assert runs[2].count("--init_checkpoint is ignored: the training resumes") == 1


def test_sigint_saves_a_checkpoint_and_a_damaged_one_is_skipped(runs, model_dir):
    # The launcher passes every signal on as SIGTERM.
    assert "SIGTERM: the training stops after this step and saves" in runs[1]
    stopped = re.search(r"stopped at step (\d) of 6; the same", runs[1]).group(1)
    assert f"Saving checkpoints for {stopped} into" in runs[1]
    assert "Eval results" not in runs[1]
    path = f"{model_dir}/model.ckpt-{stopped}"
    assert f"skipped a checkpoint: cannot read {path}: " in runs[2]
    assert "Checksum does not match" in runs[2]
    resumed = re.search(r"resumed at step (\d)\n", runs[2])
    assert int(resumed.group(1) if resumed else 0) < int(stopped)


def test_log_has_the_lines_of_the_training_and_the_twelve_figures(model_dir, runs):
    number = r"-?\d+\.\d+(e[-+]?\d+)?"
    rate = rf"FPS: {number}, learning rate: 0\.\d{{8}}, loss: {number}\n"
    start = "INFO:tensorflow:"
    # No line of TensorFlow stands between them.
    assert re.search(rf"{start}{rate}{start}step \d of 6 \(", runs[2])
    for text in ("Using config", "global_step/sec", "Calling model_fn", "listeners"):
        assert text not in runs[2]
    assert "evaluated 5 of 80 images" in runs[2]
    assert list(processes.results_of(runs[2])) == coco_metric.METRIC_NAMES
    assert "Average Precision  (AP) @[ IoU=0.50:0.95" in runs[2]
    log = (model_dir.parent / "train_0.log").read_text()
    # The log of the earlier runs is kept.
    assert log.count("built-in sample") == len(runs)
    assert "Eval results" in log
    # Beside the log.
    assert f"{model_dir.parent}/train_batches.png" in runs[2]
    assert (model_dir.parent / "train_batches.png").exists()
    assert checkpoints.newest_usable(str(model_dir))[0] == 6


def test_finished_run_is_evaluated_again_with_the_same_figures(
    clone, model_dir, runs, caplog
):
    sample = clone / "sample_dataset"
    status = command_line.run(
        f"--training_file_pattern={sample}/train2017*",
        f"--validation_file_pattern={sample}/val2017*",
        f"--val_json_file={sample}/instances_val2017.json",
        f"--model_dir={model_dir}",
        *SHORT,
    )
    assert status == 0
    assert "the training is finished: step 6 of 6" in caplog.text
    assert "FPS" not in caplog.text
    figures = processes.results_of(caplog.text)
    assert figures == processes.results_of(runs[2])

    written = summaries(model_dir / "eval")
    assert sum(tag.startswith("detections/") for tag in written) == 5
    assert written["COCO/AP"] == pytest.approx(figures["COCO/AP"])
    losses = {"loss", "learning_rate", "losses/class", "losses/box", "FPS"}
    assert losses <= set(summaries(model_dir))


def summaries(folder):
    # Only the newest file: that of the killed run may end within a record.
    newest = sorted(folder.glob("events.out.tfevents.*"))[-1]
    events = tf.train.summary_iterator(str(newest))
    return {v.tag: v.simple_value for event in events for v in event.summary.value}
