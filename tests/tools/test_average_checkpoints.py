# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mean of checkpoints: floats are averaged, integers are the newest one's."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import commands
import models
from dataset import categories
from trainer import checkpoints


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folders with checkpoints: run, other variables, and other categories."""
    folder = tmp_path_factory.mktemp("average")
    for name in ("run", "variables", "categories"):
        (folder / name).mkdir()
    for name, step, weights in (
        ("run/model.ckpt-100", 100, [1.0, 2.0]),
        ("run/model.ckpt-90", 90, [4.0, 8.0]),
        ("run/model.ckpt-80", 80, [7.0, 0.5]),
        ("variables/model.ckpt-7", 7, [1.0]),
        ("categories/model.ckpt-7", 7, [1.0, 2.0]),
    ):
        values = {"bn/moving_mean": weights, "global_step": np.int64(step)}
        models.save(folder / name, values)
    models.write_label_map(folder / "run" / "label_map.json")
    models.write_label_map(
        folder / "categories" / "label_map.json", categories.LabelMap({3: "nail"})
    )
    return folder


@pytest.mark.parametrize(
    "arguments, mean",
    [
        (["run", "--last=2"], [2.5, 5.0]),
        (["run/model.ckpt-100", "run/model.ckpt-80.index"], [4.0, 1.25]),
    ],
)
def test_mean_has_the_step_of_the_newest_and_the_label_map(
    folder, tmp_path, arguments, mean
):
    output = tmp_path / "new" / "averaged"
    arguments = arguments + [f"--output_dir={output}"]
    result = commands.run("average_checkpoints.py", arguments, folder)
    assert result.returncode == 0, result.stderr
    assert "  run/model.ckpt-100\n" in result.stdout
    # As --checkpoint_path, --model and --init_checkpoint find it.
    step, path = checkpoints.find(str(output))
    assert step == 100
    found = tf.train.load_checkpoint(path).get_tensor("bn/moving_mean")
    assert found.dtype == np.float32 and found.tolist() == mean
    label_map = categories.read_label_map(str(output / "label_map.json"))
    assert label_map.names == models.LABELS.names
    again = commands.fail("average_checkpoints.py", arguments, folder)
    assert "is not empty" in again


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["run"], "--last=5: run holds only 3 usable checkpoints"),
        (["run/model.ckpt-90"] * 2, "at least two checkpoints"),
        (["none", "run"], "none is not a checkpoint: there is no file none.index"),
        (
            ["variables/model.ckpt-7", "run/model.ckpt-90"],
            "model.ckpt-7 and run/model.ckpt-90 have different variables",
        ),
        (["run/model.ckpt-80", "categories/model.ckpt-7"], "have different categories"),
    ],
)
def test_what_has_no_mean_is_one_line_with_status_2(folder, arguments, message):
    arguments = arguments + ["--output_dir=new"]
    assert message in commands.fail("average_checkpoints.py", arguments, folder)
    assert not (folder / "new").exists()
