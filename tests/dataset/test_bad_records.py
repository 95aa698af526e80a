# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Broken records: training leaves them out and says so, evaluation stops."""

import logging
import re
import struct

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import dataset_parser
import records
from dataset import bad_records, record_rules

Y, X = np.mgrid[0:90, 0:120]
PIXELS = np.stack([Y * 2, X * 2, X + Y], axis=-1).astype(np.uint8)
BOX = [0.1, 0.2, 0.6, 0.9]
LABELS = record_rules.LABEL_FEATURE


@pytest.fixture(scope="module")
def jpeg():
    return records.encode_image(PIXELS)


@pytest.fixture
def log():
    """Function that gives what was logged as left out."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    yield lambda: [line for line in lines if line.startswith("left out")]
    logger.removeHandler(handler)


def good(number, jpeg):
    return records.record(number, jpeg, [BOX], [number])


def changed(jpeg, change):
    """A record whose tf.train.Example went through a function."""
    example = tf.train.Example.FromString(records.record(7, jpeg, [BOX], [7]))
    change(example.features.feature)
    return example.SerializeToString()


def huge(jpeg):
    """The same JPEG, claiming 65000 x 65000 pixels."""
    start = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:start] + struct.pack(">HH", 65000, 65000) + jpeg[start + 4 :]


def endless(jpeg):
    """A record whose only feature claims an image of 2 GB, but ends."""
    item = b"\n\x80\x80\x80\x80\x08" + jpeg[:100]

    def nest(tag, data):
        return bytes([tag, len(data)]) + data

    name = nest(0x0A, b"image/encoded")
    return nest(0x0A, nest(0x0A, name + nest(0x12, nest(0x0A, item))))


def boxes_record(jpeg, *boxes, **kwargs):
    labels = [1] * kwargs.get("labels", len(boxes))
    return records.record(7, jpeg, boxes, labels)


def set_text(feature, name, text):
    feature[name].bytes_list.value[0] = text


def lose(feature, name):
    del feature[name]


def set_kind(feature, name):
    feature[name].Clear()
    feature[name].float_list.value.append(1.0)


TRAINING, EVALUATION, BOTH = "training", "evaluation", "training and evaluation"
# How to break a record, what is said about it, and who minds.
BROKEN = {
    "no example": (lambda jpeg: b"\xff no example", "is no tf.train.Example", BOTH),
    "image that claims 2 GB": (endless, "is no tf.train.Example", BOTH),
    "empty record": (lambda jpeg: b"", "has no image/encoded", BOTH),
    "no image": (
        lambda jpeg: changed(jpeg, lambda f: lose(f, "image/encoded")),
        "(image 7): it has no image/encoded",
        BOTH,
    ),
    "no id": (
        lambda jpeg: changed(jpeg, lambda f: lose(f, "image/source_id")),
        "record 2: it has no image/source_id",
        EVALUATION,
    ),
    "label of another type": (
        lambda jpeg: changed(jpeg, lambda f: set_kind(f, LABELS)),
        "image/object/class/label is of type float_list, not int64_list",
        TRAINING,
    ),
    "id of another type": (
        lambda jpeg: changed(jpeg, lambda f: set_kind(f, "image/source_id")),
        "image/source_id is of type float_list, not bytes_list",
        EVALUATION,
    ),
    "id that is no number": (
        lambda jpeg: changed(jpeg, lambda f: set_text(f, "image/source_id", b"cat")),
        "(image cat): its image/source_id b'cat' is no number",
        EVALUATION,
    ),
    "negative id": (
        lambda jpeg: changed(jpeg, lambda f: set_text(f, "image/source_id", b"-1")),
        "is no number",
        EVALUATION,
    ),
    "id beyond int64": (
        lambda jpeg: changed(jpeg, lambda f: set_text(f, "image/source_id", b"9" * 19)),
        "is no number",
        EVALUATION,
    ),
    "PNG of a huge size": (
        # Nothing else is wrong with it.
        lambda jpeg: records.record(7, records.black_png(8200), [BOX], [1]),
        "or claims a huge size",
        BOTH,
    ),
    "no picture": (
        lambda jpeg: records.record(7, b"no picture", [BOX], [1]),
        "(image 7): its image cannot be decoded",
        BOTH,
    ),
    "image of one byte": (
        lambda jpeg: records.record(7, b"\xff", [BOX], [1]),
        "(image 7): its image cannot be decoded",
        BOTH,
    ),
    "JPEG cut short": (
        lambda jpeg: records.record(7, jpeg[: len(jpeg) // 4], [[0, 0, 1, 1]], [1]),
        "(image 7): its image cannot be decoded",
        BOTH,
    ),
    "JPEG without its last byte": (
        lambda jpeg: records.record(7, jpeg[:-1], [BOX], [1]),
        "(image 7): its image cannot be decoded",
        BOTH,
    ),
    "JPEG that claims a huge size": (
        lambda jpeg: records.record(7, huge(jpeg), [BOX], [1]),
        "or claims a huge size",
        BOTH,
    ),
    "end before start": (
        lambda jpeg: boxes_record(jpeg, BOX, [0.5, 0.2, 0.4, 0.9]),
        "its box [ymin 0.5, xmin 0.2, ymax 0.4, xmax 0.9] ends before it starts",
        TRAINING,
    ),
    "not a number": (
        lambda jpeg: boxes_record(jpeg, [0.1, np.nan, 0.4, 0.9]),
        "lies outside the image",
        TRAINING,
    ),
    "pixels instead of parts": (
        lambda jpeg: boxes_record(jpeg, [10, 20, 40, 90]),
        "[ymin 10, xmin 20, ymax 40, xmax 90] lies outside the image (0..1)",
        TRAINING,
    ),
    "fewer labels than boxes": (
        lambda jpeg: boxes_record(jpeg, BOX, BOX, labels=1),
        "it has 1 labels, but [2, 2, 2, 2] values",
        TRAINING,
    ),
    "more labels than boxes": (
        lambda jpeg: boxes_record(jpeg, BOX, labels=3),
        "it has 3 labels, but [1, 1, 1, 1] values",
        TRAINING,
    ),
    "sides of unequal number": (
        lambda jpeg: changed(jpeg, lambda f: lose(f, record_rules.BOX_FEATURES[1])),
        "it has 1 labels, but [1, 0, 1, 1] values",
        TRAINING,
    ),
}


def train_labels(pattern, batches, batch_size=3, **params):
    """Labels of the largest class of each trained image, the reader, and batches."""
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(str(pattern), is_training=True)
        found = records.elements(
            reader(dict(params, batch_size=batch_size)), limit=batches
        )
    classes = [labels["classes"].max(axis=1) for _, labels in found]
    return np.concatenate([[]] + classes), reader


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_training_leaves_a_broken_record_out_and_names_it(tmp_path, jpeg, log, name):
    make, message, who_minds = BROKEN[name]
    path = tmp_path / "train"
    records.write(path, [good(1, jpeg), good(2, jpeg), make(jpeg), good(3, jpeg)])
    classes, reader = train_labels(path, batches=8)
    assert len(classes) == 24  # at least six epochs
    if who_minds == EVALUATION:
        assert set(classes) == {1, 2, 3, 7}
        assert reader.bad.count == 0 and not log()
        return
    assert set(classes) == {1, 2, 3}
    assert reader.bad.count == 1 and reader.bad.error is None
    (line,) = log()  # once, not once an epoch
    assert line.startswith(f"left out, the 1. of at most 100: {path}, record 2")
    assert message in line


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_evaluation_ends_at_a_broken_record_and_names_it(tmp_path, jpeg, name):
    make, message, who_minds = BROKEN[name]
    path = tmp_path / "val"
    lines = [good(1, jpeg), good(2, jpeg), make(jpeg)]
    records.write(path, lines)
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(str(path), is_training=False)
        found = records.elements(reader({"batch_size": 2}))
    if who_minds != TRAINING:
        assert reader.bad.error.startswith(f"{path}, record 2")
        assert message in reader.bad.error
    else:
        # Its boxes do not matter: those of the json are used.
        assert reader.bad.error is None
        assert [batch["source_id"].tolist() for batch in found] == [[1, 2], [7, -1]]


def evaluated(path):
    """BadRecords after an evaluation of a file."""
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(str(path), is_training=False)
        records.elements(reader({"batch_size": 4}))
    return reader.bad


def damage(path, kind):
    data = bytearray(path.read_bytes())
    if kind == "cut":
        data = data[: len(data) * 5 // 8]  # in the third of four equal records
    else:
        data[len(data) * 5 // 8] ^= 1  # a checksum does not fit any more
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("number", range(3))
def test_wherever_a_file_is_damaged_evaluation_says_so(tmp_path, jpeg, number):
    path = tmp_path / "val"
    records.write(path, [good(number, jpeg) for number in range(1, 4)])
    data = bytearray(path.read_bytes())
    data[len(data) * (2 * number + 1) // 6] ^= 1
    path.write_bytes(bytes(data))
    bad = evaluated(path)
    assert bad.error.startswith(f"{path} cannot be read any further after {number} ")


def test_a_file_that_could_not_be_opened_once_is_missed(tmp_path, jpeg, monkeypatch):
    records.write(tmp_path / "val", [good(1, jpeg), good(2, jpeg)])
    sizes = iter([-1])
    monkeypatch.setattr(bad_records, "_size_of", lambda path: np.int64(next(sizes)))
    assert "val could not be read to its end; it" in evaluated(tmp_path / "val").error


@pytest.mark.parametrize("left_over, num_ranks", [(1, 1), (8, 2), (11, 3)])
def test_a_file_cut_in_front_of_a_record_is_not_taken_for_a_whole_one(
    tmp_path, jpeg, log, left_over, num_ranks
):
    path = tmp_path / "train"
    records.write(path, [good(number, jpeg) for number in (1, 2, 3)])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:left_over])
    text = f"{path} cannot be read any further after 3 records: its last {left_over} "
    assert evaluated(path).error.startswith(text)
    for rank in range(num_ranks):
        train_labels(path, batches=4, num_ranks=num_ranks, rank=rank)
    (line,) = log()  # of all ranks, one says so
    assert text in line


def test_zeros_behind_a_file_are_not_followed(tmp_path, jpeg):
    path = tmp_path / "val"
    records.write(path, [good(1, jpeg)])
    with open(str(path), "ab") as file:
        file.truncate(2**40)  # takes no room on the disk, and years to follow
    assert "cannot be read any further after 1 records" in evaluated(path).error


@pytest.mark.parametrize("num_ranks", [1, 2])
@pytest.mark.parametrize("kind", ["cut", "checksum"])
def test_training_uses_a_damaged_file_up_to_the_damage(
    tmp_path, jpeg, log, kind, num_ranks
):
    for index in range(3):
        numbers = range(4 * index + 1, min(4 * index + 5, 12))  # COCO has no id 12
        records.write(tmp_path / f"train{index}", [good(n, jpeg) for n in numbers])
    damage(tmp_path / "train1", kind)
    classes = []
    for rank in range(num_ranks):
        found, reader = train_labels(
            tmp_path / "train*", batches=20, num_ranks=num_ranks, rank=rank
        )
        classes += found.tolist()
        assert reader.bad.error is None
    assert set(classes) == {1, 2, 3, 4, 5, 6, 9, 10, 11}
    (line,) = log()  # of all ranks, one says so
    path = tmp_path / "train1"
    assert f"at most 100: {path} cannot be read any further after 2 records" in line


@pytest.mark.parametrize("kind", ["cut", "checksum"])
def test_evaluation_names_a_damaged_file(tmp_path, jpeg, kind):
    path = tmp_path / "val"
    records.write(path, [good(number, jpeg) for number in range(1, 5)])
    damage(path, kind)
    bad = evaluated(path)
    text = f"{path} cannot be read any further after 2 records: "
    assert bad.error.startswith(text)
    assert "\n" not in bad.error


@pytest.mark.parametrize("limit", [0, 3])
def test_more_broken_records_than_allowed_end_the_dataset(tmp_path, jpeg, log, limit):
    path = tmp_path / "train"
    bad = [boxes_record(jpeg, [0.5, 0.5, 0.4, 0.6]) for _ in range(limit + 1)]
    records.write(path, bad[:2] + [good(1, jpeg), good(2, jpeg)] + bad[2:])
    found, reader = train_labels(path, 1000, batch_size=1, max_bad_records=limit)
    assert len(found) < 1000
    assert reader.bad.count == limit + 1
    assert "ends before it starts" in reader.bad.error
    assert len(log()) == limit


def test_one_file_of_broken_records_is_more_than_allowed(tmp_path, jpeg):
    path = tmp_path / "train"
    records.write(path, [boxes_record(jpeg, [0.5, 0.5, 0.4, 0.6])] * 300)
    found, reader = train_labels(path, 1)
    assert len(found) == 0
    assert "ends before it starts" in reader.bad.error
    assert "in a row, among them" in reader.bad.error


def test_all_records_of_a_long_broken_row_are_named_in_time(tmp_path, jpeg, log):
    path = tmp_path / "train"
    bad = [boxes_record(jpeg, [0.5, 0.5, 0.4, 0.6]) for _ in range(20)]
    records.write(path, bad + [good(1, jpeg)])
    found, reader = train_labels(path, 60, batch_size=1, max_bad_records=20)
    assert len(found) == 60  # as many epochs, each in another order
    assert reader.bad.count == 20 and reader.bad.error is None
    names = [re.search(r"record (\d+) ", line).group(1) for line in log()]
    assert sorted(map(int, names)) == list(range(20))


def test_exactly_as_many_as_allowed_do_not(tmp_path, jpeg):
    path = tmp_path / "train"
    bad = [boxes_record(jpeg, [0.5, 0.5, 0.4, 0.6]) for _ in range(3)]
    records.write(path, bad + [good(1, jpeg)])
    found, reader = train_labels(path, 12, batch_size=1, max_bad_records=3)
    assert len(found) == 12
    assert reader.bad.count == 3 and reader.bad.error is None


def test_nothing_but_broken_records_ends_instead_of_hanging(tmp_path, jpeg):
    path = tmp_path / "train"
    records.write(path, [boxes_record(jpeg, [0.5, 0.5, 0.4, 0.6])] * 5)
    found, reader = train_labels(path, 3)
    assert len(found) == 0
    assert reader.bad.count == 5 and reader.bad.error is None


def test_a_lost_record_counts_even_if_its_file_has_changed(tmp_path, jpeg):
    path = tmp_path / "train"
    records.write(path, [good(1, jpeg), good(2, jpeg)])
    bad = bad_records.BadRecords([str(path)], limit=0, is_training=True)
    assert not bad.report(np.int64(1), np.int64(2))
    assert bad.error == f"{path} could not be read to its end; it has changed meanwhile"


# The limits too, though 1.1 is more than 1.1 when it comes out of float32.
@pytest.mark.parametrize("side", [-0.1, -0.09, 1.09, 1.1])
def test_boxes_a_little_outside_or_of_no_size_are_trained_on(tmp_path, jpeg, side):
    path = tmp_path / "train"
    boxes = [[0.2, min(side, 0.1), 0.8, max(side, 0.9)], [0.3, 0.4, 0.3, 0.6]]
    record = boxes_record(jpeg, *boxes)
    assert record_rules.problem_of(record, is_training=True) is None
    records.write(path, [record])
    found, reader = train_labels(path, 1)
    assert len(found) == 3 and reader.bad.count == 0


def test_of_several_problems_one_that_matters_is_named(jpeg):
    def spoil(feature):
        set_text(feature, "image/source_id", b"cat")
        feature[record_rules.BOX_FEATURES[2]].float_list.value[0] = 0

    record = changed(jpeg, spoil)
    problem = record_rules.problem_of(record, is_training=True)
    assert "ends before it starts" in problem
    problem = record_rules.problem_of(record, is_training=False)
    assert problem.startswith("its image/source_id b'cat' is no number")


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
        assert f"{tmp_path}/train1 cannot be read any further after 0 records" in line
        (tmp_path / "train2").unlink()
        with pytest.raises(tf.errors.OutOfRangeError):
            for _ in range(20):
                session.run(labels)
    assert "train2 cannot be read any further" in log()[1]
