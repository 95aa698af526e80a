# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads TFRecord files that may be broken, and says where they are.

A record is framed by its length (8 bytes), a checksum of the length (4), and one of the
data (4), all little-endian.
"""

import os
import re
import struct
from typing import NamedTuple

import tensorflow.compat.v1 as tf

_HEADER_BYTES, _FRAMING_BYTES = 12, 16
_GZIP_START = b"\x1f\x8b"


class Place(NamedTuple):
    """Where a record is.

    Attributes:
      path: of the file.
      index: of the record in the file, from 0.
      offset: its first byte.
    """

    path: str
    index: int
    offset: int

    def __str__(self):
        return f"{self.path}, record {self.index} at byte {self.offset}"


class Cut(Exception):
    """A file cannot be read any further; the text says where and why."""


def read(path: str):
    """Yields the records of one file, as far as training can read it.

    Args:
      path: of the file.

    Yields:
      (Place, bytes).

    Raises:
      Cut: at the place where it ends before the file does.
    """
    num_records, reason = _scan(path)
    records = tf.python_io.tf_record_iterator(path)
    offset = 0
    for index in range(num_records):
        place = Place(path, index, offset)
        try:
            serialized = next(records)
        except (tf.errors.OpError, StopIteration):
            lost = num_records - index
            raise Cut(
                f"{place}: its data is not what its checksum says; this record and the "
                f"{lost - 1} behind it cannot be read"
            ) from None
        yield place, serialized
        offset += len(serialized) + _FRAMING_BYTES
    if reason:
        raise Cut(f"{Place(path, num_records, offset)}: {reason}")


def _scan(path):
    """(number of records with sound lengths, why there are no more or None).

    TensorFlow's reader alone would try to take as much memory as a length says.
    """
    size = os.path.getsize(path)
    offset = num_records = 0
    with open(path, "rb") as file:
        while offset < size:
            file.seek(offset)
            header = file.read(_HEADER_BYTES)
            if num_records == 0 and header.startswith(_GZIP_START):
                return 0, "the file is compressed; training reads plain TFRecords"
            if len(header) < _HEADER_BYTES:
                return num_records, "the file is cut off"
            length, checksum = struct.unpack("<QI", header)
            if _masked_crc32c(header[:8]) != checksum:
                reason = "what stands here is no record"
                return (
                    num_records,
                    reason if num_records else "this is no TFRecord file",
                )
            if offset + _FRAMING_BYTES + length > size:
                return num_records, (
                    f"the file is cut off: the record has {length} bytes, but "
                    f"{max(size - offset - _HEADER_BYTES, 0)} are left"
                )
            offset += _FRAMING_BYTES + length
            num_records += 1
    return num_records, None


def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            # Castagnoli's polynomial, reversed.
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


def _masked_crc32c(data):
    """TFRecord's checksum; slow, for the eight bytes of a length."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def missing_shards(paths: list) -> list:
    """Finds gaps in names like train2017-00003-of-00256.tfrecord.

    Args:
      paths: those that are there.

    Returns:
      list of str, a line for each set of shards that is not whole.
    """
    present = {}
    for path in paths:
        match = re.match(r"(.*)-(\d{5})-of-(\d{5})(.*)$", path)
        if match:
            prefix, number, total, suffix = match.groups()
            numbers = present.setdefault((prefix, total, suffix), set())
            numbers.add(int(number))
    lines = []
    for (prefix, total, suffix), numbers in sorted(present.items()):
        missing = sorted(set(range(int(total))) - numbers)
        if missing:
            lines.append(
                f"{prefix}-{missing[0]:05d}-of-{total}{suffix} is missing"
                + (f", and {len(missing) - 1} more" if missing[1:] else "")
            )
    return lines
