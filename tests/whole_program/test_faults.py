# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in the middle of a training, by the real command."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import processes
import records
from evaluation import plots
from trainer import checkpoints


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three images with a box each."""
    folder = tmp_path_factory.mktemp("data")
    pixels = np.full([60, 90, 3], 80, np.uint8)
    pixels[15:45, 20:50] = 200
    encoded = records.encode_image(pixels)
    box = [15 / 60, 20 / 90, 45 / 60, 50 / 90]
    numbers = range(1, 4)
    records.write(
        folder / "train", [records.record(i, encoded, [box], [18]) for i in numbers]
    )
    return folder


SAVE_EACH_STEP = "--save_checkpoints_steps=1"
ENV = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")


def command_of(data, model_dir, *flags, steps=4):
    """Trains with batches of one image."""
    return (
        [sys.executable, os.path.join(processes.ROOT, "ssd_main.py"), "--mode=train"]
        + [f"--training_file_pattern={data / 'train'}", f"--model_dir={model_dir}"]
        + [f"--num_examples_per_epoch={steps}", "--num_epochs=1", "--decay_epochs=1"]
        + ["--train_batch_size=1", "--device=cpu"]
        + list(flags)
    )


def train(data, model_dir, *flags, steps=4):
    """Runs `command_of`."""
    return subprocess.run(
        command_of(data, model_dir, *flags, steps=steps),
        env=ENV,
        capture_output=True,
        text=True,
        timeout=240,
    )


def last_line(result):
    return result.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def model_dir(data, tmp_path_factory):
    """A finished training of two steps."""
    folder = tmp_path_factory.mktemp("model")
    assert train(data, folder, SAVE_EACH_STEP, steps=2).returncode == 0
    return folder


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_gone_on_from(
    data, model_dir
):
    path = model_dir / "model.ckpt-2.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)
    result = train(data, model_dir, steps=2)
    assert result.returncode == 0
    assert "left out the checkpoint " + str(model_dir / "model.ckpt-2") in result.stderr
    assert "Checksum does not match" in result.stderr
    assert "resumed at step 1\n" in result.stderr
    assert "step 2 of 2" in result.stderr
    assert checkpoints.newest_usable(str(model_dir))[0] == 2


def test_a_loss_that_is_not_finite_is_named_and_the_last_good_checkpoint_kept(
    data, tmp_path
):
    flags = ["--base_learning_rate=1e9", SAVE_EACH_STEP]
    result = train(data, tmp_path, *flags, steps=40)
    assert result.returncode == 2
    parts = "(class|box|decay)( and (class|box|decay))*"
    line = rf"ssd_main.py: step (\d+): the {parts} loss is (nan|inf)"
    match = re.match(line, last_line(result))
    assert match, last_line(result)
    assert "lower --base_learning_rate" in last_line(result)
    # What is restored next is finite, whatever was saved.
    step, path = checkpoints.newest_usable(str(tmp_path))
    assert 0 <= step < int(match.group(1))
    reader = tf.train.load_checkpoint(path)
    assert np.isfinite(reader.get_tensor("resnet34/conv2d/kernel")).all()


@pytest.fixture
def small_disk(tmp_path):
    """A file system that holds one checkpoint of 160 MB, and no second."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=250m", "none", str(folder)]
    if os.geteuid() or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("only root may make a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_named_and_the_last_checkpoint_stays(data, small_disk):
    result = train(data, small_disk, SAVE_EACH_STEP)
    assert result.returncode == 2
    assert f"--model_dir={small_disk}: no space is left" in last_line(result)
    assert last_line(result).endswith("the last checkpoint, step 0")
    assert checkpoints.newest_usable(str(small_disk))[0] == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_the_same_signal_again_ends_within_the_step(data, tmp_path, name):
    # Of four images, so that a step takes some seconds.
    flags = ["--train_batch_size=4", "--log_every_n_steps=1"]
    command = command_of(data, tmp_path / "model", *flags, steps=400)
    log = tmp_path / "log"
    with open(str(log), "w") as file:
        process = subprocess.Popen(command, env=ENV, stderr=file)
    try:
        processes.wait_for(lambda: ":step 1 of 100 " in log.read_text())
        process.send_signal(getattr(signal, name))
        processes.wait_for(lambda: f"{name}: the training stops" in log.read_text())
        process.send_signal(getattr(signal, name))
        assert process.wait(timeout=60) == 128 + getattr(signal, name)
    finally:
        process.kill()
    assert "stopped at step" not in log.read_text()


@pytest.fixture(scope="module")
def synthetic(data, tmp_path_factory):
    """Folder and result of two steps on synthetic data, with a profile."""
    folder = tmp_path_factory.mktemp("synthetic")
    flags = ["--synthetic_data", f"--training_file_pattern={folder / 'none'}"]
    flags.append(f"--profiling={folder / 'profile'}")
    result = train(data, folder / "model", *flags, steps=2)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, result


def test_synthetic_data_needs_no_file(synthetic):
    _, result = synthetic
    assert "step 2 of 2" in result.stderr


def test_a_profile_and_a_curve_of_a_short_training_are_written(synthetic):
    folder, _ = synthetic
    timeline = next((folder / "profile").glob("timeline-*.json"))
    assert json.loads(timeline.read_text())["traceEvents"]
    steps, values = plots.read_losses(str(folder / "model"))["loss"]
    assert steps == [1, 2]


def losses(result):
    return re.findall(r"loss: (\S+)", result.stderr)


def test_the_same_seed_gives_the_same_losses_bit_for_bit(data, tmp_path):
    flags = ["--seed=5", "--deterministic", "--log_every_n_steps=1"]
    first = train(data, tmp_path / "first", *flags, steps=3)
    second = train(data, tmp_path / "second", *flags, steps=3)
    assert len(losses(first)) == 3
    assert losses(first) == losses(second)
    values = [
        tf.train.load_checkpoint(str(tmp_path / name / "model.ckpt-3")).get_tensor(
            "resnet34/conv2d/kernel"
        )
        for name in ("first", "second")
    ]
    np.testing.assert_array_equal(*values)


def test_more_broken_records_than_allowed_end_the_training_with_a_line(data, tmp_path):
    broken = [
        records.record(i, b"\xff\xd8\xff no image", [[0, 0, 1, 1]], [1]) for i in (7, 8)
    ]
    whole = list(tf.python_io.tf_record_iterator(str(data / "train")))
    records.write(tmp_path / "train", whole + broken)
    flags = [f"--training_file_pattern={tmp_path / 'train'}", "--max_bad_records=1"]
    result = train(data, tmp_path / "model", *flags, steps=200)
    assert result.returncode == 2
    assert "more broken records than --max_bad_records=1" in last_line(result)
    assert "its image is a JPEG without a size" in last_line(result)
