# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of console/text_file.py."""

import gzip

import pytest

from console import text_file

_ENCODINGS = "utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32".split()


@pytest.mark.parametrize("encoding", _ENCODINGS)
def test_unicode_files_are_read_with_and_without_a_mark(tmp_path, encoding):
    path = tmp_path / "list.txt"
    path.write_bytes("ids: 红细胞\r\n".encode(encoding))
    assert text_file.read_text(str(path)) == "ids: 红细胞\r\n"


def test_other_encodings_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"byte 5 is 0xba.*iconv -f GB18030 -t UTF-8"):
        text_file.decode("ids: 红细胞".encode("gb18030"))
    with pytest.raises(ValueError, match="it is not text in UTF-8: it has NUL char"):
        text_file.decode(b"PK\x03\x04\x14\0\0\0")
    with pytest.raises(ValueError, match="it is compressed; unpack it with gunzip"):
        text_file.decode(gzip.compress(b"{}"))
    assert text_file.decode("a # 红".encode("gbk"), "replace") == "a # \ufffd\ufffd"


@pytest.mark.parametrize(
    "text, reason",
    [
        ("\n", "it is empty"),
        ('{"images": [1,\n 2', "it is not complete JSON: it ends in line 2"),
        ('{"images": "a', "it is not complete JSON: it ends in line 1"),
        (
            '{"a": 1,\n "b": 2 // bolts\n}',
            "it is not JSON: line 2, column 9, at '// bolts\\n}': expecting ',' "
            "delimiter",
        ),
        (
            "<html></html>",
            "it is not JSON: line 1, column 1, at '<html></html>': expecting value",
        ),
    ],
)
def test_text_that_is_not_json_is_told_with_its_place(tmp_path, text, reason):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        text_file.read_json(str(path))
    assert str(error.value) == f"cannot read {path}: {reason}"
