# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of console/text_file.py."""

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
