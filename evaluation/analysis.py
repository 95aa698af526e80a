# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures for choosing a score and finding errors, from the matches of an evaluation.

All of them are for IoU 0.5. Detections that COCO ignores are left out. The kinds of
error and their costs are those of Bolya et al., "TIDE: A General Toolbox for
Identifying Object Detection Errors", ECCV 2020, section 2, tested in the order of its
published code.

Glossary: S scores, D detections, G ground truth boxes, K categories.
"""

import collections
from typing import NamedTuple, Optional

import numpy as np
from pycocotools import mask

import coco_metric
from evaluation import postprocess

# The scores among which the best one is chosen: 0.05, 0.06, ..., 0.99.
SCORES = np.arange(round(postprocess.MIN_SCORE * 100), 100) / 100

# Kinds of detections; only MISSED is a kind of ground truth box.
IGNORED = -1
RIGHT, WRONG_CLASS, BAD_PLACE, BOTH, REPEATED, BACKGROUND, MISSED = range(7)
# A detection with IoU >= FOREGROUND_IOU belongs to an object, one with IoU <=
# BACKGROUND_IOU to background.
FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1

# Bounds of the sizes in pixels; COCO's small objects end at 32, large ones start at 96.
_SIZES = (0, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, np.inf)
# COCO's AP is the mean of the precision at these recalls.
_RECALLS = np.linspace(0, 1, 101)


class Curve(NamedTuple):
    """Counts of the detections that have at least each of SCORES."""

    right: np.ndarray  # int64 [S]
    detections: np.ndarray  # int64 [S], right and false
    boxes: int  # of the ground truth

    @property
    def precision(self):
        """float64 [S], NaN where nothing is detected."""
        return self.right / np.where(self.detections, self.detections, np.nan)

    @property
    def recall(self):
        """float64 [S]."""
        return self.right / max(self.boxes, 1)

    @property
    def f1(self):
        """float64 [S], harmonic mean of precision and recall."""
        return 2 * self.right / np.maximum(self.detections + self.boxes, 1)

    @property
    def best_score(self):
        """The score of SCORES with the highest F1.

        float; the middle one if several are equal; None if no detection is right.
        """
        best = np.flatnonzero(self.f1 == self.f1.max())
        return float(SCORES[best[len(best) // 2]]) if self.right.any() else None


class Kind(NamedTuple):
    """How often one kind of error occurs, and its cost."""

    count: int  # detections with at least Analysis.score, or missed boxes
    cost: float  # AP50 gained if the errors of this kind, at any score, were corrected


class Size(NamedTuple):
    """Ground truth boxes of one range of sizes, the square root of COCO's area."""

    least: float  # pixels
    below: float
    boxes: int
    found: int  # matched by a detection with at least Analysis.score
    findable: int  # matched by a detection with any score


class Analysis(NamedTuple):
    """Figures of an evaluation."""

    best_score: Optional[float]  # that of `overall`; None if no detection is right
    score: float  # best_score, or postprocess.DEFAULT_SCORE if it is None
    overall: Curve  # of all categories
    curves: dict  # from the ids of categories with ground truth to Curve
    # int64 [K + 1, K + 1], ground truth by detections with at least `score`; the last
    # row and column are background: false detections, and objects without detection.
    confusion: np.ndarray
    kinds: list  # of Kind, indexed by RIGHT to MISSED
    # From image id to int8 [D], IGNORED or RIGHT to BACKGROUND for each detection.
    kinds_of_image: dict
    sizes: list  # of Size, from the smallest to the largest that occurs


class Results(NamedTuple):
    """An evaluated checkpoint, for the report and TensorBoard."""

    step: int
    model_dir: str  # folder of the checkpoints; the files are written to its "eval"
    file_pattern: str  # glob of the TFRecord files with the images
    judgement: coco_metric.Judgement
    analysis: Analysis
    # Image ids that several records have. These images are not shown, because another
    # record may have been evaluated.
    repeated_ids: frozenset = frozenset()


class _Truth(NamedTuple):
    """The ground truth boxes that count, as columns of length G."""

    image_id: np.ndarray  # int64 [G]
    box_xywh: np.ndarray  # float64 [G, 4], upper left corner and extent in pixels
    category_id: np.ndarray  # int64 [G]
    area: np.ndarray  # float64 [G], COCO's area in square pixels
    # float64 [G], the score of the detection that matches the box; 0 if there is none.
    score: np.ndarray


class _Found(NamedTuple):
    """The detections of one or all images, as columns of length D, the best first."""

    category_id: np.ndarray  # int64 [D]
    score: np.ndarray  # float64 [D], in 0..1
    kind: np.ndarray  # int8 or int64 [D], IGNORED or RIGHT to BACKGROUND
    # int64 [D], the row in _Truth of the box that would match if the detection had the
    # right class (WRONG_CLASS) or place (BAD_PLACE); -1 for other kinds.
    target: np.ndarray
    # int64 [D], the row in _Truth of the box of another category with the highest IoU;
    # -1 if that IoU is below FOREGROUND_IOU.
    other: np.ndarray


def analyze(judgement):
    """Computes the figures for choosing a score and finding errors.

    Args:
      judgement: coco_metric.Judgement.

    Returns:
      Analysis.
    """
    truth = _collect_truth(judgement)
    rows = collections.defaultdict(list)
    for row, image_id in enumerate(truth.image_id.tolist()):
        rows[image_id].append(row)
    # pycocotools keeps the order of the image ids among equal scores.
    parts = {
        image_id: _classify(judgement, image_id, truth, rows[image_id])
        for image_id in sorted(judgement.detections)
    }
    found = _join(parts.values())
    overall = _curve(found, truth)
    score = overall.best_score or postprocess.DEFAULT_SCORE
    ids = [category.id for category in judgement.categories]
    return Analysis(
        best_score=overall.best_score,
        score=score,
        overall=overall,
        curves={
            c.id: _curve(found, truth, c.id) for c in judgement.categories if c.boxes
        },
        confusion=_confusion(found, truth, score, ids),
        kinds=list(map(Kind, _counts(found, truth, score), _costs(found, truth))),
        kinds_of_image={image_id: part.kind for image_id, part in parts.items()},
        sizes=_sizes(truth, score),
    )


def _collect_truth(judgement):
    anns = judgement.coco_gt.anns
    annotations = [anns[number] for number in judgement.gt_scores]
    return _Truth(
        np.array([a["image_id"] for a in annotations], np.int64),
        np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4),
        np.array([a["category_id"] for a in annotations], np.int64),
        np.array([a["area"] for a in annotations], np.float64),
        np.array(list(judgement.gt_scores.values()), np.float64),
    )


def _classify(judgement, image_id, truth, rows):
    """Returns the _Found of one image, whose ground truth has the given rows."""
    detections = judgement.detections[image_id]
    verdicts = judgement.verdicts[image_id]
    # The extra column with IoU 0 lets max() work without ground truth.
    iou = np.zeros([len(verdicts), len(rows) + 1])
    if len(rows) and len(verdicts):
        iou[:, :-1] = mask.iou(
            detections.boxes_xywh, truth.box_xywh[rows], [0] * len(rows)
        )
    is_own = detections.category_ids[:, None] == np.append(truth.category_id[rows], -1)
    own, other = np.where(is_own, iou, 0), np.where(is_own, 0, iou)
    own_iou, other_iou = own.max(axis=1), other.max(axis=1)
    kind = np.select(
        [
            verdicts == coco_metric.IGNORED,
            verdicts == coco_metric.RIGHT,
            (own_iou >= BACKGROUND_IOU) & (own_iou < FOREGROUND_IOU),
            other_iou >= FOREGROUND_IOU,
            own_iou >= FOREGROUND_IOU,
            other_iou <= BACKGROUND_IOU,
        ],
        [IGNORED, RIGHT, BAD_PLACE, WRONG_CLASS, REPEATED, BACKGROUND],
        BOTH,
    ).astype(np.int8)
    rows = np.append(rows, -1).astype(np.int64)
    other_row = np.where(other_iou >= FOREGROUND_IOU, rows[other.argmax(axis=1)], -1)
    target = np.where(kind == BAD_PLACE, rows[own.argmax(axis=1)], -1)
    target = np.where(kind == WRONG_CLASS, other_row, target)
    return _Found(detections.category_ids, detections.scores, kind, target, other_row)


def _join(parts):
    """Joins the _Found of all images to one, without the ignored detections."""
    empty = _Found(*(np.zeros(0, np.int64) for _ in _Found._fields))
    joined = _Found(*map(np.concatenate, zip(empty, *parts)))
    order = np.argsort(-joined.score, kind="stable")
    order = order[joined.kind[order] != IGNORED]
    return _Found(*(column[order] for column in joined))


def _curve(found, truth, category_id=None):
    """Returns the Curve of one category, or of all of them."""

    def count(is_counted):
        if category_id is not None:
            is_counted = is_counted & (found.category_id == category_id)
        ascending = found.score[is_counted][::-1]
        return len(ascending) - np.searchsorted(ascending, SCORES)

    is_box = truth.category_id == category_id
    boxes = len(is_box) if category_id is None else int(is_box.sum())
    return Curve(count(found.kind == RIGHT), count(found.kind >= RIGHT), boxes)


def _confusion(found, truth, score, ids):
    """Returns Analysis.confusion.

    A false detection counts in the row of the ground truth of another category with the
    highest IoU, if no other detection has found that box.
    """
    matrix = np.zeros([len(ids) + 1, len(ids) + 1], np.int64)
    is_shown = found.score >= score
    is_left = truth.score < score
    # If several false detections overlap a box, only the one with the highest score
    # counts.
    is_taker = is_shown & (found.kind != RIGHT)
    # The row -1, for no box, picks the appended False.
    is_taker &= np.append(is_left, False)[found.other]
    takers = np.flatnonzero(is_taker)
    takers = takers[np.unique(found.other[takers], return_index=True)[1]]
    is_left[found.other[takers]] = False
    column = np.searchsorted(ids, found.category_id)
    row = np.where(found.kind == RIGHT, column, len(ids))
    row[takers] = np.searchsorted(ids, truth.category_id[found.other[takers]])
    np.add.at(matrix, (row[is_shown], column[is_shown]), 1)
    np.add.at(matrix, (np.searchsorted(ids, truth.category_id[is_left]), -1), 1)
    return matrix


def _missed(found, truth, score):
    """Returns bool [G]: neither matched nor the target of a correctable detection."""
    # Boxes without a match have the score 0. With the smallest positive number, they
    # are missed at score 0 too.
    is_missed = truth.score < max(score, np.nextafter(0, 1))
    targets = found.target[found.score >= score]
    is_missed[targets[targets >= 0]] = False
    return is_missed


def _counts(found, truth, score):
    """Returns the number of each kind at a score: list indexed by RIGHT to MISSED."""
    counts = np.bincount(found.kind[found.score >= score], minlength=MISSED)
    return counts.tolist() + [int(_missed(found, truth, score).sum())]


def _costs(found, truth):
    """Returns the cost in AP50 of each kind: list indexed by RIGHT to MISSED."""
    boxes = collections.Counter(truth.category_id.tolist())
    is_right = found.kind == RIGHT
    before = _mean_ap(found, is_right, boxes)
    # If several detections can be corrected to one box, only the one with the highest
    # score is corrected. The target -1, for no box, picks the appended False.
    can_match = np.append(truth.score == 0, False)[found.target]
    candidates = np.flatnonzero(can_match)
    best = candidates[np.unique(found.target[candidates], return_index=True)[1]]
    is_best = np.zeros(len(is_right), bool)
    is_best[best] = True
    costs = [0.0]
    for kind in range(WRONG_CLASS, MISSED):
        is_corrected = is_best & (found.kind == kind)
        categories = found.category_id.copy()
        categories[is_corrected] = truth.category_id[found.target[is_corrected]]
        is_left = (found.kind != kind) | is_corrected
        corrected = found._replace(category_id=categories)
        corrected = _Found(*(column[is_left] for column in corrected))
        after = _mean_ap(corrected, (is_right | is_corrected)[is_left], boxes)
        costs.append(max(after - before, 0.0))
    missed = truth.category_id[_missed(found, truth, 0)]
    boxes.subtract(missed.tolist())
    return costs + [max(_mean_ap(found, is_right, boxes) - before, 0.0)]


def _mean_ap(found, is_right, boxes):
    """Returns AP50, the mean over the categories that have boxes or detections.

    Args:
      is_right: bool [D].
      boxes: dict from category id to the number of ground truth boxes.
    """
    aps = []
    for category_id, count in boxes.items():
        is_own = found.category_id == category_id
        if count or is_own.any():
            aps.append(_ap(is_right[is_own], count))
    return float(np.mean(aps)) if aps else 0.0


def _ap(is_right, boxes):
    """Returns COCO's AP of detections, the best first, of one category."""
    right = np.cumsum(is_right)
    precision = right / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(right / max(boxes, 1), _RECALLS)
    return float(np.append(precision, 0)[reached].mean())


def _sizes(truth, score):
    bins = np.digitize(np.sqrt(truth.area), _SIZES) - 1
    boxes, found, findable = (
        np.bincount(bins[chosen], minlength=len(_SIZES) - 1).tolist()
        for chosen in (truth.score >= 0, truth.score >= score, truth.score > 0)
    )
    sizes = list(map(Size, _SIZES, _SIZES[1:], boxes, found, findable))
    occurring = np.flatnonzero(boxes)
    return sizes[occurring[0] : occurring[-1] + 1] if len(occurring) else []
