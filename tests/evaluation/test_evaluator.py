# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluation by the real command: which checkpoint, which images, which categories."""

import json
import os
import re
import shutil
import signal
import sys
import threading

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import command_line
import models
import processes
import records
from evaluation import during_training
from trainer import checkpoints, checks

pytestmark = pytest.mark.slow

# As the dataset names them; the model's label map has another name for 41.
NAMES = {3: "bolt", 7: "nut", 20: "screw", 41: "ring <41>", 77: "unknown to the model"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Five images in six records, and a json of seven images that lacks the last one.

    The model is not trained, but finds something. Its checkpoint is of step 12.
    """
    folder = tmp_path_factory.mktemp("data")
    (folder / "model").mkdir()
    checkpoint = models.write_checkpoint(folder / "model")
    detections = models.evaluate(checkpoint, models.write_pictures(folder), folder)
    rows = list(tf.python_io.tf_record_iterator(str(folder / "val.tfrecord")))
    records.write(folder / "val.tfrecord", rows + rows[:1])
    # pycocotools cannot count an id 0.
    annotations = models.annotations_of(detections[:4], first_id=0)
    annotations.append(dict(annotations[0], id=len(annotations), category_id=77))
    dataset = {
        "images": [{"id": i} for i in (0, 1, 2, 3, 8, 9, 10)],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in NAMES.items()],
    }
    (folder / "val.json").write_text(json.dumps(dataset), encoding="utf-8-sig")
    models.write_label_map(folder / "labels.json")
    return folder


def flags_of(folder, model_dir):
    return [
        "--mode=eval",
        f"--model_dir={model_dir}",
        f"--validation_file_pattern={folder / 'val.tfrecord'}",
        f"--val_json_file={folder / 'val.json'}",
        f"--label_map={folder / 'labels.json'}",
        "--eval_batch_size=2",
        "--precision_mode=must_keep_origin_dtype",
        "--device=cpu",
    ]


@pytest.fixture
def run(data, tmp_path):
    """Function of flags that evaluates in this process and returns the exit status."""

    def run(*flags, folder=data, model_dir=tmp_path):
        return command_line.run(*flags_of(folder, model_dir), *flags)

    return run


def test_one_and_two_ranks_evaluate_the_same(data, run, monkeypatch, caplog):
    # One rank, with paths relative to where it was called.
    monkeypatch.setenv("SSD_CALLED_FROM", str(data))
    flags = ["--checkpoint_path=model", "--eval_samples=7"]
    assert run(*flags, folder=data.relative_to(data), model_dir=data / "one") == 0
    for message in (
        f"Restoring parameters from {data}/model/model.ckpt-12",
        r"1 ids that are not in the json \(image 4\)",
        # --eval_samples allows for all images, so those without a record count.
        "no record holds 3 images of --val_json_file, .* the first has id 8",
        "evaluated 4 of 7 images",
        r"detected in 6 of 7 images, \d+\.\d images/s",
        "1 records have the image id of another one, .* the first such id is 0",
        r"1 categories with another name than in the label map \(category 41 is 'ring ",
        r"1 categories of the json's boxes that are .* \(category id 77, of 1 annotat",
        r"1 annotations with the id 0 \(annotation 0 of image ",
        f"report of the evaluation: {data}/one/eval/report-12.html\n",
    ):
        assert re.search(message, caplog.text), message
    assert "Eval results: {" in caplog.messages[-1]
    figures = processes.results_of(caplog.text)
    assert len(figures) == 12
    assert 0.1 < figures["COCO/AP"] < 0.9

    folder = data / "one" / "eval"
    metrics = json.loads((folder / "metrics-12.json").read_text())
    assert {"COCO/" + k: v for k, v in metrics["metrics"].items()} == figures
    assert [c["name"] for c in metrics["categories"]] == list(NAMES.values())
    page = (folder / "report-12.html").read_text(encoding="utf-8")
    assert "ring &lt;41&gt;" in page and "ring <" not in page
    # One of the four evaluated images has two records: which one was evaluated?
    assert page.count("data:image/jpeg") == 3

    path = data / "model" / "model.ckpt-12.index"
    command = [sys.executable, os.path.join(processes.ROOT, "ssd_main.py")]
    command += flags_of(data, data / "two") + [f"--checkpoint_path={path}"]
    command.append(f"--base_port={processes.free_ports(3)}")
    log_of_two = processes.run_ranks(2, command)[0]
    assert "evaluated 4 of 7 images" in log_of_two
    assert "1 records have the image id of another one" in log_of_two
    expected, found = rows_of(data / "one"), rows_of(data / "two")
    assert len(expected) > 20
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert processes.results_of(log_of_two) == pytest.approx(figures, abs=1e-6)


def rows_of(model_dir):
    """The detections that an evaluation wrote, as sorted rows of numbers."""
    entries = json.loads((model_dir / "eval" / "detections-12.json").read_text())
    keys = ("image_id", "category_id", "score")
    return sorted([e[key] for key in keys] + e["bbox"] for e in entries)


def test_what_cannot_be_evaluated_is_one_line(data, run, tmp_path, capfd):
    (tmp_path / "eval").write_text("a file, not a folder")
    one = [{"id": 3, "name": "bolt"}]
    (tmp_path / "one.json").write_text(json.dumps({"categories": one}))
    checkpoint, missing = f"--checkpoint_path={data / 'model'}", tmp_path / "x"
    for flags, message in (
        ([f"--checkpoint_path={missing}"], f"--checkpoint_path: {missing} is"),
        ([checkpoint], f"--model_dir: {tmp_path}/eval cannot be "),
        ([f"--label_map={missing}"], f"--label_map: cannot read {missing}: "),
        (
            [checkpoint, f"--label_map={tmp_path / 'one.json'}"],
            "--checkpoint_path: .* 4 categories, not 1; give its --label_map",
        ),
    ):
        capfd.readouterr()
        assert run(*flags) == 2
        errors = capfd.readouterr().err
        assert re.match("ssd_main.py: " + message, errors.splitlines()[-1]), errors
        assert "Restoring" not in errors and "Traceback" not in errors


def changed_json(data, folder, change):
    """Writes the json after a function has changed it; returns the flags for it."""
    dataset = json.loads((data / "val.json").read_text(encoding="utf-8-sig"))
    change(dataset)
    (folder / "other.json").write_text(json.dumps(dataset))
    return [
        f"--checkpoint_path={data / 'model'}",
        f"--val_json_file={folder / 'other.json'}",
    ]


def of_other_ids(dataset):
    for entry in dataset["images"]:
        entry["id"] += 20
    for entry in dataset["annotations"]:
        entry["image_id"] += 20


def of_larger_pictures(dataset):
    for image, (height, width) in zip(dataset["images"], models.SIZES):
        image.update(height=2 * height, width=2 * width)
    for annotation in dataset["annotations"]:
        annotation["bbox"] = [2 * side for side in annotation["bbox"]]


@pytest.mark.parametrize(
    "change, message",
    [
        (of_other_ids, r"6 ids that are not in the json \(image 0\)"),
        (
            of_larger_pictures,
            r"5 images of another size than stated \(image 0: it has 200 x 120 "
            r"pixels, 400 x 240 in the json\); 1 ids that are not in the json \(image",
        ),
    ],
)
def test_a_json_of_other_images_gets_no_figures(
    data, run, tmp_path, monkeypatch, caplog, capfd, change, message
):
    flags = changed_json(data, tmp_path, change)
    # The first records tell it before the start. The last record repeats the first.
    assert run(*flags) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert re.search(r"contradicts [56] of 6 compared images: .*do they belong", line)
    # Without these, the evaluation tells it before the figures.
    monkeypatch.setattr(checks, "compare_with_json", lambda *args: None)
    assert run(*flags) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert re.search("_file contradicts [56] of 6 compared images: " + message, line)
    assert "Eval results" not in caplog.text


def test_a_few_images_of_another_size_are_told_before_the_figures(
    data, run, tmp_path, caplog
):
    def change(dataset):
        dataset["images"][1].update(height=333, width=251)
        dataset["images"].append(dataset["images"][0])
        box = dataset["annotations"][3]
        x, y, width, height = box["bbox"]
        turned = [x + width, y + height, -width, -height]
        dataset["annotations"].append(dict(box, id=1000, bbox=turned))
        dataset["annotations"][5]["area"] = 1e6

    assert run(*changed_json(data, tmp_path, change)) == 0
    for message in (
        "1 images of another size than stated (image 1: it has 250 x 333 pixels, 251 x "
        "333 in the json)",
        "1 boxes of no size or outside their image (annotation 1000 of image ",
        "1 areas that are larger than their boxes (annotation 5 of image ",
        "1 image ids of the json that occur again (image id 0, of 2 images): ",
        "7 images of the json without width or height (image 0): ",
    ):
        assert message in caplog.text
    assert "Eval results" in caplog.messages[-1]


def test_watching_evaluates_what_appears_and_survives_what_is_deleted(
    data, run, tmp_path, monkeypatch, caplog
):
    def appear(step):
        # The index comes last, as when TensorFlow saves.
        for path in sorted((data / "model").glob("model.ckpt-12.*")):
            name = path.name.replace("-12.", f"-{step}.")
            shutil.copy(str(path), str(tmp_path / name))

    def appear_later():
        try:
            processes.wait_for((tmp_path / "eval" / "report-0.html").exists)
        finally:
            # Without it, the evaluation would wait forever.
            appear(2)

    def check_classes(path, *unused):
        # Between choosing step 2 and restoring it, step 3 comes and step 2 goes.
        if path.endswith("-2"):
            for file in tmp_path.glob("model.ckpt-2.*"):
                file.rename(tmp_path / file.name.replace("-2.", "-3."))

    monkeypatch.setattr(checkpoints, "check_classes", check_classes)
    monkeypatch.setattr(during_training, "_SECONDS_BETWEEN_LOOKS", 0.2)
    appear(0)
    thread = threading.Thread(target=appear_later)
    thread.start()
    # Three steps in all.
    flags = ["--num_examples_per_epoch=3", "--num_epochs=1", "--train_batch_size=1"]
    assert run("--watch", "--decay_epochs=1", *flags) == 0
    thread.join()
    assert "--watch: waiting for checkpoints" in caplog.text
    assert "the training has deleted step 2 before it was evaluated" in caplog.text
    metrics = sorted(path.name for path in (tmp_path / "eval").glob("metrics-*"))
    assert metrics == ["metrics-0.json", "metrics-3.json"]


def test_ctrl_c_while_watching_ends_with_a_line(run, caplog, capfd):
    def interrupt():
        processes.wait_for(lambda: "--watch: waiting" in caplog.text, 30)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run("--watch") == 130
    thread.join()
    assert capfd.readouterr().err.endswith("ssd_main.py: interrupted\n")
