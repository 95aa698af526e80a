# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Faults in the middle of a training of a few steps."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import command_line
import processes
import records
from evaluation import plots
from trainer import checkpoints

pytestmark = pytest.mark.slow
SAVE_EACH_STEP = "--save_checkpoints_steps=1"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder of TFRecords: "train" has three images with a box each."""
    folder = tmp_path_factory.mktemp("data")
    pixels = np.full([60, 90, 3], 80, np.uint8)
    pixels[15:45, 20:50] = 200
    encoded = records.encode_image(pixels)
    box = [15 / 60, 20 / 90, 45 / 60, 50 / 90]
    good = [records.record(i, encoded, [box], [18]) for i in range(1, 4)]
    records.write(folder / "train", good)
    bad = [records.record(i, b"\xff\xd8\xff", [[0, 0, 1, 1]], [1]) for i in (7, 8)]
    records.write(folder / "broken", good + bad)
    return folder


def arguments(data, model_dir, *flags, steps):
    """Arguments of ssd_main.py that train with one image per step."""
    return (
        [f"--training_file_pattern={data / 'train'}", f"--model_dir={model_dir}"]
        + [f"--num_examples_per_epoch={steps}", "--num_epochs=1", "--decay_epochs=1"]
        + ["--mode=train", "--train_batch_size=1", "--device=cpu"]
        + list(flags)
    )


def train(*values, **steps):
    """Trains in this process and returns the status."""
    return command_line.run(*arguments(*values, **steps))


def start(data, model_dir):
    """Starts a training of two steps with a seed, as a process of its own."""
    flags = ["--seed=5", "--deterministic", "--log_every_n_steps=1"]
    flags.append(f"--profiling={model_dir / 'profile'}")
    return subprocess.Popen(
        [sys.executable, os.path.join(processes.ROOT, "ssd_main.py")]
        + arguments(data, model_dir, *flags, steps=2),
        env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"),
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


@pytest.fixture(scope="module")
def equal_runs(data, tmp_path_factory):
    """(model_dir, losses) of two processes with the same command."""
    folders = [tmp_path_factory.mktemp("model") for _ in range(2)]
    running = [start(data, folder) for folder in folders]
    logs = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], logs[0][-3000:]
    losses = [re.findall(r"loss: (\S+)", log) for log in logs]
    return list(zip(folders, losses))


def test_the_same_seed_gives_the_same_losses_bit_for_bit(equal_runs):
    (first, losses), (second, others) = equal_runs
    assert len(losses) == 2 and losses == others
    readers = [
        tf.train.load_checkpoint(str(folder / "model.ckpt-2"))
        for folder in (first, second)
    ]
    kernels = [reader.get_tensor("resnet34/conv2d/kernel") for reader in readers]
    np.testing.assert_array_equal(kernels[0], kernels[1])


def test_a_short_training_has_a_profile_and_a_curve(equal_runs):
    model_dir, losses = equal_runs[0]
    timeline = next((model_dir / "profile").glob("timeline-*.json"))
    assert json.loads(timeline.read_text())["traceEvents"]
    steps, values = plots.read_losses(str(model_dir))["loss"]
    assert steps == [1, 2]
    np.testing.assert_allclose(values, np.float64(losses), rtol=1e-6)


def test_a_loss_that_is_not_finite_is_named_and_the_last_good_checkpoint_kept(
    data, tmp_path, capfd
):
    # The data does not matter: the training file is missing.
    flags = ["--synthetic_data", "--training_file_pattern=none"]
    flags += ["--base_learning_rate=1e9", SAVE_EACH_STEP]
    assert train(data, tmp_path, *flags, steps=40) == 2
    line = command_line.error_line(capfd)
    parts = "(class|box|decay)( and (class|box|decay))*"
    match = re.match(rf"ssd_main.py: step (\d+): the {parts} loss is (nan|inf)", line)
    assert match and "lower --base_learning_rate" in line, line
    # Whatever was saved, the checkpoint to resume from is finite.
    step, path = checkpoints.newest_usable(str(tmp_path))
    assert 0 <= step < int(match.group(1))
    reader = tf.train.load_checkpoint(path)
    assert np.isfinite(reader.get_tensor("resnet34/conv2d/kernel")).all()


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for one checkpoint of 160 MB, but not for two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=250m", "none", str(folder)]
    if os.geteuid() or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_named_and_the_last_checkpoint_stays(data, small_disk, capfd):
    assert train(data, small_disk, SAVE_EACH_STEP, steps=4) == 2
    line = command_line.error_line(capfd)
    assert f"--model_dir={small_disk}: no space is left" in line
    assert line.endswith("the last checkpoint, step 0")
    assert checkpoints.newest_usable(str(small_disk))[0] == 0


def test_more_broken_records_than_allowed_end_the_training_with_a_line(
    data, tmp_path, capfd
):
    flags = [f"--training_file_pattern={data / 'broken'}", "--max_bad_records=1"]
    assert train(data, tmp_path / "model", *flags, steps=200) == 2
    line = command_line.error_line(capfd)
    assert "more broken records than --max_bad_records=1" in line
    assert "its image is a JPEG without a size" in line
