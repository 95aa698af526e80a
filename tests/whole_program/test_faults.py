# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Faults in the middle of a training of a few steps."""

import json
import os
import re
import shutil
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
ANNOTATIONS = {
    "images": [{"id": i, "width": 90, "height": 60} for i in (1, 2, 3)],
    "annotations": [
        {"id": i, "image_id": i, "category_id": 18, "bbox": [20, 15, 30, 30]}
        for i in (1, 2, 3)
    ],
    "categories": [{"id": 18, "name": "dog"}],
}
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
    """Trains in this process and returns the exit status."""
    return command_line.run(*arguments(*values, **steps))


def test_the_same_seed_gives_the_same_losses_bit_for_bit(data, tmp_path):
    def flags(model_dir):
        names = ["--seed=5", "--deterministic", "--log_every_n_steps=1"]
        return names + [f"--profiling={model_dir / 'profile'}"]

    # The first session of a process determines its number of threads.
    folders = [tmp_path / "first", tmp_path / "second"]
    runs = [
        subprocess.Popen(
            [sys.executable, os.path.join(processes.ROOT, "ssd_main.py")]
            + arguments(data, folder, *flags(folder), steps=2)
            # Pictures of the batches change nothing.
            + [f"--summary_images_every={number}"]
        )
        for number, folder in enumerate(folders)
    ]
    assert [run.wait(timeout=300) for run in runs] == [0, 0]
    losses = [plots.read_losses(str(path))["loss"] for path in folders]
    assert list(losses[0]) == [1, 2]
    assert losses[0] == losses[1]
    assert [(path / "train_batches.png").exists() for path in folders] == [False, True]
    kernels = [
        tf.train.load_checkpoint(str(path / "model.ckpt-2")).get_tensor(
            "resnet34/conv2d/kernel"
        )
        for path in folders
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    timeline = next((folders[0] / "profile").glob("timeline-*.json"))
    assert json.loads(timeline.read_text())["traceEvents"]


def test_folders_whose_names_are_patterns_are_trained_in_resumed_and_evaluated(
    data, tmp_path, caplog
):
    folder = tmp_path / "-r [1]*? \\ 'é数\""
    shutil.copytree(str(data), str(folder))
    (folder / "val.json").write_text(json.dumps(ANNOTATIONS))
    # The name above is a pattern that matches this one.
    other = tmp_path / "-r 1xy  'é数\"" / "model"
    other.mkdir(parents=True)
    endings = ("index", "meta", "data-00000-of-00001")
    names = [f"model.ckpt-{step}.{e}" for step in range(4) for e in endings]
    for name in names:
        (other / name).touch()
    model_dir = folder / "model"
    flags = [SAVE_EACH_STEP, "--keep_checkpoint_max=1"]
    flags += [f"--validation_file_pattern={folder / 'train'}"]
    flags += [f"--val_json_file={folder / 'val.json'}", "--eval_batch_size=3"]
    flags += [f"--profiling={folder / 'profile'}"]
    assert train(folder, model_dir, *flags, steps=2) == 0
    assert checkpoints.steps(str(model_dir)) == [2]
    assert train(folder, model_dir, *flags, "--mode=train_and_eval", steps=3) == 0
    assert checkpoints.steps(str(model_dir)) == [3]
    assert "resumed at step 2" in caplog.text
    assert "evaluated 3 of 3 images" in caplog.text
    assert (model_dir / "eval" / "report-3.html").exists()
    assert list((folder / "profile").glob("timeline-*.json"))
    assert sorted(path.name for path in other.iterdir()) == sorted(names)
    # Elsewhere, TensorFlow itself finds the checkpoint.
    moved = tmp_path / "moved"
    model_dir.rename(moved)
    assert tf.train.latest_checkpoint(str(moved)) == str(moved / "model.ckpt-3")


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
