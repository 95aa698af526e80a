# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chooses the validation images of a dataset that has no split of its own."""

import collections
import random

from console.errors import UserError


def split(entries: list, fraction: float, seed: int):
    """Splits images into a training and a validation set.

    The images are grouped by the rarest category they show, which is the one that the
    fewest images show, and the same fraction of every group is chosen at random. So
    both sets show rare categories. One image of every group stays in the training set.

    Args:
      entries: list of shards.Entry, in the order of their ids.
      fraction: share of the images that become the validation set, between 0 and 1.
      seed: the same images and seed give the same sets, whatever the Python version.

    Returns:
      (training, validation): lists of shards.Entry, each in the order of the ids.

    Raises:
      UserError: there are too few images for two sets.
    """
    shown = {
        entry.image_id: {box["category_id"] for box in entry.boxes} for entry in entries
    }
    num_images = collections.Counter(n for numbers in shown.values() for n in numbers)
    groups = collections.defaultdict(list)
    for image_id, numbers in shown.items():
        # (0, -1) for images without a box.
        rarest = min(((num_images[n], n) for n in numbers), default=(0, -1))
        groups[rarest].append(image_id)
    generator, chosen, due = random.Random(seed), set(), 0.0
    for _, image_ids in sorted(groups.items()):
        generator.shuffle(image_ids)
        # What is rounded in one group is made up for in the next one.
        due += fraction * len(image_ids)
        count = min(int(due + 0.5), len(image_ids) - 1)
        due -= count
        chosen.update(image_ids[:count])
    if not chosen:
        raise UserError(
            f"--val_fraction={fraction:g}: the {len(entries)} images are too few to "
            "choose a validation set from; give a larger fraction or more images"
        )
    training = [entry for entry in entries if entry.image_id not in chosen]
    return training, [entry for entry in entries if entry.image_id in chosen]
