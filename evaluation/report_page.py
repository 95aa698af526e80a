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
# Objects that COCO's figures of this ending are for.
_AREAS = {
    "s": "small, below 32² pixels",
    "m": "medium, 32² to 96² pixels",
    "l": "large, above 96² pixels",
}
# The curves of each category are shown at once if there are not more.
_MAX_OPEN = 6


class _Html(str):
    """Text that is HTML already and must not be escaped."""


def decimal(figure):
    """Formats a figure of 0..1 with three decimals; -1, no ground truth, as a dash."""
    return "-" if figure < 0 else f"{figure:.3f}"


def render(results, plots, curves, pictures, lacks):
    """Renders the page.

    Args:
      results: analysis.Results.
      plots: dict from title to SVG, see plots.py.
      curves: dict from category id to the SVGs over the score and over recall.
      pictures: list of report_images.Picture.
      lacks: str, the parts that the page lacks, and why; "" for none.

    Returns:
      str, HTML.
    """
    with open(_FILE, encoding="utf-8") as file:
        page = file.read()
    parts = dict(_PART.findall(page))

    def repeat(part, entries):
        return _Html("".join(_fill(parts[part], entry) for entry in entries))

    judgement, result = results.judgement, results.analysis
    ordered = sorted(judgement.categories, key=lambda c: (-c.ap, c.name))
    known = [c for c in ordered if c.boxes]
    unknown = [c for c in ordered if not c.boxes]
    figures = [_figure(*item) for item in judgement.figures.items()]
    values = dict(
        {figure["name"]: figure["value"] for figure in figures},
        step=results.step,
        model_dir=results.model_dir,
        time=time.strftime("%Y-%m-%d %H:%M %Z"),
        images=f"{len(judgement.image_ids):,}",
        boxes=f"{result.overall.boxes:,}",
        summary=_summary(result),
        lacks=lacks and f"This page lacks {lacks}.",
        plots=repeat("plot", [dict(title=k, svg=_Html(x)) for k, x in plots.items()]),
        kinds=repeat("kind", _kinds(result)),
        matrix=_matrix(judgement, result),
        curves=repeat(
            "curve",
            [
                dict(name=c.name, svg=_Html("".join(curves[c.id])))
                for c in known
                if c.id in curves
            ],
        ),
        curves_open="open" if len(known) <= _MAX_OPEN else "",
        categories=repeat("category", [_category(c, result) for c in known]),
        unknown=", ".join(c.name for c in unknown),
        num_unknown=len(unknown),
        unknown_hidden="" if unknown else "hidden",
        options=repeat(
            "option", [c._asdict() for c in sorted(known, key=lambda c: c.name)]
        ),
        figures=repeat("figure", figures),
        data=_Html(json.dumps(_data(result))),
        least_score=f"{report_images.least_score(results):.2f}",
        shown=len(pictures),
        pictures=repeat("picture", (_picture(p, results, repeat) for p in pictures)),
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


def _figure(name, figure):
    """Returns the values of a row of the table of COCO's figures."""
    name = name.split("/")[1]
    kind, part = name[:2], name[2:]
    return {
        "name": name,
        "value": decimal(figure),
        "average": {"AP": "precision", "AR": "recall"}[kind],
        "iou": {"50": "0.50", "75": "0.75"}.get(part, "0.50 to 0.95"),
        "objects": _AREAS.get(part, "all"),
        "limit": part[3:] or "100",
    }


def _at_score(curve, score):
    """Returns dict of texts: precision, recall and F1 of a Curve at a score."""
    at = np.searchsorted(analysis.SCORES, score)
    figures = (curve.precision[at], curve.recall[at], curve.f1[at])
    return dict(
        score=f"{score:.2f}",
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
    names = [c.name for c in judgement.categories] + ["background"]
    used = np.flatnonzero((matrix.sum(axis=0) + matrix.sum(axis=1))[:-1]).tolist()
    used.append(len(names) - 1)
    head = "".join(f"<th><span>{html.escape(names[k])}</span></th>" for k in used)
    rows = [f"<tr><td></td>{head}</tr>"]
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


def _category(category, result):
    """Returns the values of a row of the table of categories with ground truth."""
    curve = result.curves[category.id]
    best = curve.best_score
    return dict(
        _at_score(curve, result.score),
        name=category.name,
        id=category.id,
        AP=decimal(category.ap),
        AP50=decimal(category.ap50),
        percent=f"{100 * category.ap:.1f}",
        boxes=f"{category.boxes:,}",
        best=f"{best:.2f}" if best else "-",
    )


def _data(result):
    """Returns the counts for the page's script: by category id, "" for all."""
    curves = {"": result.overall, **result.curves}
    return {
        str(key): [curve.right.tolist(), curve.detections.tolist(), int(curve.boxes)]
        for key, curve in curves.items()
    }


def _picture(picture, results, repeat):
    score, images = results.analysis.score, results.judgement.coco_gt.imgs
    file_name = images[picture.image_id].get("file_name", "no file name")
    counts = report_images.count(picture.boxes, score)
    width, height = picture.size

    def box(b):
        is_truth, is_shown = b.kind == analysis.MISSED, b.score >= score
        x, y, w, h = (f"{number:.1f}" for number in b.xywh)
        # Rounded down: the page must not show it at a higher score.
        shown_score = math.floor(b.score * 1e4) / 1e4
        text = "ground truth" if is_truth else f"{b.score:.2f}, {KINDS[b.kind]}"
        css = ("truth" if is_shown else "truth missed") if is_truth else _css(b.kind)
        return {
            "css": css + ("" if is_truth or is_shown else " hidden"),
            "category": b.category_id,
            "score": f"{shown_score:g}",
            "title": f"{b.name} {text}",
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
