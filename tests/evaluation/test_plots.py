# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Losses are read from a training's files, and plotted."""

from xml.etree import ElementTree

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from evaluation import analysis, plots


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


def test_ap_is_plotted_over_the_steps():
    pytest.importorskip("matplotlib")
    names = ("COCO/AP", "COCO/AP50", "COCO/AP75")
    history = {100: dict.fromkeys(names, 0.25), 300: dict.fromkeys(names, 0.5)}
    assert texts_of(plots.history(history)) >= {"AP", "AP50", "AP75", "100", "300"}


def texts_of(svg):
    """Texts of an SVG element, which must be well-formed."""
    namespace = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    root = ElementTree.fromstring(svg.replace("<svg", f"<svg {namespace}", 1))
    return {text.text for text in root.iter("text")}


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [float("nan"), 1.0, 20.0]])
def test_any_losses_are_plotted(values):
    pytest.importorskip("matplotlib")
    curves = {"loss": (list(range(1, len(values) + 1)), values)}
    texts = texts_of(plots.losses(curves))
    assert "total" in texts
    assert "10" in texts or len(values) < 3


def test_curves_mark_the_best_score_and_have_the_color_of_the_page():
    pytest.importorskip("matplotlib")
    # One of two objects is found down to 0.57, without any false detection.
    right = (analysis.SCORES < 0.575).astype(int)
    svg = plots.over_score(analysis.Curve(right, right, 2), "nut & <co>")
    # The middle of 0.05, 0.06, ..., 0.57; F1 = 2 / (1 + 2).
    assert {"best F1 0.67 at score 0.31", "precision", "F1"} <= texts_of(svg)
    assert "currentColor" in svg and "#000000" not in svg
    nothing = analysis.Curve(0 * right, 0 * right, 2)
    assert not any("best" in text for text in texts_of(plots.over_score(nothing, "")))
    precision = np.tile(np.linspace(1, 0, 101), [10, 1])
    assert "IoU 0.75" in texts_of(plots.over_recall(precision, "nut"))


def test_sizes_are_plotted_with_the_number_of_objects():
    pytest.importorskip("matplotlib")
    sizes = [analysis.Size(384, 512, 7, 3, 5), analysis.Size(512, np.inf, 11, 0, 0)]
    assert {"384", "512", "7", "11"} <= texts_of(plots.sizes(sizes))
