# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""check_dataset.py finds each kind of fault, and nothing in a sound dataset."""

import io
import json
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image

import commands
import dataset_parser
import records
from dataset import box_rules, drawing, json_faults, json_match, record_rules
from dataset.bad_records import BadRecords
from inspection import record_check as faults

Y, X = np.mgrid[0:90, 0:120]
JPEG = records.encode_image(np.stack([Y * 2, X * 2, X + Y], axis=-1).astype(np.uint8))
TABLE = JPEG.index(b"\xff\xc4") + 5
BOX = [0.1, 0.2, 0.6, 0.9]
SIZE = {"height": 90, "width": 120}


def record(number, boxes=(BOX,), labels=(18,), encoded=JPEG, change=None, **size):
    """A record that states its image's size; change is a function of its features."""

    def change_all(feature):
        for name, value in dict(SIZE, **size).items():
            feature["image/" + name].int64_list.value.append(value)
        if change:
            change(feature)

    return records.record(number, encoded, boxes, labels, change_all)


def with_text(name, text):
    return lambda feature: feature[name].bytes_list.MergeFrom(
        tf.train.BytesList(value=[text])
    )


def write_json(path, numbers, change=None):
    """A COCO json with BOX in each image; change is a function of its dict."""
    dataset = {
        "images": [dict(SIZE, id=number) for number in numbers],
        "annotations": [
            dict(id=i, category_id=18, image_id=n, bbox=[24, 9, 84, 45])
            for i, n in enumerate(numbers, 1)
        ],
        "categories": [{"id": 18, "name": "dog"}],
    }
    if change:
        change(dataset)
    # With the byte order mark of editors on Windows.
    path.write_text(json.dumps(dataset), encoding="utf-8-sig")


def with_ring(dataset):
    ring = dict(dataset["annotations"][-1], category_id=91)
    dataset["annotations"] += [dict(ring, id=number) for number in (0, 91)]
    dataset["categories"].append({"id": 91, "name": "ring"})


def oriented(orientation):
    """A JPEG with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.open(io.BytesIO(JPEG)).save(file, "JPEG", exif=exif.tobytes())
    return file.getvalue()


def check(*arguments, cwd):
    return commands.run("check_dataset.py", arguments, cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A record for each fault, and files that are damaged themselves."""
    folder = tmp_path_factory.mktemp("faulty")
    cases = [
        record(1),
        record(2, encoded=JPEG[: len(JPEG) // 2]),
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
        record(13),
        record(14, [], []),
        records.record("-1", b"GIF89a", [BOX], [12]),
        record(0, change=lambda f: f.pop("image/source_id")),
        record(15, change=lambda f: f.pop("image/encoded")),
        record(16, change=with_text("image/object/class/label", b"dog")),
        record(17, change=with_text("image/object/class/text", b"dinosaur")),
        record(22, encoded=oriented(1)),
        record(23, encoded=oriented(3)),
        # The size tells that the boxes refer to the stored pixels.
        record(24, encoded=oriented(6)),
        record(25, encoded=oriented(6), height=120, width=90),
        record(26, encoded=records.encode_image(np.full([90, 120, 3], 60, np.uint8))),
        record(27, encoded=records.encode_image(np.full([90, 120, 3], 250, np.uint8))),
    ]
    records.write(folder / "val", cases)
    # The first table of Huffman codes claims more codes than there can be.
    encoded = JPEG[:TABLE] + b"\xff" * 4 + JPEG[TABLE + 4 :]
    records.write(folder / "broken", [record(28, encoded=encoded)])
    for name, change in [
        ("cut", lambda whole: whole[: len(whole) * 3 // 4]),
        ("flipped", lambda whole: whole[:-40] + b"?" + whole[-39:]),
        ("none.tfrecord", lambda whole: b"no record of any kind"),
    ]:
        records.write(folder / name, [record(20), record(21)])
        (folder / name).write_bytes(change((folder / name).read_bytes()))
    numbers = list(range(2, 18)) + [1, 20] + list(range(22, 29)) + [55]
    write_json(folder / "val.json", numbers, with_ring)
    return folder


@pytest.fixture(scope="module")
def faulty(folder):
    """The outcome of its check."""
    files = ["val", "cut", "flipped", "none.tfrecord", "broken"]
    return check(*files, "--json=val.json", "--sheet=", cwd=folder)


def found_faults(result):
    """dict from each kind of fault that was printed to the list of its places."""
    found = {}
    _, text = result.stdout.split("--max_bad_records):\n")
    for kind in re.split(r"\n(?=\d)", text):
        title, *places = kind.splitlines()
        count, name, consequence = re.match(r"(\d+) (.*?): (.*)", title).groups()
        assert int(count) == len(places) and consequence == faults.CONSEQUENCES[name]
        found[name] = [place.strip() for place in places]
    return found


# Kinds of fault, and their places: file, and number of the record.
FAULTS = {
    record_rules.BAD_IMAGE: "val 1, val 2, val 18",
    record_rules.BACKWARD: "val 3",
    record_rules.OUTSIDE: "val 4, val 5",
    record_rules.NO_SIZE: "val 7",
    record_rules.UNKNOWN: "val 8, val 18",
    json_faults.OTHER_NAME: "val 22",
    record_rules.WRONG_IMAGE: "val 20",
    record_rules.WRONG_BOX_FEATURE: "val 21",
    record_rules.UNEQUAL: "val 9",
    json_match.OTHER_SIZE: "val 10, val 11, val 26",
    record_rules.BAD_ID: "val 12, val 18, val 19",
    faults.TURNED: "val 24, val 26",
    faults.FLAT: "val 27, val 28",
    faults.UNDECODABLE: "broken 0",
    faults.REPEATED: "val 13, flipped 0",
    faults.OTHER_BOXES: "val 6, val 7, val 8, val 17",
    json_match.NO_ID: "val 14",
    record_rules.NO_EXAMPLE: "val 15",
    faults.CUT: "cut 1, flipped 1, none.tfrecord 0",
    faults.NO_RECORD: "image 55",
    json_faults.CATEGORIES: "val.json",
    json_faults.ID_0: "val.json",
}
TEXTS = """
val, record 3 (image 4): its box [ymin 0.5, xmin 0.2, ymax 0.4, xmax 0.9]
val, record 8 (image 9): it has a box of category id 12
val, record 8 (image 9): 1 of its 2 boxes are not in the json, and 0 of the
val, record 10 (image 11): it has 120 x 90 pixels, 90 x 120 in its features (exchanged)
val, record 13 (image 1): it has the id of val, record 0
val, record 14 (image 99): it is not in the json
val, record 17 (image 14): 0 of its 0 boxes are not in the json, and 1 of the
val, record 22 (image 17): category 18 is 'dinosaur' there, 'dog' in the
val, record 24 (image 23): its EXIF orientation is 3; TensorFlow does not
val, record 27 (image 26): all its pixels have values from 60 to 60
none.tfrecord, record 0: the file's last 21 bytes cannot be read
val.json: category id 91, of 2 annotations
val.json: annotation 0 of image 55, category 91
"""


def test_each_fault_is_placed_and_nothing_else_is_a_fault(faulty):
    assert faulty.returncode == 1
    found = {
        kind: sorted(re.split(": | \\(", p)[0].replace(", record", "") for p in places)
        for kind, places in found_faults(faulty).items()
    }
    assert found == {kind: sorted(p.split(", ")) for kind, p in FAULTS.items()}
    assert [text for text in TEXTS.splitlines() if text not in faulty.stdout] == []
    progress = faulty.stderr.splitlines()
    assert all(line.endswith(" bytes") for line in progress), progress


@pytest.mark.slow
def test_training_leaves_out_what_is_said(faulty, folder):
    with tf.Graph().as_default():
        pattern = str(folder / "[vcfn][aulo]*[!n]")
        bad = BadRecords(limit=100)
        reader = dataset_parser.SSDInputReader(pattern, True, bad_records=bad)
        # More than two epochs.
        records.elements(reader({"batch_size": 1}), limit=45)
    assert f"training leaves out {bad.count} records" in faulty.stdout
    assert "; 2 records have no box of these categories" in faulty.stdout


def change_json(dataset):
    """Changes the json of records 1 to 11, each in another image."""
    images, annotations = dataset["images"], dataset["annotations"]
    annotations[0]["bbox"] = [24, 9, 84, 0]
    annotations[1]["bbox"] = [24, 9, 90, 45]
    # The rounding of other converters, and the area of an outline.
    annotations[2].update(bbox=[25, 10, 83, 44], area=500)
    annotations[3]["area"] = 4 * 84 * 45
    annotations[4]["area"] = 0
    annotations[5]["category_id"] = -3
    images[8].update(width=240, height=180)
    del images[9]["width"]
    images.append(images[10])
    images.append(dict(images[10], id=12))
    annotations += [dict(annotations[6], id=n, image_id=70) for n in (21, 22)]
    dataset["categories"] = 2 * [{"id": 18, "name": "bolt"}]


OTHER_NAME = "val.json: category 18 is 'bolt' there, 'dog' in the label map"
CHANGES = {
    box_rules.NO_SIZE: [
        "val.json: annotation 1 of image 1, category 18, bbox [24, 9, 84, 0]"
    ],
    faults.OTHER_BOXES: [
        "val, record 0 (image 1): 1 of its 1 boxes are not in the json, and 0 of the "
        "json's 0 are not in the record",
        "val, record 1 (image 2): 1 of its 1 boxes are not in the json, and 1 of the "
        "json's 1 are not in the record",
        "val, record 5 (image 6): 1 of its 1 boxes are not in the json, and 0 of the "
        "json's 0 are not in the record",
    ],
    box_rules.LARGE_AREA: [
        "val.json: annotation 4 of image 4, category 18, bbox [24, 9, 84, 45]"
    ],
    box_rules.NO_AREA: [
        "val.json: annotation 5 of image 5, category 18, bbox [24, 9, 84, 45]"
    ],
    box_rules.UNKNOWN_CATEGORY: [
        "val.json: annotation 6 of image 6, category -3, bbox [24, 9, 84, 45]"
    ],
    box_rules.UNKNOWN_IMAGE: [
        "val.json: annotation 21 of image 70, category 18, bbox [24, 9, 84, 45]",
        "val.json: annotation 22 of image 70, category 18, bbox [24, 9, 84, 45]",
    ],
    json_match.OTHER_SIZE: [
        "val, record 8 (image 9): it has 120 x 90 pixels, 240 x 180 in the json"
    ],
    json_faults.WITHOUT_SIZE: ["val.json: image 10"],
    json_faults.IMAGE_IDS: ["val.json: image id 11, of 2 images"],
    json_faults.BAD_CATEGORIES: ["val.json: category id 18 occurs twice"],
    json_faults.OTHER_NAME: [OTHER_NAME, OTHER_NAME],
    faults.NO_RECORD: ["image 12"],
}


def test_what_the_json_contradicts_is_a_fault(tmp_path):
    numbers = range(1, 12)
    records.write(tmp_path / "val", [record(number) for number in numbers])
    write_json(tmp_path / "val.json", numbers, change_json)
    result = check("val", "--json=val.json", "--sheet=", cwd=tmp_path)
    assert result.returncode == 1
    assert found_faults(result) == CHANGES


def change_all(**fields):
    """Function that changes all annotations of a json."""
    return lambda dataset: [a.update(fields) for a in dataset["annotations"]]


FIRST_PIXEL = [[0.1 / 90, 0.2 / 120, 0.6 / 90, 0.9 / 120]]


@pytest.mark.parametrize(
    "numbers, boxes, change, kind, place",
    [
        ([], [], None, faults.NO_RECORDS, "none of the files has a record"),
        (
            [1, 2],
            FIRST_PIXEL,
            None,
            faults.ONE_PIXEL,
            "none of 2 boxes is larger",
        ),
        # Evaluation would stop, so the json is not compared with the records.
        (
            [1, 2],
            [BOX],
            change_all(bbox=None),
            faults.REFUSED,
            "val.json: annotation {'id': 1, 'category_id': 18, 'image_id': 1, 'bbox': ",
        ),
        (
            [1, 2],
            [BOX],
            change_all(area=100),
            json_faults.SMALL_AREAS,
            "val.json: all areas together are 200, those of the boxes 7560",
        ),
    ],
)
def test_faults_that_only_all_records_or_annotations_show(
    tmp_path, numbers, boxes, change, kind, place
):
    records.write(tmp_path / "val", [record(number, boxes) for number in numbers])
    flags = ["val", "--sheet="]
    if change:
        write_json(tmp_path / "val.json", numbers, change)
        flags.append("--json=val.json")
    result = check(*flags, cwd=tmp_path)
    assert result.returncode == 1
    ((found_kind, (found_place,)),) = found_faults(result).items()
    assert found_kind == kind and found_place.startswith(place)


@pytest.mark.slow
def test_a_sound_dataset_has_no_fault_and_gets_a_sheet(tmp_path):
    def with_whole_person(dataset):
        box = {"id": 3, "category_id": 1, "image_id": 2, "bbox": [0, 0, 120, 90]}
        dataset["annotations"].append(box)
        dataset["categories"].append({"id": 1, "name": "person"})

    both = record(2, [BOX, [0, 0, 1, 1]], [18, 1])
    records.write(tmp_path / "val", [record(1), both])
    write_json(tmp_path / "val.json", [1, 2], with_whole_person)
    result = check("val", "--json=val.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "2 records in 1 files, 3 boxes; 0 records have no box" in result.stdout
    assert "no fault found" in result.stdout
    counts = [line.split() for line in result.stdout.splitlines()]
    assert ["18", "dog", "2", "2"] in counts and ["1", "person", "1", "1"] in counts
    with Image.open(str(tmp_path / "contact_sheet.png")) as sheet:
        # Three panels of 300 pixels, 8 apart, in each of two rows.
        assert sheet.format == "PNG" and sheet.size == (3 * 308 + 8, 2 * 348 + 8)
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    # The first panel: 120 x 90 pixels in 300 x 225, and the lower side of a box.
    panel = pixels[8 + 20 :][:300, 8:308]
    assert (panel[240] == 225).all()
    line = panel[int(BOX[2] * 224), int(BOX[1] * 299) + 2 : int(BOX[3] * 299) - 2]
    assert (line == drawing.color_of(0)).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "name the files"),
        (["none*"], "none* matches no TFRecord file"),
        (["val", "--json=none.json"], "--json: cannot read none.json"),
        (["val", "--label_map=none.json"], "--label_map: cannot read none.json"),
        (["val", "--sheet=val/x.png"], "--sheet: val cannot be written: File exists"),
        (["val", "--sheet=val"], "--sheet=val: must end with .png"),
        (["val", "--sheet_images=0"], "--sheet_images"),
    ],
)
def test_a_wrong_flag_is_one_line(tmp_path, arguments, message):
    records.write(tmp_path / "val", [record(1)])
    assert message in commands.fail("check_dataset.py", arguments, tmp_path)
