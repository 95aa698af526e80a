# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The built-in sample: drawn pictures, their json and their records."""

import hashlib
import json
import os

import numpy as np
import pytest
from PIL import Image

import commands
import make_sample_dataset
from dataset import categories


def make(folder, *flags):
    given = [f"--output_dir={folder}", "--num_train=6", "--num_val=3", *flags]
    return commands.run("make_sample_dataset.py", given, "/")


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Folder of a sample; tests must not change it."""
    folder = tmp_path_factory.mktemp("samples") / "sample"
    assert make(folder).returncode == 0
    # Nothing else is left in the parent folder.
    assert os.listdir(str(folder.parent)) == ["sample"]
    return folder


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_pictures(
    tmp_path, sample
):
    # A link to an empty folder stays, and the sample gets there.
    (tmp_path / "disk").mkdir()
    (tmp_path / "again").symlink_to(tmp_path / "disk")
    make(tmp_path / "again")
    make(tmp_path / "other", "--seed=5")
    first, again, other = map(digests, (sample, tmp_path / "disk", tmp_path / "other"))
    assert first == again
    assert first.keys() == other.keys()
    assert first["instances_val2017.json"] != other["instances_val2017.json"]
    assert "train2017-00000-of-00004.tfrecord" in first
    assert "val2017-00001-of-00002.tfrecord" in first


def test_the_json_describes_the_pictures(sample):
    dataset = json.loads((sample / "instances_train2017.json").read_text())
    names = {c["id"]: c["name"] for c in dataset["categories"]}
    assert names == categories.COCO.names
    assert len(dataset["images"]) == 6
    for image in dataset["images"]:
        path = sample / "images" / "train2017" / image["file_name"]
        with Image.open(str(path)) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (image["width"], image["height"])
        boxes = [a for a in dataset["annotations"] if a["image_id"] == image["id"]]
        assert 1 <= len(boxes) <= 4


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


def test_a_finished_sample_is_kept_as_it_is(sample):
    before = digests(sample)
    result = make(sample)
    assert result.returncode == 0
    assert "the sample exists already" in result.stdout
    assert digests(sample) == before


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--output_dir={}/file", "/file contains something else; choose another"),
        ("--output_dir={}/file/s", "/file/s: "),
        ("--output_dir={}", " contains something else; choose another folder"),
        (f"--seed={2**32}", "--seed=4294967296"),
        ("--output_dir=", "--output_dir is missing"),
    ],
    ids="file below_a_file other_folder seed no_folder".split(),
)
def test_a_bad_flag_is_one_line_and_changes_nothing(tmp_path, flag, message):
    (tmp_path / "file").write_text("mine")
    flags = [f"--output_dir={tmp_path / 's'}", flag.format(tmp_path)]
    assert message in commands.fail("make_sample_dataset.py", flags, "/")
    assert os.listdir(str(tmp_path)) == ["file"]
    assert (tmp_path / "file").read_text() == "mine"
