# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Errors that the user can fix: one line on the standard error, exit status 2."""

import contextlib
import re
import sys

# With more problems of one kind they usually have one cause.
MAX_LISTED = 20
# How absl words errors of values, and how this project does.
_WORDS_OF_FLAGS = (
    (r"^flag (--\w+=.*): invalid literal for int.*", r"\1: must be a whole number"),
    (r"^flag (--\w+=.*): could not convert.*", r"\1: must be a number"),
    (r"^flag (--\w+=.*): .'Non-boolean.*", r"\1: must be true or false"),
)


class UserError(Exception):
    """An error that the user can fix; its text is one line that says how."""


def check(ok, message, *values):
    """Raises UserError(message % values) unless ok."""
    if not ok:
        raise UserError(message % values)


@contextlib.contextmanager
def as_user_error(flag="", error_class=ValueError):
    """Turns an error of another module into a UserError that starts with the flag.

    Args:
      flag: str, for example "--label_map:".
      error_class: exception class to convert; others pass through.

    Raises:
      UserError: the block raised error_class.
    """
    try:
        yield
    except error_class as error:
        reason = error
        if isinstance(error, OSError) and error.strerror:
            # Its text would start with "[Errno 2]".
            reason = ": ".join(filter(None, (error.filename, error.strerror)))
        raise UserError(f"{flag} {reason}".lstrip()) from error


def describe(error):
    """Returns the line about a wrong flag, without words of Python.

    Args:
      error: UserError or absl.flags.Error.
    """
    text = " ".join(str(error).split())
    for pattern, replacement in _WORDS_OF_FLAGS:
        text = re.sub(pattern, replacement, text)
    return text


def raise_all(problems, remedy):
    """Raises a UserError if there are any problems, and prints the others.

    Args:
      problems: list of str; the first MAX_LISTED are shown, one line each.
      remedy: str, what the user can do about them.

    Raises:
      UserError: problems is not empty.
    """
    if not problems:
        return
    for text in problems[1:MAX_LISTED]:
        print(" ".join(text.split()), file=sys.stderr)
    more = len(problems) - 1
    where = "see above"
    if more >= MAX_LISTED:
        where = f"the first {MAX_LISTED - 1} of them above"
    others = f" (and {more} more, {where})" if more else ""
    raise UserError(f"{problems[0]}{others}; {remedy}")
