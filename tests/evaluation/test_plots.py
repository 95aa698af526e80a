# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Losses are read from all event files of a training, and plotted."""

import io

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from evaluation import plots


def write_run(folder, second, points):
    """Writes an event file of that second; points: dict of step to losses by tag."""
    path = folder / f"events.out.tfevents.17000000{second:02}.host"
    with tf.python_io.TFRecordWriter(str(path)) as writer:
        writer.write(tf.Event(file_version="brain.Event:2").SerializeToString())
        for step, losses in points.items():
            values = [
                tf.Summary.Value(tag=k, simple_value=v) for k, v in losses.items()
            ]
            event = tf.Event(step=step, summary=tf.Summary(value=values))
            writer.write(event.SerializeToString())
    return path


def test_a_resumed_run_replaces_the_steps_it_repeated(tmp_path):
    # A pattern's special characters in the folder's name do not matter.
    folder = tmp_path / "run[1]"
    folder.mkdir()
    write_run(folder, 1, {s: {"loss": s / 100} for s in (1, 101, 201, 301)})
    # Killed after step 301, resumed from the checkpoint of step 150.
    write_run(folder, 2, {s: {"loss": s} for s in (151, 251)})
    assert plots.read_losses(str(folder)) == {
        "loss": ([1, 101, 151, 251], [np.float32(0.01), np.float32(1.01), 151, 251])
    }


def test_a_run_without_any_loss_changes_nothing(tmp_path):
    assert plots.read_losses(str(tmp_path / "none")) == {}
    write_run(tmp_path, 1, {1: {"loss": 4, "learning_rate": 1}, 101: {"losses/box": 2}})
    write_run(tmp_path, 2, {})
    expected = {"loss": ([1], [4.0]), "losses/box": ([101], [2.0])}
    assert plots.read_losses(str(tmp_path)) == expected


def test_the_file_of_a_killed_run_is_read_up_to_its_end(tmp_path):
    path = write_run(tmp_path, 1, {1: {"loss": 4}, 101: {"loss": 3}, 201: {"loss": 2}})
    path.write_bytes(path.read_bytes()[:-7])
    (tmp_path / "events.out.tfevents.1700000002.host").write_bytes(b"no event at all")
    assert plots.read_losses(str(tmp_path)) == {"loss": ([1, 101], [4.0, 3.0])}


def colors(png):
    """How many pixels of the plot are not white, black or gray."""
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(png)).convert("RGB")
    pixels = np.asarray(image).astype(int)
    return int((pixels.max(axis=2) - pixels.min(axis=2) > 60).sum())


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [float("nan"), 1.0, 2.0]])
def test_any_losses_are_plotted(values):
    pytest.importorskip("matplotlib")
    curves = {"loss": (list(range(1, len(values) + 1)), values)}
    assert plots.losses(curves).startswith(b"\x89PNG")


def test_precision_is_plotted_where_there_is_ground_truth():
    pytest.importorskip("matplotlib")
    precision = np.full([10, 101, 3], -1.0)
    assert colors(plots.precision_recall(precision)) == 0
    precision[:, :, 1] = np.linspace(1, 0, 101)
    assert colors(plots.precision_recall(precision)) > 300
