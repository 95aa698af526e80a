# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all."""

import contextlib
import os
import tempfile


class NotWritableError(ValueError):
    """A file or folder cannot be written; the text is one line that names it."""


def write_atomically(path, data):
    """Writes a file whole, or leaves its former content.

    Args:
      path: str; missing folders are created.
      data: bytes.

    Raises:
      NotWritableError: the file cannot be written.
    """
    folder, name = os.path.split(path)
    partial = os.path.join(folder, f".partial-{os.getpid()}-{name}")
    try:
        with _naming(path):
            os.makedirs(folder or ".", exist_ok=True)
            with open(partial, "wb") as file:
                file.write(data)
            os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(partial)


def check_folder(folder):
    """Creates a folder if it is missing, and checks that files can be written there.

    Args:
      folder: str.

    Raises:
      NotWritableError: it cannot be created or written to.
    """
    with _naming(folder):
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def _naming(path):
    """Turns an OSError into a NotWritableError that names the path."""
    try:
        yield
    except OSError as error:
        raise NotWritableError(f"{path} cannot be written: {error.strerror}") from error
