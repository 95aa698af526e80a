# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Paths and glob patterns that users give."""

import functools
import glob
import os
import tempfile

from console.errors import UserError

COPY_OR_MOUNT = "copy the data, or mount that file system as a folder"

_WILDCARDS = "*?["
# TensorFlow also takes a backslash as one.
_TENSORFLOW_WILDCARDS = _WILDCARDS + "\\"
# They vanish with the process.
_folders_of_links = []


def expand(pattern):
    """Lists the files and folders that a glob pattern matches.

    A part of the path that exists as it is typed is not taken as a pattern, so that
    folders may have brackets and stars in their names.

    Args:
      pattern: str, a local path with or without wildcards in any of its parts. The
        part ** stands for any number of folders.

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
    return glob.glob(os.path.join(glob.escape(folder), part), recursive=True)


@functools.lru_cache(maxsize=None)
def without_wildcards(path):
    """Returns another name of a folder or checkpoint for calls of TensorFlow.

    TensorFlow takes the paths of checkpoints as glob patterns: it would not find them,
    or delete files of other folders. So a path with wildcards is replaced by one
    through symbolic links in a temporary folder. It is relative, because TensorFlow
    stores absolute names of checkpoints in the file "checkpoint".

    Args:
      path: str, a folder or the prefix of a checkpoint's files, which must exist.

    Returns:
      str, the path itself if it has no wildcards.

    Raises:
      UserError: one line; the links cannot be made.
    """
    if not _has_wildcards(path):
        return path
    parent, name = os.path.split(os.path.abspath(path))
    try:
        links = tempfile.TemporaryDirectory(prefix="ssd-")
        _folders_of_links.append(links)
        for other in os.listdir(parent):
            if other == name or other.startswith(name + "."):
                link = os.path.join(links.name, "link" + other[len(name) :])
                os.symlink(os.path.join(parent, other), link)
    except OSError as error:
        raise UserError(
            f"{path}: TensorFlow takes * ? [ and \\ for wildcards, and a link without "
            f"them cannot be made: {error}"
        ) from error
    link = os.path.relpath(os.path.join(links.name, "link"))
    if _has_wildcards(link):
        raise UserError(
            f"{path} and TMPDIR={tempfile.gettempdir()}: TensorFlow takes * ? [ and \\ "
            "for wildcards; set TMPDIR to a folder without them"
        )
    return link


def _has_wildcards(path):
    return any(wildcard in path for wildcard in _TENSORFLOW_WILDCARDS)


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
        raise UserError(f"--{flag}={path}: must be a local path; {COPY_OR_MOUNT}")
