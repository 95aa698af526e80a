# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images that are missing or broken, and how many of them may be left out."""

from console.errors import MAX_LISTED, raise_all


class UnusableImages:
    """The images of one conversion that cannot be used.

    Attributes:
      limit: int, how many may be left out (--skip_unusable).
      texts: list of str, one line for each of them.
      image_ids: set of int, the ids of those that have one already.
    """

    def __init__(self, limit=0):
        self.limit, self.texts, self.image_ids = limit, [], set()

    def add(self, text, image_id=None):
        """Adds an image; its text names the file and what is wrong."""
        self.texts.append(text)
        self.image_ids.add(image_id)

    def others(self, entries):
        """Returns the entries of a list of shards.Entry that can be used."""
        return [entry for entry in entries if entry.image_id not in self.image_ids]

    @property
    def are_too_many(self):
        """Whether further ones need not be looked for, since no line would be shown."""
        return len(self.texts) >= self.limit + MAX_LISTED

    def check(self, are_others_left=True):
        """Checks that no more images are left out than are allowed, and not all.

        Raises:
          UserError: there are more; all of them are listed, up to MAX_LISTED.
        """
        if len(self.texts) > self.limit > 0:
            reason = f"more than --skip_unusable={self.limit} images cannot be used"
        elif self.texts and not self.limit:
            reason = "add or repair it, or leave up to N out with --skip_unusable=N"
        elif not are_others_left:
            reason = "no image is left"
        else:
            return
        raise_all(sorted(self.texts), reason + "; nothing was written")

    def print_all(self):
        """Prints the images that were left out."""
        if self.texts:
            print(f"  left out: {len(self.texts)} images (--skip_unusable):")
        for text in sorted(self.texts):
            print("    " + " ".join(text.split()))
