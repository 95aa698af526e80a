# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a record holds, and what makes it unusable.

The rules for ids and boxes are written twice: in Python, which says what is wrong, and
as operations of TensorFlow, which make the record fail.
"""

import collections
import re

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf import message

# Eighteen digits always fit into an int64.
_ID_PATTERN = "[0-9]{1,18}"
# How far a box may reach out of the image, as a part of it: rounding, not an error.
MAX_OUTSIDE = 0.1

BOX_FEATURES = tuple("image/object/bbox/" + n for n in ("ymin", "xmin", "ymax", "xmax"))
LABEL_FEATURE = "image/object/class/label"
_NAME_FEATURE = "image/object/class/text"
_BOX_TYPES = dict.fromkeys(BOX_FEATURES, "float_list")
_BOX_TYPES[LABEL_FEATURE] = "int64_list"

# Kinds of problem: why a record cannot be used,
NO_EXAMPLE = "records that are no tf.train.Example"
WRONG_IMAGE = "records whose image is missing or of another type"

# by evaluation; training needs no id,
BAD_ID = "ids that are missing or no number"

# by training; evaluation takes the boxes of the json.
WRONG_BOX_FEATURE = "records whose boxes or labels are of another type"
UNEQUAL = "records whose boxes and labels differ in number"
OUTSIDE = "boxes outside their image, or of no numbers"
BACKWARD = "boxes that end before they start"
BOX_PROBLEMS = (WRONG_BOX_FEATURE, UNEQUAL, OUTSIDE, BACKWARD)

# What is wrong where none of these is found.
UNDECODABLE = "its image cannot be decoded or claims a huge size"

# Features that must hold one text: the kind of problem when one does not.
_SINGLE_FEATURES = {"image/encoded": WRONG_IMAGE, "image/source_id": BAD_ID}
# Characters of an id that are shown.
_SHOWN_ID = 60

Problem = collections.namedtuple("Problem", "kind text")
Problem.__doc__ = """One fault: its kind, the same for many, and what is wrong here."""


def problem_of(serialized, is_training):
    """Says why a record cannot be used; see `problems_of`.

    Args:
      serialized: bytes.
      is_training: bool; training does not look at the id, evaluation not at the boxes.

    Returns:
      str, the first problem, or None.
    """
    ignored = (BAD_ID,) if is_training else BOX_PROBLEMS
    texts = (p.text for p in problems_of(serialized) if p.kind not in ignored)
    return next(texts, None)


def describe(serialized, is_training):
    """Names a record that could not be used, and the reason.

    Args:
      serialized: bytes.
      is_training: bool, see `problem_of`.

    Returns:
      str, to be put behind its place: " (image 42): it has no image/encoded".
    """
    try:
        shown = id_text(tf.train.Example.FromString(serialized).features.feature)
    except message.DecodeError:
        shown = ""
    image = f" (image {shown})" if shown else ""
    return f"{image}: {problem_of(serialized, is_training) or UNDECODABLE}"


def problems_of(serialized):
    """Finds what is wrong with a record, but for its image's pixels.

    Args:
      serialized: bytes.

    Yields:
      Problem.
    """
    try:
        feature = tf.train.Example.FromString(serialized).features.feature
    except message.DecodeError:
        yield Problem(NO_EXAMPLE, "it is no tf.train.Example")
        return
    for name, kind in _SINGLE_FEATURES.items():
        text = _problem_of_single(feature, name)
        if text:
            yield Problem(kind, text)
    texts = [_problem_of_type(feature, *item) for item in _BOX_TYPES.items()]
    if any(texts):
        yield from (Problem(WRONG_BOX_FEATURE, text) for text in texts if text)
    else:
        yield from _problems_of_boxes(feature)


def _problem_of_single(feature, name):
    if name not in feature:
        return f"it has no {name}"
    text = _problem_of_type(feature, name, "bytes_list")
    if text:
        return text
    values = feature[name].bytes_list.value
    if len(values) != 1:
        return f"its {name} is not one value"
    if name == "image/source_id" and not is_id(values[0]):
        shown = values[0][:_SHOWN_ID]
        return f"its {name} {shown!r} is no number of at most 18 digits"
    return None


def _problem_of_type(feature, name, kind):
    found = name in feature and feature[name].WhichOneof("kind")
    if not found or found == kind:
        return None
    return f"its {name} is of type {found}, not {kind}"


def _problems_of_boxes(feature):
    sides = [feature[name].float_list.value for name in BOX_FEATURES]
    counts = [len(side) for side in sides]
    num_labels = len(feature[LABEL_FEATURE].int64_list.value)
    if set(counts) != {num_labels}:
        yield Problem(
            UNEQUAL,
            f"it has {num_labels} labels, but {counts} values of ymin, xmin, ymax, "
            "xmax",
        )
        return
    boxes = np.array(sides, np.float32).T.reshape(-1, 4)
    for box, is_outside, is_backward in zip(boxes, *unusable(boxes)):
        if is_outside:
            text = f"its box {box_text(box)} lies outside the image (0..1)"
            yield Problem(OUTSIDE, text)
        elif is_backward:
            yield Problem(BACKWARD, f"its box {box_text(box)} ends before it starts")


def unusable(boxes):
    """Finds the boxes that `check_boxes` refuses.

    Args:
      boxes: float32 [G, 4], ltrb.

    Returns:
      (bool [G], outside of the image or no numbers, bool [G], ending before they
      start).
    """
    # Comparisons with NaN are false; NumPy 1.18 would warn.
    with np.errstate(invalid="ignore"):
        is_inside = np.abs(boxes - np.float32(0.5)) <= np.float32(0.5 + MAX_OUTSIDE)
        is_forward = boxes[:, :2] <= boxes[:, 2:]
    return ~is_inside.all(axis=1), ~is_forward.all(axis=1)


def box_text(ltrb):
    """The box as messages show it."""
    return "[ymin {:g}, xmin {:g}, ymax {:g}, xmax {:g}]".format(*ltrb)


def id_text(feature):
    """The image id as messages show it: one line, not too long; "" if there is none.

    Args:
      feature: that of a tf.train.Example.

    Returns:
      str.
    """
    text = b"".join(feature["image/source_id"].bytes_list.value[:1])
    shown = text[:_SHOWN_ID].decode(errors="replace") + "..." * (len(text) > _SHOWN_ID)
    return " ".join(shown.split())


def named_categories(feature):
    """The categories that a record names, as a COCO json has them.

    Args:
      feature: that of a tf.train.Example.

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


def is_id(text):
    """Whether text, bytes, is a number as an image id has to be."""
    return bool(re.match(_ID_PATTERN.encode() + rb"\Z", text))


def to_id(text):
    """Makes a number of an image id; fails where it `is_id` not.

    Args:
      text: string scalar.

    Returns:
      int64 scalar.
    """
    # TensorFlow's conversion to a number alone would take "-1" and " 1".
    rest = tf.regex_replace(text, f"^{_ID_PATTERN}$", "")
    is_number = tf.not_equal(text, "") & tf.equal(rest, "")
    with tf.control_dependencies([tf.Assert(is_number, [text])]):
        return tf.string_to_number(text, tf.int64)


def check_boxes(boxes, num_labels):
    """Makes the record fail in whose boxes `problem_of` finds a problem for training.

    Args:
      boxes: float32 [G, 4], ltrb.
      num_labels: int32 scalar.

    Returns:
      boxes.
    """
    # Comparisons with NaN are false.
    is_inside = tf.abs(boxes - 0.5) <= 0.5 + MAX_OUTSIDE
    is_forward = boxes[:, :2] <= boxes[:, 2:]
    is_good = tf.reduce_all(is_inside) & tf.reduce_all(is_forward)
    is_good &= tf.equal(tf.shape(boxes)[0], num_labels)
    # With text alone tf.Assert is one operation; with numbers a branch around it.
    with tf.control_dependencies([tf.Assert(is_good, ["boxes that make no sense"])]):
        return tf.identity(boxes)
