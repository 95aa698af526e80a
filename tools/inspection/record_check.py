# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the records of TFRecord files on all cores, and finds the faults of each.

record_rules decides which records training and evaluation refuse, and augmentation
which images can be decoded. This module adds the faults that both of them accept.

Glossary: G boxes of a record, ltrb, [ymin, xmin, ymax, xmax] in 0..1.
"""

import concurrent.futures
import contextlib
import itertools
import os
from typing import NamedTuple, Optional

import tensorflow.compat.v1 as tf

import dataset_parser
from console import progress
from console.errors import UserError
from conversion import image_file, pixels
from dataset import augmentation, json_faults, json_match, record_rules
from dataset.record_rules import Problem
from inspection import faults

# Bytes that TFRecord adds to each record: its length and two checksums.
_FRAMING_BYTES = 16
# Records in memory per core, twice.
_CHUNK = 16


class Record(NamedTuple):
    """What is known about one record, or about the unreadable rest of a file.

    Attributes:
      place: str, the file and the index of the record in it.
      serialized: bytes; None for the rest of a file.
      problems: list of Problem, those of the content among them.
      content: record_rules.Record.
      size: (width, height) of the decoded image in pixels, or None.
      has_known_box: whether there is a box of a category in the label map.
    """

    place: str
    serialized: Optional[bytes]
    problems: list
    content: record_rules.Record
    size: Optional[tuple] = None
    has_known_box: bool = False

    @property
    def is_left_out(self):
        """Whether training counts the record as broken."""
        return self.content.problem(is_training=True) is not None


def read_all(paths):
    """Reads files as far as training can, with a progress display over their bytes.

    Args:
      paths: list of str.

    Yields:
      (place, serialized), see `Record`; or (place, Problem) for the rest of a file.

    Raises:
      UserError: a file cannot be opened.
    """
    total = sum(os.path.getsize(path) for path in paths)
    with progress.Progress(total, "byte") as bar:
        for path in paths:
            for index, content in enumerate(_read(path)):
                yield f"{path}, record {index}", content
                bar.update(len(content) + _FRAMING_BYTES)


def _read(path):
    position = 0
    reason = "TensorFlow finds no more records"
    try:
        size = os.path.getsize(path)
        for serialized in tf.python_io.tf_record_iterator(path):
            yield serialized
            position += len(serialized) + _FRAMING_BYTES
    except tf.errors.DataLossError as error:
        reason = error.message.splitlines()[0]
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if position < size:
        text = f"the file's last {size - position} bytes cannot be read: {reason}"
        yield Problem(faults.CUT, text)


def check_all(records, label_map):
    """Checks records on all cores.

    Args:
      records: generator, see `read_all`, which is closed in the end; at most two chunks
        of its records are in memory at a time.
      label_map: categories.LabelMap.

    Yields:
      Record, in order.
    """
    check = _Checker(label_map)
    workers = dataset_parser.num_cores()
    # Threads are enough: nearly all the time is spent on decoding, outside of Python.
    pool = concurrent.futures.ThreadPoolExecutor(workers)

    def start_chunk():
        return pool.map(check, itertools.islice(records, _CHUNK * workers))

    with contextlib.closing(records), pool:
        chunk = list(start_chunk())
        while chunk:
            following = start_chunk()
            yield from chunk
            chunk = list(following)


class _Checker:
    """Checks single records; several threads may share one checker."""

    def __init__(self, label_map):
        self._label_map = label_map
        with tf.Graph().as_default() as graph:
            self._encoded = tf.placeholder(tf.string, [])
            image = augmentation.decode(self._encoded)
            self._facts = tf.shape(image), tf.reduce_min(image), tf.reduce_max(image)
        self._session = tf.Session(graph=graph)

    def __call__(self, place_and_serialized):
        """Returns the Record."""
        place, serialized = place_and_serialized
        if isinstance(serialized, Problem):
            problems = [serialized]
            return Record(place, None, problems, record_rules.Record(problems))
        content = record_rules.read_record(serialized)
        problems = list(content.problems)
        for label in content.labels:
            if label not in self._label_map.names:
                text = f"it has a box of category id {label}"
                problems.append(Problem(record_rules.UNKNOWN, text))
        size = None
        if content.encoded:
            names = record_rules.categories_of(serialized)
            for text in self._label_map.other_names(names):
                problems.append(Problem(json_faults.OTHER_NAME, text))
            size = self._check_image(content, serialized, problems)
        has_known_box = any(n in self._label_map.names for n in content.labels)
        return Record(place, serialized, problems, content, size, has_known_box)

    def _check_image(self, content, serialized, problems):
        """Returns (width, height), or None if the image cannot be decoded."""
        if not content.height_width[0]:
            return None
        try:
            shape, darkest, brightest = self._session.run(
                self._facts, {self._encoded: content.encoded}
            )
        except tf.errors.OpError:
            text = "its image cannot be decoded: the data behind its header is damaged"
            problems.append(Problem(faults.UNDECODABLE, text))
            return None
        size = int(shape[1]), int(shape[0])
        feature = tf.train.Example.FromString(serialized).features.feature
        width = feature["image/width"].int64_list.value
        height = feature["image/height"].int64_list.value
        stated = (width[0], height[0]) if width and height else None
        text = json_match.problem_of_size(size, stated, "in its features")
        if text:
            problems.append(Problem(json_match.OTHER_SIZE, text))
        if brightest < pixels.DARK_BELOW or darkest > pixels.BRIGHT_ABOVE:
            text = f"all its pixels have values from {darkest} to {brightest}"
            problems.append(Problem(faults.FLAT, text))
        problems += _problems_of_exif(content.encoded, size, stated)
        return size


def _problems_of_exif(encoded, size, stated):
    """Yields a Problem if the boxes of an image may refer to its turned pixels."""
    orientation = image_file.exif_orientation(encoded)
    # From 5 on, width and height are exchanged: the stated size tells.
    is_told = orientation >= 5 and size[0] != size[1] and stated == size
    if orientation != 1 and not is_told:
        text = f"its EXIF orientation is {orientation}; TensorFlow does not turn images"
        yield Problem(faults.TURNED, text)
