# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole, or as they were before."""

import contextlib
import os
import tempfile


class NotWritableError(ValueError):
    """A file or folder cannot be written; one line that names it."""


class WholeFile:
    """A file for bytes that takes its place only when all of it is written.

    To be used in a `with` statement: when that ends by an exception, what lay at the
    path before stays. The folder is made if need be.

    Raises:
      NotWritableError: from any of its methods.
    """

    def __init__(self, path):
        """Keeps the path, str."""
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
                # Writes what is still in memory, for which there may be no space.
                self._file.close()
                if exception_type is None:
                    os.replace(self._partial, self._path)
        finally:
            with contextlib.suppress(OSError):
                os.remove(self._partial)


def write_whole(path, data):
    """Writes bytes to a file that is there whole or as it was before.

    Args:
      path: str; its folder is made if need be.
      data: bytes.

    Raises:
      NotWritableError: that fails.
    """
    with WholeFile(path) as file:
        file.write(data)


def check_folder(folder):
    """Makes a folder if need be, and tries to write there.

    Args:
      folder: str.

    Raises:
      NotWritableError: that fails.
    """
    with _naming(folder):
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def _naming(path):
    """Makes an OSError one that names the path."""
    try:
        yield
    except OSError as error:
        raise NotWritableError(f"{path} cannot be written: {error.strerror}") from error
