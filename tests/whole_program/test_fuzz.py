# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Damaged input of every kind: refused with a line, or left out and counted.

SSD_FUZZ_EXAMPLES sets how many damaged inputs of each kind are tried; SSD_FUZZ_SEED
repeats a failed run. Rank tables are damaged in test_rank_table.py.
"""

import copy
import json
import os
import random

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import coco_metric
import dataset_parser
import records
from console.errors import UserError
from conversion import annotations, pascal_voc
from dataset import augmentation, categories, coco_json, record_rules
from dataset.bad_records import BadRecords

EXAMPLES = int(os.environ.get("SSD_FUZZ_EXAMPLES", "150"))
GOOD = 20


@pytest.fixture
def source():
    """Random numbers whose seed is printed when a test fails."""
    seed = int(os.environ.get("SSD_FUZZ_SEED", random.randrange(10**6)))
    print("SSD_FUZZ_SEED", seed)
    return random.Random(seed)


def damaged(content, source):
    """The bytes with some flipped, cut off, doubled, or replaced."""
    content = bytearray(content)
    for _ in range(source.randint(1, 4)):
        place = source.randrange(len(content) + 1)
        kind = source.randrange(4)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << source.randrange(8)
        elif kind == 1:
            del content[place : place + source.randint(1, 40)]
        elif kind == 2:
            content[place:place] = content[place : place + source.randint(1, 40)]
        else:
            size = source.randint(1, 8)
            content[place : place + size] = bytes(source.choices(range(256), k=size))
    return bytes(content)


@pytest.fixture(scope="module")
def jpeg():
    rows, columns = np.mgrid[0:40, 0:60]
    pixels = np.stack([rows * 6, columns * 4, rows + columns], axis=-1)
    return records.encode_image(pixels.astype(np.uint8))


def draw_batches(path, count):
    """Draws from a training pipeline; returns (images drawn, records left out)."""
    bad = BadRecords(limit=10**9)
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(str(path), True, bad_records=bad)
        dataset = reader({"batch_size": 1})
        drawn = 0
        for features, labels in records.iterate(dataset, limit=count):
            assert np.isfinite(features["image"]).all()
            assert np.isfinite(labels["boxes"]).all()
            assert labels["classes"].min() >= 0 and labels["classes"].max() <= 80
            assert labels["num_matched_boxes"][0] >= 1
            drawn += 1
    return drawn, bad.count


def whole_records(jpeg, count):
    return [records.record(i, jpeg, [[0.2, 0.1, 0.7, 0.9]], [3]) for i in range(count)]


def test_damaged_records_are_left_out_and_counted(tmp_path, jpeg, source):
    good = whole_records(jpeg, GOOD)
    both = good + [damaged_outside(jpeg, good[0], source) for _ in range(EXAMPLES)]
    source.shuffle(both)
    records.write(tmp_path / "train", both)
    # As many as there are records: more than an epoch, because some are left out.
    drawn, left_out = draw_batches(tmp_path / "train", len(both))
    assert drawn == len(both)
    assert 0 < left_out <= EXAMPLES


def damaged_outside(jpeg, serialized, source):
    """The record, damaged before or behind its image."""
    before, behind = serialized.split(jpeg)
    if source.random() < 0.5:
        return damaged(before, source) + jpeg + behind
    return before + jpeg + damaged(behind, source)


def test_damaged_images_are_refused_decoded_or_named_by_tensorflow(jpeg, source):
    # The share is about 0.27; among 150 images it exceeds a third by chance.
    num_examples = max(EXAMPLES, 1500)
    with tf.Graph().as_default(), tf.Session() as session:
        encoded = tf.placeholder(tf.string, [])
        shape = tf.shape(augmentation.decode(encoded))
        counts = {"refused": 0, "decoded": 0, "undecodable": 0}
        for _ in range(num_examples):
            content = damaged(jpeg, source)
            found = record_rules.read_record(records.record(1, content))
            if found.problems:
                counts["refused"] += 1
                continue
            try:
                size = session.run(shape, {encoded: content})
                assert tuple(size) == found.height_width + (3,)
                counts["decoded"] += 1
            except tf.errors.InvalidArgumentError:
                counts["undecodable"] += 1
    # Most of the bytes of this small image are tables of its header.
    assert counts["undecodable"] < num_examples / 3, counts


def test_damaged_files_are_read_as_far_as_they_can_be(tmp_path, jpeg, source):
    records.write(tmp_path / "whole", whole_records(jpeg, GOOD))
    content = (tmp_path / "whole").read_bytes()
    num_files = max(EXAMPLES // 10, 1)
    for i in range(num_files):
        (tmp_path / f"train-{i}").write_bytes(damaged(content, source))
    (tmp_path / "train-whole").write_bytes(content)
    count = GOOD * (num_files + 1)
    drawn, left_out = draw_batches(tmp_path / "train-*", count)
    assert drawn == count
    assert left_out <= GOOD * num_files


VALUES = [None, True, -1, 0, 1e400, 10**30, "", "3", "../../etc/passwd", [], {}, "\0"]


def damaged_json(dataset, source):
    """The JSON with one value somewhere replaced or lost, or its text damaged."""
    if source.random() < 0.2:
        return damaged(json.dumps(dataset).encode(), source)
    dataset = copy.deepcopy(dataset)
    node, key = None, None
    child = dataset
    while isinstance(child, (dict, list)) and child:
        node = child
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = source.choice(list(keys))
        child = node[key]
        if source.random() < 0.2:
            break
    if source.random() < 0.2:
        del node[key]
    else:
        node[key] = source.choice(VALUES)
    return json.dumps(dataset).encode()


def test_damaged_annotations_are_refused_with_a_line(tmp_path, jpeg, source):
    (tmp_path / "a.jpg").write_bytes(jpeg)
    dataset = {
        "images": [{"id": 1, "width": 60, "height": 40, "file_name": "a.jpg"}],
        "annotations": [
            {
                **{"id": 5, "image_id": 1, "category_id": 3},
                **{"bbox": [1, 2, 30, 20], "area": 600, "iscrowd": 0},
            }
        ],
        "categories": [{"id": 3, "name": "car"}],
    }
    path = tmp_path / "val.json"
    prediction = {
        **{"source_id": 1, "raw_shape": [40, 60, 3], "scores": [0.9], "classes": [3]},
        "boxes": [[0.05, 0.03, 0.55, 0.53]],
    }
    accepted = 0
    for _ in range(10 * EXAMPLES):
        path.write_bytes(damaged_json(dataset, source))
        try:
            coco_gt = coco_metric.create_coco(str(path))
            figures = coco_metric.compute_map([prediction], coco_gt)
            assert all(-1 <= value <= 1 for value in figures.values())
        except ValueError as error:
            assert "\n" not in str(error)
        try:
            dataset_read = coco_json.load(str(path))
            entries, _ = annotations.plan(dataset_read, str(tmp_path))
            accepted += len(entries)
        except (UserError, ValueError) as error:
            assert "\n" not in str(error)
        try:
            assert categories.read_label_map(str(path)).num_classes > 1
        except ValueError as error:
            assert "\n" not in str(error)
    assert accepted > 0


XML = b"""<annotation><filename>a.jpg</filename>
<size><width>60</width><height>40</height><depth>3</depth></size>
<object><name>car</name><difficult>1</difficult>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object>
</annotation>"""


def test_damaged_xml_is_refused_with_a_line(tmp_path, source):
    path = tmp_path / "a.xml"
    accepted = 0
    for _ in range(10 * EXAMPLES):
        path.write_bytes(damaged(XML, source))
        try:
            pascal_voc.read_xml(str(path))
            accepted += 1
        except UserError:
            pass
    assert accepted > 0
