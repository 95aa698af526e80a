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


def write(
    folder, step, coco_gt, judgement, result, model_dir, file_pattern, repeated_ids
):
    """Writes all files of one evaluation, and logs the table of categories.

    Args:
      folder: str; created if it is missing.
      step: int, training step of the checkpoint.
      coco_gt: pycocotools COCO, see coco_metric.create_coco.
      judgement: coco_metric.Judgement.
      result: analysis.Analysis of it.
      model_dir: str, folder of the training's event files.
      file_pattern: str, glob of the TFRecord files with the images.
      repeated_ids: set of int, ids of images that are not to be shown.

    Raises:
      atomic_file.NotWritableError: a file cannot be written.
    """
    tf.logging.info("results by category:\n%s", category_table(judgement.categories))

    def save(name, content):
        atomic_file.write_atomically(os.path.join(folder, name), content)

    save(f"detections-{step}.json", _detections_json(judgement.detections))
    save(f"metrics-{step}.json", _metrics_json(step, judgement, result))
    save(f"categories-{step}.csv", _categories_csv(judgement.categories))
    pictures, svgs, curves, lacks = [], {}, {}, []
    try:
        pictures = report_images.collect(
            coco_gt, judgement, result, file_pattern, repeated_ids
        )
        svgs, curves = _plots(folder, model_dir, judgement, result)
        if "Training loss" not in svgs:
            lacks.append("the loss curve (no event file of a training in model_dir)")
    except ImportError as error:
        lacks.append(f"images or plots, which need Pillow and matplotlib ({error})")
    content = report_page.Content(
        step, model_dir, coco_gt, judgement, result, svgs, curves, pictures, lacks
    )
    page = report_page.render(content)
    save(f"report-{step}.html", page.encode("utf-8", "replace"))
    tf.logging.info(
        "report of the evaluation: %s%s",
        os.path.join(folder, f"report-{step}.html"),
        ", but without " + " and ".join(lacks) if lacks else "",
    )


def _plots(folder, model_dir, judgement, result):
    """Returns the plots as SVG: a dict by title, and a dict of pairs by category id."""
    curves, svgs = {}, {}
    precision = dict(zip(result.category_ids, judgement.precision.transpose(2, 0, 1)))
    for category in judgement.categories:
        if category.boxes:
            curves[category.id] = _curves(
                result.curves[category.id], precision[category.id], category.name
            )
    if curves:
        mean = np.mean([precision[category_id] for category_id in curves], axis=0)
        score, recall = _curves(result.overall, mean, "all categories")
        svgs["Precision, recall and F1 by score"] = score
        svgs["Precision by recall"] = recall
        svgs["Objects found, by size"] = plots.sizes(result.sizes)
    figures = history.read(folder)
    if len(figures) > 1:
        svgs["AP over the training"] = plots.history(figures)
    losses = plots.read_losses(model_dir)
    if losses:
        svgs["Training loss"] = plots.losses(losses)
    return svgs, curves


def _curves(curve, precision, name):
    return plots.over_score(curve, name), plots.over_recall(precision, name)


def category_table(categories):
    """Returns the results of the categories as text, with two lines of head."""
    width = max([len("category")] + [len(category.name) for category in categories])
    lines = [f"{'category':{width}}     AP   AP50   boxes  detections"]
    lines.append("-" * len(lines[0]))
    for category in categories:
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


def _metrics_json(step, judgement, result):
    """Returns the figures by pycocotools' names; -1: no ground truth of that size."""
    metrics = {
        "step": step,
        "images": len(judgement.image_ids),
        "detections": sum(len(d.scores) for d in judgement.detections.values()),
        "metrics": {
            name.split("/")[1]: figure for name, figure in judgement.figures.items()
        },
        "best_score": result.best_score,
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
