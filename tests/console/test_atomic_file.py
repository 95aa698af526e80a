# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files are there whole, or as they were before."""

import os
import resource

import pytest

from console import atomic_file


def test_a_file_replaces_the_one_before_and_its_folder_is_created(tmp_path):
    path = tmp_path / "new" / "file"
    for content in (b"one", b"two"):
        atomic_file.write_atomically(str(path), content)
        assert path.read_bytes() == content
    assert os.listdir(str(path.parent)) == ["file"]


@pytest.mark.parametrize("size", [4000, 1 << 20])
def test_what_was_there_stays_when_the_disk_is_full(tmp_path, size):
    path = tmp_path / "file"
    path.write_text("old")
    # A limit on the size of files stands for the disk. Python ignores its signal.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(
            atomic_file.NotWritableError, match="file cannot be written: File too large"
        ):
            atomic_file.write_atomically(str(path), b"x" * size)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert os.listdir(str(tmp_path)) == ["file"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for folder in ("file", "file/sub"):
        path = str(tmp_path / folder)
        with pytest.raises(
            atomic_file.NotWritableError, match=f"^{path} cannot be written"
        ):
            atomic_file.check_folder(path)
    atomic_file.check_folder(str(tmp_path / "new" / "sub"))
    assert os.listdir(str(tmp_path / "new" / "sub")) == []
