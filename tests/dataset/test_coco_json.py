# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""A COCO json is read without its outlines, or refused in a line that names it."""

import json

import pytest

from dataset import coco_json


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_json_is_read_without_its_outlines(tmp_path, encoding):
    annotation = {"id": 1, "image_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4]}
    outlined = dict(annotation, segmentation=[[1, 2, 4, 2, 4, 6]])
    dataset = {"images": [{"id": 5}], "categories": [{"id": 2, "name": "é"}]}
    path = tmp_path / "val.json"
    text = json.dumps(dict(dataset, annotations=[outlined]), ensure_ascii=False)
    path.write_text(text, encoding=encoding)
    assert coco_json.load(str(path)) == dict(dataset, annotations=[annotation])


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "^cannot read .*/x.json: No such file or directory$"),
        (b"[" * 100000, "^cannot read .*/x.json: its lists and objects are nested too"),
        (b'{"images": "\xff"}', "^cannot read .*/x.json: its text is not UTF-8"),
        (
            b"[1, 2]",
            "/x.json is not a COCO instances json: it has no list of images$",
        ),
        (b'{"images": [], "annotations": []}', "it has no list of categories$"),
        (b'{"images": [], "annotations": {}}', "it has no list of annotations$"),
    ],
)
def test_a_file_that_is_not_a_coco_json_is_named(tmp_path, content, message):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        coco_json.load(str(path))
    assert "\n" not in str(caught.value)
