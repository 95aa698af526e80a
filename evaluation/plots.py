# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plots of a report as SVG, by matplotlib.

matplotlib is imported only when something is plotted, because training and evaluation
must also work on machines without it; the plots then raise ImportError.
"""

import collections
import contextlib
import glob
import html
import io
import os
import re

import numpy as np
import tensorflow.compat.v1 as tf

from evaluation import analysis

# Tags of the training's summaries, and their names in the plot.
LOSSES = {
    "loss": "total",
    "losses/class": "class",
    "losses/box": "box",
    "losses/weight_decay": "weight decay",
}

# Indices into COCO's IoUs, 0.5, 0.55, ..., 0.95, and the names of the lines.
_IOUS = {0: "IoU 0.50", 5: "IoU 0.75"}
# Legible on white and on black.
_COLORS = ("#3b82d9", "#e0822a", "#22a06b", "#b265c9")
# Replaced in the tags of matplotlib's SVG: black by the color of the page's text, long
# lists of fonts by the page's font; then digits, ids and spaces that nothing needs.
_SIMPLER = (
    ("#000000", "currentColor"),
    (r"font: ([\d.]+px) [^;\"]*", r"font-size: \1"),
    (r" font-family: [^;]*;", ""),
    (r"(\.\d)\d+", r"\1"),
    (r' transform="rotate\(-0 [^)]*\)"', ""),
    (r' id="(?![mp][0-9a-f]{10}")[^"]*"', ""),
    (r"\s*\n\s*", " "),
)


def read_losses(model_dir):
    """Reads the losses of a training from its event files.

    Args:
      model_dir: str, the folder of the checkpoints. A training that was resumed has
        several event files there.

    Returns:
      dict from the tags of LOSSES that occur to dict from step, ascending, to loss. If
      a resumed training repeated steps, those of the later run count. An incomplete
      file, of a process that was killed, is read up to its end.
    """
    curves = collections.defaultdict(dict)
    pattern = os.path.join(glob.escape(model_dir), "events.out.tfevents.*")
    for path in sorted(glob.glob(pattern)):
        run = collections.defaultdict(dict)
        with contextlib.suppress(tf.errors.OpError):
            for event in tf.train.summary_iterator(path):
                for value in event.summary.value:
                    if value.tag in LOSSES:
                        run[value.tag][event.step] = value.simple_value
        for tag, points in run.items():
            first = min(points)
            kept = {step: x for step, x in curves[tag].items() if step < first}
            curves[tag] = {**kept, **points}
    return curves


def over_score(curve, name):
    """Plots an analysis.Curve over the score, with the best F1; returns str, SVG."""
    axes = _axes(xlabel="score", xlim=(0, 1), ylim=(0, 1))
    axes.plot(analysis.SCORES, curve.precision, label="precision")
    axes.plot(analysis.SCORES, curve.recall, label="recall")
    axes.plot(analysis.SCORES, curve.f1, label="F1")
    best = curve.best_score
    if best is not None:
        f1 = curve.f1[np.searchsorted(analysis.SCORES, best)]
        axes.axvline(best, color="gray", linewidth=1, linestyle=":")
        label = f"best F1 {f1:.2f} at score {best:.2f}"
        axes.plot([best], [f1], "o", color=_COLORS[2], label=label)
    return _svg(axes, f"{name}: precision, recall and F1 over the score")


def over_recall(precision, name):
    """Plots precision, float64 [10, 101], over COCO's recalls; returns str, SVG."""
    axes = _axes(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
    recall = np.linspace(0, 1, precision.shape[1])
    for index, label in _IOUS.items():
        axes.plot(recall, precision[index], label=label)
    axes.plot(recall, precision.mean(axis=0), "--", label="mean of IoU 0.50 to 0.95")
    return _svg(axes, f"{name}: precision over recall")


def sizes(found):
    """Plots the recall by a list of analysis.Size, not empty; returns str, SVG."""
    axes = _axes(
        xlabel="square root of the area in pixels", ylabel="recall", ylim=(0, 1)
    )
    counts = np.array([size[2:] for size in found])  # boxes, found, findable
    recall = counts / np.maximum(counts[:, :1], 1)
    places = np.arange(len(found))
    axes.bar(places, recall[:, 2], color=_COLORS[0], alpha=0.3, label="at any score")
    axes.bar(places, recall[:, 1], color=_COLORS[0], label="at the best score")
    for place in places:
        number, height = counts[place, 0], min(recall[place, 2], 0.92) + 0.02
        axes.text(place, height, number, ha="center", fontsize=9)
    # The bounds stand between the bars.
    axes.set_xticks(np.arange(len(found) + 1) - 0.5)
    bounds = [found[0].least] + [size.below for size in found]
    axes.set_xticklabels(["" if bound == np.inf else str(bound) for bound in bounds])
    return _svg(axes, "size of the objects")


def history(figures):
    """Plots AP over the steps of the dict of history.read; returns str, SVG."""
    axes = _axes(xlabel="step", ylim=(0, 1))
    for name in ("AP50", "AP", "AP75"):
        ap = [row["COCO/" + name] for row in figures.values()]
        axes.plot(list(figures), ap, ".-", label=name)
    return _svg(axes, "AP over the steps")


def losses(curves):
    """Plots the dict of `read_losses`, not empty; returns str, SVG."""
    axes = _axes(xlabel="step", ylabel="loss")
    for tag, name in LOSSES.items():
        if tag in curves:
            # A line of a single point would be invisible.
            marker = "o" if len(curves[tag]) == 1 else None
            steps, values = zip(*curves[tag].items())
            axes.plot(steps, values, label=name, marker=marker, linewidth=1.2)
    if any(loss > 0 for curve in curves.values() for loss in curve.values()):
        # Early losses are many times higher than later ones.
        axes.set(ylabel="loss (logarithmic)", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
    return _svg(axes, "training loss")


def _axes(**settings):
    """Returns the axes of a new figure, with the settings of Axes.set."""
    # Without pyplot, which would keep all figures in memory and look for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 3.2))
    # The space for the text; to compute it would take half of the time.
    figure.subplots_adjust(0.13, 0.16, 0.97, 0.84)
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=_COLORS)
    axes.set_axisbelow(True)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set(**settings)
    return axes


def _svg(axes, name):
    """Returns the figure of axes as an SVG element for a page, with its text color.

    Args:
      name: str, different for each figure of a page: ids depend on it.
    """
    import matplotlib

    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncol=2, frameon=False)
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        axes.figure.savefig(file, format="svg", transparent=True)
    svg = file.getvalue()
    viewport = re.search(' viewBox="[^"]*"', svg).group()
    # Neither matplotlib's head nor its style, which would apply to the whole page.
    content = re.sub("<style.*?</style>", "", svg.split("</metadata>")[1])
    content = re.sub(r">\s+<", "><", re.sub("<[^>]*>", _simplify, content))
    return f'<svg role="img" aria-label="{html.escape(name)}"{viewport}>{content}'


def _simplify(tag):
    """Returns the text of a match of an SVG tag, with _SIMPLER applied."""
    text = tag.group()
    for pattern, replacement in _SIMPLER:
        text = re.sub(pattern, replacement, text)
    return text
