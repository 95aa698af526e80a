# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""check_dataset.py finds each kind of fault, and nothing in a sound dataset."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from google.protobuf.internal import encoder

import anchors
import dataset_parser
import records
from dataset.bad_records import BadRecords
from evaluation import drawing
from inspection import contact_sheet

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, "tools", "check_dataset.py")

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


def changed(number, change):
    """A record whose features went through a function."""
    example = tf.train.Example.FromString(record(number))
    change(example.features.feature)
    return example.SerializeToString()


def labels_as_texts(feature):
    feature["image/object/class/label"].bytes_list.value[:] = [b"dog"]


def named(feature):
    feature["image/object/class/text"].bytes_list.value[:] = [b"dinosaur"]


CUT = JPEG[: len(JPEG) // 2]
# Pixels of the last rows are lost, and an end put there: libjpeg makes up the rest.
SHORT = JPEG[: len(JPEG) * 3 // 4] + b"\xff\xd9"


def write_json(path, numbers, category_ids=(18,)):
    """A COCO json that the records are compared with."""
    dataset = {
        "images": [dict(SIZE, id=number) for number in numbers],
        "annotations": [
            dict(id=i, category_id=i, image_id=n, bbox=[0, 0, 9, 9])
            for n, i in zip(numbers, category_ids)
        ],
        "categories": [{"id": 18, "name": "dog"}],
    }
    path.write_text(json.dumps(dataset))


def check(*arguments, cwd, env=None):
    return subprocess.run(
        [sys.executable, TOOL, *arguments],
        cwd=str(cwd),
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )


def complaints(result):
    """Lines of the standard error but those that tell how far it is."""
    lines = result.stderr.splitlines()
    return [line for line in lines if not re.match(r"\d+ of \d+ bytes$", line)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A record for each fault, and files that are damaged themselves."""
    folder = tmp_path_factory.mktemp("faulty")
    cases = [
        record(1),
        record(2, encoded=CUT),
        record(3, encoded=b"\xff"),
        record(4, [[0.5, 0.2, 0.4, 0.9]]),
        record(5, [[0.1, 0.2, 0.6, 1.9], BOX], [18, 18]),
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
        record(13, encoded=SHORT),
        record(14, [], []),
        records.record("-1", b"GIF89a", [BOX], [12]),
        changed(0, lambda feature: feature.pop("image/source_id")),
        changed(15, lambda feature: feature.pop("image/encoded")),
        changed(16, labels_as_texts),
        changed(17, named),
    ]
    records.write(folder / "val", cases)
    for name, change in [
        ("cut", lambda whole: whole[: len(whole) * 3 // 4]),
        ("flipped", lambda whole: whole[:-40] + b"?" + whole[-39:]),
        ("none", lambda whole: b"no record of any kind"),
    ]:
        records.write(folder / name, [record(20), record(21)])
        (folder / name).write_bytes(change((folder / name).read_bytes()))
    numbers = list(range(2, 18)) + [1, 20, 55]
    write_json(folder / "val.json", numbers, [18, 91, 91])
    return folder


@pytest.fixture(scope="module")
def faulty(folder):
    """The outcome of its check."""
    return check(
        *("val", "cut", "flipped", "none", "--json=val.json", "--sheet="), cwd=folder
    )


# Kind and consequence, number, and the places.
FAULTS = {
    "images that are not JPEG or PNG, are cut off, or claim a wrong size: training": [
        "val, record 1 (image 2): its image is cut off",
        "val, record 2 (image 3): its image is neither a JPEG nor a PNG",
        "val, record 18 (image -1): its image is neither",
    ],
    "images that decode with a complaint: training and evaluation use what": [
        "val, record 16 (image 13): its image is damaged: Corrupt JPEG data"
    ],
    "boxes that end before they start: training leaves the record out": [
        "val, record 3 (image 4): its box [ymin 0.5, xmin 0.2, ymax 0.4, xmax 0.9]"
    ],
    "boxes outside their image, or not numbers: training leaves the record out": [
        "val, record 4 (image 5): its box [ymin 0.1, xmin 0.2, ymax 0.6, xmax 1.9]",
        "val, record 5 (image 6): its box [ymin 0.1, xmin nan, ymax 0.6, xmax 0.9]",
    ],
    "boxes that reach a little out of their image: training clips the box": [
        "val, record 6 (image 7): its box [ymin 0.1, xmin 0.2, ymax 0.6, xmax 1.05]"
    ],
    "boxes of no size: training makes some default box find it, and never crops its "
    "image": [
        "val, record 7 (image 8): its box [ymin 0.1, xmin 0.2, ymax 0.1, xmax 0.9]"
    ],
    "boxes of a category that is not in the label map: training leaves the box out": [
        "val, record 8 (image 9): it has a box of category id 12",
        "val, record 18 (image -1): it has a box of category id 12",
    ],
    "categories that a record names otherwise than the label map: training goes by": [
        "val, record 22 (image 17): category 18 is 'dinosaur' there, 'dog' in the label"
    ],
    "records whose image is missing or of another type: training leaves the record": [
        "val, record 20 (image 15): it has no image/encoded"
    ],
    "records whose boxes or labels are of another type: training leaves the record": [
        "val, record 21 (image 16): its image/object/class/label is of type bytes_list"
    ],
    "records whose boxes and labels differ in number: training leaves the record": [
        "val, record 9 (image 10): it has 1 labels, but [2, 2, 2, 2] values"
    ],
    "images with width and height exchanged: training goes by the pixels": [
        "val, record 10 (image 11): it has 120 x 90 pixels, but its features say 90 x "
    ],
    "images of another size than said: training goes by the pixels": [
        "val, record 11 (image 12): it has 120 x 90 pixels, but its features say 120 x"
    ],
    "ids that are missing or not numbers: training does not mind, evaluation stops": [
        "val, record 12 (image cat): its image/source_id b'cat' is not a number",
        "val, record 18 (image -1): its image/source_id b'-1' is not a number",
        "val, record 19: it has no image/source_id",
    ],
    "ids that occur again: training takes each, evaluation only the last": [
        "val, record 13 (image 1): it has the id of val, record 0",
        "flipped, record 0 (image 20): it has the id of cut, record 0",
    ],
    "ids that the json lacks: evaluation leaves the image out": [
        "val, record 14 (image 99): it is not in the json"
    ],
    "records that are not valid tf.train.Examples: training leaves the record out": [
        "val, record 15: it is not a valid tf.train.Example"
    ],
    "files that cannot be read to their end: training leaves out what is behind": [
        "cut, record 1: the file's last",
        "flipped, record 1: the file's last",
        "none, record 0: the file's last 21 bytes cannot be read",
    ],
    "images of the json without a record: evaluation counts": ["image 55"],
    "categories of the json's boxes that the label map lacks: evaluation counts": [
        "val.json: category id 91, of 2 annotations"
    ],
    "annotation ids of the json that are 0, missing or not the only one: evaluation": [
        "val.json: id 91, of 2 annotations"
    ],
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_counted_placed_and_explained(faulty, kind):
    lines = faulty.stdout.splitlines()
    places = sorted(FAULTS[kind])
    (row,) = [i for i, x in enumerate(lines) if x.startswith(f"{len(places)} {kind}")]
    shown = sorted(line.strip() for line in lines[row + 1 : row + 1 + len(places)])
    assert all(map(str.startswith, shown, places)), shown


def test_other_categories_and_files_without_records_are_faults(tmp_path):
    records.write(tmp_path / "val", [])
    write_json(tmp_path / "val.json", [])
    text = (tmp_path / "val.json").read_text()
    (tmp_path / "val.json").write_text(text.replace("dog", "bolt"))
    result = check("val", "--json=val.json", "--sheet=", cwd=tmp_path)
    assert result.returncode == 1
    assert "1 files without any record: training and evaluation stop" in result.stdout
    assert "val.json: category 18 is 'bolt' there, 'dog' in the" in result.stdout


def test_what_evaluation_would_say_of_the_json_is_a_fault(tmp_path):
    records.write(tmp_path / "val", [record(1)])
    write_json(tmp_path / "val.json", [1, 1, 2], [18])
    dataset = json.loads((tmp_path / "val.json").read_text())
    strange = {"image_id": 7, "category_id": 18}
    dataset["annotations"] += [dict(strange, id=5), dict(strange, id=6)]
    dataset["categories"] *= 2
    (tmp_path / "val.json").write_text(json.dumps(dataset))
    result = check("val", "--json=val.json", "--sheet=", cwd=tmp_path)
    assert result.returncode == 1
    for line in (
        "1 jsons with an entry that makes no sense: evaluation stops at once",
        "    val.json: an entry is wrong: KeyError('bbox')",
        "1 image ids of the json that occur again: the converter stops; evaluation "
        "takes them for one",
        "    val.json: image id 1, of 2 images",
        "1 image ids of annotations that the json does not list: training and "
        "evaluation leave the annotations out",
        "    val.json: image id 7, of 2 annotations",
        "1 jsons whose categories make no sense: the converter stops, and so does "
        "--label_map",
        "    val.json: category id 18 occurs twice",
        "    image 2",
    ):
        assert line in result.stdout.splitlines()


def test_files_without_records_among_others_are_named_and_no_fault(tmp_path):
    records.write(tmp_path / "val0", [record(1)])
    records.write(tmp_path / "val1", [])
    # With the mark that Windows' editors put in front.
    write_json(tmp_path / "val.json", [1])
    text = (tmp_path / "val.json").read_text()
    (tmp_path / "val.json").write_text(text, encoding="utf-8-sig")
    result = check("val?", "--json=val.json", "--sheet=", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no record in 1 files, val1 first" in result.stdout


def test_nothing_else_is_a_fault(faulty):
    lines = faulty.stdout.splitlines()
    assert not complaints(faulty) and faulty.returncode == 1
    start = [i for i, line in enumerate(lines) if line.startswith("faults;")][0]
    kinds = [line for line in lines[start + 1 :] if not line.startswith(" ")]
    assert len(kinds) == len(FAULTS)


def test_training_leaves_out_what_is_said(faulty, folder):
    with tf.Graph().as_default():
        pattern = str(folder / "[vcfn][aulo]*[!n]")
        bad = BadRecords(limit=100)
        reader = dataset_parser.SSDInputReader(pattern, True, bad_records=bad)
        # More than two epochs.
        records.elements(reader({"batch_size": 1}), limit=30)
    assert f"training leaves out {bad.count} records" in faulty.stdout
    assert "; 1 records have no box of these categories" in faulty.stdout


def test_a_box_of_no_size_is_trained_on_in_the_whole_image(tmp_path):
    box = [0.1, 0.2, 0.1, 0.9]
    records.write(tmp_path / "train", [record(8, [box])])
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(str(tmp_path / "train"), True)
        drawn = records.elements(reader({"batch_size": 8}), limit=1)
    ((_, labels),) = drawn
    row, default_box = np.nonzero(labels["classes"])
    assert set(row) == set(range(8))
    offsets = labels["boxes"][row, default_box]
    boxes = anchors.DefaultBoxes()("xywh")[default_box]
    # Of a window, another part of the picture's width would remain.
    widths = np.exp(offsets[:, 3] / 5) * boxes[:, 2]
    np.testing.assert_allclose(widths, 0.7, rtol=1e-4)
    assert (offsets[:, 2] < -50).all() and np.isfinite(offsets).all()


def test_a_sound_dataset_has_no_problem_and_gets_a_sheet(tmp_path):
    image = pytest.importorskip("PIL.Image")
    records.write(
        tmp_path / "val", [record(1), record(2, [BOX, [0, 0, 1, 1]], [18, 1])]
    )
    write_json(tmp_path / "val.json", [1, 2])
    result = check("val", "--json=val.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "2 records in 1 files, 3 boxes; 0 records have no box" in result.stdout
    assert "no fault found" in result.stdout
    counts = [line.split() for line in result.stdout.splitlines()]
    assert ["18", "dog", "2", "2"] in counts and ["1", "person", "1", "1"] in counts
    with image.open(str(tmp_path / "contact_sheet.png")) as sheet:
        # Five panels of 300 pixels, 8 apart, in each of two rows.
        assert sheet.format == "PNG" and sheet.size == (5 * 308 + 8, 2 * 348 + 8)
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    # Of the first panel: 120 x 90 pixels in 300 x 225, and the lower side of a box.
    for top in (8 + 20, 8 + 348 + 20):
        panel = pixels[top:][:300, 8:308]
        assert (panel[240] == 225).all()
        line = panel[int(BOX[2] * 224), int(BOX[1] * 299) + 2 : int(BOX[3] * 299) - 2]
        assert (line == drawing.color_of(0)).all()
        assert (panel[int(BOX[2] * 224) + 4, 100:250] != drawing.color_of(0)).any()


def test_ids_of_any_kind_have_a_row_in_the_sheet(tmp_path):
    image = pytest.importorskip("PIL.Image")
    ids = ["2008_000008.jpg", "\u56fe\n\0\u7247", "x" * 3000000]
    cases = [record(number) for number in ids]
    cases.append(changed(0, lambda feature: feature.pop("image/source_id")))
    records.write(tmp_path / "val", cases)
    result = check("val", cwd=tmp_path)
    assert result.returncode == 1 and not complaints(result)
    assert "training leaves out 0 records" in result.stdout
    assert len(result.stdout) < 3000
    with image.open(str(tmp_path / "contact_sheet.png")) as sheet:
        assert sheet.size[1] == 4 * 348 + 8


def test_a_record_that_tensorflow_alone_cannot_parse_ends_no_sheet(tmp_path):
    pytest.importorskip("PIL.Image")

    def field(tag, data):
        return bytes([tag]) + encoder._VarintBytes(len(data)) + data

    features = tf.train.Example.FromString(record(1)).features.feature
    image = features["image/encoded"].SerializeToString()
    # An entry of the map with its value in front of its key.
    entry = field(0x12, image) + field(0x0A, b"image/encoded")
    rest = changed(1, lambda feature: feature.pop("image/encoded"))
    records.write(tmp_path / "val", [rest + field(0x0A, field(0x0A, entry))])
    result = check("val", cwd=tmp_path)
    assert result.returncode in (0, 1), result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "contact_sheet.png").exists()


def test_default_boxes_of_the_same_target_belong_together():
    boxes = np.array([[0, 0, 0.5, 0.5], [0.1, 0, 0.5, 0.5], [0, 0, 0.50001, 0.5]])
    assert contact_sheet.group_boxes(boxes, np.array([1, 1, 1])) == [0, 1, 0]
    assert contact_sheet.group_boxes(boxes, np.array([1, 1, 2])) == [0, 1, 2]


def test_a_machine_without_pillow_is_told_and_checks(tmp_path):
    records.write(tmp_path / "val", [record(1)])
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text("raise ImportError('none')")
    env = dict(os.environ, PYTHONPATH=str(tmp_path))
    result = check("val", cwd=tmp_path, env=env)
    assert result.returncode == 0, result.stderr
    assert "no contact sheet: it needs Pillow" in result.stdout
    assert not (tmp_path / "contact_sheet.png").exists()


@pytest.mark.parametrize(
    "number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_check_without_a_traceback(tmp_path, number, status):
    records.write(tmp_path / "val", [record(1)] * 1000)
    # Together, they take most of a minute.
    for i in range(50):
        os.link(str(tmp_path / "val"), str(tmp_path / f"val-{i}"))
    process = subprocess.Popen(
        [sys.executable, TOOL, "val*", "--sheet="],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert process.stderr.readline().endswith(" bytes\n")
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status and "Traceback" not in errors


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "name the files"),
        (["none*"], "none*: no file matches"),
        (["val", "--json=none.json"], "--json: cannot read none.json"),
        (["val", "--label_map=none.json"], "--label_map"),
        (["val", "--sheet=no/such/folder/x.png"], "--sheet=no/such/folder/x.png"),
        (["val", "--sheet=."], "--sheet=. is no file"),
        (["val", "--sheet=val"], "--sheet=val is there and no PNG"),
        (["val", "--json=wrong.json"], "--json=wrong.json: a wrong entry"),
        (["val", "--sheet_images=0"], "--sheet_images"),
    ],
)
def test_a_wrong_flag_is_one_line(tmp_path, arguments, message):
    sections = {"images": [{}], "annotations": [], "categories": []}
    (tmp_path / "wrong.json").write_text(json.dumps(sections))
    records.write(tmp_path / "val", [record(1)])
    result = check(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert message in line
