# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every flag with values that make no sense: one line that names it, status 2."""

import json
import time

import pytest
from absl import flags

import records
import ssd_main
from trainer import flags as settings

FLAGS = flags.FLAGS
if "model_dir" not in FLAGS:
    settings.define_flags()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flags")
    record = records.record(1, b"", [[0, 0, 1, 1]], [1])
    records.write(folder / "train", [record])
    dataset = {"images": [{"id": 1}], "annotations": [], "categories": []}
    (folder / "good.json").write_text(json.dumps(dataset))
    return folder


@pytest.fixture
def fails(folder, capfd, monkeypatch):
    """Gives a function that runs ssd_main.py with flags and gives its one line."""
    monkeypatch.chdir(folder)
    for name in ("RANK_ID", "RANK_SIZE", "RANK_TABLE_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run(**given):
        values = {
            "training_file_pattern": "train",
            "validation_file_pattern": "train",
            "val_json_file": "good.json",
            "model_dir": "model",
            # Where a value is accepted after all, this ends before any training.
            "resnet_checkpoint": "none/model.ckpt-1",
        }
        values.update(given)
        argv = [f"--{k}={v}" for k, v in values.items() if v is not None]
        for name in list(FLAGS):
            FLAGS[name].unparse()
        start = time.monotonic()
        status = ssd_main.main(["ssd_main.py"] + argv)
        assert time.monotonic() - start < 10
        lines = capfd.readouterr().err.splitlines()
        lines = [line for line in lines if line.startswith("ssd_main.py: ")]
        assert status == 2 and len(lines) == 1
        return lines[0]

    yield run
    for name in list(FLAGS):
        FLAGS[name].unparse()


def own_flags(kind):
    own = FLAGS.flags_by_module_dict()[settings.__name__]
    return sorted(flag.name for flag in own if flag.flag_type() == kind)


def test_all_flags_are_of_a_kind_that_is_tested_here():
    kinds = {
        flag.flag_type() for flag in FLAGS.flags_by_module_dict()[settings.__name__]
    }
    assert kinds == {"int", "float", "string", "string enum", "bool"}


@pytest.mark.parametrize("value", ["much", "", "-1", "1e99", "nan", "1.5", str(10**30)])
@pytest.mark.parametrize("name", own_flags("int"))
def test_a_whole_number_that_makes_no_sense_is_named(fails, name, value):
    assert f"--{name}={value}" in fails(**{name: value})


@pytest.mark.parametrize("value", ["much", "", "-1", "1e99", "nan", "inf", "-inf"])
@pytest.mark.parametrize("name", own_flags("float"))
def test_a_number_that_makes_no_sense_is_named(fails, name, value):
    assert f"--{name}={value}" in fails(**{name: value})


@pytest.mark.parametrize("value", ["", "often", "-1"])
@pytest.mark.parametrize("name", own_flags("string enum") + own_flags("bool"))
def test_a_choice_that_is_none_is_named(fails, name, value):
    assert f"--{name}={value}" in fails(**{name: value})


@pytest.mark.parametrize("name", own_flags("string"))
def test_an_empty_text_is_named(fails, name):
    assert f"--{name}" in fails(**{name: ""})


NOWHERE = ["/dev/null/x", "x" * 5000, "/proc/1/mem/x"]
PATHS = set(own_flags("string")) - {"loss_scale"}


@pytest.mark.parametrize("name", sorted(PATHS))
@pytest.mark.parametrize("value", NOWHERE + ["a\nb", "["])
def test_a_path_that_leads_nowhere_is_named(fails, name, value):
    if name in ("model_dir", "profiling") and value not in NOWHERE:
        pytest.skip("a folder may have such a name")
    mode = "eval" if name == "checkpoint_path" else "train_and_eval"
    line = fails(mode=mode, **{name: value})
    assert f"--{name}" in line


@pytest.mark.parametrize(
    "given, message",
    [
        ({"training_file_pattern": None}, "--training_file_pattern is missing"),
        ({"mode": "train", "training_file_pattern": None}, "--training_file_pattern"),
        ({"mode": "eval", "val_json_file": None}, "--val_json_file is missing"),
        ({"mode": "eval", "validation_file_pattern": None}, "--validation_file_patt"),
        ({"model_dir": None}, "--model_dir is missing"),
        ({"train_batch_size": 64, "num_examples_per_epoch": 63}, "less than one step"),
        ({"num_epochs": 0}, "less than one step"),
        ({"decay_epochs": 0}, "--decay_epochs=0 is less than one step"),
        ({"huber_delta": 0}, "--huber_delta=0"),
        ({"base_learning_rate": 0}, "--base_learning_rate=0"),
        ({"deterministic": "true"}, "--deterministic needs a --seed"),
        ({"mode": "train", "watch": "true"}, "--watch is for --mode=eval"),
        ({"loss_scale": "dynamic", "device": "cpu"}, "--loss_scale=dynamic"),
    ],
)
def test_flags_that_do_not_go_together_are_named(fails, given, message):
    assert message in fails(**given)
