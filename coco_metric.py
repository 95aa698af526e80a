# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""COCO's twelve figures from detections, by pycocotools.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; the figures are
those of https://cocodataset.org/#detection-eval.

A detection comes as a dict for each image: "source_id", int, COCO's image id;
"raw_shape", [height, width, ...] in pixels; "boxes", [D, 4], ltrb in 0..1 of height
and width; "scores", [D]; "classes", [D], 1..C-1.
"""

import collections
import contextlib
import io
import json
from typing import NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dataset import categories

METRIC_NAMES = (
    ["COCO/" + name for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")]
    + ["COCO/" + name for name in ("ARmax1", "ARmax10", "ARmax100")]
    + ["COCO/" + name for name in ("ARs", "ARm", "ARl")]
)

_CATEGORIES_TOGETHER = 2
# Numbers up to here are whole in float64, which detections come in.
_LARGEST_ID = 2**53
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
        # Windows' editors put a mark in front.
        with open(val_json_file, encoding="utf-8-sig") as file:
            dataset = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read {val_json_file}: {error}") from error
    for section in _SECTIONS:
        if not isinstance(dataset, dict) or not isinstance(dataset.get(section), list):
            raise ValueError(
                f"{val_json_file} is no COCO instances json: no list of {section}"
            )
    try:
        complete(dataset)
    except ValueError as error:
        raise ValueError(
            f"{val_json_file} is no COCO instances json: {error}"
        ) from error
    repeated = _repeated_ids(dataset["annotations"])
    if repeated:
        # To pycocotools they would be one, and AP far too low.
        raise ValueError(
            f"{val_json_file}: {len(repeated)} ids stand for several annotations, the "
            f"first is {repeated[0]}; number all annotations from 1"
        )
    return _index(dataset)


def complete(dataset):
    """Checks the entries of a COCO json, and fills in what pycocotools needs.

    Args:
      dataset: dict with lists of images, annotations and categories.

    Raises:
      ValueError: one line; an entry is wrong.
    """
    try:
        for image in dataset["images"]:
            _check_ids(image, "id")
        for category in dataset["categories"]:
            _check_ids(category, "id")
        for annotation in dataset["annotations"]:
            _check_ids(annotation, "id", "image_id", "category_id")
            _complete(annotation)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"an entry is wrong: {error!r}") from error


def _check_ids(entry, *names):
    for name in names:
        # A bool is an int to Python.
        if type(entry[name]) is not int or abs(entry[name]) >= _LARGEST_ID:
            raise ValueError(f"{name} {entry[name]!r} is no whole number")


def _repeated_ids(entries):
    counts = collections.Counter(entry["id"] for entry in entries)
    return sorted(key for key, count in counts.items() if count > 1)


def _index(dataset):
    coco = COCO()
    coco.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _complete(annotation):
    """Checks one, fills in what it may lack, and frees its outline: half the memory."""
    _, _, width, height = annotation["bbox"]
    annotation.setdefault("area", width * height)
    for number in annotation["bbox"] + [annotation["area"]]:
        if not isinstance(number, (int, float)) or not abs(number) < _LARGEST_ID:
            raise ValueError(f"{number!r} is no size of annotation {annotation['id']}")
    if annotation.setdefault("iscrowd", 0) not in (0, 1):
        raise ValueError(f"iscrowd {annotation['iscrowd']!r} is neither 0 nor 1")
    annotation.pop("segmentation", None)


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
    """Computes COCO's figures; see `judge`, which gives more.

    Args:
      predictions: iterable of detection dicts, or what `collect` made of it.
      coco_gt: what create_coco gives.
      only_predicted: bool, see `judge`.

    Returns:
      dict, the figures of `judge`.

    Raises:
      ValueError: when an image id of the predictions is not in coco_gt.
    """
    if not isinstance(predictions, dict):
        predictions = collect(predictions)
    return judge(predictions, coco_gt, only_predicted).figures


class Judgement(NamedTuple):
    """What an evaluation finds out.

    Attributes:
      figures: dict from the twelve METRIC_NAMES, in that order, to float: 0..1, or -1
        where the ground truth has no box of that kind.
      categories: list of Category, by id.
      precision: float64 [10, 101, categories]: at IoU 0.5, 0.55, ... and recall 0,
        0.01, ...; -1 in categories without ground truth.
      images: dict from each judged image id to ImageMatches.
    """

    figures: dict
    categories: list
    precision: np.ndarray
    images: dict


class Category(NamedTuple):
    """The result of one category; ap and ap50 are -1 where boxes is 0.

    Attributes:
      boxes: int, ground truth in the judged images, crowds left out.
      detections: int, of any score.
    """

    id: int
    name: str
    ap: float
    ap50: float
    boxes: int
    detections: int


class ImageMatches(NamedTuple):
    """Which detections of an image match which ground truth, at IoU 0.5.

    Attributes:
      is_right: bool [D], the detection has the category of a ground truth that it
        overlaps and that no better detection has taken.
      is_ignored: bool [D], the detection counts neither way: it lies in a crowd, or
        past the 100 best of its category, or the json lacks its category.
      gt_ids: list of G annotation ids, crowds left out.
      gt_scores: list of G float, score of the detection that found it; 0: none did.
    """

    is_right: np.ndarray
    is_ignored: np.ndarray
    gt_ids: list
    gt_scores: list


def judge(rows_by_image, coco_gt, only_predicted=False):
    """Judges detections the way COCO does; prints the table of pycocotools.

    Args:
      rows_by_image: what `collect` gives.
      coco_gt: what create_coco gives.
      only_predicted: bool; judge the images of the predictions instead of all images
        of coco_gt. (An image without any prediction counts as nothing detected.)

    Returns:
      Judgement.

    Raises:
      ValueError: when an image id of the predictions is not in coco_gt.
    """
    unknown = sorted(set(rows_by_image) - set(coco_gt.getImgIds()))
    if unknown:
        raise ValueError(
            f"{len(unknown)} detected images are not in the annotations, the first "
            f"has id {unknown[0]}"
        )
    image_ids = sorted(rows_by_image) if only_predicted else sorted(coco_gt.getImgIds())
    category_ids = sorted(set(coco_gt.getCatIds()))
    images = {i: _unmatched(len(rows_by_image.get(i, ()))) for i in image_ids}
    parts = []
    # A few at a time: what pycocotools keeps of 80 categories fills gigabytes.
    for start in range(0, max(len(category_ids), 1), _CATEGORIES_TOGETHER):
        some_ids = category_ids[start : start + _CATEGORIES_TOGETHER]
        evaluation = _evaluate(coco_gt, rows_by_image, image_ids, some_ids)
        _add_matches(images, evaluation, rows_by_image)
        parts.append(evaluation.eval)
    evaluation.eval = {
        "precision": np.concatenate([part["precision"] for part in parts], axis=2),
        "recall": np.concatenate([part["recall"] for part in parts], axis=1),
    }
    # The familiar table of pycocotools, on standard output.
    evaluation.summarize()
    figures = {name: float(x) for name, x in zip(METRIC_NAMES, evaluation.stats)}
    # Boxes of any area, and up to 100 of them an image.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    entries = coco_gt.loadCats(category_ids)
    found = _categories(entries, coco_gt, precision, images, rows_by_image)
    return Judgement(figures, found, precision, images)


def _evaluate(coco_gt, rows_by_image, image_ids, category_ids):
    """pycocotools' COCOeval of some categories, accumulated."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco_gt, _results(rows_by_image, category_ids), "bbox")
        evaluation.params.imgIds = image_ids
        evaluation.params.catIds = category_ids
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _unmatched(count):
    """ImageMatches of an image with `count` detections, before any is looked at."""
    return ImageMatches(np.zeros(count, bool), np.ones(count, bool), [], [])


def _add_matches(images, evaluation, rows_by_image):
    """Fills in what an evaluation has found for its categories."""
    first_ids = _first_ids(rows_by_image)
    whole_range = evaluation.params.areaRng[0]
    for entry in evaluation.evalImgs:
        if entry is not None and entry["aRng"] == whole_range:
            image_id = int(entry["image_id"])
            _add_entry(images[image_id], entry, first_ids.get(image_id, 0))


def _add_entry(matches, entry, first_id):
    """Adds the matches of one category, as pycocotools' evalImgs has them.

    Args:
      first_id: int, id of the image's first detection.
    """
    ids = np.array(entry["dtIds"], np.int64)
    is_ignored = np.array(entry["dtIgnore"][0], bool)
    matches.is_ignored[ids - first_id] = is_ignored
    matches.is_right[ids - first_id] = (entry["dtMatches"][0] != 0) & ~is_ignored
    scores = dict(zip(entry["dtIds"], entry["dtScores"]))
    for gt_id, match, is_crowd in zip(
        entry["gtIds"], entry["gtMatches"][0], entry["gtIgnore"]
    ):
        if not is_crowd:
            matches.gt_ids.append(gt_id)
            matches.gt_scores.append(scores.get(int(match), 0.0))


def _categories(entries, coco_gt, precision, images, rows_by_image):
    """See Category; one for each of the json's entries."""
    boxes = collections.Counter(
        coco_gt.anns[gt_id]["category_id"]
        for matches in images.values()
        for gt_id in matches.gt_ids
    )
    detections = collections.Counter()
    for rows in rows_by_image.values():
        detections.update(rows[:, 6].astype(np.int64).tolist())
    return [
        Category(
            id=entry["id"],
            name=str(entry.get("name", entry["id"])),
            ap=_mean(precision[:, :, k]),
            ap50=_mean(precision[0, :, k]),
            boxes=boxes[entry["id"]],
            detections=detections[entry["id"]],
        )
        for k, entry in enumerate(entries)
    ]


def _mean(precision):
    """Of what is not -1; -1 where nothing is."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else -1.0


def _result_rows(prediction, label_map):
    """One image's detections as rows [image id, x, y, w, h, score, category id]."""
    height, width = prediction["raw_shape"][:2]
    ymin, xmin, ymax, xmax = np.asarray(prediction["boxes"], np.float64).T
    category_ids = [label_map.category_of_class(c) for c in prediction["classes"]]
    rows = np.stack(
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
    # Boxes of an exploded network, which no JSON can hold.
    return rows[np.isfinite(rows).all(axis=1)]


def _first_ids(rows_by_image):
    """Number of the first detection of each image; others follow in their order.

    Counted from 1: pycocotools takes a match with number 0 for none.
    """
    counts = [len(rows) for rows in rows_by_image.values()]
    return dict(zip(rows_by_image, np.cumsum([1] + counts).tolist()))


def _results(rows_by_image, category_ids):
    """The detections of some categories, as pycocotools COCO.

    Its own loadRes also makes a polygon of every box, which takes most of its memory,
    and fails where there is no detection at all.
    """
    coco = COCO()
    for image_id, first_id in _first_ids(rows_by_image).items():
        rows = rows_by_image[image_id]
        chosen = np.flatnonzero(np.isin(rows[:, 6], category_ids))
        for index, row in zip(chosen.tolist(), rows[chosen].tolist()):
            _, x, y, width, height, score, category_id = row
            coco.anns[first_id + index] = annotation = {
                "id": first_id + index,
                "image_id": image_id,
                "category_id": int(category_id),
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": 0,
                "score": score,
            }
            coco.imgToAnns[image_id].append(annotation)
    # What pycocotools looks at when no image is judged.
    coco.dataset = {"annotations": []}
    return coco
