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
from trainer import hyperparameters, train
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
            params = hyperparameters.make_params(num_ranks, label_map)
            params["eval_steps"] = hyperparameters.eval_steps(params)
            return dict(params, save_steps=hyperparameters.save_steps(params))

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
    # The categories may come from a file.
    copy = categories.LabelMap(dict(categories.COCO.names))
    params = params_of(copy, count, num_ranks)
    assert (params["decay_epochs"], params["warmup_epochs"]) == (106.0, 0.8)
    assert steps(params) == expected
    assert hyperparameters.plan(params, categories.COCO) == (
        f"training: {expected[0]} steps of {num_ranks} x 32 images are 115.2 epochs of "
        "120000 images; 80 categories of COCO"
    )


@pytest.mark.parametrize(
    "label_map, count, flags, examples, line",
    [
        (categories.COCO, 118287, {}, 120000, "the published number for COCO; the fi"),
        # As many records as COCO has, but not COCO's.
        (CELLS, 118287, {}, 118287, "the number of records in "),
        (categories.COCO, 5000, {}, 5000, "the number of records in "),
        (CELLS, 292, {"num_examples_per_epoch": 320}, 320, None),
        (CELLS, 292, {"synthetic_data": True}, 120000, "the published number; no loc"),
        (CELLS, 292, {"training_file_pattern": "gs://x/t*"}, 120000, "the published "),
        (CELLS, 292, {"mode": "eval", "watch": True}, 292, "the number of records in "),
        (CELLS, 292, {"mode": "eval"}, 120000, None),
    ],
)
def test_an_epoch_has_as_many_images_as_the_files(
    params_of, caplog, label_map, count, flags, examples, line
):
    caplog.set_level("INFO", logger="tensorflow")
    params = params_of(label_map, count, **flags)
    assert params["num_examples_per_epoch"] == examples
    logged = [message for message in caplog.messages if "--num_examples" in message]
    assert len(logged) == (line is not None)
    for message in logged:
        assert message.startswith(f"--num_examples_per_epoch={examples}: {line}")


def test_warm_up_and_decay_are_shares_of_the_epochs(params_of):
    for flags, decay, warmup in (
        # 28 / 115.2 of 106 and of 0.8.
        ({}, 25.7639, 0.194444),
        ({"decay_epochs": 28.0, "warmup_epochs": 0.0}, 28.0, 0.0),
    ):
        params = params_of(CELLS, 292, num_epochs=28.0, train_batch_size=8, **flags)
        assert params["decay_epochs"] == pytest.approx(decay, rel=1e-5)
        assert params["warmup_epochs"] == pytest.approx(warmup, rel=1e-5)
        assert ssd_model.total_steps(params) == 1022


@pytest.mark.parametrize(
    "total, expected",
    [(5, 1), (100, 5), (1022, 50), (19999, 900), (99999, 4900), (100000, 5000)],
)
def test_checkpoints_come_every_twentieth_in_round_numbers(params_of, total, expected):
    flags = {"num_epochs": 1.0, "train_batch_size": 1}
    assert params_of(CELLS, total, **flags)["save_steps"] == expected
    assert params_of(CELLS, 9, save_checkpoints_steps=7)["save_steps"] == 7


@pytest.mark.parametrize(
    "flags, expected",
    [
        # An epoch has 468 steps.
        ({}, (0, 2700)),
        ({"eval_every_epochs": 1.0}, (470, 470)),
        ({"eval_every_epochs": 10.0}, (4700, 2700)),
        ({"eval_every_epochs": 0.1}, (47, 47)),
        ({"eval_every_epochs": 0.001}, (1, 1)),
        ({"eval_every_epochs": 1.0, "iterations_per_loop": 100}, (500, 500)),
        ({"eval_every_epochs": 1.0, "save_checkpoints_steps": 300}, (470, 300)),
    ],
)
def test_evaluations_come_after_steps_of_two_digits(params_of, flags, expected):
    params = params_of(categories.COCO, 118287, 8, **flags)
    assert (params["eval_steps"], params["save_steps"]) == expected


def test_ranks_with_different_schedules_are_told(monkeypatch):
    device = selection.create("cpu")
    monkeypatch.setattr(device.ranks, "exchange", lambda steps: [steps, 1050, steps])
    with pytest.raises(UserError) as told:
        train.train(device, dict(ssd_model.DEFAULT_PARAMS), "none", categories.COCO)
    assert "the ranks would train for 1050, 432000 steps" in str(told.value)
