# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plots of a report as PNG, by matplotlib.

matplotlib is imported only when something is plotted, because training and evaluation
must also work on machines without it; the plots then raise ImportError.
"""

import glob
import io
import os

import numpy as np
import tensorflow.compat.v1 as tf

# Tags of the training's summaries, and their names in the plot.
LOSSES = {
    "loss": "total",
    "losses/class": "class",
    "losses/box": "box",
    "losses/weight_decay": "weight decay",
}

# Indices into COCO's IoUs, 0.5, 0.55, ..., 0.95, and the names of the lines.
_IOUS = {0: "IoU 0.50", 5: "IoU 0.75"}
_SIZE_INCHES = (7.2, 4.4)
_DPI = 110


def read_losses(model_dir):
    """Reads the losses of a training from its event files.

    Args:
      model_dir: str, the folder of the checkpoints. A training that was resumed has
        several event files there.

    Returns:
      dict from the tags of LOSSES that occur to (steps, values): list of int,
      ascending, and list of float. If a resumed training repeated steps, those of the
      later run count. An incomplete file, of a process that was killed, is read up to
      its end.
    """
    curves = {}
    pattern = os.path.join(glob.escape(model_dir), "events.out.tfevents.*")
    for path in sorted(glob.glob(pattern)):
        for tag, points in _losses_of_run(path).items():
            first = min(points)
            earlier = curves.get(tag, {})
            curves[tag] = {step: x for step, x in earlier.items() if step < first}
            curves[tag].update(points)
    return {
        tag: (sorted(curve), [curve[step] for step in sorted(curve)])
        for tag, curve in curves.items()
    }


def _losses_of_run(path):
    """Returns a dict from tag to dict from step to loss."""
    points = {}
    try:
        for event in tf.train.summary_iterator(path):
            for value in event.summary.value:
                if value.tag in LOSSES:
                    curve = points.setdefault(value.tag, {})
                    curve[event.step] = value.simple_value
    except tf.errors.OpError:
        # The end is missing: the process was killed.
        pass
    return points


def precision_recall(precision):
    """Plots precision over recall, the mean over categories.

    Args:
      precision: float64 [10, 101, categories], see coco_metric.Judgement.

    Returns:
      bytes, a PNG.
    """
    figure, axes = _axes("Precision and recall, mean over categories")
    known = precision[:, :, (precision > -1).all(axis=(0, 1))]
    recall = np.linspace(0, 1, precision.shape[1])
    if known.shape[2]:
        for index, name in _IOUS.items():
            axes.plot(recall, known[index].mean(axis=1), label=name)
        mean = known.mean(axis=(0, 2))
        axes.plot(recall, mean, "--", label="mean of IoU 0.50 to 0.95")
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no ground truth", ha="center")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.03))
    return _png(figure)


def losses(curves):
    """Plots the losses of a training over its steps.

    Args:
      curves: dict, see `read_losses`; not empty.

    Returns:
      bytes, a PNG.
    """
    figure, axes = _axes("Training loss")
    for tag, name in LOSSES.items():
        if tag in curves:
            # A line of a single point would be invisible.
            marker = "o" if len(curves[tag][0]) == 1 else None
            axes.plot(*curves[tag], label=name, marker=marker, linewidth=1.2)
    axes.set(xlabel="step", ylabel="loss")
    if any(loss > 0 for _, values in curves.values() for loss in values):
        # Early losses are many times higher than later ones.
        axes.set(ylabel="loss (logarithmic)", yscale="log")
    axes.legend()
    return _png(figure)


def _axes(title):
    # Without pyplot, which would keep all figures in memory and look for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, tight_layout=True)
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes


def _png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
