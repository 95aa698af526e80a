# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluation by the real command: which checkpoint, which images, which classes."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import models
import processes
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
    if importlib.util.find_spec("PIL"):
        # Of the four evaluated images one id has two records: which one was judged?
        assert page.count("data:image/jpeg") == 3
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
    dataset = json.loads((data / "val.json").read_text())
    dataset["categories"].append({"id": 77, "name": "washer"})
    dataset["annotations"].append(
        dict(dataset["annotations"][0], id=77, category_id=77)
    )
    (data / "more.json").write_text(json.dumps(dataset), encoding="utf-8-sig")
    flags = [f"--checkpoint_path={path}.index", f"--label_map={data / 'renamed.json'}"]
    flags += [f"--val_json_file={data / 'more.json'}"]
    result = run(data, "--mode=eval", *flags)
    told = "more.json names 1 categories differently than --label_map="
    assert re.search(told + r"\S+renamed.json: category 9 is 'nut", result.stderr)
    told = r"has 1 annotations of categories that are not in --label_map=\S+ "
    told += r"\(the first is 77\)"
    assert re.search(told, result.stderr)
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"Restoring parameters from {path}" in result.stderr
    assert "evaluated 4 of 6 images" in result.stderr


def test_an_annotation_that_pycocotools_cannot_count_is_told(data, trained):
    dataset = json.loads((data / "val.json").read_text())
    dataset["annotations"][0]["id"] = 0
    (data / "from-0.json").write_text(json.dumps(dataset))
    # As many as there are: what no record holds is still told.
    flags = [f"--val_json_file={data / 'from-0.json'}", "--eval_samples=6"]
    result = run(data, "--mode=eval", *flags)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "from-0.json has an annotation with id 0: pycocotools" in result.stderr
    assert "no record holds 2 images of --val_json_file" in result.stderr
    assert processes.results_of(result.stderr) == processes.results_of(trained.stderr)


def test_a_relative_path_starts_where_the_launcher_was_called(data, trained, tmp_path):
    variables = dict(ENV, SSD_CALLED_FROM=str(data))
    command = command_of(data, "--mode=eval", "--checkpoint_path=model")
    command += ["--label_map=val.json", "--validation_file_pattern=trai*"]
    result = subprocess.run(
        command + ["--val_json_file=val.json"],
        env=variables,
        cwd=str(tmp_path),
        timeout=240,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    # Of a folder the newest.
    assert f"Restoring parameters from {data}/model/model.ckpt-2" in result.stderr


@pytest.mark.parametrize("name", ["model/model.ckpt", "none"])
def test_what_is_no_checkpoint_is_one_line(data, trained, name):
    path = data / name
    result = run(data, "--mode=eval", f"--checkpoint_path={path}")
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    message = f"{path} is not a checkpoint: there is no file {path}.index"
    assert line == f"ssd_main.py: --checkpoint_path: {message}"
    assert "Traceback" not in result.stderr


def test_watching_survives_a_checkpoint_that_training_deletes(data, trained, tmp_path):
    for path in (data / "model").glob("model.ckpt-1.*"):
        shutil.copy(str(path), str(tmp_path))
    # Between choosing step 1 and restoring it, step 2 comes and step 1 goes.
    code = (
        "import glob, os, sys\n"
        "import checkpoints, settings, ssd_main\n"
        "def check_classes(path, num_classes):\n"
        "    for name in glob.glob(path + '.*'):\n"
        "        os.rename(name, name.replace('ckpt-1.', 'ckpt-2.'))\n"
        "checkpoints.check_classes = check_classes\n"
        "settings.define_flags()\n"
        "sys.exit(ssd_main.main(sys.argv))\n"
    )
    flags = command_of(data, "--mode=eval", "--watch", f"--model_dir={tmp_path}")[2:]
    result = subprocess.run(
        [sys.executable, "-c", code] + flags,
        env=dict(ENV, PYTHONPATH=processes.ROOT),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "the training has deleted step 1 before it was evaluated" in result.stderr
    assert os.listdir(str(tmp_path / "eval")).count("metrics-2.json") == 1


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
    assert "was trained with 2 categories, not 1; give its --label_map" in line


def test_ctrl_c_ends_an_evaluation_with_a_line(data, tmp_path):
    command = command_of(data, "--mode=eval", "--watch", f"--model_dir={tmp_path}")
    log = tmp_path / "log"
    with open(str(log), "w") as file:
        watcher = subprocess.Popen(command, env=ENV, stderr=file, stdout=file)
    try:
        processes.wait_for(lambda: "--watch: waiting" in log.read_text())
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(timeout=60) == 130
    finally:
        watcher.kill()
    assert log.read_text().endswith("\nssd_main.py: interrupted\n")


@pytest.fixture
def found_by(tmp_path):
    """Gives a function that evaluates with some ranks a model that finds something.

    It gives the log of rank 0, and the entries of detections.json, sorted.
    """
    checkpoint = models.write_checkpoint(tmp_path)
    paths = models.write_pictures(tmp_path)
    detections = models.evaluate(checkpoint, paths, tmp_path)
    annotations = []
    for image_id, (detection, size) in enumerate(zip(detections, models.SIZES)):
        # Every other thing that it finds is there, a little to the right.
        for box, number in list(zip(detection["boxes"], detection["classes"]))[::2]:
            ymin, xmin, ymax, xmax = (float(x) for x in box)
            left, width = (xmin + 0.01) * size[1], (xmax - xmin) * size[1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": models.LABELS.category_of_class(number),
                    "bbox": [left, ymin * size[0], width, (ymax - ymin) * size[0]],
                }
            )
    dataset = {
        "images": [{"id": i} for i in range(len(paths))],
        "annotations": annotations,
        "categories": [{"id": i, "name": n} for i, n in models.LABELS.names.items()],
    }
    (tmp_path / "val.json").write_text(json.dumps(dataset))

    def evaluate(num_ranks):
        command = (
            [sys.executable, os.path.join(processes.ROOT, "ssd_main.py")]
            + [f"--validation_file_pattern={tmp_path / 'val.tfrecord'}", "--mode=eval"]
            + [f"--val_json_file={tmp_path / 'val.json'}", f"--model_dir={tmp_path}"]
            + [f"--label_map={tmp_path / 'val.json'}", "--eval_batch_size=2"]
            + ["--precision_mode=must_keep_origin_dtype", "--device=cpu"]
            + [f"--base_port={processes.free_ports(num_ranks + 1)}"]
        )
        logs = processes.run_ranks(num_ranks, command, ENV)
        found = json.loads((tmp_path / "eval" / "detections-12.json").read_text())
        rows = [
            [entry["image_id"], entry["category_id"], entry["score"]] + entry["bbox"]
            for entry in found
        ]
        return logs[0], sorted(rows)

    return evaluate


def test_three_ranks_find_what_one_finds(found_by):
    log, expected = found_by(1)
    assert "evaluated 5 of 5 images" in log
    assert len(expected) > 20
    figures = processes.results_of(log)
    assert 0.1 < figures["COCO/AP"] < 0.9
    log, found = found_by(3)
    assert "evaluated 5 of 5 images" in log
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert processes.results_of(log) == pytest.approx(figures, abs=1e-6)
