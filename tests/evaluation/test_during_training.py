# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluations during a training: when, what was best, and when they end it."""

import errno
import json
import os
import pathlib
import shutil
import signal
import sys
import threading

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import command_line
import commands
import models
import processes
import records
from coco_metric import METRIC_NAMES
from console.errors import UserError
from devices import selection
from evaluation import best, during_training, history
from trainer import checkpoints


class ScriptedEvaluator:
    """Writes what an evaluation does; its APs are given."""

    device, label_map = selection.create("cpu"), models.LABELS

    def __init__(self, folder, aps):
        self.model_dir, self._aps = str(folder), iter(aps)
        self._folder = folder / "eval"

    def evaluate(self, path, step):
        """Returns the figures of the next evaluation."""
        ap = next(self._aps)
        if ap is None:
            # As after a signal.
            return None
        figures = dict.fromkeys(METRIC_NAMES, ap)
        self._folder.mkdir(exist_ok=True)
        history.add(str(self._folder), step, figures)
        metrics = {"step": step, "metrics": {"AP": ap}}
        (self._folder / f"metrics-{step}.json").write_text(json.dumps(metrics))
        return figures


@pytest.fixture
def train(tmp_path):
    """Function that plays a training: it saves steps, and is evaluated every 100.

    It returns (the step that it ends at, the steps that were evaluated in all runs).
    """

    def run(first, last, aps, stop_after=0, every=50):
        evaluator = ScriptedEvaluator(tmp_path, aps)
        evaluations = during_training.Evaluations(evaluator, 100, stop_after)
        evaluations.start(first)
        step = first
        # As trainer/saving.py does it.
        while not (evaluations.is_over or evaluations.after_save(None, step)):
            if step >= last:
                break
            step += every
            values = {"global_step": np.int64(step)}
            models.save(tmp_path / f"model.ckpt-{step}", values)
        return step, list(history.read(str(tmp_path / "eval")))

    return run


def test_evaluations_come_at_the_first_checkpoint_past_each_multiple(train):
    # A signal leaves out that of step 200, and the resumed training does it.
    assert train(0, 200, [0.1, None]) == (200, [100])
    assert train(200, 250, [0.2]) == (250, [100, 200])
    assert train(250, 330, [0.3], every=40) == (330, [100, 200, 330])


def test_the_best_checkpoint_is_kept_whole_and_found_by_the_tools(train, tmp_path):
    train(0, 400, [0.2, 0.4, 0.4, 0.3])
    folder = tmp_path / "best"
    assert best.read(str(tmp_path)) == (200, 0.4)
    assert checkpoints.find(str(folder)) == (200, str(folder / "model.ckpt-200"))
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint",
        "label_map.json",
        "metrics.json",
        "model.ckpt-200.data-00000-of-00001",
        "model.ckpt-200.index",
    ]
    # It stays when the original is saved again and deleted.
    models.save(tmp_path / "model.ckpt-200", {"global_step": np.int64(7)})
    for copy in tmp_path.glob("model.ckpt-200.*"):
        copy.unlink()
    path = str(folder / "model.ckpt-200")
    assert checkpoints.read(path).get_tensor("global_step") == 200
    # TensorFlow finds it wherever the folder goes.
    folder.rename(tmp_path / "moved")
    latest = tf.train.latest_checkpoint(str(tmp_path / "moved"))
    assert latest == str(tmp_path / "moved" / "model.ckpt-200")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_that_was_being_replaced_is_moved_back(train, tmp_path):
    train(0, 100, [0.2])
    # The process was killed after it had moved the folder aside.
    (tmp_path / "best").rename(tmp_path / ".former-best")
    assert best.read(str(tmp_path)) == (100, 0.2)
    # The process was killed before it had deleted the former one.
    (tmp_path / ".former-best").mkdir()
    train(100, 200, [0.3])
    assert best.read(str(tmp_path)) == (200, 0.3)
    assert not (tmp_path / ".former-best").exists()


def test_evaluations_without_gain_end_a_training_also_after_a_resumption(train):
    # An equal AP is not a gain.
    assert train(0, 300, [0.4, 0.5, 0.5], stop_after=3) == (300, [100, 200, 300])
    assert train(300, 900, [0.4, 0.3], stop_after=3)[0] == 500
    assert train(500, 900, [], stop_after=3)[0] == 500
    # A larger number, or none, goes on.
    assert train(500, 900, [0.6, 0.5, 0.5, 0.7], stop_after=4)[0] == 900


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("best/metrics.json", "{}", "best/metrics.json has no step and AP; move "),
        ("eval/history.csv", "x", "eval/history.csv: its first line is not step,"),
    ],
)
def test_files_that_are_not_ours_are_named_before_the_training(
    train, tmp_path, file, content, message
):
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=f"--model_dir: .*{message}"):
        train(0, 100, [])


@pytest.mark.parametrize("can_link", [True, False])
def test_a_full_disk_leaves_the_former_best(train, tmp_path, monkeypatch, can_link):
    train(0, 100, [0.2])

    def fail(*unused):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fail)
    monkeypatch.setattr(os, "link", os.link if can_link else fail)
    monkeypatch.setattr(during_training.best, "open", fail, raising=False)
    with pytest.raises(UserError, match="--model_dir=.*/best: No space left"):
        train(100, 200, [0.3])
    monkeypatch.undo()
    assert best.read(str(tmp_path)) == (100, 0.2)
    assert not list(tmp_path.glob(".*"))


# Three steps that hardly change the weights of an untrained detector, which finds some
# of the objects. Only its heads are trained, because that is fast.
FLAGS = (
    "--num_examples_per_epoch=6 --num_epochs=1 --decay_epochs=1 --warmup_epochs=0 "
    "--train_batch_size=2 --eval_batch_size=2 --base_learning_rate=1e-12 --device=cpu "
    "--freeze=all_but_heads --eval_every_epochs=0.34 "
    "--precision_mode=must_keep_origin_dtype"
).split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The flags of a training and of its data, see FLAGS."""
    folder = tmp_path_factory.mktemp("data")
    checkpoint = models.write_checkpoint(folder)
    paths = models.write_pictures(folder)
    found = models.evaluate(checkpoint, paths, folder)
    annotations = models.annotations_of(found, first_id=1)
    rows = [
        records.record(
            i,
            pathlib.Path(path).read_bytes(),
            np.clip(found[i]["boxes"][::2], 0, 1),
            [a["category_id"] for a in annotations if a["image_id"] == i],
        )
        for i, path in enumerate(paths)
    ]
    records.write(folder / "train", rows)
    dataset = {
        "images": [{"id": i} for i in range(len(paths))],
        "annotations": annotations,
        "categories": models.LABELS.entries(),
    }
    (folder / "val.json").write_text(json.dumps(dataset))
    return FLAGS + [
        f"--training_file_pattern={folder / 'train'}",
        f"--validation_file_pattern={folder / 'train'}",
        f"--val_json_file={folder / 'val.json'}",
        f"--label_map={models.write_label_map(folder / 'labels.json')}",
        f"--init_checkpoint={checkpoint}",
    ]


@pytest.mark.slow
def test_a_signal_leaves_an_evaluation_out_and_the_same_command_does_it_later(
    data, tmp_path, caplog
):
    def interrupt():
        processes.wait_for(lambda: "Restoring parameters from" in caplog.text)
        os.kill(os.getpid(), signal.SIGINT)

    flags = data + [f"--model_dir={tmp_path}", "--mode=train"]
    thread = threading.Thread(target=interrupt)
    thread.start()
    assert command_line.run(*flags) == 0
    thread.join()
    assert "the evaluation of step 1 is left out" in caplog.text
    stopped = checkpoints.steps(str(tmp_path))[-1]
    assert stopped in (1, 2) and not (tmp_path / "best").exists()
    caplog.clear()
    assert command_line.run(*flags) == 0
    steps = sorted({stopped, 2, 3})
    assert list(history.read(str(tmp_path / "eval"))) == steps
    # One session for all.
    assert caplog.text.count("device: CPU, rank 0 of 1") == 2
    figures = history.read(str(tmp_path / "eval"))
    assert figures[3]["COCO/AP"] == figures[stopped]["COCO/AP"] > 0.1
    assert best.read(str(tmp_path)) == (stopped, figures[stopped]["COCO/AP"])
    result = commands.run(
        "export_model.py", [f"--model={tmp_path / 'best'}", "--output_dir=x"], tmp_path
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_two_ranks_end_together_after_an_evaluation_without_gain(data, tmp_path):
    command = [sys.executable, os.path.join(processes.ROOT, "ssd_main.py"), *data]
    command += [f"--model_dir={tmp_path}", "--num_examples_per_epoch=12"]
    command += ["--stop_after=1", f"--base_port={processes.free_ports(3)}"]
    logs = processes.run_ranks(2, command)
    for log in logs:
        assert "has ended before step 3, because of --stop_after=1" in log
        assert log.count("Restoring parameters from") == 2
    assert logs[0].count("Eval results: ") == 2
    figures = history.read(str(tmp_path / "eval"))
    assert list(figures) == [1, 2]
    assert figures[2] == processes.results_of(logs[0])
    assert checkpoints.steps(str(tmp_path)) == [0, 1, 2]
    assert best.read(str(tmp_path)) == (1, figures[1]["COCO/AP"])
    # Both ranks evaluated their part.
    assert "evaluated 5 of 5 images" in logs[0]
    # A resumed training evaluates its first checkpoint if that was left out.
    shutil.rmtree(str(tmp_path / "eval"))
    logs = processes.run_ranks(2, command + ["--stop_after=0"])
    assert list(history.read(str(tmp_path / "eval"))) == [2, 3]
    assert all("step 3 of 3 (100.0 %)" in log for log in logs)
