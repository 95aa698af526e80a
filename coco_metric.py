# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""COCO's twelve figures from detections, by pycocotools.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; the figures are
those of https://cocodataset.org/#detection-eval.

Predictions come as one dict per image: "source_id", int, COCO's image id; "raw_shape",
[height, width, ...] in pixels; "boxes", [D, 4], ltrb, that is [ymin, xmin, ymax, xmax],
in 0..1 of height and width; "scores", [D]; "classes", [D], 1..C-1. Inside, each one
becomes a `Detections`, which has COCO's coordinates and category ids.
"""

import collections
import contextlib
import io
from typing import NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dataset import box_rules, categories, coco_json

# Verdicts on a detection. Ignored ones count neither way: they lie in a crowd, are not
# among the 100 best of their category in the image, or the json lacks their category.
RIGHT, FALSE, IGNORED = 1, 0, -1

METRIC_NAMES = [
    f"COCO/{name}"
    for name in "AP AP50 AP75 APs APm APl ARmax1 ARmax10 ARmax100 ARs ARm ARl".split()
]

# pycocotools stores the arrays of all categories it evaluates at once; with COCO's 80
# they fill gigabytes.
_CATEGORIES_AT_ONCE = 2
# pycocotools stores ids as float64, which holds integers exactly up to here.
_LARGEST_ID = 2**53


class Detections(NamedTuple):
    """The detections of one image, best first."""

    image_id: int  # COCO's
    boxes_xywh: np.ndarray  # float64 [D, 4], upper left corner and extent in pixels
    scores: np.ndarray  # float64 [D], in 0..1
    category_ids: np.ndarray  # int64 [D]
    height_width: tuple = ()  # of the image in pixels; may be unknown


_NO_DETECTIONS = Detections(
    np.zeros(0, np.int64), np.zeros([0, 4]), np.zeros(0), np.zeros(0, np.int64)
)


class Judgement(NamedTuple):
    """Results of an evaluation."""

    coco_gt: COCO
    # From the twelve METRIC_NAMES, in that order, to float: 0..1, or -1 where there is
    # no ground truth of that size.
    figures: dict
    categories: list  # of Category, by id
    # float64 [10, 101, categories]: at IoU 0.5, 0.55, ... and recall 0, 0.01, ...; -1
    # in categories without ground truth.
    precision: np.ndarray
    image_ids: list  # of int, the evaluated images
    detections: dict  # from image id to Detections
    # From image id to int8 [D]: RIGHT, FALSE or IGNORED for each detection, at IoU 0.5.
    verdicts: dict
    # From the id of each evaluated annotation, crowds excepted, to the score of the
    # detection that matched it at IoU 0.5, float; 0 if there is none.
    gt_scores: dict


class Category(NamedTuple):
    """Results of one category; ap and ap50 are -1 if boxes is 0."""

    id: int
    name: str
    ap: float
    ap50: float
    boxes: int  # ground truth in the evaluated images, without crowds
    detections: int  # of any score


def create_coco(val_json_file):
    """Reads the annotations of the validation images.

    Args:
      val_json_file: str, path of a COCO json with images, annotations, categories.

    Returns:
      pycocotools COCO, see `to_coco`.

    Raises:
      ValueError: one line that names the file; it cannot be read, or see `to_coco`.
    """
    dataset = coco_json.load(val_json_file)
    try:
        return to_coco(dataset)
    except ValueError as error:
        raise ValueError(f"{val_json_file}: {error}") from error


def to_coco(dataset):
    """Checks and completes the entries of a COCO json.

    Annotations that do not count are left out, and the others completed, see
    box_rules.sort_out.

    Args:
      dataset: dict, see coco_json.load; it is changed.

    Returns:
      pycocotools COCO. It has one more attribute, faulty: defaultdict from str, the
      kind of fault, to the list of its annotations, see box_rules.sort_out.

    Raises:
      ValueError: one line; an entry is wrong, or no box counts.
    """
    for section in ("images", "categories", "annotations"):
        for entry in dataset[section]:
            number = entry.get("id")
            # Not isinstance: a bool is an int to Python.
            if type(number) is not int or abs(number) >= _LARGEST_ID:
                raise ValueError(
                    f"an entry of {section} is wrong: id {number!r:.80} is not a whole "
                    "number"
                )
    faulty, problems = box_rules.sort_out(dataset)
    if problems:
        raise ValueError(problems[0])
    annotations = dataset["annotations"]
    counts = collections.Counter(entry["id"] for entry in annotations)
    repeated = sorted(key for key, count in counts.items() if count > 1)
    if repeated:
        # pycocotools would keep only one of them, and AP would be far too low.
        raise ValueError(
            f"{len(repeated)} ids stand for several annotations, the first is "
            f"{repeated[0]}; number all annotations from 1"
        )
    num_crowd = sum(annotation["iscrowd"] for annotation in annotations)
    box_rules.check(dataset, faulty, num_crowd)
    coco = COCO()
    coco.dataset, coco.faulty = dataset, faulty
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def to_detections(prediction, label_map=categories.COCO):
    """Converts the predictions of one image to COCO's coordinates and category ids.

    Args:
      prediction: dict, see the module.
      label_map: categories.LabelMap with C - 1 categories.

    Returns:
      Detections, without boxes and scores that are not finite.
    """
    height, width = prediction["raw_shape"][:2]
    boxes = np.asarray(prediction["boxes"], np.float64)
    ymin, xmin, ymax, xmax = (boxes * [height, width, height, width]).T
    boxes_xywh = np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)
    scores = np.asarray(prediction["scores"], np.float64)
    category_ids = [label_map.category_of_class(c) for c in prediction["classes"]]
    # A network that diverged predicts infinite boxes, which JSON cannot hold.
    is_finite = np.isfinite(boxes_xywh).all(axis=1) & np.isfinite(scores)
    return Detections(
        int(prediction["source_id"]),
        boxes_xywh[is_finite],
        scores[is_finite],
        np.array(category_ids, np.int64)[is_finite],
        (int(height), int(width)),
    )


def compute_map(predictions, coco_gt):
    """Computes COCO's figures over all images of the annotations.

    Args:
      predictions: iterable of dicts of COCO's classes, see the module. Of several for
        one image, the last one counts.
      coco_gt: pycocotools COCO, see `create_coco`.

    Returns:
      dict from the twelve METRIC_NAMES to float, see Judgement.

    Raises:
      ValueError: coco_gt does not list the image id of a prediction.
    """
    found = {p["source_id"]: to_detections(p) for p in predictions}
    return judge(found, coco_gt).figures


def judge(found, coco_gt, only_predicted=False):
    """Evaluates detections as COCO does; prints the table of pycocotools.

    Args:
      found: dict from image id to Detections.
      coco_gt: pycocotools COCO, see `create_coco`.
      only_predicted: bool; evaluate only the images in found. Otherwise all images of
        coco_gt are evaluated, and nothing is detected in those that are not in found.

    Returns:
      Judgement.

    Raises:
      ValueError: coco_gt does not list an image id of found.
    """
    unknown = sorted(set(found) - set(coco_gt.getImgIds()))
    if unknown:
        raise ValueError(
            f"{len(unknown)} detected images are not in the annotations, the first "
            f"has id {unknown[0]}"
        )
    image_ids = sorted(found if only_predicted else coco_gt.getImgIds())
    category_ids = sorted(set(coco_gt.getCatIds()))
    flat = concatenate(found.values())
    verdicts, gt_scores = np.full(len(flat.scores), IGNORED, np.int8), {}
    parts = []
    for start in range(0, max(len(category_ids), 1), _CATEGORIES_AT_ONCE):
        some_ids = category_ids[start : start + _CATEGORIES_AT_ONCE]
        evaluation = _evaluate(coco_gt, _results(flat, some_ids), image_ids, some_ids)
        parts.append(evaluation.eval)
        _add_matches(evaluation, verdicts, gt_scores)
    evaluation.eval = {
        "precision": np.concatenate([part["precision"] for part in parts], axis=2),
        "recall": np.concatenate([part["recall"] for part in parts], axis=1),
    }
    evaluation.summarize()
    # pycocotools' axes: IoU, recall, category, area (0: any), detections (-1: 100).
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    ends = np.cumsum([len(d.scores) for d in found.values()], dtype=np.int64)
    return Judgement(
        coco_gt,
        {name: float(x) for name, x in zip(METRIC_NAMES, evaluation.stats)},
        _categories(coco_gt, category_ids, precision, gt_scores, flat),
        precision,
        image_ids,
        found,
        dict(zip(found, np.split(verdicts, ends))),
        gt_scores,
    )


def concatenate(detections):
    """Joins the columns of several Detections; image_id is an array too, int64 [D]."""
    joined = [
        (np.full(len(d.scores), d.image_id, np.int64), *d[1:4]) for d in detections
    ]
    return Detections(*map(np.concatenate, zip(_NO_DETECTIONS[:4], *joined)))


def _results(flat, category_ids):
    """Returns the detections of some categories as pycocotools COCO.

    Their ids count from 1 over all categories: to pycocotools, a match with id 0 means
    no match. COCO.loadRes would also create a polygon for every box, which takes most
    of its memory, and fails if there are no detections.
    """
    coco = COCO()
    for i in np.flatnonzero(np.isin(flat.category_ids, category_ids)).tolist():
        _, _, width, height = bbox = flat.boxes_xywh[i].tolist()
        coco.anns[i + 1] = {
            "id": i + 1,
            "image_id": int(flat.image_id[i]),
            "category_id": int(flat.category_ids[i]),
            "bbox": bbox,
            "area": width * height,
            "iscrowd": 0,
            "score": float(flat.scores[i]),
        }
        coco.imgToAnns[int(flat.image_id[i])].append(coco.anns[i + 1])
    # pycocotools reads this list if there are no images to evaluate.
    coco.dataset = {"annotations": []}
    return coco


def _evaluate(coco_gt, results, image_ids, category_ids):
    """Returns pycocotools' COCOeval of some categories, accumulated."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco_gt, results, "bbox")
        evaluation.params.imgIds = image_ids
        evaluation.params.catIds = category_ids
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _add_matches(evaluation, verdicts, gt_scores):
    """Adds the matches of an accumulated COCOeval to the two, see Judgement.

    verdicts, int8 [D], has those of all images, one after the other.
    """
    for entry in evaluation.evalImgs:
        # There are entries for each range of areas; the first range is any area.
        if entry is None or entry["aRng"] != evaluation.params.areaRng[0]:
            continue
        # Row 0 is that of IoU 0.5.
        found = np.where(entry["dtMatches"][0] != 0, RIGHT, FALSE)
        found = np.where(entry["dtIgnore"][0], IGNORED, found)
        verdicts[np.array(entry["dtIds"], np.int64) - 1] = found
        scores = dict(zip(entry["dtIds"], entry["dtScores"]))
        for gt_id, match, is_crowd in zip(
            entry["gtIds"], entry["gtMatches"][0], entry["gtIgnore"]
        ):
            if not is_crowd:
                gt_scores[gt_id] = scores.get(int(match), 0.0)


def _categories(coco_gt, category_ids, precision, gt_scores, flat):
    """Returns a list with the Category of each of category_ids."""
    boxes = collections.Counter(coco_gt.anns[i]["category_id"] for i in gt_scores)
    detections = collections.Counter(flat.category_ids.tolist())
    return [
        Category(
            id=entry["id"],
            name=str(entry.get("name", entry["id"])),
            ap=_mean(precision[:, :, k]),
            ap50=_mean(precision[0, :, k]),
            boxes=boxes[entry["id"]],
            detections=detections[entry["id"]],
        )
        for k, entry in enumerate(coco_gt.loadCats(category_ids))
    ]


def _mean(precision):
    """Returns the mean of the values that are not -1; -1 if all are."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else -1.0
