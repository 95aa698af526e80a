# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page of a report: one HTML file that needs no other file and no network.

report.html is the page as a string.Template. The parts of it that are repeated, such as
the row of a category, are <template> elements with the name of the part as id.
"""

import base64
import html
import json
import math
import os
import re
import string
import time
from typing import NamedTuple

import numpy as np

from evaluation import analysis, report_images

_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "report.html")
_PART = re.compile(r'<template id="(\w+)">\n(.*?)</template>\n', re.DOTALL)
# Names of the kinds of detections in texts, by analysis.RIGHT to MISSED.
KINDS = (
    "right",
    "wrong class",
    "bad place",
    "wrong class and bad place",
    "repeated",
    "background",
    "missed",
)
# The curves of each category are shown at once if there are not more.
_MAX_OPEN = 6


class _Html(str):
    """Text that is HTML already and must not be escaped."""


class Content(NamedTuple):
    """What a page shows.

    Attributes:
      step: int, training step of the checkpoint.
      model_dir: str.
      coco_gt: pycocotools COCO, see coco_metric.create_coco.
      judgement: coco_metric.Judgement.
      result: analysis.Analysis of it.
      plots: dict from title to SVG, see plots.py.
      curves: dict from category id to the SVGs over the score and over recall.
      pictures: list of report_images.Picture.
      lacks: list of str, the parts that the page lacks, and why.
    """

    step: int
    model_dir: str
    coco_gt: object
    judgement: object
    result: analysis.Analysis
    plots: dict
    curves: dict
    pictures: list
    lacks: list


def decimal(figure):
    """Formats a figure of 0..1 with three decimals; -1, no ground truth, as a dash."""
    return "-" if figure < 0 else f"{figure:.3f}"


def render(content):
    """Renders the page.

    Args:
      content: Content.

    Returns:
      str, HTML.
    """
    with open(_FILE, encoding="utf-8") as file:
        page = file.read()
    parts = dict(_PART.findall(page))

    def repeat(part, entries):
        return _Html("".join(_fill(parts[part], entry) for entry in entries))

    judgement, result = content.judgement, content.result
    figures = {name.split("/")[1]: decimal(x) for name, x in judgement.figures.items()}
    ordered = sorted(judgement.categories, key=lambda c: (-c.ap, c.name))
    known = [c for c in ordered if c.boxes]
    unknown = [c for c in ordered if not c.boxes]
    values = dict(
        figures,
        step=content.step,
        model_dir=content.model_dir,
        time=time.strftime("%Y-%m-%d %H:%M %Z"),
        images=f"{len(judgement.image_ids):,}",
        boxes=f"{result.overall.boxes:,}",
        summary=_summary(result),
        lacks=f"This page lacks {' and '.join(content.lacks)}."
        if content.lacks
        else "",
        plots=repeat("plot", map(_plot, content.plots.items())),
        kinds=repeat("kind", _kinds(result)),
        matrix=_matrix(judgement, result),
        confused=_confused(judgement, result),
        curves=repeat(
            "curve",
            [dict(name=c.name, svg=_Html("".join(content.curves[c.id]))) for c in known]
            if content.curves
            else [],
        ),
        curves_open=_Html("open" if len(known) <= _MAX_OPEN else ""),
        categories=repeat("category", [_category(c, result) for c in known]),
        unknown=repeat("category", [_category(c, result) for c in unknown]),
        num_unknown=len(unknown),
        unknown_hidden="" if unknown else "hidden",
        options=repeat("option", [c._asdict() for c in sorted(known, key=_name)]),
        data=_Html(json.dumps(_data(result))),
        least_score=f"{report_images.least_score(result):.2f}",
        shown=len(content.pictures),
        pictures=repeat(
            "picture", (_picture(p, content, repeat) for p in content.pictures)
        ),
        **_at_score(result.overall, result.score),
    )
    return _fill(_PART.sub("", page), values)


def _fill(template, values):
    """Fills a template; escapes the values that are not _Html."""
    return string.Template(template).substitute(
        {
            name: value if isinstance(value, _Html) else html.escape(str(value))
            for name, value in values.items()
        }
    )


def _name(category):
    return category.name


def _plot(item):
    title, svg = item
    return {"title": title, "svg": _Html(svg)}


def _at_score(curve, score):
    """Returns dict of texts: precision, recall and F1 of a Curve at a score."""
    at = np.searchsorted(analysis.SCORES, score)
    figures = (curve.precision[at], curve.recall[at], curve.f1[at])
    return dict(
        score=f"{score:.2f}",
        detections=f"{curve.detections[at]:,}",
        **{
            name: "-" if math.isnan(x) else f"{x:.2f}"
            for name, x in zip(("precision", "recall", "f1"), figures)
        },
    )


def _summary(result):
    """Returns the most important results as sentences."""
    if result.best_score is None:
        return f"No detection is right. This page counts from score {result.score}."
    at = _at_score(result.overall, result.score)
    kinds = sorted(range(1, len(KINDS)), key=lambda kind: -result.kinds[kind].cost)
    first, second = (f"{KINDS[k]} ({result.kinds[k].cost:.3f})" for k in kinds[:2])
    return (
        f"F1 is best at score {at['score']}: {float(at['recall']):.0%} of the objects "
        f"are found (recall), and {float(at['precision']):.0%} of the detections are "
        f"right (precision). The errors that cost most AP50 are {first} and {second}."
    )


def _kinds(result):
    """Yields the values of each row of the table of errors."""
    detections = sum(kind.count for kind in result.kinds[: analysis.MISSED])
    largest_cost = max(kind.cost for kind in result.kinds) or 1
    for number, (name, kind) in enumerate(zip(KINDS, result.kinds)):
        is_missed = number == analysis.MISSED
        share = kind.count / max(result.overall.boxes if is_missed else detections, 1)
        yield {
            "name": name,
            "css": _css(number),
            "rule": _RULES[number],
            "count": f"{kind.count:,}",
            "share": f"{share:.1%}",
            "width": f"{100 * share:.1f}",
            "cost": f"{kind.cost:.3f}" if number else "",
            "cost_width": f"{100 * kind.cost / largest_cost:.1f}",
        }


# The meaning of each of KINDS, with TIDE's thresholds.
_RULES = (
    "same category, IoU at least 0.5",
    "IoU at least 0.5 with an object of another category",
    "IoU 0.1 to 0.5 with an object of the same category",
    "IoU 0.1 to 0.5 with an object of another category",
    "IoU at least 0.5, but a better detection has that object",
    "IoU at most 0.1 with every object: a false alarm, or a label is missing",
    "objects without any detection, right, of a wrong class or in a bad place; in % of "
    "the objects",
)


def _css(kind):
    return "right" if kind == analysis.RIGHT else KINDS[kind].split()[0]


def _matrix(judgement, result):
    """Returns the rows of the confusion matrix, of the categories that occur."""
    matrix = result.confusion
    names = [c.name for c in judgement.categories]
    used = np.flatnonzero((matrix.sum(axis=0) + matrix.sum(axis=1))[:-1]).tolist()
    used.append(len(names))
    head = "".join(
        f"<th><span>{html.escape(name)}</span></th>"
        for name in [names[k] for k in used[:-1]] + ["missed"]
    )
    rows = [f"<tr><td></td>{head}</tr>"]
    names.append("background")
    for row in used:
        share = matrix[row] / max(matrix[row].sum(), 1)
        cells = [
            f'<td class="{"same" if row == column else "other"}" '
            f'style="--share:{share[column]:.2f}">{matrix[row, column]}</td>'
            if matrix[row, column]
            else "<td></td>"
            for column in used
        ]
        rows.append(f"<tr><th>{html.escape(names[row])}</th>{''.join(cells)}</tr>")
    return _Html("\n".join(rows))


def _confused(judgement, result):
    """Returns a sentence with the categories that are most often confused."""
    matrix = result.confusion[:-1, :-1].copy()
    np.fill_diagonal(matrix, 0)
    pairs = np.argsort(-matrix, axis=None, kind="stable")[:6]
    names = [category.name for category in judgement.categories]
    texts = [
        f"{names[row]} as {names[column]} ({matrix[row, column]})"
        for row, column in zip(*np.unravel_index(pairs, matrix.shape))
        if matrix[row, column]
    ]
    return f"Most often confused: {', '.join(texts)}." if texts else ""


def _category(category, result):
    curve = result.curves.get(category.id)
    best = curve and curve.best_score
    at = _at_score(curve, result.score) if curve else {}
    return dict(
        {"precision": "-", "recall": "-", "f1": "-"},
        **at,
        name=category.name,
        id=category.id,
        AP=decimal(category.ap),
        AP50=decimal(category.ap50),
        percent=f"{100 * max(category.ap, 0):.1f}",
        boxes=f"{category.boxes:,}",
        all_detections=f"{category.detections:,}",
        best=f"{best:.2f}" if best else "-",
    )


def _data(result):
    """Returns the counts for the page's script: by category id, "" for all."""
    curves = {"": result.overall, **result.curves}
    return {
        str(key): [curve.right.tolist(), curve.detections.tolist(), int(curve.boxes)]
        for key, curve in curves.items()
    }


def _picture(picture, content, repeat):
    cats, score = content.coco_gt.cats, content.result.score
    file_name = content.coco_gt.imgs[picture.image_id].get("file_name", "no file name")
    counts = report_images.count(picture.boxes, score)
    width, height = picture.size

    def box(b):
        is_truth, is_shown = b.kind == analysis.MISSED, b.score >= score
        x, y, w, h = (f"{number:.1f}" for number in b.xywh)
        name = str(cats[b.category_id].get("name", b.category_id))
        # Rounded down: the page must not show it at a higher score.
        shown_score = math.floor(b.score * 1e4) / 1e4
        text = "ground truth" if is_truth else f"{b.score:.2f}, {KINDS[b.kind]}"
        css = ("truth" if is_shown else "truth missed") if is_truth else _css(b.kind)
        return {
            "css": css + ("" if is_truth or is_shown else " hidden"),
            "category": b.category_id,
            "score": f"{shown_score:g}",
            "title": f"{name} {text}",
            **dict(x=x, y=y, width=w, height=h),
        }

    return dict(
        counts._asdict(),
        f1=f"{counts.f1:.2f}",
        caption=f"image {picture.image_id}, {file_name}",
        jpeg=base64.b64encode(picture.jpeg).decode(),
        width=width,
        height=height,
        rects=repeat("rect", map(box, picture.boxes)),
    )
