# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads all records of TFRecord files on all cores, and finds what is wrong with each.

record_rules says what cannot be used, and augmentation decodes the images. This file
adds what is suspicious, but neither training nor evaluation refuses.

Glossary: G boxes of a record, ltrb, [ymin, xmin, ymax, xmax] in 0..1.
"""

import concurrent.futures
import contextlib
import itertools
import os
import sys
import tempfile
from typing import NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf import message

import dataset_parser
from console.errors import UserError
from dataset import augmentation, record_rules
from dataset.record_rules import Problem

UNDECODABLE = "images that cannot be decoded"
DAMAGED_IMAGE = "images that decode with a complaint"
BEYOND = "boxes that reach a little out of their image"
EMPTY = "boxes of no size"
UNKNOWN = "boxes of a category that is not in the label map"
OTHER_NAME = "categories that a record names otherwise than the label map"
EXCHANGED = "images with width and height exchanged"
OTHER_SIZE = "images of another size than said"
CUT = "files that cannot be read to their end"

_USED = "training and evaluation use what the decoder makes of it"
_LEFT_OUT = "training leaves the record out"
_BOTH = _LEFT_OUT + ", evaluation stops"
# Kind of problem: what becomes of it.
CONSEQUENCES = {
    record_rules.NO_EXAMPLE: _BOTH,
    record_rules.WRONG_IMAGE: _BOTH,
    record_rules.BAD_ID: "training does not mind, evaluation stops",
    record_rules.WRONG_BOX_FEATURE: _LEFT_OUT,
    record_rules.UNEQUAL: _LEFT_OUT,
    record_rules.OUTSIDE: _LEFT_OUT,
    record_rules.BACKWARD: _LEFT_OUT,
    record_rules.BAD_IMAGE: _BOTH,
    # Training decodes windows of an image, some of which may end before the fault.
    UNDECODABLE: "training stops when it meets the fault, evaluation stops",
    DAMAGED_IMAGE: _USED,
    BEYOND: "training clips the box",
    EMPTY: "training makes some default box find it, and never crops its image",
    UNKNOWN: "training leaves the box out",
    OTHER_NAME: "training goes by the number; give the --label_map of the dataset",
    EXCHANGED: "training goes by the pixels; the boxes may be wrong, see the sheet",
    OTHER_SIZE: "training goes by the pixels; the boxes may be wrong, see the sheet",
    CUT: "training leaves out what is behind, evaluation stops",
}
_LEFT_OUT_KINDS = {
    record_rules.NO_EXAMPLE,
    record_rules.WRONG_IMAGE,
    record_rules.BAD_IMAGE,
    CUT,
}
_LEFT_OUT_KINDS.update(record_rules.BOX_PROBLEMS)

# Framing around each record: length, its checksum and that of the data.
FRAMING_BYTES = 16
# As parts of the image; a pixel's rounding is less.
_ROUNDING = 0.002
# Records held at a time, for each core.
_CHUNK = 16


class Facts(NamedTuple):
    """What one record holds, as far as it can be read.

    Attributes:
      problems: list of Problem.
      id_text: the id as messages show it, "" where there is none.
      boxes: float32 [G, 4], ltrb.
      labels: int64 [G], category ids.
      size: (width, height) in pixels of the decoded image, or None.
      has_known_box: whether there is a box of a category in the label map.
    """

    problems: list
    id_text: str = ""
    boxes: np.ndarray = np.zeros([0, 4], np.float32)
    labels: np.ndarray = np.zeros([0], np.int64)
    size: Optional[tuple] = None
    has_known_box: bool = False

    @property
    def is_left_out(self):
        """Whether training counts the record as broken."""
        kinds = {problem.kind for problem in self.problems}
        return not kinds.isdisjoint(_LEFT_OUT_KINDS)

    @property
    def image_id(self):
        """int, or None where there is none."""
        is_bad = any(problem.kind == record_rules.BAD_ID for problem in self.problems)
        return int(self.id_text) if self.id_text and not is_bad else None


class Record(NamedTuple):
    """A record, or (serialized is None) the end of what can be read of a file.

    Attributes:
      path: of its file.
      index: in the file, from 0.
      serialized: bytes.
      problem: Problem of the file, or None.
    """

    path: str
    index: int
    serialized: Optional[bytes]
    problem: Optional[Problem] = None

    @property
    def place(self):
        """str, as messages name it."""
        return f"{self.path}, record {self.index}"


def read(path):
    """Reads one file, as far as training can read it.

    Args:
      path: str.

    Yields:
      Record; the last one has a problem where the file goes on behind it.

    Raises:
      UserError: when it cannot be opened.
    """
    position = index = 0
    reason = "TensorFlow finds no more records"
    try:
        size = os.path.getsize(path)
        for serialized in tf.python_io.tf_record_iterator(path):
            yield Record(path, index, serialized)
            position += len(serialized) + FRAMING_BYTES
            index += 1
    except tf.errors.DataLossError as error:
        reason = error.message.splitlines()[0]
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if position < size:
        text = f"the file's last {size - position} bytes cannot be read: {reason}"
        yield Record(path, index, None, Problem(CUT, text))


def check_all(records, label_map):
    """Checks records on all cores.

    Args:
      records: iterator of Record; few are held at a time.
      label_map: categories.LabelMap.

    Yields:
      (Record, Facts), in order.
    """
    checker = _Checker(label_map)
    workers = dataset_parser.num_cores()

    def take():
        return list(itertools.islice(records, _CHUNK * workers))

    # Threads do: nearly all the time goes into decoding, outside of Python.
    with contextlib.ExitStack() as stack:
        heard = stack.enter_context(_complaints())
        stack.enter_context(contextlib.closing(records))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(workers))
        chunk = take()
        while chunk:
            results = pool.map(checker.check, chunk)
            following = take()
            found = list(results)
            if heard():
                found = [
                    _with_complaint(checker, record, facts, heard)
                    for record, facts in zip(chunk, found)
                ]
            yield from zip(chunk, found)
            chunk = following


@contextlib.contextmanager
def _complaints():
    """Gives a function: what the JPEG decoder has said since the last call, or "".

    Of a damaged JPEG that can still be decoded it only writes a line to the standard
    error of the process. TensorFlow writes there as well, of what fails anyway.
    """
    sys.stderr.flush()
    kept = sys.stderr
    with os.fdopen(os.dup(2), "w", 1) as real, tempfile.TemporaryFile() as file:
        number = file.fileno()

        def heard():
            text = os.pread(number, os.fstat(number).st_size, 0).decode(
                "utf8", "replace"
            )
            os.ftruncate(number, 0)
            os.lseek(number, 0, os.SEEK_SET)
            lines = [line for line in text.splitlines() if "tensorflow" not in line]
            return lines[0] if lines else ""

        os.dup2(number, 2)
        sys.stderr = real
        try:
            yield heard
        finally:
            sys.stderr = kept
            os.dup2(real.fileno(), 2)


def _with_complaint(checker, record, facts, heard):
    """Decodes the image once more, alone, to find whose complaint it was."""
    if facts.size is not None:
        checker.check(record)
        complaint = heard()
        if complaint:
            text = f"its image is damaged: {complaint}"
            facts.problems.append(Problem(DAMAGED_IMAGE, text))
    return facts


class _Checker:
    """Checks single records; may be used by several threads at once."""

    def __init__(self, label_map):
        self._label_map = label_map
        self._known_ids = np.array(list(label_map.names), np.int64)
        with tf.Graph().as_default() as graph:
            self._encoded = tf.placeholder(tf.string, [])
            # All pixels are decoded, and only their shape leaves the session.
            self._shape = tf.shape(augmentation.decode(self._encoded))
        self._session = tf.Session(graph=graph)

    def check(self, record):
        """Gives the Facts of a Record."""
        if record.serialized is None:
            return Facts([record.problem])
        found = record_rules.read_record(record.serialized)
        problems = found.problems
        try:
            example = tf.train.Example.FromString(record.serialized)
        except message.DecodeError:
            return Facts(problems)
        feature = example.features.feature
        boxes, labels = found.boxes, np.array(found.labels, np.int64)
        problems += _problems_of_boxes(boxes)
        is_known = np.isin(labels, self._known_ids)
        for label in labels[~is_known]:
            problems.append(Problem(UNKNOWN, f"it has a box of category id {label}"))
        names = record_rules.named_categories(feature)
        for text in self._label_map.other_names(names):
            problems.append(Problem(OTHER_NAME, text))
        return Facts(
            problems,
            id_text=found.id_text,
            boxes=boxes,
            labels=labels,
            size=self._check_image(feature, found),
            has_known_box=bool(is_known.any()),
        )

    def _check_image(self, feature, found):
        """Returns (width, height), or None if the image cannot be decoded."""
        if not found.height_width[0]:
            return None
        try:
            shape = self._session.run(self._shape, {self._encoded: found.encoded})
        except tf.errors.OpError:
            text = "its image cannot be decoded"
            found.problems.append(Problem(UNDECODABLE, text))
            return None
        size = int(shape[1]), int(shape[0])
        said = [
            feature["image/" + name].int64_list.value[:1]
            for name in ("width", "height")
        ]
        if all(said):
            said = said[0][0], said[1][0]
            found.problems.extend(compare_sizes(size, said, "its features"))
        return size


def compare_sizes(size, said, who):
    """Compares an image's size with what is said of it.

    Args:
      size: (width, height) of the pixels.
      said: (width, height).
      who: who says so: "its features".

    Returns:
      list of Problem.
    """
    if said == size:
        return []
    kind = EXCHANGED if said == size[::-1] else OTHER_SIZE
    text = "it has {} x {} pixels, but {} say {} x {}".format(*size, who, *said)
    return [Problem(kind, text)]


def _problems_of_boxes(boxes):
    """Yields the problems that record_rules does not mind."""
    clipped = np.clip(boxes, 0, 1)
    is_empty = (clipped[:, :2] == clipped[:, 2:]).any(axis=1)
    with np.errstate(invalid="ignore"):
        is_beyond = (np.abs(boxes - clipped) > _ROUNDING).any(axis=1)
    is_refused = np.array(
        [bool(record_rules.problem_of_box(box)) for box in boxes], bool
    )
    for index in np.flatnonzero(~is_refused & (is_empty | is_beyond)):
        text = f"its box {record_rules.box_text(boxes[index])}"
        if is_empty[index]:
            yield Problem(EMPTY, f"{text} has no size")
        else:
            yield Problem(BEYOND, f"{text} reaches out of the image")
