# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the results of an evaluation, for people and for other programs.

The files of step S, all in one folder, each written whole or not at all:
  detections-S.json  all detections in COCO's results format, as COCO's server takes it
  metrics-S.json  the twelve figures, those of each category, and the best score
  categories-S.csv  the table of categories
  report-S.html  a page with all of these, plots and images, in one file

Plots need matplotlib, which needs Pillow, as the images do. On a machine without them
the page lacks the plots or images, and says so, as does the log.
"""

import csv
import io
import json
import os

import numpy as np
import tensorflow.compat.v1 as tf

from console import atomic_file
from evaluation import history, plots, report_images, report_page

# Columns of a category, in the order of coco_metric.Category.
_COLUMNS = ("id", "name", "AP", "AP50", "boxes", "detections")


def write(results):
    """Writes all files of analysis.Results, and logs the table of categories.

    Raises:
      atomic_file.NotWritableError: a file cannot be written.
    """
    judgement, step = results.judgement, results.step
    folder = os.path.join(results.model_dir, "eval")
    tf.logging.info("results by category:\n%s", category_table(judgement.categories))

    def save(name, content):
        atomic_file.write_atomically(os.path.join(folder, name), content)

    save(f"detections-{step}.json", _detections_json(judgement.detections))
    save(f"metrics-{step}.json", _metrics_json(results))
    save(f"categories-{step}.csv", _categories_csv(judgement.categories))
    pictures, svgs, curves, lacks = [], {}, {}, ""
    try:
        pictures = report_images.collect(results)
        svgs, curves = _plots(folder, results)
    except ImportError as error:
        lacks = f"images or plots, which need Pillow and matplotlib ({error})"
    page = report_page.render(results, svgs, curves, pictures, lacks)
    save(f"report-{step}.html", page.encode("utf-8", "replace"))
    tf.logging.info(
        "report of the evaluation: %s%s",
        os.path.join(folder, f"report-{step}.html"),
        f", but without {lacks}" if lacks else "",
    )


def _plots(folder, results):
    """Returns the plots as SVG: a dict by title, and a dict of pairs by category id."""
    judgement, result = results.judgement, results.analysis
    columns = dict(zip(judgement.categories, judgement.precision.transpose(2, 0, 1)))
    known = {c: precision for c, precision in columns.items() if c.boxes}
    svgs = {}
    curves = {
        c.id: _curves(result.curves[c.id], precision, c.name)
        for c, precision in known.items()
    }
    if known:
        mean = np.mean(list(known.values()), axis=0)
        score, recall = _curves(result.overall, mean, "all categories")
        svgs["Precision, recall and F1 by score"] = score
        svgs["Precision by recall"] = recall
        svgs["Objects found, by size"] = plots.sizes(result.sizes)
    figures = history.read(folder)
    if len(figures) > 1:
        svgs["AP over the training"] = plots.history(figures)
    losses = plots.read_losses(results.model_dir)
    if losses:
        svgs["Training loss"] = plots.losses(losses)
    return svgs, curves


def _curves(curve, precision, name):
    return plots.over_score(curve, name), plots.over_recall(precision, name)


def category_table(categories):
    """Returns the results of the categories with ground truth as text."""
    known = [category for category in categories if category.boxes]
    width = max([len("category")] + [len(category.name) for category in known])
    lines = [f"{'category':{width}}     AP   AP50   boxes  detections"]
    for category in known:
        lines.append(
            f"{category.name:{width}}  {report_page.decimal(category.ap):>5}  "
            f"{report_page.decimal(category.ap50):>5}  {category.boxes:6}  "
            f"{category.detections:10}"
        )
    return "\n".join(lines)


def _detections_json(detections):
    """Returns COCO's results format, one detection per line.

    Numbers are not rounded: rounding could make scores equal, which changes the order
    of the detections and so AP.
    """
    lines = []
    for image_id, found in detections.items():
        columns = (found.category_ids, found.boxes_xywh, found.scores)
        for number, xywh, score in zip(*(column.tolist() for column in columns)):
            entry = {"image_id": image_id, "category_id": number, "bbox": xywh}
            lines.append(json.dumps(dict(entry, score=score)))
    return ("[" + ",\n".join(lines) + "]\n").encode()


def _metrics_json(results):
    """Returns the figures by pycocotools' names; -1: no ground truth of that size."""
    judgement = results.judgement
    metrics = {
        "step": results.step,
        "images": len(judgement.image_ids),
        "detections": sum(len(d.scores) for d in judgement.detections.values()),
        "metrics": {
            name.split("/")[1]: figure for name, figure in judgement.figures.items()
        },
        "best_score": results.analysis.best_score,
        "categories": [dict(zip(_COLUMNS, c)) for c in judgement.categories],
    }
    return (json.dumps(metrics, indent=1) + "\n").encode()


def _categories_csv(categories):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for category in categories:
        ap, ap50 = ("" if x < 0 else f"{x:.6f}" for x in (category.ap, category.ap50))
        writer.writerow(category._replace(ap=ap, ap50=ap50))
    return file.getvalue().encode("utf-8", "replace")
