# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders that are written whole or not at all."""

import contextlib
import os
import shutil

from console.errors import as_user_error, check


@contextlib.contextmanager
def create(flag, path, replaces=False):
    """Yields an empty folder that becomes the one at `path` when the block ends.

    Args:
      flag: str, the flag that names the folder, without dashes.
      path: str; folders above it are created. It must not exist or be empty, unless
        replaces.
      replaces: bool, whether the new folder takes the place of a former one.

    Yields:
      str, path of the temporary folder; it is removed if the block raises an error.

    Raises:
      UserError: the folder has files, or it cannot be written.
    """
    with as_user_error(f"--{flag}={path}:", OSError):
        check(
            replaces or not os.path.lexists(path) or not os.listdir(path),
            "--%s=%s is not empty; name a new folder, or move its files away",
            flag,
            path,
        )
        parent, name = os.path.split(os.path.abspath(path))
        os.makedirs(parent, exist_ok=True)
        if replaces:
            settle(path)
        partial = os.path.join(parent, f".partial-{os.getpid()}-{name}")
        os.mkdir(partial)
        try:
            yield partial
            if replaces and os.path.lexists(path):
                os.replace(path, _aside(path))
            os.replace(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if replaces:
                settle(path)


def settle(path):
    """Ends what `create` was doing when its process was killed while it replaced.

    A folder cannot take the place of another one in a single step: for a moment, the
    former one has another name. It is moved back if the new one is not in its place.

    Args:
      path: str, the folder.
    """
    if os.path.lexists(path):
        shutil.rmtree(_aside(path), ignore_errors=True)
    elif os.path.lexists(_aside(path)):
        os.replace(_aside(path), path)


def _aside(path):
    """Returns the name of a folder at `path` while it is replaced."""
    parent, name = os.path.split(os.path.abspath(path))
    return os.path.join(parent, f".former-{name}")
