# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder are the shards and the annotations."""

import glob
import os

import pytest

from dataset import data_folder

TRAIN = ["train2017-00000-of-00002.tfrecord", "train2017-00001-of-00002.tfrecord"]


@pytest.fixture
def folder(tmp_path):
    """Function of names that returns a folder, with brackets, that has these files."""
    folder = tmp_path / "a[b]"
    folder.mkdir()

    def fill(*names):
        for name in names:
            (folder / name).touch()
        return str(folder)

    return fill


@pytest.mark.parametrize(
    "names, starts, found",
    [
        (TRAIN + ["trainer.log", "train.json"], data_folder.TRAINING, TRAIN),
        (["train.tfrecord", "val.tfrecord"], data_folder.TRAINING, ["train.tfrecord"]),
        (["val-00000-of-00001"], data_folder.VALIDATION, ["val-00000-of-00001"]),
        # As Roboflow names them.
        (["valid.tfrecord"], data_folder.VALIDATION, ["valid.tfrecord"]),
        (["test.record", "val.record"], data_folder.VALIDATION, ["val.record"]),
        (["test.record"] + TRAIN, data_folder.VALIDATION, ["test.record"]),
        (
            # Files that systems and tools leave beside the shards.
            TRAIN + ["._" + TRAIN[0], TRAIN[0] + ".idx", ".partial-9-" + TRAIN[0]],
            data_folder.TRAINING,
            TRAIN,
        ),
    ],
)
def test_shards_are_found_by_the_start_of_their_names(folder, names, starts, found):
    path = folder(*names)
    pattern, name = data_folder.find_shards(path, starts)
    assert os.path.dirname(pattern) == path
    pattern = os.path.join(glob.escape(path), os.path.basename(pattern))
    assert sorted(map(os.path.basename, glob.glob(pattern))) == found
    assert found[0].startswith(name)


@pytest.mark.parametrize(
    "names, name, found",
    [
        (["instances_val.json", "instances_val2.json"], "val", "instances_val.json"),
        (["instances_val2017.json", "instances_train2017.json"], "val", "val2017"),
        (["instances_test.json"], None, "instances_test.json"),
    ],
)
def test_annotations_are_those_of_the_evaluation_shards(folder, names, name, found):
    path = data_folder.find_annotations(folder(*names), name)
    assert found in os.path.basename(path)


def test_missing_files_and_annotations_that_are_not_clear_are_named(folder):
    path = folder("instances_train.json")
    for call, expected in (
        (lambda: data_folder.find_shards(path, ("val", "test")), "val* or test*"),
        (lambda: data_folder.find_annotations(path, "v1"), "no instances_v1.json"),
        (lambda: data_folder.find_annotations(path + "/no"), "cannot read"),
    ):
        with pytest.raises(ValueError) as told:
            call()
        assert expected in str(told.value)
    folder("instances_val1.json", "instances_val2.json")
    with pytest.raises(ValueError, match="instances_val1.json, instances_val2.json"):
        data_folder.find_annotations(path, "val")
