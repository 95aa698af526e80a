# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads records, and says what makes a record unusable: all rules are in this file.

A record is a serialized tf.train.Example. Glossary: G boxes of a record.
"""

import re
from typing import NamedTuple, Optional, Sequence

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf import message

from dataset import box_rules, image_header

# Eighteen digits always fit into an int64.
_ID_PATTERN = re.compile(rb"[0-9]{1,18}\Z")
# Coordinates of a box, as fractions of the image, may overshoot 0..1 this far; that
# counts as rounding. The limits are float32, as the coordinates are.
_LOWEST, _HIGHEST = float(np.float32(-0.1)), float(np.float32(1.1))

IMAGE_FEATURE = "image/encoded"
ID_FEATURE = "image/source_id"
BOX_FEATURES = tuple("image/object/bbox/" + n for n in ("ymin", "xmin", "ymax", "xmax"))
LABEL_FEATURE = "image/object/class/label"
_NAME_FEATURE = "image/object/class/text"
_BOX_TYPES = dict.fromkeys(BOX_FEATURES, "float_list")
_BOX_TYPES[LABEL_FEATURE] = "int64_list"

# Kinds of problem that matter to both training and evaluation.
NO_EXAMPLE = "records that are not valid tf.train.Examples"
WRONG_IMAGE = "records whose image is missing or of another type"
BAD_IMAGE = "images that are not JPEG or PNG, are cut off, or claim a wrong size"

# This kind matters only to evaluation: training needs no id.
BAD_ID = "ids that are missing or not numbers"

# These kinds matter only to training: evaluation takes its boxes from the json.
WRONG_BOX_FEATURE = "records whose boxes or labels are of another type"
UNEQUAL = "records whose boxes and labels differ in number"
OUTSIDE = "boxes outside their image, or not numbers"
BACKWARD = "boxes that end before they start"
BOX_PROBLEMS = (WRONG_BOX_FEATURE, UNEQUAL, OUTSIDE, BACKWARD)

# Training leaves only the box out, not the record.
NO_SIZE = box_rules.NO_SIZE
UNKNOWN = "boxes of a category that is not in the label map"

# Characters of an id that messages show.
_SHOWN_ID = 60


class Problem(NamedTuple):
    """A reason why a record cannot be used.

    Attributes:
      kind: str, one of the constants above.
      text: str, one line about this record.
    """

    kind: str
    text: str


class Record(NamedTuple):
    """The contents of a record, as far as they can be read, and its problems.

    Attributes:
      problems: list of Problem.
      encoded: bytes, the JPEG or PNG.
      height_width: (height, width) of the image in pixels.
      image_id: int, or None if there is no valid id.
      id_text: str, the image id as messages show it, "" if there is none.
      boxes: float32 [G, 4], ltrb, in 0..1; those that count, see box_rules.
      labels: G ints, the category ids.
    """

    problems: list
    encoded: bytes = b""
    height_width: tuple = (0, 0)
    image_id: Optional[int] = None
    id_text: str = ""
    boxes: np.ndarray = np.zeros([0, 4], np.float32)
    labels: Sequence[int] = ()

    def problem(self, is_training):
        """Returns the text of the first problem that matters, or None.

        Args:
          is_training: bool; training ignores the id, and evaluation the boxes.
        """
        ignored = (NO_SIZE,) + ((BAD_ID,) if is_training else BOX_PROBLEMS)
        texts = (p.text for p in self.problems if p.kind not in ignored)
        return next(texts, None)


def read_record(serialized):
    """Reads and checks a record; only the pixels of the image are not checked.

    Args:
      serialized: bytes.

    Returns:
      Record.
    """
    try:
        feature = tf.train.Example.FromString(serialized).features.feature
    except message.DecodeError:
        return Record([Problem(NO_EXAMPLE, "it is not a valid tf.train.Example")])
    problems = []
    encoded = _read_single(feature, IMAGE_FEATURE, WRONG_IMAGE, problems)
    height_width = (0, 0)
    if encoded is not None:
        try:
            height_width = image_header.read_size(encoded)
        except ValueError as error:
            problems.append(Problem(BAD_IMAGE, str(error)))
    source_id = _read_single(feature, ID_FEATURE, BAD_ID, problems)
    image_id = None
    if source_id and _ID_PATTERN.match(source_id):
        image_id = int(source_id)
    elif source_id is not None:
        text = f"its {ID_FEATURE} {source_id[:_SHOWN_ID]!r} is not a number"
        problems.append(Problem(BAD_ID, f"{text} of at most 18 digits"))
    boxes, labels = _read_boxes(feature, height_width, problems)
    return Record(
        problems,
        encoded or b"",
        height_width,
        image_id,
        _shown(source_id or b""),
        boxes,
        labels,
    )


def _read_single(feature, name, kind, problems):
    """Returns the one value, bytes, of a feature; None after adding a problem."""
    found = feature[name]
    values = found.bytes_list.value
    if len(values) == 1:
        return values[0]
    text = _problem_of_type(name, found, "bytes_list")
    if name not in feature or not found.WhichOneof("kind"):
        text = f"it has no {name}"
    problems.append(Problem(kind, text or f"its {name} is not one value"))
    return None


def _problem_of_type(name, found, kind):
    """Returns a message if a feature holds another kind of list, else None."""
    found_kind = found.WhichOneof("kind")
    if found_kind in (kind, None):
        return None
    return f"its {name} is of type {found_kind}, not {kind}"


def _read_boxes(feature, height_width, problems):
    """Returns (float32 [G, 4], G category ids) that count; adds what is wrong."""
    sides = [feature[name].float_list.value[:] for name in BOX_FEATURES]
    labels = feature[LABEL_FEATURE].int64_list.value[:]
    counts = [len(side) for side in sides]
    if not labels or counts != [len(labels)] * 4:
        problems.extend(_problems_of_counts(feature, counts, len(labels)))
        return np.zeros([0, 4], np.float32), []
    found = [problem for problem in map(problem_of_box, zip(*sides)) if problem]
    problems.extend(found)
    boxes = np.array(sides, np.float32).T
    if found or not all(height_width):
        return boxes, labels
    counts = box_rules.have_size(boxes, height_width)
    if counts.all():
        return boxes, labels
    for box in boxes[~counts]:
        text = f"its box {box_text(box)} has no size or lies outside the image"
        problems.append(Problem(NO_SIZE, text))
    return boxes[counts], np.array(labels)[counts].tolist()


def _problems_of_counts(feature, counts, num_labels):
    """Yields why boxes and labels do not match; nothing if there are none of either."""
    texts = [
        _problem_of_type(name, feature[name], kind) for name, kind in _BOX_TYPES.items()
    ]
    if any(texts):
        yield from (Problem(WRONG_BOX_FEATURE, text) for text in texts if text)
    elif num_labels or any(counts):
        text = f"it has {num_labels} labels, but {counts} values of ymin, xmin, ymax, "
        yield Problem(UNEQUAL, text + "xmax")


def problem_of_box(ltrb):
    """Checks a box.

    Args:
      ltrb: four floats.

    Returns:
      Problem, or None if the box can be used.
    """
    ymin, xmin, ymax, xmax = ltrb
    if _LOWEST <= ymin <= ymax <= _HIGHEST and _LOWEST <= xmin <= xmax <= _HIGHEST:
        return None
    # Comparisons with NaN are false.
    if all(_LOWEST <= side <= _HIGHEST for side in ltrb):
        return Problem(BACKWARD, f"its box {box_text(ltrb)} ends before it starts")
    return Problem(OUTSIDE, f"its box {box_text(ltrb)} lies outside the image (0..1)")


def box_text(ltrb):
    """Returns the box as messages show it."""
    return "[ymin {:g}, xmin {:g}, ymax {:g}, xmax {:g}]".format(*ltrb)


def _shown(text):
    """Returns bytes as messages show them: one short line."""
    shown = text[:_SHOWN_ID].decode(errors="replace") + "..." * (len(text) > _SHOWN_ID)
    return " ".join(shown.split())


def categories_of(serialized):
    """Returns the categories of a record's boxes, in the form of a COCO json.

    Args:
      serialized: bytes.

    Returns:
      list of {"id": int, "name": str}, by id, without "name" if the record names none;
      empty if it is not valid.
    """
    try:
        feature = tf.train.Example.FromString(serialized).features.feature
    except message.DecodeError:
        return []
    ids = feature[LABEL_FEATURE].int64_list.value
    names = feature[_NAME_FEATURE].bytes_list.value
    if len(ids) != len(names):
        return [{"id": number} for number in sorted(set(ids))]
    return [
        {"id": number, "name": name.decode(errors="replace")}
        for number, name in sorted(dict(zip(ids, names)).items())
    ]
