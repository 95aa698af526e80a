# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plots of a report as SVG, by matplotlib.

matplotlib is imported only when something is plotted, because training and evaluation
must also work on machines without it; the plots then raise ImportError.
"""

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


def over_score(curve, name):
    """Plots precision, recall and F1 over the score, with the best F1.

    Args:
      curve: analysis.Curve.
      name: str, of the category.

    Returns:
      str, SVG.
    """
    figure, axes = _axes()
    axes.plot(analysis.SCORES, curve.precision, label="precision")
    axes.plot(analysis.SCORES, curve.recall, label="recall")
    axes.plot(analysis.SCORES, curve.f1, label="F1")
    best = curve.best_score
    if best is not None:
        f1 = curve.f1[np.searchsorted(analysis.SCORES, best)]
        axes.axvline(best, color="gray", linewidth=1, linestyle=":")
        axes.plot([best], [f1], "o", color=_COLORS[2])
        axes.set_title(f"best F1 {f1:.2f} at score {best:.2f}", fontsize=11)
    axes.set(xlabel="score", xlim=(0, 1), ylim=(0, 1.2))
    axes.legend(loc="upper center", ncol=3, frameon=False)
    return _svg(figure, f"{name}: precision, recall and F1 over the score")


def over_recall(precision, name):
    """Plots precision over recall.

    Args:
      precision: float64 [10, 101], at COCO's IoUs and recalls.
      name: str, of the category.

    Returns:
      str, SVG.
    """
    figure, axes = _axes()
    recall = np.linspace(0, 1, precision.shape[1])
    for index, label in _IOUS.items():
        axes.plot(recall, precision[index], label=label)
    axes.plot(recall, precision.mean(axis=0), "--", label="mean of IoU 0.50 to 0.95")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.03))
    axes.legend(loc="lower left", frameon=False)
    return _svg(figure, f"{name}: precision over recall")


def sizes(found):
    """Plots the recall of the objects by their size.

    Args:
      found: list of analysis.Size; not empty.

    Returns:
      str, SVG.
    """
    figure, axes = _axes()
    counts = np.array([size[2:] for size in found])  # boxes, found, findable
    recall = counts / np.maximum(counts[:, :1], 1)
    places = np.arange(len(found))
    axes.bar(places, recall[:, 2], color=_COLORS[0], alpha=0.3, label="at any score")
    axes.bar(places, recall[:, 1], color=_COLORS[0], label="at the best score")
    for place in places:
        number, height = counts[place, 0], recall[place, 2] + 0.02
        axes.text(place, height, number, ha="center", fontsize=9)
    # The bounds stand between the bars.
    axes.set_xticks(np.arange(len(found) + 1) - 0.5)
    bounds = [found[0].least] + [size.below for size in found]
    axes.set_xticklabels(["" if bound == np.inf else str(bound) for bound in bounds])
    axes.set(
        xlabel="square root of the area in pixels", ylabel="recall", ylim=(0, 1.25)
    )
    axes.legend(loc="upper left", ncol=2, frameon=False)
    return _svg(figure, "size of the objects")


def history(figures):
    """Plots AP over the steps of the training.

    Args:
      figures: dict, see history.read; not empty.

    Returns:
      str, SVG.
    """
    figure, axes = _axes()
    for name in ("AP50", "AP", "AP75"):
        ap = [row["COCO/" + name] for row in figures.values()]
        axes.plot(list(figures), ap, ".-", label=name)
    axes.set(xlabel="step", ylim=(0, 1.15))
    axes.legend(loc="upper left", ncol=3, frameon=False)
    return _svg(figure, "AP over the steps")


def losses(curves_by_tag):
    """Plots the losses of a training over its steps.

    Args:
      curves_by_tag: dict, see `read_losses`; not empty.

    Returns:
      str, SVG.
    """
    figure, axes = _axes()
    for tag, name in LOSSES.items():
        if tag in curves_by_tag:
            # A line of a single point would be invisible.
            marker = "o" if len(curves_by_tag[tag][0]) == 1 else None
            axes.plot(*curves_by_tag[tag], label=name, marker=marker, linewidth=1.2)
    axes.set(xlabel="step", ylabel="loss")
    if any(loss > 0 for _, values in curves_by_tag.values() for loss in values):
        # Early losses are many times higher than later ones.
        axes.set(ylabel="loss (logarithmic)", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(ncol=2, frameon=False)
    return _svg(figure, "training loss")


def _axes():
    """Returns a figure and its axes."""
    # Without pyplot, which would keep all figures in memory and look for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 3.2))
    # The space for the text; to compute it would take half of the time.
    figure.subplots_adjust(0.13, 0.16, 0.97, 0.92)
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=_COLORS)
    axes.set_axisbelow(True)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _svg(figure, name):
    """Returns a figure as an SVG element for a page, whose text color it has.

    Args:
      name: str, different for each figure of a page: ids depend on it.
    """
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True)
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
