# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes down what an evaluation found, for people and for other programs.

Of step S, in one folder, each file whole or not at all:
  detections-S.json  every detection in COCO's results format, as its server takes it
  metrics-S.json  the twelve figures, and those of each category
  categories-S.csv  the table of categories
  precision-recall-S.png, loss-S.png  the plots
  report-S.html  a page with all of it and some images, in one file

Plots need matplotlib, images Pillow; without them the page lacks these, and a line in
the log says so.
"""

import contextlib
import csv
import io
import json
import os

import tensorflow.compat.v1 as tf
from google.protobuf import message

from console import atomic_file
from evaluation import plots, report_images, report_page

_COCO_PREFIX = "COCO/"


def write(folder, step, coco_gt, rows_by_image, judgement, find_images, model_dir):
    """Writes all files of one evaluation, and logs the table of categories.

    Args:
      folder: str, where to; made if need be.
      step: int, of the checkpoint.
      coco_gt: what coco_metric.create_coco gives.
      rows_by_image: what coco_metric.collect gives.
      judgement: what coco_metric.judge makes of these.
      find_images: function from a list of image ids to a dict from id to the encoded
        image, bytes; see `encoded_images`.
      model_dir: str, folder of the training's event files.

    Returns:
      str, path of the page.

    Raises:
      atomic_file.NotWritableError: that fails.
    """
    tf.logging.info("results by category:\n%s", category_table(judgement.categories))

    def path_of(name, suffix):
        return os.path.join(folder, f"{name}-{step}.{suffix}")

    def save(name, suffix, data):
        atomic_file.write_atomically(path_of(name, suffix), data)

    _write_detections(path_of("detections", "json"), rows_by_image)
    save("metrics", "json", _metrics_json(step, rows_by_image, judgement))
    save("categories", "csv", _categories_csv(judgement.categories))
    pngs, lacks = _plot(judgement, model_dir)
    for name, png in pngs.items():
        save(name, "png", png)
    pictures = []
    try:
        pictures = report_images.best_and_worst(
            coco_gt, rows_by_image, judgement.images, find_images
        )
    except ImportError as error:
        lacks.append(f"images (Pillow cannot be imported: {error})")
    page = report_page.render(step, model_dir, judgement, pngs, pictures, lacks)
    save("report", "html", page.encode("utf-8", "replace"))
    path = path_of("report", "html")
    lacking = ", but without " + " and ".join(lacks) if lacks else ""
    tf.logging.info("report of the evaluation: %s%s", path, lacking)
    return path


def _plot(judgement, model_dir):
    """(dict from the plots' names to PNG bytes, list of what is lacking)."""
    pngs, lacks = {}, []
    try:
        pngs["precision-recall"] = plots.precision_recall(judgement.precision)
        curves = plots.read_losses(model_dir)
        if curves:
            pngs["loss"] = plots.losses(curves)
        else:
            lacks.append("the loss curve (no event file of a training in model_dir)")
    except ImportError as error:
        lacks.append(f"plots (matplotlib cannot be imported: {error})")
    return pngs, lacks


def encoded_images(file_pattern, image_ids):
    """Finds images in TFRecords.

    Args:
      file_pattern: str, a glob over TFRecord files, see dataset_parser.
      image_ids: iterable of int.

    Returns:
      dict from those of image_ids that were found to bytes, the JPEG or PNG.
    """
    wanted, found = set(image_ids), {}
    for path in sorted(tf.gfile.Glob(file_pattern)):
        for image_id, encoded in _images_of_file(path):
            if image_id in wanted:
                found[image_id] = encoded
            if len(found) == len(wanted):
                return found
    return found


def _images_of_file(path):
    """Yields (image id, encoded image); passes over records that make no sense."""
    # What is wrong with the records the evaluation itself has said already.
    with contextlib.suppress(tf.errors.OpError):
        for record in tf.python_io.tf_record_iterator(path):
            with contextlib.suppress(message.DecodeError, ValueError, IndexError):
                feature = tf.train.Example.FromString(record).features.feature
                image_id = int(feature["image/source_id"].bytes_list.value[0])
                yield image_id, feature["image/encoded"].bytes_list.value[0]


def category_table(categories):
    """Lays the result of each category out as text.

    Args:
      categories: list of coco_metric.Category.

    Returns:
      str, a line a category below two lines of head, in the order given.
    """
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


def _write_detections(path, rows_by_image):
    """Writes COCO's results format, a detection a line.

    Nothing is rounded: scores that become equal change their order, and with it AP.
    """
    with atomic_file.AtomicFile(path) as file:
        separator = "["
        for image_id, rows in rows_by_image.items():
            for _, x, y, width, height, score, category_id in rows.tolist():
                file.write(
                    f'{separator}{{"image_id":{image_id},'
                    f'"category_id":{int(category_id)},'
                    f'"bbox":[{x},{y},{width},{height}],"score":{score}}}'.encode()
                )
                separator = ",\n"
        file.write(b"[]\n" if separator == "[" else b"]\n")


def _metrics_json(step, rows_by_image, judgement):
    """The figures, named as pycocotools names them; -1: no ground truth of the kind."""
    metrics = {
        "step": step,
        "images": len(judgement.images),
        "detections": sum(len(rows) for rows in rows_by_image.values()),
        "metrics": {
            name[len(_COCO_PREFIX) :]: value
            for name, value in judgement.figures.items()
        },
        "categories": [
            {
                "id": category.id,
                "name": category.name,
                "AP": category.ap,
                "AP50": category.ap50,
                "boxes": category.boxes,
                "detections": category.detections,
            }
            for category in judgement.categories
        ],
    }
    return (json.dumps(metrics, indent=1) + "\n").encode()


def _categories_csv(categories):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["id", "name", "AP", "AP50", "boxes", "detections"])
    for category in categories:
        figures = ["" if x < 0 else f"{x:.6f}" for x in (category.ap, category.ap50)]
        counts = [category.boxes, category.detections]
        writer.writerow([category.id, category.name] + figures + counts)
    return file.getvalue().encode("utf-8", "replace")
