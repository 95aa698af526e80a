# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""COCO's figures: equal to pycocotools', right for nothing, clear about bad input."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import coco_metric
from dataset import categories

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


def test_boxes_that_are_not_finite_are_left_out():
    found = {
        "source_id": 7,
        "raw_shape": [100, 200, 3],
        "boxes": np.array([[0.1, 0.2, 0.5, 0.4], [0, 0, np.inf, 1], [0, np.nan, 1, 1]]),
        "scores": np.array([0.5, 0.9, 0.9]),
        "classes": np.array([1, 1, 1]),
    }
    rows = coco_metric.collect([found])[7]
    np.testing.assert_allclose(rows, [[7, 40, 10, 40, 40, 0.5, 1]])


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


def test_each_category_has_its_own_result(json_file):
    coco = coco_metric.create_coco(json_file)
    rows = coco_metric.collect(some_detections())
    judgement = coco_metric.judge(rows, coco)
    results = {category.id: category for category in judgement.categories}
    assert list(results) == list(categories.COCO.names)
    # Of two persons one is found; the third detection lies in the crowd.
    assert results[1].name == "person"
    assert (results[1].boxes, results[1].detections) == (2, 3)
    # Class 80's box is 0.27 x 0.12 instead of 0.25 x 0.1: IoU 0.77, right up to 0.75.
    assert results[90].ap50 == pytest.approx(1)
    assert results[90].ap == pytest.approx(0.6)
    assert (results[2].ap, results[2].ap50, results[2].boxes) == (-1, -1, 0)
    known = [category.ap for category in judgement.categories if category.boxes]
    assert np.mean(known) == pytest.approx(judgement.figures["COCO/AP"])
    assert judgement.precision.shape == (10, 101, 80)


def test_matches_tell_right_from_false_and_found_from_missed(json_file):
    coco = coco_metric.create_coco(json_file)
    found = [
        # A second one on the same person is false; a dog is, too.
        detection(7, [[0.1, 0.1, 0.4, 0.4]] * 3, [0.9, 0.8, 0.7], [1, 1, 17]),
        detection(8, [[0, 0, 0.1, 0.3]], [0.6], [1]),
        detection(9, [[0, 0, 0.5, 0.5]], [0.5], [3]),
    ]
    images = coco_metric.judge(coco_metric.collect(found), coco).images
    assert images[7].is_right.tolist() == [True, False, False]
    assert images[7].is_ignored.tolist() == [False] * 3
    assert dict(zip(images[7].gt_ids, images[7].gt_scores)) == {
        1: pytest.approx(0.9),
        2: 0,
    }
    # In the crowd, which is no box to find.
    assert images[8].is_ignored.tolist() == [True]
    assert (images[8].gt_ids, images[8].gt_scores) == ([3], [0])
    assert images[9].is_right.tolist() == images[9].is_ignored.tolist() == [False]


def test_an_annotation_id_that_stands_for_two_is_refused(json_file):
    with open(json_file) as file:
        dataset = json.load(file)
    dataset["annotations"][2]["id"] = 2
    with open(json_file, "w") as file:
        json.dump(dataset, file)
    message = "1 ids stand for several annotations, the first is 2; number all"
    with pytest.raises(ValueError, match=message):
        coco_metric.create_coco(json_file)


def test_annotation_ids_may_be_negative(json_file):
    with open(json_file) as file:
        dataset = json.load(file)
    expected = coco_metric.judge(
        coco_metric.collect(some_detections()), coco_metric.create_coco(json_file)
    )
    for entry in dataset["annotations"]:
        entry["id"] = -entry["id"]
    with open(json_file, "w") as file:
        json.dump(dataset, file)
    found = coco_metric.judge(
        coco_metric.collect(some_detections()), coco_metric.create_coco(json_file)
    )
    assert found.figures == expected.figures
    for image_id, matches in expected.images.items():
        assert found.images[image_id].is_right.tolist() == matches.is_right.tolist()


def test_area_and_iscrowd_may_be_left_out_of_the_json(json_file):
    with open(json_file) as file:
        dataset = json.load(file)
    expected = coco_metric.compute_map(
        some_detections(), coco_metric.create_coco(json_file)
    )
    for entry in dataset["annotations"]:
        del entry["area"]
        if not entry["iscrowd"]:
            del entry["iscrowd"]
    with open(json_file, "w") as file:
        json.dump(dataset, file)
    coco = coco_metric.create_coco(json_file)
    assert coco_metric.compute_map(some_detections(), coco) == expected


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "cannot read .*x.json"),
        ("{", "cannot read .*x.json"),
        ("[1, 2]", "x.json is no COCO instances json: no list of images"),
        ('{"images": [], "annotations": []}', "no list of categories"),
        ('{"images": [{}], "annotations": [], "categories": []}', "entry is wrong"),
        (
            '{"images": [], "annotations": [{"id": 1, "image_id": 1, '
            '"category_id": 1}], "categories": []}',
            "entry is wrong: KeyError\\('bbox'\\)",
        ),
    ],
)
def test_a_file_that_is_no_coco_json_is_named(tmp_path, text, message):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        coco_metric.create_coco(str(path))
