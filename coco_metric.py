# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""COCO's twelve figures from detections, by pycocotools.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; the figures are
those of https://cocodataset.org/#detection-eval.

A detection comes as a dict for each image: "source_id", int, COCO's image id;
"raw_shape", [height, width, ...] in pixels; "boxes", [D, 4], ltrb in 0..1 of height
and width; "scores", [D]; "classes", [D], 1..C-1.
"""

import contextlib
import io
import json

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import categories

METRIC_NAMES = (
    ["COCO/" + name for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")]
    + ["COCO/" + name for name in ("ARmax1", "ARmax10", "ARmax100")]
    + ["COCO/" + name for name in ("ARs", "ARm", "ARl")]
)

_SECTIONS = ("images", "annotations", "categories")


def create_coco(val_json_file):
    """Reads the annotations of the validation images.

    Args:
      val_json_file: str, path of a COCO json with images, annotations, categories.

    Returns:
      pycocotools COCO.

    Raises:
      ValueError: when the file cannot be read or is no COCO json; the message is one
        line that names it.
    """
    try:
        with open(val_json_file, encoding="utf-8") as file:
            dataset = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {val_json_file}: {error}") from error
    for section in _SECTIONS:
        if not isinstance(dataset, dict) or not isinstance(dataset.get(section), list):
            raise ValueError(
                f"{val_json_file} is no COCO instances json: no list of {section}"
            )
    try:
        return _index(dataset)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{val_json_file} is no COCO instances json: an entry is wrong: {error!r}"
        ) from error


def _index(dataset):
    coco = COCO()
    coco.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def collect(predictions, label_map=categories.COCO):
    """Keeps one detection dict an image.

    Args:
      predictions: iterable of detection dicts, see the module.
      label_map: categories.LabelMap, C - 1 categories.

    Returns:
      dict from image id to float64 array [D, 7] as pycocotools takes it: image id, x,
      y, width and height in pixels, score, category id.
    """
    return {
        int(prediction["source_id"]): _result_rows(prediction, label_map)
        for prediction in predictions
    }


def compute_map(predictions, coco_gt, only_predicted=False):
    """Computes COCO's figures.

    Args:
      predictions: iterable of detection dicts, or what `collect` made of it.
      coco_gt: what create_coco gives.
      only_predicted: bool; judge the images of the predictions instead of all images
        of coco_gt. (An image without any prediction counts as nothing detected.)

    Returns:
      dict from the twelve METRIC_NAMES, in that order, to float: 0..1, or -1 where
      the ground truth has no box of that kind.

    Raises:
      ValueError: when an image id of the predictions is not in coco_gt.
    """
    if not isinstance(predictions, dict):
        predictions = collect(predictions)
    unknown = sorted(set(predictions) - set(coco_gt.getImgIds()))
    if unknown:
        raise ValueError(
            f"{len(unknown)} detected images are not in the annotations, the first "
            f"has id {unknown[0]}"
        )
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco_gt, _load_results(predictions, coco_gt), "bbox")
        if only_predicted:
            evaluation.params.imgIds = sorted(predictions)
        evaluation.evaluate()
        evaluation.accumulate()
    # The familiar table of pycocotools, on standard output.
    evaluation.summarize()
    return {name: float(x) for name, x in zip(METRIC_NAMES, evaluation.stats)}


def _result_rows(prediction, label_map):
    """One image's detections as rows [image id, x, y, w, h, score, category id]."""
    height, width = prediction["raw_shape"][:2]
    ymin, xmin, ymax, xmax = np.asarray(prediction["boxes"], np.float64).T
    category_ids = [label_map.category_of_class(c) for c in prediction["classes"]]
    return np.stack(
        [
            np.full(len(category_ids), prediction["source_id"], np.float64),
            xmin * width,
            ymin * height,
            (xmax - xmin) * width,
            (ymax - ymin) * height,
            np.asarray(prediction["scores"], np.float64),
            np.asarray(category_ids, np.float64),
        ],
        axis=1,
    )


def _load_results(predictions, coco_gt):
    rows = np.concatenate([np.zeros([0, 7])] + list(predictions.values()))
    if len(rows):
        return coco_gt.loadRes(rows)
    # loadRes fails on nothing; without a detection the figures are simply zero.
    return _index({section: [] for section in _SECTIONS})
