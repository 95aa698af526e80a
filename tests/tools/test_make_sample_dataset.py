# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The built-in sample: drawn pictures, their json and their records."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
from PIL import Image

import make_sample_dataset
from dataset import categories

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, "tools", "make_sample_dataset.py")


def make(folder, *flags):
    return subprocess.run(
        [sys.executable, TOOL, f"--output_dir={folder}", "--num_train=6", "--num_val=3"]
        + list(flags),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=200,
    )


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_same_seed_same_bytes_and_another_seed_other_pictures(tmp_path):
    for name, flags in (("a", []), ("b", []), ("c", ["--seed=5"])):
        assert make(tmp_path / name, *flags).returncode == 0
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert first["instances_val2017.json"] != other["instances_val2017.json"]
    assert "train2017-00000-of-00004.tfrecord" in first
    assert "val2017-00001-of-00002.tfrecord" in first
    # Nothing else is left in the parent folder.
    assert sorted(os.listdir(str(tmp_path))) == ["a", "b", "c"]


def test_json_describes_the_pictures(tmp_path):
    make(tmp_path / "s")
    with open(str(tmp_path / "s" / "instances_train2017.json")) as file:
        dataset = json.load(file)
    names = {c["id"]: c["name"] for c in dataset["categories"]}
    assert names == categories.COCO.names
    assert len(dataset["images"]) == 6
    for image in dataset["images"]:
        path = tmp_path / "s" / "images" / "train2017" / image["file_name"]
        with Image.open(str(path)) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (image["width"], image["height"])
        boxes = [a for a in dataset["annotations"] if a["image_id"] == image["id"]]
        assert 1 <= len(boxes) <= 4


def test_boxes_fit_the_shapes_to_the_pixel():
    seed = np.random.randint(2**31)
    print("seed", seed)
    random = np.random.RandomState(seed)
    kinds, sizes = set(), set()
    for _ in range(40):
        pixels, objects = make_sample_dataset.draw(random)
        height, width = pixels.shape[:2]
        assert height != width
        sizes.add((height, width))
        for category_id, (x, y, w, h), area in objects:
            kinds.add(category_id)
            assert 0 <= x and x + w <= width and 0 <= y and y + h <= height
            assert w * h * 0.4 < area < w * h * 0.9
            # Every row and column of the box holds some of the object, whose color
            # differs from the background by more than its noise (6); the frame
            # around the box holds none.
            inside = pixels[y : y + h, x : x + w].astype(int)
            border = border_of(pixels.astype(int), x - 1, y - 1, x + w, y + h)
            distance = np.abs(inside[:, :, None] - border.mean(0)).max(axis=(2, 3))
            assert (distance.max(axis=1) > 30).all()
            assert (distance.max(axis=0) > 30).all()
            assert np.abs(border - border.mean(0)).max() < 60
    assert kinds == set(make_sample_dataset.SHAPES)
    assert len(sizes) > 30


def border_of(pixels, left, top, right, bottom):
    """Colors along the frame of a box, [pixels, 3], where it lies in the image."""
    height, width = pixels.shape[:2]
    rows = slice(max(top, 0), bottom + 1)
    columns = slice(max(left, 0), right + 1)
    parts = [pixels[rows, x] for x in (left, right) if 0 <= x < width]
    parts += [pixels[y, columns] for y in (top, bottom) if 0 <= y < height]
    return np.concatenate(parts)


def test_a_finished_sample_is_kept_as_it_is(tmp_path):
    make(tmp_path / "s")
    before = digests(tmp_path / "s")
    result = make(tmp_path / "s")
    assert result.returncode == 0
    assert "the sample is there" in result.stdout
    assert digests(tmp_path / "s") == before


def test_a_link_to_an_empty_folder_gets_the_sample(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "s").symlink_to(tmp_path / "disk")
    assert make(tmp_path / "s").returncode == 0
    assert (tmp_path / "s").is_symlink()
    assert (tmp_path / "disk" / "sample.json").is_file()


def test_a_file_of_that_name_or_above_it_is_one_line(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in ("file", "file/s"):
        result = make(tmp_path / folder)
        assert result.returncode == 2
        assert len(result.stderr.splitlines()) == 1
        assert f"--output_dir={tmp_path / folder}" in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_a_seed_that_numpy_does_not_take_is_one_line(tmp_path):
    result = make(tmp_path / "s", f"--seed={2**32}")
    assert result.returncode == 2
    assert "--seed=4294967296" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    result = make(tmp_path / "mine")
    assert result.returncode == 2
    assert "holds something else; name another folder" in result.stderr
    assert os.listdir(str(tmp_path / "mine")) == ["notes.txt"]
