# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""--data_dir, and the label map that travels from the records to the model."""

import pytest
from absl.testing import flagsaver

import records
from console.errors import UserError
from dataset import categories
from trainer import inputs
from trainer.flags import FLAGS

TRAIN, VAL = "train2020-00000-of-00001.tfrecord", "val2020-00000-of-00001.tfrecord"
JSON = "instances_val2020.json"
CELLS = {1: "red cell", 2: "white cell"}


@pytest.fixture
def dataset(tmp_path):
    """Folder with shards, annotations and a label map."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in (TRAIN, VAL):
        records.write(folder / name, [])
    (folder / "instances_val2020.json").write_text("{}")
    write_label_map(folder, CELLS)
    return folder


@pytest.fixture(autouse=True)
def flags(tmp_path):
    """Restores the flags after the test; --model_dir is an empty folder."""
    if not FLAGS.is_parsed():
        FLAGS.mark_as_parsed()
    (tmp_path / "model").mkdir()
    with flagsaver.flagsaver(model_dir=str(tmp_path / "model")):
        yield


def write_label_map(folder, names):
    content = categories.LabelMap(names).to_json()
    (folder / "label_map.json").write_bytes(content)


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"mode": "train"}, (TRAIN, None, None)),
        ({"mode": "eval"}, (None, VAL, JSON)),
        ({"mode": "eval", "watch": True}, (TRAIN, VAL, JSON)),
        ({"synthetic_data": True}, (None, VAL, JSON)),
        # Flags that are given win.
        ({"training_file_pattern": "/t"}, ("/t", VAL, JSON)),
        ({"validation_file_pattern": "/v"}, (TRAIN, "/v", JSON)),
        ({"val_json_file": "/v.json"}, (TRAIN, VAL, "/v.json")),
    ],
)
def test_data_dir_names_the_files_that_the_mode_needs(dataset, given, expected):
    flags = ("training_file_pattern", "validation_file_pattern", "val_json_file")
    with flagsaver.flagsaver(data_dir=str(dataset), **given):
        inputs.use_data_dir()
        for flag, name in zip(flags, expected):
            # An absolute path replaces the folder.
            path = name and str(dataset / name.replace("-00000-", "-?????-"))
            assert FLAGS[flag].value == path


def test_what_data_dir_lacks_is_named_with_the_flag_that_chooses(dataset):
    def check_error(folder, message):
        with flagsaver.flagsaver(data_dir=str(folder)):
            with pytest.raises(UserError, match=message):
                inputs.use_data_dir()

    (dataset / JSON).unlink()
    check_error(dataset, f"has no {JSON}; choose with --val_json_file$")
    (dataset / "train-00000-of-00002.tfrecord").touch()
    message = "several sets of .*; choose with --training_file_pattern$"
    check_error(dataset, f"^--data_dir: {dataset} has {message}")
    check_error(dataset / TRAIN, f"^--data_dir={dataset / TRAIN} is not a folder")


@pytest.mark.parametrize(
    "mode, in_data, in_model, given, expected",
    [
        ("train", None, CELLS, None, CELLS),
        ("train", None, None, None, categories.COCO.names),
        ("train", {1: "x"}, None, CELLS, CELLS),
        # The same names are written in another way.
        ("train", CELLS, {1: "Red_Cell", 2: "whitecell"}, None, CELLS),
        ("eval", {1: "x"}, CELLS, None, CELLS),
        ("eval", {1: "x"}, {1: "y"}, CELLS, CELLS),
    ],
)
def test_the_label_map_is_found_beside_the_records_and_in_model_dir(
    dataset, tmp_path, mode, in_data, in_model, given, expected
):
    (dataset / "label_map.json").unlink()
    (tmp_path / "given").mkdir()
    for name, names in (("data", in_data), ("model", in_model), ("given", given)):
        if names:
            write_label_map(tmp_path / name, names)
    path = str(tmp_path / "given" / "label_map.json") if given else None
    with flagsaver.flagsaver(data_dir=str(dataset), mode=mode, label_map=path):
        inputs.use_data_dir()
        assert inputs.read_label_map().names == expected
        # A checkpoint that is named has its label map beside it.
        write_label_map(tmp_path, {9: "y"})
        FLAGS.checkpoint_path, FLAGS.label_map = str(tmp_path / "model.ckpt-5"), path
        if mode == "eval" and not given:
            assert inputs.read_label_map().names == {9: "y"}


@pytest.mark.parametrize(
    "names, difference",
    [
        ({1: "white cell", 2: "red cell"}, "category 1 is 'white cell' there, 'red"),
        ({1: "red cell", 2: "white cell", 3: "x"}, "category 3 is not in the label"),
    ],
)
def test_training_refuses_a_model_dir_of_another_label_map(
    dataset, tmp_path, names, difference
):
    write_label_map(tmp_path / "model", names)
    message = f"^--model_dir={tmp_path}/model has another label .*{difference}"
    with flagsaver.flagsaver(data_dir=str(dataset)):
        inputs.use_data_dir()
        with pytest.raises(UserError, match=message):
            inputs.read_label_map()


def test_training_leaves_the_label_map_in_model_dir(tmp_path):
    path = tmp_path / "model" / "label_map.json"
    inputs.save_label_map(categories.LabelMap(CELLS))
    assert categories.read_label_map(str(path)).names == CELLS
    # A second training leaves the file as it is.
    path.write_text("as it is")
    inputs.save_label_map(categories.LabelMap(CELLS))
    assert path.read_text() == "as it is"
