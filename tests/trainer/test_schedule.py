# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The schedule follows the data, and COCO's is the published one to the step."""

import pytest
from absl.testing import flagsaver

import records
import ssd_model
from console.errors import UserError
from dataset import categories, record_files
from devices import selection
from trainer import schedule, train
from trainer.flags import FLAGS

CELLS = categories.LabelMap({1: "red", 2: "white"})


@pytest.fixture
def params_of(tmp_path, monkeypatch):
    """Function (label map, number of records, ranks, flags) that returns the params."""
    records.write(tmp_path / "train", [b"record"])

    def make(label_map, count, num_ranks=1, **flags):
        monkeypatch.setattr(record_files, "count_records", lambda files: count)
        if not FLAGS.is_parsed():
            FLAGS.mark_as_parsed()
        pattern = {"training_file_pattern": str(tmp_path / "train")}
        with flagsaver.flagsaver(**dict(pattern, **flags)):
            params = schedule.make_params(num_ranks, label_map)
            return dict(params, save_steps=schedule.save_steps(params))

    return make


def steps(params):
    """Steps of the training, the warm-up and the decay, and between checkpoints."""
    epoch = ssd_model.steps_per_epoch(params)
    return (
        ssd_model.total_steps(params),
        int(params["warmup_epochs"] * epoch),
        int(params["decay_epochs"] * epoch),
        params["save_steps"],
    )


@pytest.mark.parametrize(
    "count, num_ranks, expected",
    [
        # All images of train2017, and those that have boxes.
        (118287, 1, (432000, 3000, 397500, 5000)),
        (117266, 8, (54000, 374, 49608, 2700)),
    ],
)
def test_cocos_schedule_is_the_published_one(params_of, count, num_ranks, expected):
    params = params_of(categories.COCO, count, num_ranks)
    assert (params["decay_epochs"], params["warmup_epochs"]) == (106.0, 0.8)
    assert steps(params) == expected
    # The same categories from a file.
    copy = categories.LabelMap(dict(categories.COCO.names))
    assert steps(params_of(copy, count, num_ranks)) == expected


@pytest.mark.parametrize(
    "label_map, count, flags, examples, expected",
    [
        (CELLS, 292, {"num_epochs": 28.0, "train_batch_size": 8}, 292, 1022),
        # As many records as COCO has, but not COCO's.
        (CELLS, 118287, {}, 118287, 425833),
        (categories.COCO, 5000, {}, 5000, 18000),
        (CELLS, 292, {"num_examples_per_epoch": 320}, 320, 1152),
        (CELLS, 292, {"synthetic_data": True}, 120000, 432000),
        (CELLS, 292, {"training_file_pattern": "gs://x/train*"}, 120000, 432000),
        (CELLS, 292, {"mode": "eval", "watch": True}, 292, 1051),
        (CELLS, 292, {"mode": "eval"}, 120000, 432000),
    ],
)
def test_an_epoch_has_as_many_images_as_the_files(
    params_of, label_map, count, flags, examples, expected
):
    params = params_of(label_map, count, **flags)
    assert params["num_examples_per_epoch"] == examples
    assert ssd_model.total_steps(params) == expected


def test_which_number_of_images_counts_is_logged(params_of, caplog):
    caplog.set_level("INFO", logger="tensorflow")
    params_of(categories.COCO, 118287)
    params_of(CELLS, 292)
    coco, cells = [record.getMessage() for record in caplog.records]
    assert coco == (
        "--num_examples_per_epoch=120000: the published number for COCO; the files "
        "have 118287 records"
    )
    assert cells.startswith("--num_examples_per_epoch=292: the number of records in ")


@pytest.mark.parametrize(
    "flags, decay, warmup",
    [
        # 28 / 115.2 of 106 and of 0.8.
        ({"num_epochs": 28.0}, 25.7639, 0.194444),
        ({"num_epochs": 28.0, "decay_epochs": 28.0}, 28.0, 0.194444),
        ({"num_epochs": 28.0, "warmup_epochs": 0.0}, 25.7639, 0.0),
    ],
)
def test_warm_up_and_decay_are_shares_of_the_epochs(params_of, flags, decay, warmup):
    params = params_of(CELLS, 292, **flags)
    assert params["decay_epochs"] == pytest.approx(decay, rel=1e-5)
    assert params["warmup_epochs"] == pytest.approx(warmup, rel=1e-5)


@pytest.mark.parametrize(
    "total, expected",
    [(5, 1), (100, 5), (1022, 50), (19999, 900), (99999, 4900), (100000, 5000)],
)
def test_checkpoints_come_every_twentieth_in_round_numbers(params_of, total, expected):
    flags = {"num_epochs": 1.0, "train_batch_size": 1}
    assert params_of(CELLS, total, **flags)["save_steps"] == expected
    assert params_of(CELLS, 9, save_checkpoints_steps=7)["save_steps"] == 7


def test_files_that_do_not_exist_are_named(params_of):
    with pytest.raises(
        UserError, match="--training_file_pattern: none matches no TFRecord file"
    ):
        params_of(CELLS, 9, training_file_pattern="none")


def test_ranks_with_different_schedules_are_told(monkeypatch):
    device = selection.create("cpu")
    monkeypatch.setattr(device.ranks, "exchange", lambda steps: [steps, 1050, steps])
    with pytest.raises(UserError) as told:
        train.train(device, dict(ssd_model.DEFAULT_PARAMS), "none", categories.COCO)
    assert "the ranks would train for 1050, 432000 steps" in str(told.value)
