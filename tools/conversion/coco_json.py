# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads a COCO instances json and brings images and boxes together.

A COCO box is [x, y, width, height] in pixels, from the upper left corner.
"""

import collections
import json
import os

from console.errors import UserError, refuse
from conversion import shards
from dataset import categories

# Counted by `plan`.
NO_SIZE = "boxes of no size or outside their image"
UNKNOWN_IMAGE = "boxes of an image that the json does not list"
UNKNOWN_CATEGORY = "boxes of a category that is not listed"
CLIPPED = "boxes clipped to their image"
WITHOUT_BOX = "images without a box (evaluated, not trained on)"
DIFFICULT = "boxes that are difficult (trained on, ignored by evaluation)"

# pycocotools takes ids as float64, which is exact up to here.
LARGEST_IMAGE_ID = 2**53
# COCO's own boxes end up to a rounding of 0.01 pixels past the border.
_ROUNDING = 0.02


def read_annotations(path: str, flag: str = "annotations") -> dict:
    """Reads a COCO instances json, without what no record needs.

    Args:
      path: the json.
      flag: that named it.

    Returns:
      its dict, with lists of images, annotations and categories; the annotations
      lack their "segmentation".

    Raises:
      UserError: when it cannot be read or is no such json.
    """
    try:
        # Windows' editors put a mark in front.
        with open(path, encoding="utf-8-sig") as file:
            dataset = json.load(file, object_hook=_without_outline)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"--{flag}: cannot read {path}: {error}") from error
    for section in ("images", "annotations", "categories"):
        if not isinstance(dataset, dict) or not isinstance(dataset.get(section), list):
            raise UserError(
                f"--{flag}: {path} is no COCO instances json: no list of {section}"
            )
    return dataset


def _without_outline(entry):
    # Nine tenths of COCO's json, and of the memory.
    entry.pop("segmentation", None)
    return entry


def plan(dataset: dict, image_dir: str, max_images: int = 0):
    """Brings images and boxes together and checks that every image is there.

    Args:
      dataset: what `read_annotations` gives.
      image_dir: folder of the images.
      max_images: keep the first so many by id; 0 for all.

    Returns:
      (entries, counts): a list of shards.Entry, in the order of the ids; and a
      collections.Counter of what was found.

    Raises:
      UserError: for the first entry that is broken, or file name that leaves
        image_dir; or for images that are missing.
    """
    try:
        return _plan(dataset, image_dir, max_images)
    except (
        AttributeError,
        LookupError,
        TypeError,
        ArithmeticError,
        ValueError,
    ) as error:
        raise UserError(f"--annotations: an entry is wrong: {_why(error)}") from error


def _why(error):
    return f"it has no {error.args[0]}" if type(error) is KeyError else repr(error)


def _plan(dataset, image_dir, max_images):
    if not dataset["images"]:
        raise UserError("--annotations: its list of images is empty")
    names = _category_names(dataset)
    images = sorted(dataset["images"], key=_image_id)
    known = {image["id"] for image in images}
    if len(known) < len(images):
        raise UserError("--annotations: an image id occurs twice")
    images = images[: max_images or None]
    kept = {image["id"] for image in images}
    counts = collections.Counter()
    annotations = collections.defaultdict(list)
    for annotation in dataset["annotations"]:
        _check_ids(annotation)
        if annotation["image_id"] not in known:
            counts[UNKNOWN_IMAGE] += 1
        elif annotation["image_id"] not in kept:
            continue
        elif annotation["category_id"] not in names:
            counts[UNKNOWN_CATEGORY] += 1
        else:
            annotations[annotation["image_id"]].append(annotation)
    has_difficult = any("difficult" in a for a in dataset["annotations"])
    root = os.path.realpath(image_dir)
    if not os.path.isdir(root):
        raise UserError(f"--image_dir={image_dir}: no such folder")
    entries = []
    for image in images:
        size = _size_of(image)
        own = annotations.pop(image["id"], ())
        objects = _objects(own, size, names, has_difficult, counts)
        entries.append(_entry(image, size, objects, root))
    _check_files(entries)
    counts["images"] = len(entries)
    return entries, counts


def _category_names(dataset):
    try:
        return categories.read_names(dataset["categories"])
    except ValueError as error:
        raise UserError(f"--annotations: {error}") from error


def _image_id(image):
    number = image.get("id") if isinstance(image, dict) else None
    # A bool is an int to Python.
    if type(number) is not int or not 0 <= number <= LARGEST_IMAGE_ID:
        raise UserError(
            f"--annotations: image id {number!r} must be a whole number, at least 0"
        )
    return number


def _check_ids(annotation):
    for name in ("image_id", "category_id"):
        # A text would only be taken for an id that nothing has.
        if not isinstance(annotation[name], (int, float)):
            raise UserError(
                f"--annotations: annotation {annotation.get('id')} has the {name} "
                f"{annotation[name]!r:.80}, which is no number"
            )


def _size_of(image):
    size = (image.get("width"), image.get("height"))
    if not all(type(side) is int and side > 0 for side in size):
        raise UserError(
            f"--annotations: image {image['id']} has width and height {size}; "
            "both must be whole numbers above 0"
        )
    return size


def _entry(image, size, objects, root):
    file_name = image.get("file_name")
    if not isinstance(file_name, str):
        raise UserError(
            f"--annotations: image {image['id']} has the file name {file_name!r:.80}, "
            "which is no text"
        )
    # The name must stay in the folder; a link in the folder may lead anywhere.
    path = os.path.abspath(os.path.join(root, file_name))
    if os.path.commonpath([root, path]) != root:
        raise UserError(f"--annotations: file name {file_name} leaves {root}")
    return shards.Entry(path, file_name, image["id"], size, objects)


def _check_files(entries):
    missing = [entry for entry in entries if not os.path.isfile(entry.path)]
    refuse(
        [f"--image_dir: {e.path}, image {e.image_id}, is missing" for e in missing],
        "put it there or take it out of the annotations",
    )


def _objects(annotations, size, names, has_difficult, counts):
    """The image's boxes as a tuple of shards.Object; counts what they are like."""
    objects = []
    width, height = size
    for annotation in annotations:
        try:
            box = clip(annotation["bbox"], size, counts)
            if box is None:
                continue
            left, top, right, bottom = box
            area = (right - left) * (bottom - top)
            difficult = _flag(annotation, "difficult") if has_difficult else None
            objects.append(
                shards.Object(
                    (top / height, left / width, bottom / height, right / width),
                    int(annotation["category_id"]),
                    names[annotation["category_id"]],
                    _flag(annotation, "iscrowd"),
                    float(annotation.get("area", area)),
                    difficult,
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"--annotations: annotation {annotation.get('id')} of image "
                f"{annotation['image_id']} is wrong: {_why(error)}"
            ) from error
    counts["boxes"] += len(objects)
    counts["crowd"] += sum(o.is_crowd and not o.difficult for o in objects)
    counts[DIFFICULT] += sum(o.difficult or 0 for o in objects)
    counts[WITHOUT_BOX] += not objects
    return tuple(objects)


def _flag(annotation, name):
    value = annotation.get(name, 0)
    # Texts are what scripts make of VOC's xml.
    if value not in (0, 1, "0", "1"):
        raise ValueError(f"{name} {value!r} is neither 0 nor 1")
    return int(value)


def clip(box, size, counts):
    """Clips a box to its image.

    Args:
      box: list of four numbers, [x, y, width, height].
      size: (width, height) of the image.
      counts: collections.Counter; NO_SIZE and CLIPPED go up where they apply.

    Returns:
      (left, top, right, bottom), floats; None when nothing of it is left.

    Raises:
      TypeError, ValueError: when it is not four numbers.
    """
    x, y, w, h = (float(number) for number in box)
    left, right = max(x, 0.0), min(x + w, size[0])
    top, bottom = max(y, 0.0), min(y + h, size[1])
    # Written so that a NaN counts as no size.
    if not (left < right and top < bottom):
        counts[NO_SIZE] += 1
        return None
    outside = max(left - x, top - y, x + w - right, y + h - bottom)
    counts[CLIPPED] += outside > _ROUNDING
    return left, top, right, bottom


def print_counts(counts: collections.Counter, output_prefix: str):
    """Prints what went into the shards and what was left out, and why."""
    print(
        f"{output_prefix}: {counts['images']} images, {counts['boxes']} boxes, "
        f"{counts['crowd']} of them crowd"
    )
    for reason in (WITHOUT_BOX, CLIPPED):
        print(f"  {counts[reason]} {reason}")
    for reason in (DIFFICULT, shards.CONVERTED, shards.TURNED):
        if counts[reason]:
            print(f"  {counts[reason]} {reason}")
    for reason in (NO_SIZE, UNKNOWN_IMAGE, UNKNOWN_CATEGORY):
        print(f"  left out: {counts[reason]} {reason}")
