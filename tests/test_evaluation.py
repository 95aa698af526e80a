# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluation by the real command: which checkpoint, which images, which classes."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import processes
import pytest
import records

# Two categories that are not COCO's, ids with a gap.
NAMES = {4: "bolt", 9: "nut <left-handed>"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Five images as records; a json of six, one of which is another."""
    folder = tmp_path_factory.mktemp("data")
    pixels = np.full([60, 90, 3], 80, np.uint8)
    pixels[15:45, 20:50] = 200
    encoded = records.encode_image(pixels)
    box = [15 / 60, 20 / 90, 45 / 60, 50 / 90]
    made = [records.record(i, encoded, [box], [4 + i % 2 * 5]) for i in range(1, 6)]
    made.append(made[0])
    records.write(folder / "train", made)
    annotation = {"bbox": [20, 15, 30, 30], "area": 900, "iscrowd": 0}
    numbers = [1, 2, 3, 4, 8, 9]
    dataset = {
        "images": [{"id": i, "height": 60, "width": 90} for i in numbers],
        "annotations": [
            dict(annotation, id=i, image_id=i, category_id=4 + i % 2 * 5)
            for i in numbers
        ],
        "categories": [{"id": i, "name": name} for i, name in NAMES.items()],
    }
    (folder / "val.json").write_text(json.dumps(dataset))
    return folder


ENV = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")


def command_of(data, *flags):
    """Two steps of training and checkpoints at 0, 1 and 2, or what the flags say."""
    return (
        [sys.executable, os.path.join(processes.ROOT, "ssd_main.py")]
        + [f"--training_file_pattern={data / 'train'}"]
        + [f"--validation_file_pattern={data / 'train'}"]
        + [f"--val_json_file={data / 'val.json'}", f"--model_dir={data / 'model'}"]
        + ["--num_examples_per_epoch=2", "--num_epochs=1", "--decay_epochs=1"]
        + ["--train_batch_size=1", "--save_checkpoints_steps=1", "--device=cpu"]
        + ["--eval_batch_size=2", f"--label_map={data / 'val.json'}"]
        + list(flags)
    )


def run(data, *flags):
    """Runs `command_of`."""
    return subprocess.run(
        command_of(data, *flags),
        env=ENV,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def trained(data):
    result = run(data)
    assert result.returncode == 0, result.stderr[-3000:]
    return result


def test_images_that_do_not_belong_together_are_counted(trained):
    log = trained.stderr
    assert "left out 1 images that --val_json_file lacks; the first has id 5" in log
    assert "no record holds 2 images of --val_json_file" in log
    assert "the first has id 8" in log
    assert "evaluated 4 of 6 images" in log
    # One of the records comes twice.
    assert "detected in 6 of 6 images, " in log
    assert "1 records have the image id of another one" in log
    assert "the first such id is 1" in log
    assert len(processes.results_of(log)) == 12


def test_results_are_written_below_model_dir(data, trained):
    folder = data / "model" / "eval"
    metrics = json.loads((folder / "metrics-2.json").read_text())
    figures = processes.results_of(trained.stderr)
    assert {"COCO/" + k: v for k, v in metrics["metrics"].items()} == figures
    assert [c["name"] for c in metrics["categories"]] == list(NAMES.values())
    page = (folder / "report-2.html").read_text(encoding="utf-8")
    assert "nut &lt;left-handed&gt;" in page and "nut <left" not in page
    assert f"report of the evaluation: {folder}/report-2.html" in trained.stderr
    assert "Eval results: {" in trained.stderr.splitlines()[-1]


def test_a_results_folder_that_cannot_be_written_is_one_line(data, trained, tmp_path):
    for path in (data / "model").glob("model.ckpt-2.*"):
        shutil.copy(str(path), str(tmp_path))
    (tmp_path / "eval").write_text("a file, no folder")
    flags = [f"--checkpoint_path={tmp_path / 'model.ckpt-2'}"]
    result = run(data, "--mode=eval", f"--model_dir={tmp_path}", *flags)
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"ssd_main.py: --model_dir: {tmp_path}/eval cannot be ")
    assert "Restoring" not in result.stderr


def test_a_checkpoint_of_ones_choice_is_evaluated(data, trained):
    path = data / "model" / "model.ckpt-1"
    renamed = (data / "val.json").read_text().replace("nut", "screw")
    (data / "renamed.json").write_text(renamed)
    flags = [f"--checkpoint_path={path}", f"--label_map={data / 'renamed.json'}"]
    result = run(data, "--mode=eval", *flags)
    assert "val.json names 1 categories otherwise: category 9 is 'nut" in result.stderr
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"Restoring parameters from {path}" in result.stderr
    assert "evaluated 4 of 6 images" in result.stderr


def test_watching_evaluates_what_appears_meanwhile(data, trained, tmp_path):
    def appear(step):
        # The index comes last, as when TensorFlow saves.
        for path in sorted((data / "model").glob(f"model.ckpt-{step}.*")):
            shutil.copy(str(path), str(tmp_path))

    appear(0)
    command = command_of(data, "--mode=eval", "--watch", f"--model_dir={tmp_path}")
    with open(str(tmp_path / "log"), "w") as log:
        watcher = subprocess.Popen(command, env=ENV, stderr=log, stdout=log)
    try:
        processes.wait_for(lambda: (tmp_path / "eval" / "report-0.html").exists(), 120)
        appear(1)
        appear(2)
        assert watcher.wait(timeout=120) == 0
    finally:
        watcher.kill()
    assert (tmp_path / "eval" / "metrics-1.json").exists()
    log = (tmp_path / "log").read_text()
    assert "--watch: waiting for checkpoints" in log
    assert processes.results_of(log) == processes.results_of(trained.stderr)


def test_a_model_of_other_classes_is_refused(data, trained):
    result = run(data, "--mode=eval", "--label_map=" + str(data / "none.json"))
    assert result.returncode == 2
    (data / "one.json").write_text(
        json.dumps({"categories": [{"id": 4, "name": "bolt"}]})
    )
    result = run(data, f"--label_map={data / 'one.json'}")
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert "is of a network with 2 categories, not 1; give its --label_map" in line
