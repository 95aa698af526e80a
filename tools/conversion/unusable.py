# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images that are missing or broken, and how many of them may be left out."""

from console.errors import MAX_LISTED, refuse


class UnusableImages:
    """The images of one conversion that cannot be used.

    Attributes:
      texts: list of str, one line for each, which names the file and what is wrong.
    """

    def __init__(self, limit=0):
        """Starts without any; limit is how many may be left out (--skip_unusable)."""
        self.texts, self._limit = [], limit

    @property
    def are_too_many(self):
        """Whether further ones need not be looked for, since no line would be shown."""
        return len(self.texts) >= self._limit + MAX_LISTED

    def check(self, are_others_left=True):
        """Checks that no more images are left out than are allowed, and not all.

        Raises:
          UserError: there are more; all of them are listed, up to MAX_LISTED.
        """
        if len(self.texts) > self._limit or not are_others_left:
            refuse(
                sorted(self.texts),
                "add or repair it, or leave up to N out with --skip_unusable=N, but "
                "not all images; nothing was written",
            )
