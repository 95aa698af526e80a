# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""COCO's figures equal pycocotools'; without detections they are zero."""

import json
import pathlib

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import coco_metric
from dataset import box_rules, categories

# Height, width. Image 9 has no ground truth.
IMAGES = {7: (200, 300), 8: (480, 240), 9: (100, 150)}


def dataset_of(**changes):
    """A COCO json with two boxes in image 7, and a box and a crowd in image 8.

    Each of the changes replaces a value of annotation 3.
    """
    boxes = [
        (7, 1, [30, 20, 90, 60], 0),
        (7, 90, [150, 100, 30, 50], 0),
        (8, 1, [10, 240, 120, 200], 0),
        (8, 1, [0, 0, 100, 90], 1),
    ]
    names = ("image_id", "category_id", "bbox", "iscrowd")
    annotations = [
        dict(zip(names, values), id=number, area=values[2][2] * values[2][3])
        for number, values in enumerate(boxes, 1)
    ]
    annotations[2].update(changes)
    return {
        "images": [{"id": i, "height": h, "width": w} for i, (h, w) in IMAGES.items()],
        "annotations": annotations,
        "categories": categories.COCO.entries(),
    }


@pytest.fixture
def coco():
    return coco_metric.to_coco(dataset_of())


def prediction(image_id, boxes, scores, classes):
    return {
        "source_id": image_id,
        "raw_shape": [*IMAGES[image_id], 3],
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "classes": np.array(classes, np.int32),
    }


# The box of image 8 that is not a crowd, ltrb.
BOX_OF_8 = [0.5, 10 / 240, 440 / 480, 130 / 240]
PREDICTIONS = [
    # The right box of class 1; class 80 is category 90, a little off.
    prediction(7, [[0.1, 0.1, 0.4, 0.4], [0.48, 0.5, 0.75, 0.62]], [0.9, 0.8], [1, 80]),
    prediction(8, [[0.5, 0.05, 0.9, 0.5], [0, 0, 0.1, 0.3]], [0.7, 0.6], [1, 1]),
    prediction(9, [], [], []),
]


def found_in(predictions):
    return {p["source_id"]: coco_metric.to_detections(p) for p in predictions}


def test_boxes_become_xywh_in_pixels_and_infinite_ones_are_left_out():
    boxes = [[0.1, 0.2, 0.5, 0.4], [0, 0, np.inf, 1], [0, np.nan, 1, 1]]
    found = coco_metric.to_detections(prediction(7, boxes, [0.5, 1, 1], [80, 1, 1]))
    assert found.image_id == 7
    np.testing.assert_allclose(found.boxes_xywh, [[60, 20, 60, 80]], rtol=1e-6)
    assert found.scores.tolist() == [0.5]
    assert found.category_ids.tolist() == [90]


def test_figures_equal_pycocotools_on_the_same_detections(tmp_path):
    path = tmp_path / "val.json"
    path.write_text(json.dumps(dataset_of()))
    coco = coco_metric.create_coco(str(path))
    figures = coco_metric.compute_map(PREDICTIONS, coco)
    results = []
    for p in PREDICTIONS:
        height, width = p["raw_shape"][:2]
        for box, score, number in zip(
            p["boxes"].astype(float), p["scores"], p["classes"]
        ):
            ymin, xmin, ymax, xmax = box * [height, width, height, width]
            results.append(
                {
                    "image_id": p["source_id"],
                    "category_id": categories.COCO.category_of_class(number),
                    "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                    "score": float(score),
                }
            )
    truth = COCO(str(path))
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert list(figures) == coco_metric.METRIC_NAMES
    assert list(figures.values()) == evaluation.stats.tolist()
    assert 0 < figures["COCO/AP"] < 1
    # Neither the order of the images nor predicting one twice matters.
    again = PREDICTIONS[::-1] + PREDICTIONS
    assert coco_metric.compute_map(again, coco) == figures


@pytest.mark.parametrize("predictions", [[], PREDICTIONS[2:]])
def test_without_detections_ap_is_zero(coco, predictions):
    assert coco_metric.compute_map(predictions, coco)["COCO/AP"] == 0


def test_only_predicted_leaves_the_other_images_out(coco):
    found = found_in([prediction(8, [BOX_OF_8], [1], [1])])
    assert coco_metric.judge(found, coco).figures["COCO/AP"] < 1
    judgement = coco_metric.judge(found, coco, only_predicted=True)
    assert judgement.figures["COCO/AP"] == pytest.approx(1)
    assert judgement.image_ids == [8]


def test_an_image_that_the_json_lacks_is_named(coco):
    stranger = dict(PREDICTIONS[2], source_id=12345)
    with pytest.raises(ValueError, match="1 detected images .* id 12345"):
        coco_metric.compute_map([stranger], coco)


def test_each_category_has_its_own_result(coco):
    judgement = coco_metric.judge(found_in(PREDICTIONS), coco)
    results = {category.id: category for category in judgement.categories}
    assert list(results) == list(categories.COCO.names)
    # One of two persons is found; the third detection lies in the crowd.
    assert results[1].name == "person"
    assert (results[1].boxes, results[1].detections) == (2, 3)
    # Class 80's box is 0.27 x 0.12 instead of 0.25 x 0.1: IoU 0.77, right up to 0.75.
    assert results[90].ap50 == pytest.approx(1)
    assert results[90].ap == pytest.approx(0.6)
    assert (results[2].ap, results[2].ap50, results[2].boxes) == (-1, -1, 0)
    known = [category.ap for category in judgement.categories if category.boxes]
    assert np.mean(known) == pytest.approx(judgement.figures["COCO/AP"])
    assert judgement.precision.shape == (10, 101, 80)


def test_verdicts_tell_right_from_false_and_found_from_missed(coco):
    predictions = [
        # A second detection of the same person is false, and so is a dog.
        prediction(7, [[0.1, 0.1, 0.4, 0.4]] * 3, [0.9, 0.8, 0.7], [1, 1, 17]),
        # In the crowd, which is not a box to find.
        prediction(8, [[0, 0, 0.1, 0.3]], [0.6], [1]),
        prediction(9, [[0, 0, 0.5, 0.5]], [0.5], [3]),
    ]
    judgement = coco_metric.judge(found_in(predictions), coco)
    assert {i: verdicts.tolist() for i, verdicts in judgement.verdicts.items()} == {
        7: [coco_metric.RIGHT, coco_metric.FALSE, coco_metric.FALSE],
        8: [coco_metric.IGNORED],
        9: [coco_metric.FALSE],
    }
    assert judgement.gt_scores == {1: pytest.approx(0.9), 2: 0, 3: 0}


def test_area_and_iscrowd_may_be_missing_and_ids_negative(coco):
    expected = coco_metric.judge(found_in(PREDICTIONS), coco)
    dataset = dataset_of()
    for entry in dataset["annotations"]:
        entry["id"] = -entry["id"]
        del entry["area"]
        if not entry["iscrowd"]:
            del entry["iscrowd"]
    judgement = coco_metric.judge(found_in(PREDICTIONS), coco_metric.to_coco(dataset))
    assert judgement.figures == expected.figures
    for image_id, verdicts in expected.verdicts.items():
        assert judgement.verdicts[image_id].tolist() == verdicts.tolist()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"id": 2}, "1 ids stand for several annotations, the first is 2; num"),
        ({"id": True}, "id True is not a whole"),
        ({"category_id": "1"}, "is wrong: category_id must be a number"),
        ({"image_id": [1]}, "is wrong: image_id must be a number"),
        ({"bbox": [1, 2, 3]}, r"is wrong: bbox \[1, 2, 3\] is not a list of four num"),
        ({"bbox": None}, "is wrong: bbox None is not a list of four numbers"),
        ({"bbox": [1, 2, "3", 4]}, r"is wrong: bbox \[1, 2, '3', 4\] is not a list"),
        ({"area": float("nan")}, "'id': 3.*: area nan is not a number of pixels"),
        ({"area": "big"}, "area 'big' is not a number of pixels"),
        ({"area": 10**400}, "000 is not a number of pixels"),
        ({"iscrowd": 2}, "'id': 3.*: iscrowd 2 is neither 0 nor 1"),
    ],
)
def test_an_annotation_that_pycocotools_cannot_count_is_refused(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        coco_metric.to_coco(dataset_of(**changes))
    assert "\n" not in str(caught.value)


# Annotation 3 is of image 8, which has 240 x 480 pixels.
@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"bbox": [10, 240, 120, 0]}, box_rules.NO_SIZE),
        ({"bbox": [10, 240, 0.004, 200]}, box_rules.NO_SIZE),
        ({"bbox": [130, 440, -120, -200]}, box_rules.NO_SIZE),
        ({"bbox": [240, 240, 120, 200]}, box_rules.NO_SIZE),
        ({"bbox": [-130, 240, 120, 200]}, box_rules.NO_SIZE),
        ({"bbox": [10, 240, float("nan"), 200]}, box_rules.NO_SIZE),
        ({"bbox": [10, 240, float("inf"), 200]}, box_rules.NO_SIZE),
        ({"bbox": [10**400, 240, 120, 200]}, box_rules.NO_SIZE),
        ({"image_id": 10}, box_rules.UNKNOWN_IMAGE),
        ({"image_id": 2**60}, box_rules.UNKNOWN_IMAGE),
        ({"category_id": -1}, box_rules.UNKNOWN_CATEGORY),
        ({"category_id": 2**60}, box_rules.UNKNOWN_CATEGORY),
        ({"category_id": 1.5}, box_rules.UNKNOWN_CATEGORY),
    ],
)
def test_a_box_that_does_not_count_is_left_out(changes, reason):
    coco = coco_metric.to_coco(dataset_of(**changes))
    assert {r: [a["id"] for a in left] for r, left in coco.faulty.items()} == {
        reason: [3]
    }
    # Both other boxes are found; the box that was left out is not missed.
    predictions = [
        prediction(7, [[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.75, 0.6]], [1, 1], [1, 80])
    ]
    figures = coco_metric.compute_map(predictions, coco)
    assert figures["COCO/AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox": [10, 240, 120, 0.01]},  # the smallest that COCO can write
        {"bbox": [-10, 240, 140, 200]},  # clipped by the converter
        {"category_id": 1.0, "image_id": 8.0, "id": 3.0, "iscrowd": "0"},
    ],
)
def test_a_box_that_counts_is_kept_as_it_is(tmp_path, changes):
    (tmp_path / "x.json").write_text(json.dumps(dataset_of(**changes)))
    coco = coco_metric.create_coco(str(tmp_path / "x.json"))
    assert len(coco.anns) == 4
    assert coco.anns[3]["bbox"] == changes.get("bbox", [10, 240, 120, 200])


def set_all(**values):
    def change(dataset):
        for annotation in dataset["annotations"]:
            annotation.update(values)

    return change


def in_fractions(dataset):
    sizes = {image["id"]: image for image in dataset["images"]}
    for annotation in dataset["annotations"]:
        size = sizes[annotation["image_id"]]
        width, height = size["width"], size["height"]
        scales = (width, height, width, height)
        annotation["bbox"] = [x / s for x, s in zip(annotation["bbox"], scales)]


def as_corners(dataset):
    dataset["annotations"].append(dict(dataset["annotations"][1], id=5))
    for annotation in dataset["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x, y, x + width, y + height]


@pytest.mark.parametrize(
    "change, message",
    [
        (in_fractions, r"x.json: all 4 boxes lie within 0..1, such as \[0.1, 0.1, "),
        (as_corners, "x.json: 3 of 5 boxes reach out of their images, such as"),
        (set_all(iscrowd=1), "x.json: no box counts: there are 4 crowd boxes"),
        (set_all(bbox=[5, 5, 0, 9]), "no box counts: there are 4 boxes of no size"),
        (set_all(category_id=-1), "no box counts: there are 4 boxes of a category"),
        (set_all(image_id=1), "no box counts: there are 4 boxes of an image that"),
    ],
)
def test_a_json_in_which_no_box_counts_is_refused(tmp_path, change, message):
    dataset = dataset_of()
    change(dataset)
    (tmp_path / "x.json").write_text(json.dumps(dataset))
    with pytest.raises(ValueError, match=message) as caught:
        coco_metric.create_coco(str(tmp_path / "x.json"))
    assert "\n" not in str(caught.value)


def test_an_area_that_is_not_positive_is_that_of_the_box(coco):
    dataset = dataset_of()
    for annotation, area in zip(dataset["annotations"], (0, -5, -0.0, -1e9)):
        annotation["area"] = area
    other = coco_metric.to_coco(dataset)
    assert [a["id"] for a in other.faulty[box_rules.NO_AREA]] == [1, 2, 3, 4]
    expected = coco_metric.compute_map(PREDICTIONS, coco)
    assert coco_metric.compute_map(PREDICTIONS, other) == expected


def test_boxes_without_size_do_not_lower_the_figures():
    # Detections of a trained model in eight images of the sample dataset.
    path = pathlib.Path(__file__).parent / "data" / "sample_detections.json"
    sample = json.loads(path.read_text())
    sizes = {int(image_id): size for image_id, size in sample["sizes"].items()}
    rows = np.array(sample["detections"])
    found = {
        i: coco_metric.Detections(i, own[:, 2:6], own[:, 6], own[:, 1].astype(np.int64))
        for i in sizes
        for own in [rows[rows[:, 0] == i]]
    }

    def figures(boxes):
        names = ("image_id", "category_id", "bbox")
        dataset = {
            "images": [dict(id=i, width=w, height=h) for i, (w, h) in sizes.items()],
            "annotations": [dict(zip(names, b), id=i) for i, b in enumerate(boxes, 1)],
            "categories": categories.COCO.entries(),
        }
        return coco_metric.judge(found, coco_metric.to_coco(dataset)).figures

    boxes = [(row[0], row[1], row[2:]) for row in sample["boxes"]]
    expected = figures(boxes)
    assert expected["COCO/AP"] == pytest.approx(0.653, abs=0.0005)
    flat = [(i, c, [x, y, width, 0]) for i, c, (x, y, width, _) in boxes]
    turned = [(i, c, [x + w, y + h, -w, -h]) for i, c, (x, y, w, h) in boxes]
    assert figures(boxes + flat + turned) == expected
