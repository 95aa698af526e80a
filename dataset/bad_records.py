# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads TFRecord files and leaves out what is broken, counted and named.

TensorFlow drops a record whose processing fails without a word (`ignore_errors`). So
records are numbered before that stage; a gap in the numbers behind it shows how many
were lost, and their identities are handed to Python, which looks at them once more to
say what is wrong. Only that rare path leaves TensorFlow's own kernels. What is done for
each record costs little if it is no operation: tf.data calls no function that only
picks some of its arguments.

A file that cannot be read to its end is noticed in the same way, by numbers of what was
tried and of what was read. A file that ends within the 12 bytes in front of a record is
a whole one to TensorFlow; so, once it has been read, the lengths in front of its
records are followed to its end.

Glossary: an element is (read, tried, identity, record). The first three are int64
scalars. An identity names what is lost with the element: a record, by the number of its
file in the high 32 bits and its own in the low ones; by NO_MORE - the number of a file
the rest of that file; by END nothing. Read and tried number what could be read of a
file, and what was tried; where they differ, something before was lost. Record is a
string scalar, a serialized example, or END_RECORD, behind the records of each file and
of each epoch.
"""

import base64
import functools
import os

import numpy as np
import tensorflow.compat.v1 as tf

from dataset import record_rules

END = -1
NO_MORE = -2
# Length and its checksum, in front of the data of each record; behind it, its checksum.
_HEAD_BYTES = 12
_FRAMING_BYTES = _HEAD_BYTES + 4
_FILE_BITS = 32
# Lost records in a row that are named; an epoch in another order names the others. Each
# costs every record a microsecond.
_MOST_NAMED = 8
# A PNG of one pixel, in base64.
_SMALLEST_IMAGE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5E"
    "rkJggg=="
)


def _end_record():
    """An image without boxes, so that what reads records needs no case for it."""
    example = tf.train.Example()
    feature = example.features.feature
    # What no record of a dataset has.
    feature["end of the records"].int64_list.value.append(1)
    image = base64.b64decode(_SMALLEST_IMAGE)
    feature["image/encoded"].bytes_list.value.append(image)
    feature["image/source_id"].bytes_list.value.append(b"0")
    return example.SerializeToString()


END_RECORD = _end_record()


class BadRecords:
    """Counts and names what was left out of one dataset."""

    def __init__(self, files, limit, is_training):
        """Keeps what to look at.

        Args:
          files: list of str, numbered as in the identities.
          limit: int, so many may be left out; 0: none.
          is_training: bool, see `record_rules.problem_of`.
        """
        self._files = files
        self._limit = limit
        self._is_training = is_training
        self._known = set()
        # str, why there is nothing more to read; None as long as all is well.
        self.error = None
        # int, lost elements in a row that can be named.
        self.window = min(limit + 1, _MOST_NAMED)

    @property
    def count(self):
        """int, different records that were left out and named."""
        return len(self._known)

    def report(self, num_lost, *previous):
        """Counts and logs what is new of the elements that were lost in a row.

        Args:
          num_lost: how many, all of one epoch.
          *previous: identities of the `window` elements before, the newest last; if
            more were lost, all of them were.

        Returns:
          np.bool_, whether to go on.
        """
        for identity in map(int, previous[-num_lost:]):
            if identity in self._known or self.error:
                continue
            text = self._describe(identity)
            self._known.add(identity)
            if self.count > self._limit:
                self.error = text
            else:
                tf.logging.warning(
                    "left out, the %d. of at most %d: %s",
                    *(self.count, self._limit, text),
                )
        if num_lost > self._limit and not self.error:
            newest = self._describe(int(previous[-1]))
            self.error = f"{num_lost} in a row, among them {newest}"
        return np.bool_(self.error is None)

    def _describe(self, identity):
        """What is wrong, as one line."""
        if identity < 0:
            number, index = NO_MORE - identity, None
        else:
            number, index = divmod(identity, 2**_FILE_BITS)
        path, count, reason = self._files[number], 0, None
        try:
            for serialized in tf.python_io.tf_record_iterator(path):
                if count == index:
                    what = record_rules.describe(serialized, self._is_training)
                    return f"{path}, record {index}{what}"
                count += 1
            left_over = _left_over(path)
            if left_over:
                reason = f"its last {left_over} bytes are the start of another"
        except tf.errors.OpError as error:
            reason = str(error).splitlines()[0]
        if reason is None:
            return f"{path} could not be read to its end; it has changed meanwhile"
        return f"{path} cannot be read any further after {count} records: {reason}"


def read_file(path, file_number):
    """Reads the records of one file, as far as it can be read.

    Args:
      path: string scalar.
      file_number: int64 scalar.

    Returns:
      tf.data.Dataset of elements, END_RECORD at the end.
    """
    records = tf.data.Dataset.from_tensors((path, file_number)).flat_map(_records_of)
    end = tf.data.Dataset.from_tensors((path, file_number)).map(_end_of)
    elements = records.concatenate(end)
    numbers = tf.data.Dataset.range(2**_FILE_BITS)
    # A record that cannot be read takes its number along.
    tried = tf.data.Dataset.zip((numbers, elements))
    tried = tried.apply(tf.data.experimental.ignore_errors())
    return tf.data.Dataset.zip((numbers, tried)).map(
        lambda read, element: (read, element[0]) + element[1]
    )


def _records_of(path, file_number):
    """tf.data.Dataset of (identity, record); fails if the file cannot be opened."""
    size = tf.py_func(_size_of, [path], tf.int64)
    size.set_shape([])
    with tf.control_dependencies([tf.Assert(size >= 0, ["cannot be opened"])]):
        # If it vanishes right after it was looked at, it fails anew forever, and
        # ignore_errors would not return: no more is tried than it can have records.
        bound = size // _FRAMING_BYTES + 1
    first = file_number * 2**_FILE_BITS
    identities = tf.data.Dataset.range(first, first + bound)
    return tf.data.Dataset.zip((identities, tf.data.TFRecordDataset(path)))


def _size_of(path):
    """Bytes of a file, int64; -1 where it cannot be opened."""
    try:
        with tf.gfile.Open(path.decode(), "rb") as file:
            file.read(1)
            return np.int64(file.size())
    except tf.errors.OpError:
        return np.int64(-1)


def _end_of(path, file_number):
    """(identity, END_RECORD); or "", no example, if TensorFlow passed over a rest."""
    record = tf.py_func(
        lambda path: b"" if _left_over(path) else END_RECORD, [path], tf.string
    )
    record.set_shape([])
    return NO_MORE - file_number, record


def _left_over(path):
    """Counts the bytes behind the last record, if too few for TensorFlow to mind.

    A file that is not on this machine, or damaged before its end, gives 0.
    """
    try:
        state = os.stat(path)
        return _count_left_over(path, state.st_size, state.st_mtime)
    except OSError:
        return 0


# Once for each file: where memory is short, each head would be a read from the disk.
@functools.lru_cache(maxsize=None)
def _count_left_over(path, size, unused_time):
    position = 0
    with open(path, "rb", buffering=0) as file:
        while size - position >= _HEAD_BYTES:
            length = int.from_bytes(os.pread(file.fileno(), 8, position), "little")
            if not length:
                return 0  # zeros: 16 bytes at a time would take long
            position += length + _FRAMING_BYTES
    return max(size - position, 0)


def is_record(read, tried, unused_identity, record):
    """bool scalar: False behind the last record of a file that was read to its end."""
    return tf.not_equal(record, END_RECORD) | tf.not_equal(read, tried)


def end_of_epoch():
    """Gives a tf.data.Dataset of the one element to put behind all records."""
    end = tf.constant(END, tf.int64)
    return tf.data.Dataset.from_tensors((end, end, end, END_RECORD))


def good_batches(dataset, function, bad, batch_size, drop_remainder, workers):
    """Applies a function to every record, and leaves out those where it fails.

    The dataset ends when bad has had enough, and at an END that no used record came
    before: filtering without end would hang.

    Args:
      dataset: tf.data.Dataset of elements, that of `end_of_epoch` at the end of each
        epoch.
      function: from a record to (bool scalar, whether the result is used, result). It
        must not fail for END_RECORD.
      bad: BadRecords.
      batch_size: int.
      drop_remainder: bool.
      workers: int, records that are worked on at once.

    Returns:
      tf.data.Dataset of batches of results.
    """
    dataset = dataset.apply(_with_previous(bad.window))
    numbers = tf.data.Dataset.range(tf.int64.max)

    def process(number, element):
        previous, (read, tried, identity, record) = element
        is_whole = tf.equal(read, tried)
        with tf.control_dependencies([tf.Assert(is_whole, ["records are missing"])]):
            record = tf.identity(record)
        return number, previous, identity, function(record)

    dataset = tf.data.Dataset.zip((numbers, dataset)).map(
        process, num_parallel_calls=workers
    )
    dataset = dataset.apply(tf.data.experimental.ignore_errors())
    dataset = dataset.apply(_checking(bad))
    dataset = dataset.apply(
        tf.data.experimental.take_while(lambda goes_on, *unused: goes_on)
    )
    dataset = dataset.filter(lambda goes_on, is_used, result: is_used)
    dataset = dataset.batch(batch_size, drop_remainder)
    return dataset.map(lambda goes_on, is_used, result: result)


def _with_previous(window):
    """Makes (the identities of the `window` elements before, the element) of each."""

    def add(previous, element):
        _, _, identity, _ = element
        return previous[1:] + (identity,), (previous, element)

    start = (tf.constant(END, tf.int64),) * window
    return tf.data.experimental.scan(start, add)


def _checking(bad):
    """Reports gaps in the numbers, and finds epochs without any used record."""

    def report(num_lost, previous):
        goes_on = tf.py_func(bad.report, (num_lost,) + previous, tf.bool)
        goes_on.set_shape([])
        return goes_on

    def check(state, element):
        expected, was_used = state
        number, previous, identity, (is_used, result) = element
        num_lost = number - expected
        goes_on = tf.cond(
            num_lost > 0, lambda: report(num_lost, previous), lambda: tf.constant(True)
        )
        within_epoch = tf.not_equal(identity, END)
        was_used |= is_used
        goes_on &= within_epoch | was_used
        return (number + 1, was_used & within_epoch), (goes_on, is_used, result)

    start = tf.constant(0, tf.int64), tf.constant(False)
    return tf.data.experimental.scan(start, check)
