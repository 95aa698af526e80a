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
        ({}, (TRAIN, VAL, "instances_val2020.json")),
        ({"mode": "train"}, (TRAIN, None, None)),
        ({"mode": "eval"}, (None, VAL, "instances_val2020.json")),
        ({"mode": "eval", "watch": True}, (TRAIN, VAL, "instances_val2020.json")),
        ({"synthetic_data": True}, (None, VAL, "instances_val2020.json")),
        # Flags that are given win.
        ({"training_file_pattern": "/t"}, ("/t", VAL, "instances_val2020.json")),
        ({"validation_file_pattern": "/v"}, (TRAIN, "/v", "instances_val2020.json")),
        ({"val_json_file": "/v.json"}, (TRAIN, VAL, "/v.json")),
    ],
)
def test_data_dir_names_the_files_that_the_mode_needs(dataset, given, expected):
    with flagsaver.flagsaver(data_dir=str(dataset), **given):
        inputs.use_data_dir()
        found = (
            FLAGS.training_file_pattern,
            FLAGS.validation_file_pattern,
            FLAGS.val_json_file,
        )
        for value, name in zip(found, expected):
            if name is None or name.startswith("/"):
                assert value == name
            else:
                assert value == str(dataset / name.replace("-00000-", "-?????-"))


def test_what_data_dir_lacks_is_named_with_the_flag_that_chooses(dataset):
    def error():
        with flagsaver.flagsaver(data_dir=str(dataset)):
            with pytest.raises(UserError) as told:
                inputs.use_data_dir()
            return str(told.value)

    (dataset / "train-00000-of-00002.tfrecord").touch()
    assert error() == (
        f"--data_dir: {dataset} has several sets of TFRecord files: "
        "train-?????-of-00002.tfrecord, train2020-?????-of-00001.tfrecord; choose with "
        "--training_file_pattern"
    )
    (dataset / "train-00000-of-00002.tfrecord").unlink()
    (dataset / "instances_val2020.json").unlink()
    assert error().endswith(
        "has no instances_val2020.json; choose with --val_json_file"
    )
    dataset = dataset / TRAIN
    assert error() == f"--data_dir={dataset} is not a folder"


@pytest.mark.parametrize(
    "mode, in_data, in_model, given, expected",
    [
        ("train", CELLS, None, None, CELLS),
        ("train", None, CELLS, None, CELLS),
        ("train", None, None, None, categories.COCO.names),
        ("train", {1: "x"}, None, CELLS, CELLS),
        # The same names are written in another way.
        ("train", CELLS, {1: "Red_Cell", 2: "whitecell"}, None, CELLS),
        ("eval", {1: "x"}, CELLS, None, CELLS),
        ("eval", CELLS, None, None, CELLS),
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
        ({1: "red cell"}, "category 2 is not in the label map"),
        ({1: "red cell", 2: "white cell", 3: "x"}, "category 3 is not in the label"),
    ],
)
def test_training_refuses_a_model_dir_of_another_label_map(
    dataset, tmp_path, names, difference
):
    write_label_map(tmp_path / "model", names)
    with flagsaver.flagsaver(data_dir=str(dataset)):
        inputs.use_data_dir()
        with pytest.raises(UserError) as told:
            inputs.read_label_map()
    assert str(told.value).startswith(f"--model_dir={tmp_path}/model has another label")
    assert difference in str(told.value)


def test_training_leaves_the_label_map_in_model_dir(tmp_path):
    path = tmp_path / "model" / "label_map.json"
    inputs.save_label_map(categories.LabelMap(CELLS))
    assert categories.read_label_map(str(path)).names == CELLS
    # A second training leaves the file as it is.
    path.write_text("as it is")
    inputs.save_label_map(categories.LabelMap(CELLS))
    assert path.read_text() == "as it is"
