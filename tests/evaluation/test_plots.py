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
    assert plots.read_losses(str(folder)) == {}
    both = {"loss": 4, "losses/box": 2, "learning_rate": 1}
    # Killed while it wrote step 401, resumed from the checkpoint of step 150.
    path = write_run(folder, 1, {step: both for step in (1, 101, 201, 301, 401)})
    path.write_bytes(path.read_bytes()[:-7])
    write_run(folder, 2, {step: {"loss": 3} for step in (151, 251)})
    write_run(folder, 3, {})
    (folder / "events.out.tfevents.1700000004.host").write_bytes(b"no event at all")
    assert plots.read_losses(str(folder)) == {
        "loss": {1: 4, 101: 4, 151: 3, 251: 3},
        "losses/box": {1: 2, 101: 2, 201: 2, 301: 2},
    }


def texts_of(svg):
    """Texts of an SVG element, which must be well-formed."""
    namespace = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    root = ElementTree.fromstring(svg.replace("<svg", f"<svg {namespace}", 1))
    return {text.text for text in root.iter("text")}


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [float("nan"), 1.0, 20.0]])
def test_any_losses_are_plotted(values):
    pytest.importorskip("matplotlib")
    found = texts_of(plots.losses({"loss": dict(enumerate(values, 1))}))
    assert {"total", "step"} <= found
    assert "10" in found or len(values) < 3


def test_curves_end_at_1_and_have_the_color_of_the_page():
    pytest.importorskip("matplotlib")
    # One of two objects is found down to 0.57, without any false detection.
    right = (analysis.SCORES < 0.575).astype(int)
    svg = plots.over_score(analysis.Curve(right, right, 2), "nut & <co>")
    assert "currentColor" in svg and "#000000" not in svg
    nothing = analysis.Curve(0 * right, 0 * right, 2)
    precision = np.tile(np.linspace(1, 0, 101), [10, 1])
    sizes = [analysis.Size(384, 512, 7, 3, 5), analysis.Size(512, np.inf, 11, 0, 0)]
    history = {
        step: dict.fromkeys(("COCO/AP", "COCO/AP50", "COCO/AP75"), 0.25)
        for step in (100, 300)
    }
    for found, texts in (
        # The middle of 0.05, 0.06, ..., 0.57; F1 = 2 / (1 + 2).
        (svg, {"best F1 0.67 at score 0.31", "precision", "F1"}),
        (plots.over_recall(precision, "nut"), {"IoU 0.75"}),
        (plots.sizes(sizes), {"384", "512", "7", "11"}),
        (plots.history(history), {"AP", "AP50", "AP75", "100", "300"}),
    ):
        found = texts_of(found)
        assert found >= texts | {"1.0"} and "1.2" not in found
    assert not any("best" in text for text in texts_of(plots.over_score(nothing, "")))
