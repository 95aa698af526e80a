# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Paths and glob patterns that users give."""

import glob
import os

from console.errors import UserError

_WILDCARDS = "*?["


def expand(pattern):
    """Lists the files and folders that a glob pattern matches.

    A part of the path that exists as it is typed is not taken as a pattern, so that
    folders may have brackets and stars in their names.

    Args:
      pattern: str, a local path with or without wildcards in any of its parts.

    Returns:
      list of str, sorted; empty if nothing matches.
    """
    found = [os.sep if pattern.startswith(os.sep) else ""]
    for part in filter(None, pattern.split(os.sep)):
        found = [path for folder in found for path in _matches(folder, part)]
    return sorted(found) if pattern else []


def _matches(folder, part):
    path = os.path.join(folder, part)
    if os.path.lexists(path):
        return [path]
    if not any(wildcard in part for wildcard in _WILDCARDS):
        return []
    return glob.glob(os.path.join(glob.escape(folder), part))


def is_remote(path):
    """Returns whether a path names a file system such as obs:// or hdfs://."""
    return "://" in path


def check_local(flag, path):
    """Checks that a path does not name a remote file system.

    Args:
      flag: str, the flag without dashes.
      path: str or None.

    Raises:
      UserError: one line that names the flag.
    """
    if path and is_remote(path):
        raise UserError(
            f"--{flag}={path}: must be a local path; copy the data, or mount that "
            "file system as a folder"
        )
