# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Category ids to classes and back."""

import json

import pytest

from dataset import categories


def test_classes_are_the_ids_in_ascending_order_and_the_lookups_are_inverse():
    assert categories.COCO.num_classes == 81
    # COCO does not use the last three ids.
    ids = (1, 11, 13, 90, 12, 91, -3)
    classes = [categories.COCO.class_of_category(i) for i in ids]
    assert classes == [1, 11, 12, 80, 0, 0, 0]
    for number in range(1, 81):
        category_id = categories.COCO.category_of_class(number)
        assert categories.COCO.class_of_category(category_id) == number
    for number in (0, 81):
        with pytest.raises(ValueError, match="1..80"):
            categories.COCO.category_of_class(number)


def write(tmp_path, dataset):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(dataset))
    return str(path)


def test_own_categories_are_numbered_in_the_order_of_their_ids(tmp_path):
    entries = [{"id": 7, "name": "nut"}, {"id": 3, "name": "bolt"}]
    path = write(tmp_path, {"categories": entries})
    labels = categories.read_label_map(path)
    assert labels.num_classes == 3
    assert labels.names == {3: "bolt", 7: "nut"}
    assert [labels.class_of_category(i) for i in (0, 3, 5, 7)] == [0, 1, 0, 2]
    assert [labels.category_of_class(number) for number in (1, 2)] == [3, 7]


def test_categories_of_another_name_are_found():
    entries = [
        {"id": 1, "name": "Person"},
        {"id": 4, "name": "motor_cycle"},
        {"id": 3, "name": "dog"},
        {"id": 5},
        {"id": 500, "name": "not in the map"},
    ]
    assert categories.COCO.other_names(entries) == [
        "category 3 is 'dog' there, 'car' in the label map"
    ]


@pytest.mark.parametrize(
    "dataset, message",
    [
        ([], "no list"),
        ({"categories": []}, "no list"),
        ({"categories": [{"id": "3", "name": "bolt"}] * 9}, r"as name \(and 8 more\)$"),
        ({"categories": [{"id": True, "name": "bolt"}]}, "needs a whole number"),
        ({"categories": [{"id": 3}]}, "needs a whole number as id and a text"),
        ({"categories": [{"id": -1, "name": "bolt"}]}, "-1 is not within"),
        ({"categories": [{"id": 3, "name": "a"}] * 2}, "id 3 occurs twice"),
    ],
)
def test_a_label_map_that_is_not_valid_is_refused(tmp_path, dataset, message):
    with pytest.raises(ValueError, match=message):
        categories.read_label_map(write(tmp_path, dataset))


@pytest.mark.parametrize("name", ["none.json", "none.pbtxt"])
def test_a_label_map_that_is_missing_is_named(name):
    with pytest.raises(ValueError, match=f"cannot read {name}: No such file or direc"):
        categories.read_label_map(name)


# A comment, both kinds of quotes, escapes of characters and of UTF-8's bytes, strings
# in parts, all separators, and fields that are skipped.
_PBTXT = """# classes: 红
item {
  id: 7  # seven
  name: 'worker\\'s "hat"'
}
item: < id: 3; name: "/m/01g317", display_name: "per" 'son'
  keypoints { id: 1 label: "}" } ancestor_ids: 1 frequency: RARE >
item{id:5 name:"\\347\\272\\242\\xe7\\xbb\\x86胞" display_name: "red cell"}
item { id: 9 display_name: 'dog' }
item { id: 0 name: 'background' }
"""


def test_a_label_map_of_the_object_detection_api_is_read(tmp_path):
    path = tmp_path / "label_map.pbtxt"
    path.write_bytes(_PBTXT.replace("\n", "\r\n").encode("utf-8-sig"))
    assert categories.read_label_map(str(path)).names == {
        3: "person",
        5: "红细胞",
        7: 'worker\'s "hat"',
        9: "dog",
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "it has no items like item { id: 1"),
        ("person\ncat\n", "line 2:1 : "),
        ('item { id: 1\n name: "cat }', "line 2:"),
        ("item { id: 1 id: 2 }", 'multiple "id" fields'),
        ("item { name: 'a' }", "category {'id': None, 'name': 'a'} needs a whole"),
        ('{"categories": [{"id": 1, "name": "a"}]}', "line 1:1 : "),
        ("%" * 10000, "%; the items of a label map are like item"),
    ],
)
def test_a_pbtxt_that_is_not_a_label_map_is_refused(tmp_path, text, message):
    path = tmp_path / "label_map.pbtxt"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        categories.read_label_map(str(path))
    assert str(path) in str(error.value) and message in str(error.value)
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)
