# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page of a report: one HTML file that needs no other file and no network.

report.html is the page as a string.Template. The parts of it that are repeated, such as
the row of a category, are <template> elements with the name of the part as id.
"""

import base64
import html
import os
import re
import string
import time

from evaluation import report_images

_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "report.html")
_PART = re.compile(r'<template id="(\w+)">\n(.*?)</template>\n', re.DOTALL)


class _Html(str):
    """Text that is HTML already and must not be escaped."""


def decimal(figure):
    """Formats a figure of 0..1 with three decimals; -1, no ground truth, as a dash."""
    return "-" if figure < 0 else f"{figure:.3f}"


def render(step, model_dir, judgement, pngs, best, worst, lacks):
    """Renders the page.

    Args:
      step: int, training step of the checkpoint.
      model_dir: str.
      judgement: coco_metric.Judgement.
      pngs: dict from the name of each plot to PNG bytes.
      best, worst: lists of report_images.Picture.
      lacks: list of str, the parts that the page lacks, and why.

    Returns:
      str, HTML.
    """
    with open(_FILE, encoding="utf-8") as file:
        page = file.read()
    parts = dict(_PART.findall(page))

    def repeat(part, entries):
        return _Html("".join(_fill(parts[part], entry) for entry in entries))

    figures = {name.split("/")[1]: decimal(x) for name, x in judgement.figures.items()}
    categories = sorted(judgement.categories, key=lambda c: (-c.ap, c.name))
    values = dict(
        figures,
        step=step,
        model_dir=model_dir,
        time=time.strftime("%Y-%m-%d %H:%M %Z"),
        images=f"{len(judgement.image_ids):,}",
        boxes=f"{sum(c.boxes for c in categories):,}",
        detections=f"{sum(c.detections for c in categories):,}",
        lacks=f"This page lacks {' and '.join(lacks)}." if lacks else "",
        plots=repeat(
            "plot", [{"name": name, "png": _base64(png)} for name, png in pngs.items()]
        ),
        least_score=report_images.SHOWN_SCORE,
        right_color=report_images.RIGHT_COLOR,
        false_color=report_images.FALSE_COLOR,
        found_color=report_images.FOUND_COLOR,
        missed_color=report_images.MISSED_COLOR,
        best=repeat("picture", map(_picture, best)),
        worst=repeat("picture", map(_picture, worst)),
        categories=repeat("category", map(_category, categories)),
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


def _base64(data):
    return base64.b64encode(data).decode()


def _picture(picture):
    return dict(
        picture.counts._asdict(),
        f1=f"{picture.counts.f1:.2f}",
        caption=picture.caption,
        jpeg=_base64(picture.jpeg),
    )


def _category(category):
    return dict(
        category._asdict(),
        AP=decimal(category.ap),
        AP50=decimal(category.ap50),
        percent=f"{100 * max(category.ap, 0):.1f}",
    )
