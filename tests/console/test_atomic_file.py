# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files are there whole, or as they were before."""

import os
import resource
import subprocess
import sys

import pytest

import processes
from console import atomic_file


def test_a_file_appears_when_all_of_it_is_written(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic_file.AtomicFile(str(path)) as file:
        file.write(b"one ")
        assert not path.exists()
        file.write(b"two")
    assert path.read_bytes() == b"one two"
    assert os.listdir(str(path.parent)) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_was_there_stays_when_the_writer_fails(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error):
        with atomic_file.AtomicFile(str(path)) as file:
            file.write(b"new")
            raise error()
    assert path.read_text() == "old"
    assert os.listdir(str(tmp_path)) == ["file"]


@pytest.mark.parametrize("size", [4000, 1 << 20])
def test_what_was_there_stays_when_the_disk_is_full(tmp_path, size):
    (tmp_path / "file").write_text("old")
    code = "from console.atomic_file import write_atomically; "
    code += f"write_atomically('file', b'x' * {size})"
    # A limit on the size of files stands for the disk.
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(tmp_path),
        env=dict(os.environ, PYTHONPATH=processes.ROOT),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    message = "NotWritableError: file cannot be written: File too large"
    assert result.stderr.splitlines()[-1].endswith(message)
    assert (tmp_path / "file").read_text() == "old"
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
