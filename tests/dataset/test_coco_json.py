# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""A COCO json is read without its outlines, or refused in a line that names it."""

import json

import pytest

from dataset import coco_json


def test_a_json_is_read_without_its_outlines(tmp_path):
    annotation = {"id": 1, "image_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4]}
    outlined = dict(annotation, segmentation=[[1, 2, 4, 2, 4, 6]])
    dataset = {"images": [{"id": 5}], "categories": [{"id": 2, "name": "é"}]}
    path = tmp_path / "val.json"
    path.write_text(json.dumps(dict(dataset, annotations=[outlined])))
    assert coco_json.load(str(path)) == dict(dataset, annotations=[annotation])


@pytest.mark.parametrize(
    "text, message",
    [
        ("[" * 100000, "^cannot read .*/x.json: its lists and objects are nested too"),
        ("[1, 2]", "/x.json is not a COCO instances json: it has no list of images$"),
        ('{"images": [], "annotations": []}', "it has no list of categories$"),
        ('{"images": [], "annotations": {}}', "it has no list of annotations$"),
        ('{"images": [1]}', "/x.json: an entry of images is not an object: 1$"),
    ],
)
def test_a_file_that_is_not_a_coco_json_is_named(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        coco_json.load(str(path))
    assert "\n" not in str(caught.value)
