# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads a COCO instances json and brings images and boxes together."""

import collections
import json
import os

from command_line import InputError

_NO_SIZE = "boxes of no size or outside their image"
_UNKNOWN_IMAGE = "boxes of an image that the json does not list"
_UNKNOWN_CATEGORY = "boxes of a category that the json does not list"
_CLIPPED = "boxes clipped to their image"
_WITHOUT_BOX = "images without a box (evaluated, not trained on)"


def read_annotations(path: str) -> dict:
    """Reads a COCO instances json.

    Args:
      path: the json.

    Returns:
      its dict, with lists of images, annotations and categories.

    Raises:
      InputError: when it cannot be read or is no such json.
    """
    try:
        with open(path, encoding="utf-8") as file:
            dataset = json.load(file)
    except (OSError, ValueError) as error:
        raise InputError(f"--annotations: cannot read {path}: {error}") from error
    for section in ("images", "annotations", "categories"):
        if not isinstance(dataset, dict) or not isinstance(dataset.get(section), list):
            raise InputError(
                f"--annotations: {path} is no COCO instances json: no list of {section}"
            )
    return dataset


def plan(dataset: dict, image_dir: str, max_images: int = 0):
    """Brings images and boxes together and checks that every image is there.

    Args:
      dataset: what `read_annotations` gives.
      image_dir: folder of the images.
      max_images: keep the first so many by id; 0 for all.

    Returns:
      (entries, counts): a list of dicts (path, id, width, height, file_name, objects),
      in the order of the ids; and a collections.Counter of what was found.

    Raises:
      InputError: for an entry that is broken, a file name that leaves image_dir, or an
        image that is missing; it names the first.
    """
    names = {c["id"]: str(c["name"]) for c in dataset["categories"]}
    images = sorted(dataset["images"], key=lambda image: image["id"])
    known = {image["id"] for image in images}
    if len(known) < len(images):
        raise InputError("--annotations: an image id occurs twice")
    images = images[: max_images or None]
    kept = {image["id"] for image in images}
    counts = collections.Counter()
    objects = collections.defaultdict(list)
    for annotation in dataset["annotations"]:
        if annotation["image_id"] not in known:
            counts[_UNKNOWN_IMAGE] += 1
        elif annotation["image_id"] not in kept:
            continue
        elif annotation["category_id"] not in names:
            counts[_UNKNOWN_CATEGORY] += 1
        else:
            objects[annotation["image_id"]].append(annotation)
    root = os.path.realpath(image_dir)
    entries = [_entry(image, root) for image in images]
    for entry in entries:
        entry["objects"] = _clean(entry, objects[entry["id"]], names, counts)
    counts["images"] = len(entries)
    return entries, counts


def _entry(image, root):
    file_name, size = image["file_name"], (image.get("width"), image.get("height"))
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise InputError(
            f"--annotations: image {file_name} has width and height {size}; "
            "both must be whole numbers above 0"
        )
    # The name must stay in the folder; a link in the folder may lead anywhere.
    path = os.path.abspath(os.path.join(root, file_name))
    if os.path.commonpath([root, path]) != root:
        raise InputError(f"--annotations: file name {file_name} leaves {root}")
    if not os.path.isfile(path):
        raise InputError(
            f"--image_dir: {path} is missing; it is image {image['id']} of the json"
        )
    entry = {"path": path, "file_name": file_name, "id": image["id"]}
    entry["width"], entry["height"] = size
    return entry


def _clean(entry, annotations, names, counts):
    """The image's objects with boxes [ymin, xmin, ymax, xmax] in 0..1."""
    objects = []
    width, height = entry["width"], entry["height"]
    for annotation in annotations:
        x, y, w, h = (float(number) for number in annotation["bbox"])
        left, right = max(x, 0.0), min(x + w, width)
        top, bottom = max(y, 0.0), min(y + h, height)
        # Written so that a NaN counts as no size.
        if not (left < right and top < bottom):
            counts[_NO_SIZE] += 1
            continue
        # COCO's own boxes end up to a rounding of 0.01 pixels past the border.
        counts[_CLIPPED] += max(left - x, top - y, x + w - right, y + h - bottom) > 0.02
        objects.append(
            {
                "box": (top / height, left / width, bottom / height, right / width),
                "category_id": int(annotation["category_id"]),
                "name": names[annotation["category_id"]],
                "is_crowd": int(annotation.get("iscrowd", 0)),
                "area": float(annotation.get("area", w * h)),
            }
        )
    counts["boxes"] += len(objects)
    counts["crowd"] += sum(item["is_crowd"] for item in objects)
    counts[_WITHOUT_BOX] += not objects
    return objects


def print_counts(counts: collections.Counter, output_prefix: str):
    """Prints what went into the shards and what was left out, and why."""
    print(
        f"{output_prefix}: {counts['images']} images, {counts['boxes']} boxes, "
        f"{counts['crowd']} of them crowd"
    )
    for reason in (_WITHOUT_BOX, _CLIPPED):
        print(f"  {counts[reason]} {reason}")
    for reason in (_NO_SIZE, _UNKNOWN_IMAGE, _UNKNOWN_CATEGORY):
        print(f"  left out: {counts[reason]} {reason}")
