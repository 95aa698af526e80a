# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads TFRecord files and leaves out what is broken, counted and named.

TensorFlow drops a record whose processing fails without a word (`ignore_errors`). So
records are numbered before that stage; a gap in the numbers behind it shows how many
were lost, and their identities are handed to Python, which looks at them once more to
say what is wrong. Only that rare path leaves TensorFlow's own kernels.

Glossary: an identity is an int64, the number of a file in the high 32 bits and that of
a record in the low ones; END, behind the last record of an epoch, is none.
"""

import collections
import itertools
import re

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf import message

END = -1
# Eighteen digits always fit into an int64.
_ID_PATTERN = "[0-9]{1,18}"
# Stands behind the last record of a file. It is no tf.train.Example: where the file
# could not be read to its end, it counts as one broken record.
_FILE_END = b"\xff end of the file"
# Length, its checksum and that of the data, around the data of each record.
_FRAMING_BYTES = 16
_FILE_BITS = 32
# Lost records in a row that are named; an epoch in another order names the others.
_MOST_NAMED = 1000
# How far a box may reach out of the image, as a part of it: rounding, not an error.
MAX_OUTSIDE = 0.1

BOX_FEATURES = tuple("image/object/bbox/" + n for n in ("ymin", "xmin", "ymax", "xmax"))
LABEL_FEATURE = "image/object/class/label"
# Kind of each feature that training reads, and whether it is exactly one value.
_FEATURE_KINDS = {
    "image/encoded": ("bytes_list", True),
    "image/source_id": ("bytes_list", True),
    LABEL_FEATURE: ("int64_list", False),
}
_FEATURE_KINDS.update((name, ("float_list", False)) for name in BOX_FEATURES)

# Kinds of problem for which training leaves a record out.
NO_EXAMPLE = "records that are no tf.train.Example"
WRONG_FEATURE = "records whose image or id is missing or of another type"
WRONG_BOX_FEATURE = "records whose boxes or labels are of another type"
BAD_ID = "ids that are no number"
UNEQUAL = "records whose boxes and labels differ in number"
OUTSIDE = "boxes outside their image, or of no numbers"
BACKWARD = "boxes that end before they start"

Problem = collections.namedtuple("Problem", "kind text")
Problem.__doc__ = """One fault: its kind, the same for many, and what is wrong here."""


class BadRecords:
    """Counts and names what was left out of one dataset."""

    def __init__(self, files, limit, has_boxes):
        """Keeps what to look at.

        Args:
          files: list of str, numbered as in the identities.
          limit: int, so many may be left out; 0: none.
          has_boxes: bool, whether the boxes and labels count, too.
        """
        self._files = files
        self._limit = limit
        self._has_boxes = has_boxes
        self._known = set()
        # str, why there is nothing more to read; None as long as all is well.
        self.error = None
        # int, identities that a gap can have and still be named.
        self.window = min(limit + 1, _MOST_NAMED)

    @property
    def count(self):
        """int, different records that were left out."""
        return len(self._known)

    def report(self, identities):
        """Counts and logs those that are new.

        Args:
          identities: int64 [lost], NumPy.

        Returns:
          np.bool_, whether to go on.
        """
        for identity in identities.tolist():
            if identity in self._known or self.error:
                continue
            text = self._describe(identity)
            if text is None:
                continue
            self._known.add(identity)
            if self._limit:
                tf.logging.warning(
                    "left out, the %d. of at most %d: %s",
                    *(self.count, self._limit, text),
                )
            if self.count > self._limit:
                self.error = text
        return np.bool_(self.error is None)

    def _describe(self, identity):
        """What is wrong, as one line; None when the file turns out to be whole."""
        path = self._files[identity >> _FILE_BITS]
        index = identity & (2**_FILE_BITS - 1)
        try:
            records = tf.python_io.tf_record_iterator(path)
            serialized = next(itertools.islice(records, index, None), None)
        except tf.errors.OpError as error:
            reason = str(error).splitlines()[0]
            return f"{path} cannot be read any further after {index} records: {reason}"
        if serialized is None:
            return None
        problem = problem_of(serialized, self._has_boxes) or (
            "its image cannot be decoded or claims a huge size"
        )
        return f"{path}, record {index}{_image_of(serialized)}: {problem}"


def problem_of(serialized, has_boxes=True):
    """Says what is wrong with a record; see `problems_of`.

    Returns:
      str, the first problem, or None.
    """
    first = next(problems_of(serialized, has_boxes), None)
    return first and first.text


def problems_of(serialized, has_boxes=True):
    """Finds what is wrong with a record, but for its image's pixels.

    Args:
      serialized: bytes.
      has_boxes: bool, whether the boxes and labels count, too.

    Yields:
      Problem.
    """
    try:
        feature = tf.train.Example.FromString(serialized).features.feature
    except message.DecodeError:
        yield Problem(NO_EXAMPLE, "it is no tf.train.Example")
        return
    wrong = []
    for name, (kind, is_single) in _FEATURE_KINDS.items():
        if is_single or has_boxes:
            text = _problem_of_feature(feature, name, kind, is_single)
            if text:
                wrong.append(name)
                yield Problem(WRONG_FEATURE if is_single else WRONG_BOX_FEATURE, text)
    if "image/source_id" not in wrong:
        source_id = feature["image/source_id"].bytes_list.value[0]
        if not is_id(source_id):
            yield Problem(BAD_ID, f"its image/source_id {source_id!r} is no number")
    if has_boxes and not set(wrong).intersection(BOX_FEATURES + (LABEL_FEATURE,)):
        yield from _problems_of_boxes(feature)


def _problem_of_feature(feature, name, kind, is_single):
    if name not in feature:
        return f"it has no {name}" if is_single else None
    found = feature[name].WhichOneof("kind") or kind
    if found != kind:
        return f"its {name} is a {found}, not a {kind}"
    if is_single and len(getattr(feature[name], kind).value) != 1:
        return f"its {name} is not one value"
    return None


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
    for box in zip(*sides):
        ymin, xmin, ymax, xmax = box
        if not all(-MAX_OUTSIDE <= x <= 1 + MAX_OUTSIDE for x in box):
            text = f"its box {box_text(box)} lies outside the image (0..1)"
            yield Problem(OUTSIDE, text)
        elif ymax < ymin or xmax < xmin:
            yield Problem(BACKWARD, f"its box {box_text(box)} ends before it starts")


def box_text(ltrb):
    """The box as messages show it."""
    return "[ymin {:g}, xmin {:g}, ymax {:g}, xmax {:g}]".format(*ltrb)


def _image_of(serialized):
    """' (image 42)', or nothing when no id can be read."""
    try:
        feature = tf.train.Example.FromString(serialized).features.feature
    except message.DecodeError:
        return ""
    ids = feature["image/source_id"].bytes_list.value
    return f" (image {ids[0].decode(errors='replace')})" if ids else ""


def is_id(text):
    """Whether text, bytes, is a number as an image id has to be."""
    return bool(re.match(_ID_PATTERN.encode() + rb"\Z", text))


def check_id(text):
    """Makes the record fail whose id is not what `problem_of` wants.

    Args:
      text: string scalar.

    Returns:
      text.
    """
    # TensorFlow's conversion to a number alone would take "-1" and " 1".
    rest = tf.regex_replace(text, f"^{_ID_PATTERN}$", "")
    is_number = tf.not_equal(text, "") & tf.equal(rest, "")
    with tf.control_dependencies([tf.Assert(is_number, [text])]):
        return tf.identity(text)


def check_boxes(boxes, num_labels):
    """Makes the record fail whose boxes are not what `problem_of` wants.

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


def read_file(path, file_number, size):
    """Reads the records of one file, as far as it can be read.

    Args:
      path: string scalar.
      file_number: int64 scalar.
      size: int64 scalar, bytes.

    Returns:
      tf.data.Dataset of (identity, string scalar); of a file that cannot be read to
      its end the last one is not a record.
    """
    records = tf.data.Dataset.from_tensors(path).map(_none_if_missing)
    records = records.flat_map(tf.data.TFRecordDataset)
    # A file that cannot be opened fails anew forever, and ignore_errors would not
    # return. If it vanishes right after it was looked for, the numbers end.
    numbers = tf.data.Dataset.range(size // _FRAMING_BYTES + 1)
    records = tf.data.Dataset.zip((numbers, records))
    records = records.apply(tf.data.experimental.ignore_errors())
    end = tf.constant(END, tf.int64), _FILE_END
    records = records.concatenate(tf.data.Dataset.from_tensors(end))

    def identify(state, element):
        index, position = state
        _, record = element
        is_end = tf.equal(record, _FILE_END)
        is_whole = is_end & tf.equal(position, size)
        identity = file_number * 2**_FILE_BITS + index
        length = tf.size(tf.decode_raw(record, tf.uint8), out_type=tf.int64)
        length += _FRAMING_BYTES
        return (index + 1, position + length), (
            tf.where(is_whole, tf.constant(END, tf.int64), identity),
            record,
        )

    zero = tf.constant(0, tf.int64)
    records = records.apply(tf.data.experimental.scan((zero, zero), identify))
    return records.filter(lambda identity, unused: tf.not_equal(identity, END))


def _none_if_missing(path):
    """[path], or nothing where it cannot be opened."""
    is_there = tf.py_func(_can_be_opened, [path], tf.bool)
    is_there.set_shape([])
    return tf.boolean_mask([path], [is_there])


def _can_be_opened(path):
    try:
        with tf.gfile.Open(path.decode(), "rb") as file:
            file.read(1)
    except tf.errors.OpError:
        return np.bool_(False)
    return np.bool_(True)


def good_batches(dataset, function, bad, batch_size, drop_remainder, workers):
    """Applies a function to every record, and leaves out those where it fails.

    The dataset ends when bad has had enough, and at an END that no used record came
    before: filtering without end would hang.

    Args:
      dataset: tf.data.Dataset of (identity, string scalar), with END at the end of
        each epoch.
      function: from those two to (bool scalar, whether the result is used, result).
        It must not fail for END.
      bad: BadRecords.
      batch_size: int.
      drop_remainder: bool.
      workers: int, records that are worked on at once.

    Returns:
      tf.data.Dataset of batches of results.
    """
    dataset = dataset.apply(_numbering(bad.window))
    dataset = dataset.map(
        lambda number, recent, record: (number, recent, function(recent[-1], record)),
        num_parallel_calls=workers,
    )
    dataset = dataset.apply(tf.data.experimental.ignore_errors())
    dataset = dataset.apply(_checking(bad))
    dataset = dataset.apply(
        tf.data.experimental.take_while(lambda goes_on, *unused: goes_on)
    )
    dataset = dataset.filter(lambda goes_on, is_used, result: is_used)
    dataset = dataset.batch(batch_size, drop_remainder)
    return dataset.map(lambda goes_on, is_used, result: result)


def _numbering(window):
    """Adds a running number and the identities of this and the `window` before."""

    def number(state, element):
        count, recent = state
        identity, record = element
        recent = tf.concat([recent[1:], [identity]], axis=0)
        return (count + 1, recent), (count, recent, record)

    start = tf.constant(0, tf.int64), tf.fill([window + 1], tf.constant(END, tf.int64))
    return tf.data.experimental.scan(start, number)


def _checking(bad):
    """Reports gaps in the numbers, and finds epochs without any used record."""

    def report(recent, num_lost):
        lost = recent[-1 - tf.minimum(num_lost, bad.window) : -1]
        goes_on = tf.py_func(bad.report, [lost], tf.bool)
        goes_on.set_shape([])
        return goes_on

    def check(state, element):
        expected, num_used = state
        number, recent, (is_used, result) = element
        num_lost = number - expected
        goes_on = tf.cond(
            num_lost > 0, lambda: report(recent, num_lost), lambda: tf.constant(True)
        )
        is_end = tf.equal(recent[-1], END)
        num_used += tf.cast(is_used, tf.int64)
        goes_on &= tf.logical_not(is_end) | (num_used > 0)
        num_used *= tf.cast(tf.logical_not(is_end), tf.int64)
        return (number + 1, num_used), (goes_on, is_used, result)

    zero = tf.constant(0, tf.int64)
    return tf.data.experimental.scan((zero, zero), check)
