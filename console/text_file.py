# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads text files as editors of several systems write them."""

import json


def read_text(path):
    """Reads a text file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Args:
      path: str.

    Returns:
      str, with line ends as they are in the file.

    Raises:
      OSError: the file cannot be read.
      ValueError: one line that does not name the path; the file has another encoding.
    """
    with open(path, "rb") as file:
        return decode(file.read())


def decode(data):
    """Decodes the bytes of a text file, see `read_text`.

    Args:
      data: bytes.

    Returns:
      str.

    Raises:
      ValueError: one line; the bytes have another encoding.
    """
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"its text is not UTF-8 (byte {error.start} is 0x{data[error.start]:02x}); "
            "convert it, for example with: iconv -f GB18030 -t UTF-8"
        ) from error
