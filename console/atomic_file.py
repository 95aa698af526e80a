# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all."""

import contextlib
import os
import tempfile


class NotWritableError(ValueError):
    """A file or folder cannot be written; the text is one line that names it."""


class AtomicFile:
    """A binary file that replaces its target only after everything is written.

    Use it in a `with` statement. If the block raises an exception, the target keeps
    its former content. Missing folders are created.

    Raises:
      NotWritableError: from any of its methods.
    """

    def __init__(self, path):
        """Initializes the file; path is a str."""
        self._path = path
        folder, name = os.path.split(path)
        self._partial = os.path.join(folder, f".partial-{os.getpid()}-{name}")

    def __enter__(self):
        with _naming(self._path):
            os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
            self._file = open(self._partial, "wb")
        return self

    def write(self, data):
        """Appends bytes."""
        with _naming(self._path):
            return self._file.write(data)

    def __exit__(self, exception_type, *unused):
        try:
            with _naming(self._path):
                # Closing flushes the buffer, which fails if the disk is full.
                self._file.close()
                if exception_type is None:
                    os.replace(self._partial, self._path)
        finally:
            with contextlib.suppress(OSError):
                os.remove(self._partial)


def write_atomically(path, data):
    """Writes a file whole, or leaves its former content.

    Args:
      path: str; missing folders are created.
      data: bytes.

    Raises:
      NotWritableError: the file cannot be written.
    """
    with AtomicFile(path) as file:
        file.write(data)


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
