# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds what is wrong with one record, and knows what training would do with it.

Whether training takes a record is bad_records' to say. This module looks closer, at
every box, and at what training does not mind.

Glossary: G boxes of a record, ltrb, [ymin, xmin, ymax, xmax] in 0..1.
"""

import re
from typing import NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf import message

import bad_records
import image_file
import problems as kinds
from problems import Problem

# As parts of the image; a pixel's rounding is less.
_ROUNDING = 0.002


class Facts(NamedTuple):
    """What one record holds, as far as it can be read.

    Attributes:
      problems: list of Problem.
      image_id: int, or None.
      id_text: of the id, "" where there is none.
      boxes: float32 [G, 4], ltrb.
      labels: int64 [G], category ids.
      size: (width, height) in pixels of the decoded image, or None.
      orientation: EXIF's, 1..8.
    """

    problems: list
    image_id: Optional[int] = None
    id_text: str = ""
    boxes: np.ndarray = np.zeros([0, 4], np.float32)
    labels: np.ndarray = np.zeros([0], np.int64)
    size: Optional[tuple] = None
    orientation: int = 1

    @property
    def is_trained_on(self):
        """Whether training takes the record."""
        return not any(problem.kind in kinds.NEVER_TRAINED for problem in self.problems)


class Checker:
    """Checks records; may be used by several threads at once."""

    def __init__(self, label_map):
        """Builds what decodes the images.

        Args:
          label_map: categories.LabelMap.
        """
        self._known_ids = np.array(sorted(label_map.names), np.int64)
        graph = tf.Graph()
        with graph.as_default():
            self._encoded = tf.placeholder(tf.string, [])
            # All pixels are decoded, and only their shape leaves the session.
            pixels = tf.image.decode_jpeg(self._encoded, channels=3)
            self._shape = tf.shape(pixels)
        self._session = tf.Session(graph=graph)

    def check(self, serialized: bytes) -> Facts:
        """Checks one record.

        Args:
          serialized: the record.

        Returns:
          Facts.
        """
        try:
            feature = tf.train.Example.FromString(serialized).features.feature
        except message.DecodeError:
            return Facts([Problem(kinds.NO_EXAMPLE, "is no tf.train.Example")])
        problems = []
        id_text = _single(feature, "image/source_id", problems)
        encoded = _single(feature, "image/encoded", problems)
        size, orientation = None, 1
        if encoded is not None:
            size, orientation = self._check_image(encoded, feature, problems)
        boxes, labels = _boxes(feature, problems)
        _check_boxes(boxes, problems)
        _check_labels(labels, self._known_ids, problems)
        facts = Facts(
            problems,
            _number(id_text, problems),
            (id_text or b"").decode(errors="replace"),
            *(boxes, labels, size, orientation),
        )
        unnamed = bad_records.problem_of(serialized)
        if unnamed and facts.is_trained_on:
            problems.append(Problem(kinds.OTHER, unnamed))
        return facts

    def _check_image(self, encoded, feature, problems):
        """((width, height) or None, orientation)."""
        try:
            header = image_file.read_header(encoded)
            if header is None:
                raise ValueError("is neither a JPEG nor a PNG")
            height, width, _ = self._session.run(self._shape, {self._encoded: encoded})
        except (ValueError, tf.errors.OpError) as error:
            reason = (
                str(error) if isinstance(error, ValueError) else "cannot be decoded"
            )
            problems.append(Problem(kinds.BAD_IMAGE, f"its image {reason}"))
            return None, 1
        size = (int(width), int(height))
        said = tuple(
            next(iter(_list(feature, "image/" + name, "int64_list", [])), None)
            for name in ("width", "height")
        )
        if None not in said:
            problems.extend(compare_sizes(size, said, "its features"))
        return size, header.orientation


def compare_sizes(size, said, who) -> list:
    """Compares an image's size with what is said of it.

    Args:
      size: (width, height) of the pixels.
      said: (width, height).
      who: who says so: "its features".

    Returns:
      list of Problem.
    """
    if tuple(said) == tuple(size):
        return []
    kind = kinds.EXCHANGED if tuple(said) == tuple(size)[::-1] else kinds.OTHER_SIZE
    text = "has {} x {} pixels, but {} say {} x {}".format(*size, who, *said)
    return [Problem(kind, text)]


def _single(feature, name, problems):
    """The one value of a bytes feature; None, and a problem, for all else."""
    if name not in feature:
        problems.append(Problem(kinds.FEATURE, f"has no {name}"))
        return None
    before = len(problems)
    values = _list(feature, name, "bytes_list", problems)
    if len(values) == 1:
        return values[0]
    if len(problems) == before:
        problems.append(
            Problem(kinds.FEATURE, f"has {len(values)} values of {name}, not one")
        )
    return None


def _list(feature, name, kind, problems):
    """The values of a feature; none where it is missing or of another kind."""
    if name not in feature:
        return []
    found = feature[name].WhichOneof("kind")
    if found not in (None, kind):
        problems.append(Problem(kinds.FEATURE, f"has {name} as {found}, not {kind}"))
        return []
    return getattr(feature[name], kind).value


def _number(id_text, problems):
    if id_text is None:
        return None
    if re.match(rb"[0-9]{1,18}\Z", id_text):
        return int(id_text)
    problems.append(Problem(kinds.BAD_ID, f"has image/source_id {id_text!r}"))
    return None


def _boxes(feature, problems):
    """(float32 [G, 4], int64 [G]); nothing where the numbers differ."""
    names = bad_records.BOX_FEATURES
    sides = [_list(feature, name, "float_list", problems) for name in names]
    labels = _list(feature, bad_records.LABEL_FEATURE, "int64_list", problems)
    counts = [len(side) for side in sides]
    if set(counts) == {len(labels)}:
        boxes = np.array(sides, np.float32).T.reshape(-1, 4)
        return boxes, np.array(labels, np.int64)
    if not any(problem.kind == kinds.FEATURE for problem in problems):
        text = "has {} ymin, {} xmin, {} ymax, {} xmax".format(*counts)
        problems.append(Problem(kinds.UNEQUAL, f"{text}, but {len(labels)} labels"))
    return np.zeros([0, 4], np.float32), np.zeros([0], np.int64)


def _check_boxes(boxes, problems):
    for index, box in enumerate(boxes):
        kind = _kind_of(box)
        if kind is not None:
            text = "ymin {:.4g}, xmin {:.4g}, ymax {:.4g}, xmax {:.4g}".format(*box)
            problems.append(Problem(kind, f"has box {index}: {text}"))


def _kind_of(box):
    ymin, xmin, ymax, xmax = box
    # Comparisons with NaN are false.
    if not (np.abs(box - 0.5) <= 0.5 + bad_records.MAX_OUTSIDE).all():
        return kinds.OUTSIDE
    if ymax < ymin or xmax < xmin:
        return kinds.BACKWARD
    if ymax == ymin or xmax == xmin:
        return kinds.EMPTY
    if (np.abs(box - 0.5) > 0.5 + _ROUNDING).any():
        return kinds.BEYOND
    return None


def _check_labels(labels, known_ids, problems):
    for index in np.flatnonzero(~np.isin(labels, known_ids)):
        problems.append(
            Problem(kinds.UNKNOWN, f"has box {index} of category id {labels[index]}")
        )
