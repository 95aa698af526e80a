# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of a report equal pycocotools', or are those computed here by hand."""

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

import coco_metric
from evaluation import analysis

BOLT, NUT, UNSEEN = 4, 7, 9


def to_coco(boxes):
    """Returns pycocotools COCO of rows (image id, category id, xywh, iscrowd)."""
    names = ("image_id", "category_id", "bbox", "iscrowd")
    annotations = [dict(zip(names, row), id=i) for i, row in enumerate(boxes, 1)]
    images = [{"id": i, "height": 900, "width": 900} for i in (1, 2, 3)]
    categories = [{"id": i, "name": str(i)} for i in (BOLT, NUT, UNSEEN)]
    dataset = dict(images=images, annotations=annotations, categories=categories)
    return coco_metric.to_coco(dataset)


def to_detections(image_id, rows):
    """Returns Detections of rows (score, category id, xywh), the best first."""
    scores, category_ids, boxes = zip(*rows)
    return coco_metric.Detections(
        image_id, np.array(boxes, float), np.array(scores), np.array(category_ids)
    )


BOXES = [
    (1, BOLT, [0, 0, 100, 100], 0),
    (1, NUT, [200, 0, 100, 100], 0),
    (1, BOLT, [0, 200, 100, 100], 0),
    (1, NUT, [200, 200, 20, 20], 0),
    (1, NUT, [600, 0, 200, 200], 1),
    (2, NUT, [0, 0, 60, 60], 0),
]
DETECTIONS = {
    1: to_detections(
        1,
        [
            (0.99, NUT, [620, 20, 50, 50]),  # in the crowd
            (0.95, NUT, [50, 200, 100, 100]),  # IoU 1/3 with the lower bolt
            (0.92, NUT, [400, 400, 50, 50]),
            (0.9, BOLT, [0, 0, 100, 100]),
            (0.86, BOLT, [200, 0, 100, 100]),
            (0.8, BOLT, [10, 0, 100, 100]),  # IoU 9/11 with the upper bolt
            (0.6, BOLT, [50, 200, 100, 100]),  # IoU 1/3 with the lower bolt
        ],
    ),
    2: to_detections(2, [(0.85, NUT, [0, 0, 60, 60])]),
}


@pytest.fixture(scope="module")
def coco():
    return to_coco(BOXES)


@pytest.fixture(scope="module")
def result(coco):
    return analysis.analyze(coco_metric.judge(DETECTIONS, coco))


def test_detections_have_their_kinds_which_are_counted_at_the_best_score(result):
    assert result.kinds_of_image[1].tolist() == [
        analysis.IGNORED,
        analysis.BOTH,
        analysis.BACKGROUND,
        analysis.RIGHT,
        analysis.WRONG_CLASS,
        analysis.REPEATED,
        analysis.BAD_PLACE,
    ]
    assert result.kinds_of_image[2].tolist() == [analysis.RIGHT]
    # By RIGHT to MISSED. The detections of the lower bolt and the repeated one have a
    # lower score; the wrong class covers a nut.
    assert [kind.count for kind in result.kinds] == [2, 1, 0, 1, 0, 1, 2]


def test_the_best_score_is_the_middle_of_those_with_the_highest_f1(result):
    # From 0.81 to 0.85: 2 of 5 detections are right, and 2 of 5 objects are found.
    assert result.best_score == result.score == 0.83
    at = list(analysis.SCORES).index(0.83)
    curve = result.overall
    assert (curve.right[at], curve.detections[at], curve.boxes) == (2, 5, 5)
    assert (curve.precision[at], curve.recall[at], curve.f1[at]) == (0.4, 0.4, 0.4)
    assert np.isnan(curve.precision[-1]) and curve.f1[-1] == 0
    # At 0.92 and above, there are two nuts, both of them false.
    assert list(result.curves) == [BOLT, NUT]
    nuts = result.curves[NUT]
    assert nuts.detections[[0, at, at + 8]].tolist() == [3, 3, 2]
    assert nuts.right[[0, at, at + 8]].tolist() == [1, 1, 0]
    assert nuts.boxes == 3


def test_costs_are_what_ap50_gains_without_the_errors(coco, result):
    # COCO's AP is the mean of the precision at recall 0, 0.01, ..., 1. Bolts by score:
    # right, then three false, of 2: precision 1 up to recall 1/2, 51 places. Nuts:
    # false, false, right, of 3: precision 1/3 up to recall 1/3, 34 places.
    bolts, nuts = 51 / 101, 34 / 3 / 101
    figures = coco_metric.judge(DETECTIONS, coco).figures
    assert figures["COCO/AP50"] == pytest.approx((bolts + nuts) / 2)
    costs = [kind.cost for kind in result.kinds]
    assert costs == pytest.approx(
        [
            0,
            # Nuts: false, false, right, right; precision 2/4 up to recall 2/3.
            (67 / 2 / 101 - nuts) / 2,
            # Bolts: right, false, false, right; precision 2/4 up to recall 1.
            ((51 + 50 / 2) / 101 - bolts) / 2,
            # Nuts: false, right; precision 1/2.
            (34 / 2 / 101 - nuts) / 2,
            0,
            (34 / 2 / 101 - nuts) / 2,
            # Two nuts instead of three; precision 1/3 up to recall 1/2.
            (51 / 3 / 101 - nuts) / 2,
        ]
    )


def test_confusion_and_sizes_count_every_object(result):
    # Bolts, nuts, unseen, and background.
    assert result.confusion.tolist() == [
        [1, 0, 0, 1],
        [1, 1, 0, 1],
        [0, 0, 0, 0],
        [0, 2, 0, 0],
    ]
    # Square roots of the areas: 20, 60, and three times 100.
    assert result.sizes == [
        (16, 24, 1, 0, 0),
        (24, 32, 0, 0, 0),
        (32, 48, 0, 0, 0),
        (48, 64, 1, 1, 1),
        (64, 96, 0, 0, 0),
        (96, 128, 3, 1, 1),
    ]


def test_an_object_is_confused_although_another_of_that_class_is_near():
    bolt, nut = [0, 0, 100, 100], [60, 0, 100, 100]
    coco = to_coco([(1, BOLT, bolt, 0), (1, NUT, nut, 0)])
    found = {1: to_detections(1, [(0.9, NUT, bolt)])}
    result = analysis.analyze(coco_metric.judge(found, coco))
    # The IoU with the nut is 1/4.
    assert result.kinds_of_image[1].tolist() == [analysis.BAD_PLACE]
    assert result.confusion.tolist()[:2] == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert result.confusion.sum() == 2


@pytest.mark.parametrize("only_predicted, objects", [(False, 5), (True, 0)])
def test_without_detections_there_is_no_best_score(coco, only_predicted, objects):
    empty = coco_metric.Detections(3, np.zeros([0, 4]), np.zeros(0), np.zeros(0, int))
    result = analysis.analyze(coco_metric.judge({3: empty}, coco, only_predicted))
    assert (result.best_score, result.score) == (None, 0.3)
    assert result.overall.boxes == objects
    assert result.confusion[:, -1].sum() == result.confusion.sum() == objects
    assert result.kinds[analysis.MISSED].count == objects
    assert [kind.cost for kind in result.kinds] == [0] * 7


def test_curves_agree_with_pycocotools_on_random_detections():
    random = np.random.RandomState(5)

    def boxes(number):
        return np.column_stack(
            [random.randint(0, 200, [number, 2]), random.randint(40, 120, [number, 2])]
        ).tolist()

    rows = [
        (i, int(random.choice([BOLT, NUT])), b, 0) for i in (1, 2) for b in boxes(9)
    ]
    coco = to_coco(rows)
    scores = np.sort(random.uniform(0.06, 1, 60))[::-1]
    found = {
        i: to_detections(i, zip(scores, random.choice([BOLT, NUT], 60), boxes(60)))
        for i in (1, 2)
    }
    judgement = coco_metric.judge(found, coco)
    result = analysis.analyze(judgement)
    results = [
        {"image_id": i, "category_id": int(c), "bbox": b.tolist(), "score": float(s)}
        for i, d in found.items()
        for b, s, c in zip(d.boxes_xywh, d.scores, d.category_ids)
    ]
    # Below a score, pycocotools sees only the other detections.
    for score in (0.05, 0.35, 0.6):
        shown = [entry for entry in results if entry["score"] >= score]
        evaluation = COCOeval(coco, coco.loadRes(shown), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        at = list(analysis.SCORES).index(score)
        for k, category_id in enumerate((BOLT, NUT)):
            curve = result.curves[category_id]
            assert curve.recall[at] == evaluation.eval["recall"][0, k, 0, -1]
            number = sum(entry["category_id"] == category_id for entry in shown)
            assert curve.detections[at] == number
    assert result.curves[BOLT].right[0] > 0
    counts = result.confusion
    assert counts[:-1].sum() == result.overall.boxes == 18
    at = list(analysis.SCORES).index(result.score)
    assert counts[:, :-1].sum() == result.overall.detections[at]
    assert np.trace(counts) == result.overall.right[at] == result.kinds[0].count
