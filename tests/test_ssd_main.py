# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bad flags and files: one line that names them, status 2, no traceback."""

import functools
import gzip
import json
import os
import re
import runpy
import sys

import pytest
from absl import app
from absl.testing import flagsaver

import command_line
import processes
import records
from trainer import flags as settings

PROGRAM = os.path.join(processes.ROOT, "ssd_main.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Good files, and bad ones of every kind."""
    folder = tmp_path_factory.mktemp("input")
    command_line.write_inputs(folder)
    records.write(folder / "no_records", [])
    # Fractions that were divided by the sides of the image.
    box = [[0.01, 0.02, 0.1, 0.1]]
    twice = records.record(1, records.black_png(9), box, [1])
    records.write(folder / "twice", [twice])
    records.write(folder / "texts", [b"\x0a\xff\x7f cut short"])
    (folder / "garbage").write_bytes(b"this is not a TFRecord file" * 9)
    (folder / "zipped").write_bytes(gzip.compress((folder / "train").read_bytes()))
    (folder / "tiny.tfrecord").write_bytes(b"tiny")
    (folder / "file").write_text("a file, not a folder")
    (folder / "list.json").write_text("[]")
    box = dict(command_line.DATASET["annotations"][0], image_id=2)
    other = dict(command_line.DATASET, images=[{"id": 2}], annotations=[box])
    (folder / "other.json").write_text(json.dumps(other))
    for name, changes in (
        ("unknown", {"category_id": 91}),
        ("flat", {"bbox": [0, 0, 9, 0]}),
    ):
        box = dict(command_line.DATASET["annotations"][0], **changes)
        entries = [{"id": 91, "name": "ring"}, {"id": 1, "name": "person"}]
        dataset = dict(command_line.DATASET, annotations=[box], categories=entries)
        (folder / f"{name}.json").write_text(json.dumps(dataset))
    return folder


@pytest.fixture
def error_of(folder, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    return functools.partial(command_line.error_of, capfd)


BAD_FILES = [
    ({"training_file_pattern": None}, "--training_file_pattern is missing"),
    ({"training_file_pattern": "none*"}, "--training_file_pattern: none* matches no"),
    (
        {"training_file_pattern": "no_records"},
        "every file is empty, such as no_records",
    ),
    (
        {"training_file_pattern": "twice"},
        "--training_file_pattern=twice: all boxes of 1 records end within the first ",
    ),
    ({"validation_file_pattern": None}, "--validation_file_pattern is missing"),
    ({"validation_file_pattern": "none*"}, "--validation_file_pattern: none* matches"),
    ({"validation_file_pattern": "garbage"}, "garbage is not a TFRecord file"),
    (
        {"validation_file_pattern": "garb*"},
        "matches that cannot be TFRecord files: garbage",
    ),
    ({"validation_file_pattern": "zip*"}, "zipped is compressed; store the records"),
    (
        {"validation_file_pattern": "x://b/val*"},
        "--validation_file_pattern: x://b/val*",
    ),
    ({"label_map": "\udcff"}, "--label_map: the path must be UTF-8: 'utf-8' codec"),
    (
        {"validation_file_pattern": "tiny.tfrecord"},
        "tiny.tfrecord is not a TFRecord file",
    ),
    (
        {"validation_file_pattern": "texts"},
        "--validation_file_pattern: a record of texts cannot be used: it is no",
    ),
    ({"val_json_file": None}, "--val_json_file is missing"),
    ({"val_json_file": "none.json"}, "--val_json_file: cannot read none.json"),
    ({"val_json_file": "list.json"}, "list.json is not a COCO"),
    (
        {"val_json_file": "other.json"},
        "--val_json_file contradicts 1 of 1 compared images: 1 ids that are not in the "
        "json (image 1); do they belong together?",
    ),
    (
        {"val_json_file": "unknown.json"},
        "--val_json_file=unknown.json: no box counts: --label_map=(COCO) has none of "
        "their categories, such as id 91",
    ),
    (
        {"val_json_file": "flat.json"},
        "--val_json_file: flat.json: no box counts: there are 1 boxes of no size or",
    ),
    ({"label_map": "none.json"}, "--label_map: cannot read none.json"),
    ({"label_map": "list.json"}, '--label_map: list.json has no list "categories"'),
    (
        {"resnet_checkpoint": "none/model.ckpt-28152"},
        "--resnet_checkpoint: cannot read none/model.ckpt-28152",
    ),
    (
        {"init_checkpoint": "none/model.ckpt-5"},
        "--init_checkpoint: none/model.ckpt-5 is not a checkpoint: there is no file",
    ),
    ({"model_dir": None}, "--model_dir is missing"),
    ({"model_dir": "file"}, "--model_dir: file cannot be written"),
    (
        {"mode": "eval", "model_dir": "nowhere"},
        "--model_dir=nowhere does not hold a checkpoint; train first",
    ),
    (
        {"mode": "eval", "checkpoint_path": "none/model.ckpt-5"},
        "none/model.ckpt-5 is not a checkpoint: there is no file",
    ),
]


BAD_FLAGS = [
    *(
        ({name: "obs://b/x"}, f"--{name}=obs://b/x: must be a local path; copy")
        for name in ("model_dir", "profiling", "val_json_file", "label_map")
    ),
    (
        {"resnet_checkpoint": "s3://b/x"},
        "--resnet_checkpoint=s3://b/x: must be a local",
    ),
    ({"modle": "eval"}, "Unknown command line flag 'modle'"),
    ({"train_batch_size": 0}, "--train_batch_size=0"),
    (
        {"num_examples_per_epoch": 31, "train_batch_size": 32},
        "--num_examples_per_epoch=31 --num_epochs=115.2 --decay_epochs=106 "
        "--train_batch_size=32 on 1 devices: an epoch, the training or the decay is "
        "less than one step; a smaller --train_batch_size",
    ),
    ({"num_epochs": 0}, "less than one step"),
    ({"num_epochs": "ten"}, "--num_epochs=ten: must be a number"),
    ({"train_batch_size": "1.5"}, "--train_batch_size=1.5: must be a whole number"),
    ({"deterministic": "si"}, "--deterministic=si: must be true or false"),
    ({"decay_epochs": 0}, "less than one step"),
    ({"base_learning_rate": 0}, "--base_learning_rate=0"),
    ({"zoom_out": 1.5}, "--zoom_out=1.5: 1.5 is not a number in the range"),
    ({"deterministic": "true"}, "--deterministic needs a --seed"),
    (
        {"freeze": "backbone", "resnet_checkpoint": None},
        "--freeze=backbone needs weights to start from: give --init_checkpoint",
    ),
    ({"freeze": "all_but_heads"}, "--freeze=all_but_heads needs weights to start"),
    ({"checkpoint_path": "model.ckpt-5"}, "--checkpoint_path is for --mode=eval"),
    ({"mode": "train", "watch": "true"}, "--watch is for --mode=eval"),
    (
        {"mode": "eval", "watch": "true", "checkpoint_path": "model.ckpt-5"},
        "--checkpoint_path and --watch exclude each other",
    ),
    ({"stop_after": 3}, "--stop_after=3 needs evaluations: give --eval_every_epochs"),
    (
        {"mode": "train", "eval_every_epochs": 1, "val_json_file": None},
        "--val_json_file is missing",
    ),
    ({"loss_scale": "8", "device": "cpu"}, "--loss_scale=8: only float16 needs it"),
    ({"loss_scale": "dynamic", "device": "cpu"}, "--loss_scale=dynamic: only float16"),
    ({"device": "npu"}, "--device=npu"),
]


@pytest.mark.parametrize("flags, message", BAD_FILES + BAD_FLAGS)
def test_bad_flag_is_one_line_that_names_it(error_of, flags, message):
    assert message in error_of(**flags)


def test_bad_rank_in_the_environment_is_named(error_of, monkeypatch):
    monkeypatch.setenv("RANK_ID", "8")
    monkeypatch.setenv("RANK_SIZE", "8")
    assert "RANK_ID=8 RANK_SIZE=8: the rank must lie in" in error_of()


def test_relative_paths_start_where_the_launcher_was_called(
    error_of, folder, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSD_CALLED_FROM", str(folder))
    # All other inputs are found.
    line = error_of(label_map="good.json", model_dir="own")
    assert f"--resnet_checkpoint: cannot read {folder}/none/model.ckpt-1" in line
    assert (folder / "own").is_dir()


def run_as_a_command(capsys, monkeypatch, *flags):
    """Returns (status, standard output, standard error) of ssd_main.py."""
    monkeypatch.setattr(sys, "argv", ["ssd_main.py", *flags])
    # flagsaver would remove them, and absl defines them only once.
    app.define_help_flags()
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as end:
        runpy.run_path(PROGRAM, run_name="__main__")
    return (end.value.code,) + tuple(capsys.readouterr())


def test_the_command_ends_with_one_line_and_status_2(capsys, monkeypatch):
    flags = ["--mode=eval", "--model_dir=model"]
    assert run_as_a_command(capsys, monkeypatch, *flags) == (
        2,
        "",
        "ssd_main.py: --validation_file_pattern is missing: give a glob pattern of "
        "TFRecord files, or --data_dir\n",
    )


def test_help_describes_every_flag(capsys, monkeypatch):
    output = run_as_a_command(capsys, monkeypatch, "--help")[1]
    described = re.findall(r"^  --(?:\[no\])?(\w+):", output, re.M)
    assert {flag.name for flag in settings.own_flags()} <= set(described)
