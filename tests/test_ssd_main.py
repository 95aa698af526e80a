# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bad input ends at once: one line that names it, status 2, no traceback."""

import json
import multiprocessing
import os
import runpy
import sys
from multiprocessing import forkserver
from unittest import mock

import pytest
import tensorflow.compat.v1 as tf

import records

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "ssd_main.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Good and bad files of every kind."""
    folder = tmp_path_factory.mktemp("input")
    record = records.record(1, b"", [[0, 0, 1, 1]], [1])
    records.write(folder / "train", [record])
    example = tf.train.Example.FromString(record)
    texts = example.features.feature["image/object/class/text"].bytes_list
    texts.value.append(b"aeroplane")
    records.write(folder / "voc", [example.SerializeToString()])
    records.write(folder / "no_records", [])
    records.write(folder / "texts", [b"\x0a\xff\x7f cut short"])
    (folder / "garbage").write_bytes(b"this is no TFRecord file at all" * 9)
    (folder / "file").write_text("a file, no folder")
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]}
    dataset = {
        "images": [{"id": 1}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "good.json").write_text(json.dumps(dataset))
    dataset["images"] = [{"id": 2}]
    (folder / "other.json").write_text(json.dumps(dataset))
    (folder / "list.json").write_text("[]")
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("conv2d/kernel", [7, 7, 3, 32])
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(folder / "narrow"))
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """Function that runs ssd_main.py with good flags, some of them replaced.

    Gives exit status, standard output and standard error. Each run is a process of its
    own, forked from one that has imported TensorFlow: that alone takes seconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ssd_main"])
    with mock.patch.dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2"):
        forkserver.ensure_running()

    def run_once(flags, **environment):
        good = {
            "training_file_pattern": "train",
            "validation_file_pattern": "train",
            "val_json_file": "good.json",
            "model_dir": "model",
        }
        good.update(flags)
        arguments = [f"--{k}={v}" for k, v in good.items() if v is not None]
        process = context.Process(
            target=run_here, args=(str(folder), arguments, environment)
        )
        process.start()
        process.join(timeout=100)
        process.kill()
        outputs = [(folder / name).read_text() for name in ("stdout", "stderr")]
        return (process.exitcode, *outputs)

    return run_once


def run_here(folder, arguments, environment):
    """Makes this process that of ssd_main.py."""
    os.chdir(folder)
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), number)
    sys.argv = [PROGRAM, *arguments]
    runpy.run_path(PROGRAM, run_name="__main__")


BAD_FLAGS = {
    "no training pattern": (
        {"training_file_pattern": None},
        "--training_file_pattern is missing",
    ),
    "training pattern without a match": (
        {"training_file_pattern": "none*"},
        "--training_file_pattern=none* matches no file",
    ),
    "evaluation pattern without a match": (
        {"validation_file_pattern": "none*"},
        "--validation_file_pattern=none* matches no file",
    ),
    "empty TFRecord file": (
        {"training_file_pattern": "no_records"},
        "every file is empty",
    ),
    "no TFRecord file": (
        {"validation_file_pattern": "garbage"},
        "garbage is no TFRecord file",
    ),
    "records that are no examples": (
        {"validation_file_pattern": "texts"},
        "--validation_file_pattern=texts: the first record cannot be used: it is no",
    ),
    "missing json": ({"val_json_file": "none.json"}, "--val_json_file: cannot read"),
    "no COCO json": ({"val_json_file": "list.json"}, "list.json is no COCO"),
    "json of other images": (
        {"val_json_file": "other.json"},
        "other.json has no image 1, the first",
    ),
    "checkpoint without files": (
        {"resnet_checkpoint": "none/model.ckpt-28152"},
        "--resnet_checkpoint: cannot read none/model.ckpt-28152",
    ),
    "checkpoint of another shape": (
        {"resnet_checkpoint": "narrow"},
        "variable conv2d/kernel of narrow has shape [7, 7, 3, 32]",
    ),
    "unknown mode": ({"mode": "evaluate"}, "--mode=evaluate"),
    "batch 0": ({"train_batch_size": 0}, "--train_batch_size=0"),
    "less than one step": (
        {"num_examples_per_epoch": 8},
        "--num_examples_per_epoch=8 --num_epochs=115.2 --train_batch_size=32",
    ),
    "model_dir is a file": ({"model_dir": "file"}, "--model_dir=file cannot be"),
    "eval without a checkpoint": (
        {"mode": "eval", "model_dir": "nowhere"},
        "--model_dir=nowhere holds no checkpoint",
    ),
    "a checkpoint to train": (
        {"checkpoint_path": "model/model.ckpt-5"},
        "--checkpoint_path is for --mode=eval",
    ),
    "watching while training": ({"watch": "true"}, "--watch is for --mode=eval"),
    "watching one checkpoint": (
        {"mode": "eval", "watch": "true", "checkpoint_path": "model.ckpt-5"},
        "--checkpoint_path and --watch: one checkpoint or each new one",
    ),
    "eval of a checkpoint without files": (
        {"mode": "eval", "checkpoint_path": "none/model.ckpt-5"},
        "none/model.ckpt-5",
    ),
    "missing label map": ({"label_map": "none.json"}, "--label_map: cannot read none"),
    "label map without categories": (
        {"label_map": "list.json"},
        '--label_map: list.json has no list "categories"',
    ),
    "loss scale on a CPU": (
        {"loss_scale": "8", "device": "cpu"},
        "--loss_scale=8: only float16 needs it",
    ),
    "port of others": ({"base_port": 80}, "--base_port=80"),
    "unknown flag": ({"modle": "eval"}, "Unknown command line flag 'modle'"),
    "no NPU": ({"device": "npu"}, "--device=npu"),
}


@pytest.mark.parametrize("name", sorted(BAD_FLAGS))
def test_bad_flag_is_one_line_that_names_it(run, name):
    flags, message = BAD_FLAGS[name]
    status, stdout, stderr = run(flags)
    assert status == 2
    errors = [line for line in stderr.splitlines() if "INFO:" not in line]
    assert len(errors) == 1, stderr
    assert errors[0].startswith("ssd_main.py: ")
    assert message in errors[0]
    assert stdout == ""


def test_records_that_name_a_category_otherwise_are_told(run):
    # The second flag ends the run.
    status, _, stderr = run(
        {"training_file_pattern": "voc", "resnet_checkpoint": "none"}
    )
    assert status == 2
    assert "--training_file_pattern: in " in stderr
    assert (
        "voc category 1 is 'aeroplane' there, 'person' in the label map; training goes "
        "by the number: give the --label_map" in stderr
    )


def test_bad_rank_in_the_environment_is_named(run):
    status, _, stderr = run({}, RANK_ID="8", RANK_SIZE="8")
    assert status == 2
    assert "RANK_ID=8 RANK_SIZE=8: the rank must lie in" in stderr


def test_help_lists_the_flags(run):
    _, stdout, stderr = run({"help": "true"})
    assert "--training_file_pattern" in stdout
    assert "Traceback" not in stderr
