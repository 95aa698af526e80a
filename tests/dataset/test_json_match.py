# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which records contradict the json's entry of their id."""

import numpy as np
import pytest

from console.errors import UserError
from dataset import json_match, record_rules

# Of 80 x 60 pixels.
RECORD = record_rules.Record(
    [],
    height_width=(60, 80),
    image_id=7,
    boxes=np.array([[0.1, 0.1, 0.5, 0.5], [0.5, 0.25, 1, 0.75]], np.float32),
    labels=[3, 18],
)
IMAGE = {"id": 7, "width": 80, "height": 60, "file_name": "a.jpg"}
BOXES = [
    {"category_id": 3, "bbox": [8, 6, 32, 24]},
    {"category_id": 18, "bbox": [20, 30, 40, 30]},
]
# Changed boxes: the first has an IoU of 0.74 with the old one, the second 0.05.
CORRECTED = [
    {"category_id": 3, "bbox": [9, 8, 34, 22]},
    {"category_id": 18, "bbox": [50, 40, 30, 20]},
]
OTHERS = [{"category_id": 3, "bbox": [50, 6, 20, 24]}]
EXCHANGED = [dict(BOXES[0], category_id=18), dict(BOXES[1], category_id=3)]
NO_BOX = ": the json has 0 of the 2 boxes"
NO_BOXES = RECORD._replace(boxes=np.zeros([0, 4], np.float32), labels=[])


@pytest.mark.parametrize(
    "record, image, annotations, kind, text",
    [
        (RECORD, IMAGE, BOXES, None, None),
        (RECORD, dict(IMAGE, file_name="b.jpg"), BOXES[1:], None, None),
        (RECORD, IMAGE, CORRECTED, None, None),
        (NO_BOXES, IMAGE, BOXES, None, None),
        (RECORD, {"id": 7}, BOXES, None, None),
        (RECORD, dict(IMAGE, width="80", height=0), BOXES, None, None),
        (RECORD, None, [], json_match.NO_ID, ""),
        (
            RECORD,
            dict(IMAGE, width=60, height=80),
            BOXES,
            json_match.OTHER_SIZE,
            ": it has 80 x 60 pixels, 60 x 80 in the json (exchanged)",
        ),
        (RECORD, IMAGE, OTHERS, json_match.OTHER_BOXES, NO_BOX),
        (RECORD, IMAGE, EXCHANGED, json_match.OTHER_BOXES, NO_BOX),
        (RECORD, IMAGE, [], json_match.OTHER_BOXES, NO_BOX),
    ],
)
def test_a_record_contradicts_the_json_if_it_is_of_another_image(
    record, image, annotations, kind, text
):
    found = json_match.contradiction(record, image, annotations)
    assert found == (kind and (kind, f"image 7{text}"))


def test_contradictions_are_logged_or_in_more_than_half_of_the_images_refused(caplog):
    found = [("ids", "image 5"), ("sizes", "image 6"), ("ids", "image 8")]
    line = (
        "--val_json_file contradicts 3 of {} compared images: 2 ids (image 5); 1 sizes"
    )
    json_match.check_all(found + [None] * 3)
    assert caplog.text.count(line.format(6)) == 1
    with pytest.raises(UserError) as error:
        json_match.check_all(found + [None] * 2)
    assert str(error.value).startswith(line.format(5))
