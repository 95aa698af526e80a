# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training leaves out and names broken records and damaged files; evaluation ends."""

import logging

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import dataset_parser
import records
from console.errors import UserError
from dataset import record_rules
from dataset.bad_records import BadRecords

BOX = [0.1, 0.2, 0.6, 0.9]
BACKWARD = [0.5, 0.5, 0.4, 0.6]


@pytest.fixture(scope="module")
def jpeg():
    rows, columns = np.mgrid[0:90, 0:120]
    pixels = np.stack([rows * 2, columns * 2, rows + columns], axis=-1)
    return records.encode_image(pixels.astype(np.uint8))


@pytest.fixture
def log():
    """Function that returns what was logged as left out."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    yield lambda: [line for line in lines if line.startswith("left out")]
    logger.removeHandler(handler)


def good(number, jpeg):
    return records.record(number, jpeg, [BOX], [number])


def broken(number, jpeg):
    return records.record(number, jpeg, [BACKWARD], [1])


def train(pattern, batches, limit=100, batch_size=3, **params):
    """Returns the class of each image that was trained on, and the BadRecords."""
    bad = BadRecords(limit)
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(str(pattern), True, bad_records=bad)
        dataset = reader(dict(params, batch_size=batch_size))
        found = records.elements(dataset, limit=batches)
    classes = [labels["classes"].max(axis=1) for _, labels in found]
    return np.concatenate([[]] + classes).tolist(), bad


def evaluate(pattern):
    """Returns the ids of the images, and the error of the BadRecords."""
    bad = BadRecords(limit=0)
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(str(pattern), False, bad_records=bad)
        found = records.elements(reader({"batch_size": 2}))
    ids = np.concatenate([[]] + [batch["source_id"] for batch in found])
    return ids.tolist(), bad.error


def test_training_leaves_bad_records_out_and_names_each_once(tmp_path, jpeg, log):
    path = tmp_path / "train"
    bad = [broken(8, jpeg), b"no example", records.record(9, jpeg[:-1], [BOX], [1])]
    no_id = records.record("cat", jpeg, [BOX], [5])
    records.write(path, [good(1, jpeg), bad[0], good(2, jpeg), *bad[1:], no_id])
    classes, found = train(path, batches=8)
    assert len(classes) == 24  # eight epochs
    assert set(classes) == {1, 2, 5}  # training needs no id
    assert found.count == 3 and found.error is None
    assert log() == [
        f"left out broken record 1 of at most 100: {path}, record 1 (image 8): its box "
        "[ymin 0.5, xmin 0.5, ymax 0.4, xmax 0.6] ends before it starts",
        f"left out broken record 2 of at most 100: {path}, record 3: it is not a valid "
        "tf.train.Example",
        f"left out broken record 3 of at most 100: {path}, record 4 (image 9): its "
        "image is cut off: it has no end marker",
    ]


def test_evaluation_ends_at_a_bad_record_but_needs_no_boxes(tmp_path, jpeg):
    path = tmp_path / "val"
    records.write(path, [broken(1, jpeg), good(2, jpeg)])
    assert evaluate(path) == ([1, 2], None)
    no_id = records.record("cat", jpeg)
    records.write(path, [good(1, jpeg), good(2, jpeg), no_id, good(3, jpeg)])
    ids, error = evaluate(path)
    assert ids == [1, 2]
    assert error.startswith(f"{path}, record 2 (image cat): its image/source_id b'cat'")


def test_boxes_that_do_not_count_are_left_out_and_counted_once(tmp_path, jpeg, caplog):
    empty = [0.3, 0.4, 0.3, 0.6]
    # COCO has no id 12.
    cases = [
        records.record(1, jpeg, [BOX, empty, BOX], [1, 2, 12]),
        records.record(2, jpeg, [empty, BOX, empty], [3, 4, 12]),
        records.record(3, jpeg, [BOX, BOX], [12, 99999]),
        records.record(4, jpeg, [empty], [5]),
    ]
    records.write(tmp_path / "train", cases)
    classes, bad = train(tmp_path / "train", batches=4)
    # Six epochs of the first two records.
    assert sorted(classes) == 6 * [1] + 6 * [4]
    assert bad.count == 0 and bad.error is None
    assert bad.boxes == {record_rules.NO_SIZE: 4, record_rules.UNKNOWN: 3}
    bad.log_boxes()
    lines = [line for line in caplog.messages if "boxes of" in line]
    assert len(lines) == 4
    assert "leaving out boxes of a category that is not in the label map" in lines[0]
    assert f"{tmp_path}/train, record 0 (image 1)" in lines[0]
    assert lines[3] == (
        "left out of the training: 4 boxes of no size or outside their image"
    )


def damage(path, kind):
    """Damages the third of four equal records."""
    data = bytearray(path.read_bytes())
    place = len(data) * 5 // 8
    if kind == "cut":
        data = data[:place]
    elif kind == "flipped bit":
        data[place] ^= 1  # a checksum does not match any more
    else:
        data = data[: len(data) // 2] + bytes(2**16)  # zeros instead of records
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("kind", ["cut", "flipped bit", "zeros"])
def test_a_damaged_file_is_used_up_to_the_damage(tmp_path, jpeg, log, kind):
    for index in range(3):
        numbers = range(4 * index + 1, min(4 * index + 5, 12))  # COCO has no id 12
        records.write(tmp_path / f"data{index}", [good(n, jpeg) for n in numbers])
    path = tmp_path / "data1"
    damage(path, kind)
    text = f"{path}: cannot be read any further after 2 records and "
    classes = []
    for rank in range(2):
        found, bad = train(tmp_path / "data*", 6, num_ranks=2, rank=rank)
        classes += found
        assert bad.error is None
    assert set(classes) == {1, 2, 3, 4, 5, 6, 9, 10, 11}
    (line,) = log()  # one of the two ranks counts it
    assert text in line
    ids, error = evaluate(path)
    assert ids == [5, 6]
    assert error.startswith(text) and "\n" not in error


def test_a_file_that_ends_in_the_head_of_a_record_is_named(tmp_path, jpeg):
    path = tmp_path / "val"
    records.write(path, [good(1, jpeg), good(2, jpeg)])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:8])
    assert evaluate(path) == (
        [1, 2],
        f"{path}: cannot be read any further after 2 records and {len(whole)} of its "
        f"{len(whole) + 8} bytes",
    )


@pytest.mark.parametrize("limit", [0, 3, 4])
def test_more_bad_records_than_allowed_end_the_dataset(tmp_path, jpeg, log, limit):
    path = tmp_path / "train"
    bad = [broken(number, jpeg) for number in range(4)]
    records.write(path, bad[:2] + [good(1, jpeg), good(2, jpeg)] + bad[2:])
    classes, found = train(path, 12, limit, batch_size=1)
    if limit == 4:
        assert len(classes) == 12 and found.error is None
    else:
        assert len(classes) <= 2
        assert found.error.endswith("ends before it starts")
    assert found.count == min(limit + 1, 4) and len(log()) == limit


def test_nothing_but_bad_records_ends_instead_of_hanging(tmp_path, jpeg):
    path = tmp_path / "train"
    records.write(path, [broken(number, jpeg) for number in range(5)])
    classes, found = train(path, 3)
    assert classes == []
    assert found.count == 5 and found.error is None


def test_files_that_vanish_meanwhile_are_named_and_do_not_hang(tmp_path, jpeg, log):
    for number in (1, 2):
        records.write(tmp_path / f"train{number}", [good(number, jpeg)])
    with tf.Graph().as_default(), tf.Session() as session:
        reader = dataset_parser.SSDInputReader(str(tmp_path / "train*"), True)
        dataset = reader({"batch_size": 2})
        _, labels = tf.data.make_one_shot_iterator(dataset).get_next()
        session.run(labels)
        (tmp_path / "train1").unlink()
        for _ in range(20):
            found = session.run(labels)["classes"]
        assert set(found[found > 0]) == {2}
        (line,) = log()
        assert f"{tmp_path}/train1: cannot be read" in line
        (tmp_path / "train2").unlink()
        with pytest.raises(tf.errors.OutOfRangeError):
            for _ in range(20):
                session.run(labels)
    assert f"{tmp_path}/train2: cannot be read" in log()[1]


def test_an_image_damaged_behind_its_header_ends_with_a_line(tmp_path, jpeg):
    # The first table of Huffman codes claims more codes than there can be.
    place = jpeg.index(b"\xff\xc4") + 5
    damaged = jpeg[:place] + b"\xff" * 4 + jpeg[place + 4 :]
    for is_training in (True, False):
        path = tmp_path / str(is_training)
        records.write(path, [records.record(7, damaged, [BOX], [1])])
        with tf.Graph().as_default(), pytest.raises(UserError) as error:
            reader = dataset_parser.SSDInputReader(str(path), is_training)
            with dataset_parser.explaining_undecodable_images("--pattern=p"):
                records.elements(reader({"batch_size": 1}), limit=1)
        assert "\n" not in str(error.value)
        assert str(error.value).startswith("--pattern=p: an image cannot be decoded: ")
        assert "JPEG" in str(error.value)
