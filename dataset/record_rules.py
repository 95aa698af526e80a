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

from dataset import image_header

# Eighteen digits always fit into an int64.
_ID_PATTERN = re.compile(rb"[0-9]{1,18}\Z")
# How far a box may reach out of the image, as a fraction of the image's side. Up to
# here it is a rounding error.
MAX_OUTSIDE = 0.1

IMAGE_FEATURE = "image/encoded"
ID_FEATURE = "image/source_id"
BOX_FEATURES = tuple("image/object/bbox/" + n for n in ("ymin", "xmin", "ymax", "xmax"))
LABEL_FEATURE = "image/object/class/label"
_NAME_FEATURE = "image/object/class/text"
_BOX_TYPES = dict.fromkeys(BOX_FEATURES, "float_list")
_BOX_TYPES[LABEL_FEATURE] = "int64_list"

# Kinds of problem that matter to training and evaluation,
NO_EXAMPLE = "records that are not valid tf.train.Examples"
WRONG_IMAGE = "records whose image is missing or of another type"
BAD_IMAGE = "images that are not JPEG or PNG, are cut off, or claim a wrong size"

# only to evaluation, because training needs no id,
BAD_ID = "ids that are missing or not numbers"

# and only to training, because evaluation takes the boxes from the json.
WRONG_BOX_FEATURE = "records whose boxes or labels are of another type"
UNEQUAL = "records whose boxes and labels differ in number"
OUTSIDE = "boxes outside their image, or not numbers"
BACKWARD = "boxes that end before they start"
BOX_PROBLEMS = (WRONG_BOX_FEATURE, UNEQUAL, OUTSIDE, BACKWARD)

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
      boxes: float32 [G, 4], ltrb, in 0..1.
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
        ignored = (BAD_ID,) if is_training else BOX_PROBLEMS
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
    image_id = _read_id(feature, problems)
    boxes, labels = _read_boxes(feature, problems)
    return Record(
        problems,
        encoded or b"",
        height_width,
        image_id,
        id_text(feature),
        boxes,
        labels,
    )


def problems_of(serialized):
    """Returns the list of Problem of a record, bytes; see `read_record`."""
    return read_record(serialized).problems


def _read_id(feature, problems):
    """Returns the image id, int, or None after adding a problem."""
    image_id = _read_single(feature, ID_FEATURE, BAD_ID, problems)
    if image_id is None or _ID_PATTERN.match(image_id):
        return image_id and int(image_id)
    text = f"its {ID_FEATURE} {image_id[:_SHOWN_ID]!r} is not a number"
    problems.append(Problem(BAD_ID, f"{text} of at most 18 digits"))
    return None


def _read_single(feature, name, kind, problems):
    """Returns the one value, bytes, of a feature; None after adding a problem."""
    text = _problem_of_type(feature, name, "bytes_list")
    values = feature[name].bytes_list.value if name in feature else None
    if values is None:
        text = f"it has no {name}"
    elif not text and len(values) != 1:
        text = f"its {name} is not one value"
    if text:
        problems.append(Problem(kind, text))
        return None
    return values[0]


def _problem_of_type(feature, name, kind):
    found = name in feature and feature[name].WhichOneof("kind")
    if not found or found == kind:
        return None
    return f"its {name} is of type {found}, not {kind}"


def _read_boxes(feature, problems):
    """Returns (float32 [G, 4], list of G category ids); adds what is wrong."""
    texts = [_problem_of_type(feature, *item) for item in _BOX_TYPES.items()]
    problems += (Problem(WRONG_BOX_FEATURE, text) for text in texts if text)
    sides = [feature[name].float_list.value[:] for name in BOX_FEATURES]
    labels = feature[LABEL_FEATURE].int64_list.value[:]
    counts = [len(side) for side in sides]
    if set(counts) != {len(labels)}:
        if not any(texts):
            text = f"it has {len(labels)} labels, but {counts} values of ymin, xmin, "
            problems.append(Problem(UNEQUAL, text + "ymax, xmax"))
        return np.zeros([0, 4], np.float32), []
    boxes = np.array(sides, np.float32).T
    is_outside, is_backward = check_boxes(boxes)
    for box in boxes[is_outside]:
        text = f"its box {box_text(box)} lies outside the image (0..1)"
        problems.append(Problem(OUTSIDE, text))
    for box in boxes[is_backward]:
        text = f"its box {box_text(box)} ends before it starts"
        problems.append(Problem(BACKWARD, text))
    return boxes, labels


def check_boxes(boxes):
    """Finds the boxes that cannot be used.

    Args:
      boxes: float32 [G, 4], ltrb.

    Returns:
      is_outside: bool [G], whether it lies outside the image or has values that are not
        numbers.
      is_backward: bool [G], whether it is inside, but ends before it starts.
    """
    # Comparisons with NaN are false, and NumPy 1.18 would warn of them.
    with np.errstate(invalid="ignore"):
        is_inside = np.abs(boxes - np.float32(0.5)) <= np.float32(0.5 + MAX_OUTSIDE)
        is_forward = boxes[:, :2] <= boxes[:, 2:]
    is_outside = ~is_inside.all(axis=1)
    return is_outside, ~is_outside & ~is_forward.all(axis=1)


def box_text(ltrb):
    """Returns the box as messages show it."""
    return "[ymin {:g}, xmin {:g}, ymax {:g}, xmax {:g}]".format(*ltrb)


def id_text(feature):
    """Returns the image id as messages show it: one short line, "" if there is none.

    Args:
      feature: `features.feature` of a tf.train.Example.

    Returns:
      str.
    """
    text = b"".join(feature[ID_FEATURE].bytes_list.value[:1])
    shown = text[:_SHOWN_ID].decode(errors="replace") + "..." * (len(text) > _SHOWN_ID)
    return " ".join(shown.split())


def named_categories(feature):
    """Returns the categories that a record names, in the form of a COCO json.

    Args:
      feature: `features.feature` of a tf.train.Example.

    Returns:
      list of {"id": int, "name": str}; empty where there are no names.
    """
    ids = feature[LABEL_FEATURE].int64_list.value
    names = feature[_NAME_FEATURE].bytes_list.value
    pairs = dict(zip(ids, names)) if len(ids) == len(names) else {}
    return [
        {"id": number, "name": name.decode(errors="replace")}
        for number, name in pairs.items()
    ]
