# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The built-in sample: drawn pictures, their json and their records."""

import json
import os

import numpy as np
import pytest
from PIL import Image

import commands
import make_sample_dataset
from dataset import categories


@pytest.mark.slow
def test_a_sample_is_drawn_once(tmp_path):
    # A link to an empty folder stays, and the sample gets there.
    (tmp_path / "disk").mkdir()
    (tmp_path / "sample").symlink_to(tmp_path / "disk")
    flags = [f"--output_dir={tmp_path / 'sample'}"]
    assert commands.run("make_sample_dataset.py", flags, "/").returncode == 0
    assert sorted(os.listdir(str(tmp_path))) == ["disk", "sample"]
    sample = tmp_path / "disk"
    # The pictures are always the same.
    dataset = json.loads((sample / "instances_train2017.json").read_text())
    first = {"id": 1, "image_id": 1, "category_id": 37, "iscrowd": 0}
    first.update(bbox=[168, 173, 174, 216], area=29532)
    assert dataset["annotations"][0] == first
    names = {c["id"]: c["name"] for c in dataset["categories"]}
    assert names == categories.COCO.names
    assert len(dataset["images"]) == 400
    assert len(list((sample / "images" / "val2017").iterdir())) == 80
    for image in dataset["images"]:
        path = sample / "images" / "train2017" / image["file_name"]
        with Image.open(str(path)) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (image["width"], image["height"])
    numbers = [annotation["image_id"] for annotation in dataset["annotations"]]
    counts = np.unique(numbers, return_counts=True)[1]
    assert (len(counts), counts.min(), counts.max()) == (400, 1, 4)
    records = [sample / "train2017-00003-of-00004.tfrecord"]
    records.append(sample / "val2017-00001-of-00002.tfrecord")
    times = [os.stat(str(path)).st_mtime_ns for path in records]

    result = commands.run("make_sample_dataset.py", flags, "/")
    assert (result.returncode, result.stderr) == (0, "")
    assert "the sample exists already" in result.stdout
    assert [os.stat(str(path)).st_mtime_ns for path in records] == times


@pytest.mark.slow
def test_boxes_fit_the_shapes_to_the_pixel():
    seed = np.random.randint(2**31)
    print("seed", seed)
    random = np.random.RandomState(seed)
    kinds, sizes = set(), set()
    for _ in range(15):
        pixels, objects = make_sample_dataset.draw(random)
        height, width = pixels.shape[:2]
        assert height != width
        sizes.add((height, width))
        for category_id, (x, y, w, h), area in objects:
            kinds.add(category_id)
            assert 0 <= x and x + w <= width and 0 <= y and y + h <= height
            assert w * h * 0.4 < area < w * h * 0.9
            # Every row and column of the box contains a part of the object, whose color
            # differs from the background by more than the noise (6). The frame around
            # the box does not.
            inside = pixels[y : y + h, x : x + w].astype(int)
            border = border_of(pixels.astype(int), x - 1, y - 1, x + w, y + h)
            distance = np.abs(inside[:, :, None] - border.mean(0)).max(axis=(2, 3))
            assert (distance.max(axis=1) > 30).all()
            assert (distance.max(axis=0) > 30).all()
            assert np.abs(border - border.mean(0)).max() < 60
    assert kinds == set(make_sample_dataset.SHAPES)
    assert len(sizes) > 10


def border_of(pixels, left, top, right, bottom):
    """Colors along the frame of a box, [pixels, 3], inside the image."""
    height, width = pixels.shape[:2]
    rows = slice(max(top, 0), bottom + 1)
    columns = slice(max(left, 0), right + 1)
    parts = [pixels[rows, x] for x in (left, right) if 0 <= x < width]
    parts += [pixels[y, columns] for y in (top, bottom) if 0 <= y < height]
    return np.concatenate(parts)


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--output_dir={}/file", "/file: "),
        ("--output_dir={}/file/s", "/file/s: "),
        ("--output_dir={}", " is not empty; name a new folder"),
        ("--output_dir={}/coco", " is not empty; name a new folder"),
        ("--output_dir=", "--output_dir is missing"),
    ],
    ids="file below_a_file other_folder coco no_folder".split(),
)
def test_a_bad_flag_is_one_line_and_changes_nothing(tmp_path, flag, message):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "instances_val2017.json").write_text("mine")
    flags = [flag.format(tmp_path)]
    assert message in commands.fail("make_sample_dataset.py", flags, "/")
    assert sorted(os.listdir(str(tmp_path))) == ["coco", "file"]
    assert os.listdir(str(tmp_path / "coco")) == ["instances_val2017.json"]
    assert (tmp_path / "file").read_text() == "mine"
