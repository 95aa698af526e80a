# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""COCO's figures: equal to pycocotools', right for nothing, clear about bad input."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import categories
import coco_metric

IMAGES = {7: (200, 300), 8: (480, 240), 9: (100, 150)}  # height, width; 9 is empty


def annotation(number, image_id, category_id, bbox, crowd=0):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "iscrowd": crowd,
    }


@pytest.fixture
def json_file(tmp_path):
    names = categories.COCO.names.items()
    path = tmp_path / "instances_val2017.json"
    dataset = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": h, "width": w}
            for i, (h, w) in IMAGES.items()
        ],
        "annotations": [
            annotation(1, 7, 1, [30, 20, 90, 60]),
            annotation(2, 7, 90, [150, 100, 30, 50]),
            annotation(3, 8, 1, [10, 240, 120, 200]),
            annotation(4, 8, 1, [0, 0, 100, 90], crowd=1),
        ],
        "categories": [{"id": i, "name": name} for i, name in names],
    }
    path.write_text(json.dumps(dataset))
    return str(path)


def detection(image_id, boxes, scores, classes):
    return {
        "source_id": image_id,
        "raw_shape": [*IMAGES[image_id], 3],
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "classes": np.array(classes, np.int32),
    }


def some_detections():
    return [
        # Right box of class 1; class 80 is category 90, a little off.
        detection(
            7,
            [[0.1, 0.1, 0.4, 0.4], [0.48, 0.5, 0.75, 0.62]],
            [0.9, 0.8],
            [1, 80],
        ),
        detection(8, [[0.5, 0.05, 0.9, 0.5], [0, 0, 0.1, 0.3]], [0.7, 0.6], [1, 1]),
        detection(9, [], [], []),
    ]


def test_a_perfect_detection_has_ap_one(json_file):
    coco = coco_metric.create_coco(json_file)
    found = [
        detection(7, [[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.75, 0.6]], [1, 1], [1, 80]),
        detection(8, [[0.5, 10 / 240, 440 / 480, 130 / 240]], [1], [1]),
    ]
    result = coco_metric.compute_map(found, coco)
    assert list(result) == coco_metric.METRIC_NAMES
    assert result["COCO/AP"] == pytest.approx(1)


def test_figures_equal_pycocotools_on_the_same_detections(json_file):
    coco = coco_metric.create_coco(json_file)
    ours = coco_metric.compute_map(some_detections(), coco)
    results = []
    for found in some_detections():
        height, width = found["raw_shape"][:2]
        for box, score, number in zip(
            found["boxes"].astype(float), found["scores"], found["classes"]
        ):
            ymin, xmin, ymax, xmax = box * [height, width, height, width]
            results.append(
                {
                    "image_id": found["source_id"],
                    "category_id": categories.COCO.category_of_class(number),
                    "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                    "score": float(score),
                }
            )
    truth = COCO(json_file)
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert list(ours.values()) == evaluation.stats.tolist()
    assert 0 < ours["COCO/AP"] < 1


def test_the_order_and_repetition_of_images_do_not_matter(json_file):
    coco = coco_metric.create_coco(json_file)
    once = coco_metric.compute_map(some_detections(), coco)
    twice = some_detections()[::-1] + some_detections()
    assert coco_metric.compute_map(twice, coco) == once


@pytest.mark.parametrize("found", [[], [detection(7, [], [], [])]])
def test_no_detection_gives_zero(json_file, found):
    result = coco_metric.compute_map(found, coco_metric.create_coco(json_file))
    assert result["COCO/AP"] == 0


def test_only_predicted_judges_no_other_image(json_file):
    coco = coco_metric.create_coco(json_file)
    found = [detection(8, [[0.5, 10 / 240, 440 / 480, 130 / 240]], [1], [1])]
    assert coco_metric.compute_map(found, coco)["COCO/AP"] < 1
    part = coco_metric.compute_map(found, coco, only_predicted=True)
    assert part["COCO/AP"] == pytest.approx(1)


def test_an_image_that_the_json_lacks_is_named(json_file):
    coco = coco_metric.create_coco(json_file)
    stranger = dict(detection(7, [], [], []), source_id=12345)
    with pytest.raises(ValueError, match="1 detected images .* id 12345"):
        coco_metric.compute_map([stranger], coco)


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "cannot read .*x.json"),
        ("{", "cannot read .*x.json"),
        ("[1, 2]", "x.json is no COCO instances json: no list of images"),
        ('{"images": [], "annotations": []}', "no list of categories"),
        ('{"images": [{}], "annotations": [], "categories": []}', "entry is wrong"),
    ],
)
def test_a_file_that_is_no_coco_json_is_named(tmp_path, text, message):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        coco_metric.create_coco(str(path))
