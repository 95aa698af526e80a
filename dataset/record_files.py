# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds TFRecord files, reads them as far as possible, and shares them among the ranks.

An element is a dict that says where a record is and holds it:
  path: string scalar, the file.
  index: int64 scalar, the number of the record in the file, from 0.
  position: int64 scalar, where the record starts in the file, in bytes.
  record: string scalar, the serialized tf.train.Example.
  is_end: bool scalar, True for the last element of each file, which holds no record.
    Its index is the number of records that could be read, and its position is where
    reading stopped. `problem_at_end` compares that with the size of the file.
"""

import collections
import concurrent.futures
import contextlib
import functools
import math
import os
import re
import struct
import zlib

import numpy as np
import tensorflow.compat.v1 as tf

from console import paths

FILES_READ_TOGETHER = 16

# Length, checksum of the length, and checksum of the data.
_FRAMING_BYTES = 16
_LENGTH = struct.Struct("<Q")

# Names of TFRecord files. A file with another name may be anything.
_SHARD_NAME = re.compile(r".*(-\d+-of-\d+|\.tfrecords?|\.tfrec|\.record)", re.I | re.S)
# Hidden files, including macOS attribute copies, and temporary or backup files.
_PASSED_OVER = re.compile(
    r"\..*|.*(~|\.(tmp|part|partial|crdownload|crc|bak|old|orig|swp))", re.I | re.S
)
_NUMBERED = re.compile(r"(.*)-(\d+)-of-(\d{1,6})(.*)", re.S)
_BYTES_OF_START = 1024
_LARGEST_RECORD = 2**31
_MAX_NAMED = 5


def find(pattern):
    """Finds the TFRecord files that a pattern matches.

    Folders, hidden and temporary files, and files that cannot be TFRecords are passed
    over and named once in the log. A file is kept if the pattern is its exact path. A
    damaged file is also kept if it is named like a shard.

    Args:
      pattern: str, a glob pattern; wildcards in a part of a local path that exists
        literally are not expanded.

    Returns:
      list of str, sorted, at least one.

    Raises:
      ValueError: one line; no TFRecord file matches, or a file cannot be read or is
        compressed.
    """
    found = _expand(pattern)
    files = [path for path in found if _may_hold_records(path, path == pattern)]
    others = sorted(set(found) - set(files))
    text = f"{pattern} matches no TFRecord file"
    if others:
        names = ", ".join(map(os.path.basename, others[:_MAX_NAMED]))
        more = ", ..." if len(others) > _MAX_NAMED else ""
        text = (
            f"{pattern}: passed over {len(others)} of {len(found)} matches that cannot "
            f"be TFRecord files: {names}{more}"
        )
    if not files:
        raise ValueError(text)
    if others:
        _warn_once(text)
    _warn_of_missing_shards(files)
    return files


def _warn_of_missing_shards(files):
    """Logs if a file NAME-00000-of-00004 lacks some of the others."""
    sets = collections.defaultdict(set)
    for path in files:
        match = _NUMBERED.fullmatch(path)
        if match:
            start, number, total, end = match.groups()
            sets[start, int(total), end].add(int(number))
    for (start, total, end), numbers in sets.items():
        missing = sorted(set(range(total)) - numbers)
        if missing:
            _warn_once(
                f"{len(missing)} of {total} files {start}-*{end} are missing, number "
                f"{missing[0]} first"
            )


def _expand(pattern):
    if not paths.is_remote(pattern):
        return paths.expand(pattern)
    try:
        return sorted(tf.gfile.Glob(pattern))
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0]
        raise ValueError(f"{pattern}: {reason}; {paths.COPY_OR_MOUNT}") from error


@functools.lru_cache(maxsize=None)
def _warn_once(text):
    tf.logging.warning("%s", text)


def _may_hold_records(path, is_meant):
    """Returns whether a path is a file that may hold records, or is kept anyway.

    Args:
      path: str.
      is_meant: bool, whether the pattern is this exact path.

    Returns:
      bool, see `find`.

    Raises:
      ValueError: one line; the file cannot be read or is compressed.
    """
    name = os.path.basename(path.rstrip("/"))
    # Excludes pipes, which would block, and broken links.
    is_file = os.path.isfile(path) or paths.is_remote(path)
    is_passed_over = _PASSED_OVER.fullmatch(name) or not is_file
    if (is_passed_over and not is_meant) or tf.gfile.IsDirectory(path):
        return False
    try:
        with tf.gfile.Open(path, "rb") as file:
            size, start = file.size(), file.read(_BYTES_OF_START)
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0]
        raise ValueError(
            f"{path} cannot be read: {reason}; change its permissions or move it away"
        ) from error
    if _first_length(start) <= size - _FRAMING_BYTES:
        return True
    # wbits=47 detects GZIP or ZLIB.
    with contextlib.suppress(zlib.error):
        unpacked = zlib.decompressobj(47).decompress(start, _LENGTH.size)
        if _first_length(unpacked) < _LARGEST_RECORD:
            raise ValueError(
                f"{path} is compressed; store the records without compression: gunzip "
                "< COMPRESSED > NEW_FILE"
            )
    return bool(not size or is_meant or _SHARD_NAME.fullmatch(name))


def _first_length(start):
    """Returns the length in front of the first record; infinity if there is none."""
    length = start[: _LENGTH.size]
    return _LENGTH.unpack(length)[0] if len(length) == _LENGTH.size else math.inf


def shard_records(
    files, num_ranks, rank, is_training, is_deterministic=False, goes_on=lambda: True
):
    """Reads the records of one rank; every record belongs to exactly one rank.

    If the number of ranks divides the number of files, each rank reads its own files
    only. Otherwise every rank reads all files and keeps each num_ranks-th record.

    Args:
      files: list of str.
      num_ranks: int, at least 1.
      rank: int, 0..num_ranks - 1.
      is_training: bool; files then come in a new random order every time.
      is_deterministic: bool; files are then not read ahead in parallel.
      goes_on: function without arguments; no further file is opened when it returns
        False.

    Returns:
      tf.data.Dataset of elements.
    """
    whole_files = len(files) % num_ranks == 0
    numbers = np.arange(len(files), dtype=np.int64)
    if whole_files:
        numbers = numbers[rank::num_ranks]
    paths = [files[number] for number in numbers]
    dataset = tf.data.Dataset.from_tensor_slices((paths, numbers))
    if is_training:
        dataset = dataset.shuffle(len(files))
    # Stops between two files. Stopping within a file would end its reading thread at a
    # moment when TensorFlow 1.15 may crash.
    dataset = dataset.apply(
        tf.data.experimental.take_while(lambda path, number: _call(goes_on))
    )

    def read(path, number):
        elements = read_file(path)
        if whole_files:
            return elements
        # First records of successive files go to different ranks, because files may
        # hold only one record.
        return elements.shard(num_ranks, (rank + number) % num_ranks)

    reads_ahead = is_training and not is_deterministic
    return dataset.interleave(
        read,
        cycle_length=min(len(files), FILES_READ_TOGETHER),
        num_parallel_calls=tf.data.experimental.AUTOTUNE if reads_ahead else None,
    )


def _call(function):
    """Calls a Python function without arguments; returns a bool scalar."""
    result = tf.py_func(function, [], tf.bool)
    result.set_shape([])
    return result


def read_file(path):
    """Reads one file up to its end, or up to the first record that cannot be read.

    Args:
      path: string scalar.

    Returns:
      tf.data.Dataset of elements.
    """
    attempts = tf.py_func(_most_records, [path], tf.int64)
    attempts.set_shape([])
    # Opening a file that has vanished fails again and again, and ignore_errors would
    # try forever. Zipping with is_end limits the attempts to the most records that the
    # file can hold.
    is_end = tf.data.Dataset.from_tensors(False).repeat(attempts)
    records = tf.data.Dataset.zip((is_end, tf.data.TFRecordDataset(path)))
    records = records.apply(tf.data.experimental.ignore_errors())
    end = tf.data.Dataset.from_tensors((True, ""))

    def locate(state, element):
        index, position = state
        is_end, record = element
        length = tf.cast(tf.strings.length(record), tf.int64)
        located = {
            "path": path,
            "index": index,
            "position": position,
            "record": record,
            "is_end": is_end,
        }
        return (index + 1, position + length + _FRAMING_BYTES), located

    start = (tf.constant(0, tf.int64), tf.constant(0, tf.int64))
    return records.concatenate(end).apply(tf.data.experimental.scan(start, locate))


def _most_records(path):
    """Returns int64, the most records a file can hold; 0 if it cannot be opened."""
    try:
        with tf.gfile.Open(path.decode(), "rb") as file:
            file.read(1)
            return np.int64(file.size() // _FRAMING_BYTES)
    except tf.errors.OpError:
        return np.int64(0)


def problem_at_end(path, index, position):
    """Checks whether a file was read to its end.

    Args:
      path: str.
      index: int, number of records that were read.
      position: int, bytes that were read.

    Returns:
      str, one line, or None if nothing is missing.
    """
    try:
        size = tf.gfile.Stat(path).length
    except tf.errors.OpError as error:
        return f"cannot be read: {error.message}"
    if size == position:
        return None
    return (
        f"cannot be read any further after {index} records and {position} of its "
        f"{size} bytes"
    )


def count_records(files):
    """Counts records by the lengths in front of them; nothing else is read.

    Args:
      files: list of str, local TFRecord files. A file that is cut off or cannot be read
        counts as far as it can be followed.

    Returns:
      int.
    """
    with concurrent.futures.ThreadPoolExecutor(FILES_READ_TOGETHER) as pool:
        return sum(pool.map(_count_records, files))


def _count_records(path):
    count = position = 0
    # Without a buffer: it would read 8 KB for 8 bytes.
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while position + _FRAMING_BYTES <= size:
            file.seek(position)
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            position += length + _FRAMING_BYTES
            count += position <= size
    return count
