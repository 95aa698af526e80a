# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads text, JSON and XML files as editors of several systems write them.

Text is UTF-8, UTF-16 or UTF-32, with or without a byte order mark. XML may declare any
other encoding. Otherwise it is refused rather than guessed, because a wrong guess gives
wrong names without an error.
"""

import contextlib
import json
import re

_GZIP_START = b"\x1f\x8b"
_XML_ENCODING = re.compile(
    rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']"""
)
# Encodings under whose names Windows writes a larger one.
_WINDOWS_ENCODINGS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "cp950",
    "shift_jis": "cp932",
}


def read_text(path, errors="strict"):
    """Returns a text file's content, with its line ends; errors: see `decode`.

    Raises:
      OSError: the file cannot be read.
      ValueError: one line that does not name the path; the file has another encoding.
    """
    with open(path, "rb") as file:
        return decode(file.read(), errors)


@contextlib.contextmanager
def naming(path):
    """Turns an error of `read_text` into a ValueError that names the path."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def decode(data, errors="strict"):
    """Returns the text of a file's bytes.

    Args:
      data: bytes.
      errors: "replace" for files whose bytes outside of ASCII do not matter.

    Raises:
      ValueError: one line that does not name the file; the bytes have another
        encoding, or are not text.
    """
    if data.startswith(_GZIP_START):
        raise ValueError("it is compressed; unpack it with gunzip")
    encoding = json.detect_encoding(data)
    try:
        text = data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        name = encoding.upper().replace("-SIG", "")
        raise ValueError(
            f"its text is not {name} (byte {error.start} is "
            f"0x{data[error.start]:02x}); save it as UTF-8, for example with: "
            "iconv -f GB18030 -t UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError("it is not text in UTF-8: it has NUL characters")
    return text


def decode_xml(data):
    """Returns the text of an XML file from its bytes: Expat knows only few encodings.

    Raises:
      ValueError: one line that does not name the file; the bytes have another encoding
        than the file declares, or than UTF-8 if it declares none.
    """
    match = _XML_ENCODING.match(data)
    declared = match.group(1).decode().lower() if match else "utf-8"
    # With a declared UTF-16 the bytes would not match; the file was converted later.
    if declared.startswith("utf"):
        return decode(data)
    codec = _WINDOWS_ENCODINGS.get(declared, declared)
    try:
        if not _is_utf_8_instead(data, codec):
            return data.decode(codec)
    except LookupError as error:
        raise ValueError(f"it declares an unknown encoding, {declared}") from error
    except UnicodeError:
        pass
    raise ValueError(
        f"it declares the encoding {declared}, but its text has another one; save it "
        "as UTF-8, and declare that"
    )


def _is_utf_8_instead(data, codec):
    """Whether data that declares another encoding is UTF-8, other than by accident."""
    # A Chinese word may pass as UTF-8 with two bytes per character: cat in GBK is the
    # letter e with an accent in UTF-8.
    is_chinese = bool("\u4e00".encode(codec, "ignore"))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return max(text, default="") >= ("\u0800" if is_chinese else "\u0080")


def read_json(path, object_hook=None):
    """Returns the value in a JSON file; object_hook: see json.loads.

    Raises:
      ValueError: one line that names the path; the file cannot be read, or is not JSON.
    """
    with naming(path):
        try:
            return json.loads(read_text(path), object_hook=object_hook)
        except json.JSONDecodeError as error:
            raise ValueError(_explain(error)) from error
        except RecursionError:
            raise ValueError("its lists and objects are nested too deeply") from None


def _explain(error):
    """Returns the reason of a json.JSONDecodeError in the user's words."""
    text = error.doc.rstrip()
    if not text:
        return "it is empty"
    if error.pos >= len(text) or error.msg.startswith("Unterminated string"):
        return f"it is not complete JSON: it ends in line {error.lineno}"
    return (
        f"it is not JSON: line {error.lineno}, column {error.colno}, at "
        f"{text[error.pos : error.pos + 20]!r}: {error.msg[0].lower()}{error.msg[1:]}"
    )
