# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""check_dataset.py finds each kind of fault, and nothing in a sound dataset."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import records
import tensorflow.compat.v1 as tf

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

Y, X = np.mgrid[0:90, 0:120]
JPEG = records.encode_image(np.stack([Y * 2, X * 2, X + Y], axis=-1).astype(np.uint8))
BOX = [0.1, 0.2, 0.6, 0.9]
SIZE = {"height": 90, "width": 120}


def record(number, boxes=(BOX,), labels=(18,), encoded=JPEG, **size):
    """A record that says the size of its image."""
    example = tf.train.Example.FromString(
        records.record(number, encoded, list(boxes), list(labels))
    )
    for name, value in dict(SIZE, **size).items():
        feature = example.features.feature["image/" + name]
        feature.int64_list.value[:] = [value]
    return example.SerializeToString()


CUT = JPEG[: len(JPEG) // 2]
# Where the third record starts, behind two in their framing of 16 bytes.
THIRD = len(record(1)) + len(record(2, encoded=CUT)) + 2 * 16


def write_json(path, numbers, category_ids=(18,)):
    dataset = {
        "images": [dict(SIZE, id=number) for number in numbers],
        "annotations": [{"id": i, "category_id": i} for i in category_ids],
        "categories": [{"id": 18, "name": "dog"}],
    }
    path.write_text(json.dumps(dataset))


def check(*arguments, cwd):
    return subprocess.run(
        [sys.executable, os.path.join(ROOT, "tools", "check_dataset.py"), *arguments],
        cwd=str(cwd),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Output of a check of a record for each fault, number 0 being sound."""
    folder = tmp_path_factory.mktemp("faulty")
    cases = [
        record(1),
        record(2, encoded=CUT),
        record(3, encoded=b"no picture"),
        record(4, [[0.5, 0.2, 0.4, 0.9]]),
        record(5, [[0.1, 0.2, 0.6, 1.9]]),
        record(6, [[0.1, float("nan"), 0.6, 0.9]]),
        record(7, [[0.1, 0.2, 0.6, 1.05]]),
        record(8, [[0.1, 0.2, 0.1, 0.9]]),
        record(9, [BOX, BOX], [18, 12]),
        record(10, [BOX, BOX], [18]),
        record(11, height=120, width=90),
        record(12, height=45),
        record("cat"),
        record(1),
        record(99),
        b"\xff no example",
    ]
    records.write(folder / "val-00000-of-00002", cases)
    records.write(folder / "cut", [record(20), record(21)])
    whole = (folder / "cut").read_bytes()
    (folder / "cut").write_bytes(whole[: len(whole) * 3 // 4])
    write_json(folder / "val.json", list(range(1, 13)) + [20, 55], [18, 91])
    return check("val-*", "cut", "--json=val.json", "--sheet=", cwd=folder)


@pytest.mark.parametrize(
    "line",
    [
        f"val-00000-of-00002, record 2 at byte {THIRD} (image 3) its image is neither",
        "(image 4) has box 0: ymin 0.5, xmin 0.2, ymax 0.4, xmax 0.9",
        "(image 5) has box 0: ymin 0.1, xmin 0.2, ymax 0.6, xmax 1.9",
        "(image 6) has box 0: ymin 0.1, xmin nan,",
        "(image 7) has box 0: ymin 0.1, xmin 0.2, ymax 0.6, xmax 1.05",
        "(image 8) has box 0: ymin 0.1, xmin 0.2, ymax 0.1,",
        "(image 9) has box 1 of category id 12",
        "(image 10) has 2 ymin, 2 xmin, 2 ymax, 2 xmax, but 1 labels",
        "(image 11) has 120 x 90 pixels, but its features say 90 x 120",
        "(image 12) has 120 x 90 pixels, but its features say 120 x 45",
        "has image/source_id b'cat'",
        "(image 1) has the id of val-00000-of-00002, record 0 at byte 0",
        "(image 99) is not in the json",
        "is no tf.train.Example",
        "val-00001-of-00002 is missing",
        "cut, record 1 at byte",
        "no record has image 55",
        "val.json: category id 91",
    ],
)
def test_each_fault_is_shown_with_its_place(faulty, line):
    assert line in faulty.stdout
    assert faulty.returncode == 1 and not faulty.stderr


@pytest.mark.parametrize(
    "line",
    [
        "2 images that cannot be decoded: training leaves the record out, evaluation",
        "2 boxes outside their image, or not of numbers: training leaves the record",
        "1 boxes that end before they start: training leaves the record out",
        "1 boxes that reach a little out of their image: training clips the box",
        "1 boxes of no size: ",
        "1 boxes of a category that is not in the label map: training leaves the box",
        "1 records whose boxes and labels differ in number: training leaves the",
        "1 images with width and height exchanged: training goes by the pixels",
        "1 images of another size than said: ",
        "1 ids that are no whole numbers: training leaves the record out, evaluation",
        "1 ids that occur again: ",
        "1 ids that the json lacks: ",
        "1 records that are no tf.train.Example: training leaves the record out",
        "1 files that cannot be read to their end: training leaves out what is behind",
        "1 sets of files with some missing: ",
        "1 images of the json without a record: ",
        "1 categories of the json that the label map lacks: ",
    ],
)
def test_each_kind_is_counted_with_what_becomes_of_it(faulty, line):
    summary = faulty.stdout[faulty.stdout.index("problems:") :]
    assert line in summary
    assert len(summary.splitlines()) == 18


def test_a_sound_dataset_has_no_problem_and_gets_a_sheet(tmp_path):
    image = pytest.importorskip("PIL.Image")
    records.write(
        tmp_path / "val", [record(1), record(2, [BOX, [0, 0, 1, 1]], [18, 1])]
    )
    write_json(tmp_path / "val.json", [1, 2])
    result = check("val", "--json=val.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "2 records in 1 files, 3 boxes; 0 records have no box" in result.stdout
    assert "no problem found" in result.stdout
    counts = [line.split() for line in result.stdout.splitlines()]
    assert ["18", "dog", "2", "2"] in counts and ["1", "person", "1", "1"] in counts
    with image.open(str(tmp_path / "contact_sheet.png")) as sheet:
        # Five panels of 300 pixels, 8 apart, in each of two rows.
        assert sheet.size == (5 * 308 + 8, 2 * 344 + 8)
        pixels = np.asarray(sheet.convert("RGB"))
    # Of the first panel: 120 x 90 pixels in 300 x 225, and the upper side of a box.
    panel = pixels[8 + 14 :][:300, 8:308]
    assert (panel[240] == 225).all()
    line = np.ptp(panel[int(BOX[0] * 225), 100:250].astype(int), axis=0)
    assert line.max() <= 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "name the files"),
        (["none*"], "none*: no file matches"),
        (["val", "--json=none.json"], "--json: cannot read none.json"),
        (["val", "--label_map=none.json"], "--label_map"),
        (["val", "--sheet=no/such/folder/x.png"], "--sheet=no/such/folder/x.png"),
        (["val", "--sheet_images=0"], "--sheet_images"),
    ],
)
def test_a_wrong_flag_is_one_line(tmp_path, arguments, message):
    records.write(tmp_path / "val", [record(1)])
    result = check(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert message in line
