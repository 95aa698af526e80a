# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Brings the images and the boxes of a COCO instances json together.

A COCO box is [x, y, width, height] in pixels; x and y are its upper left corner.
"""

import collections
import contextlib
import os

from console.errors import UserError, blaming, refuse
from conversion import image_file, shards
from dataset import box_rules, categories, image_header

# Keys of the counts that `plan` returns.
NO_SIZE = box_rules.NO_SIZE
UNKNOWN_IMAGE = box_rules.UNKNOWN_IMAGE
UNKNOWN_CATEGORY = box_rules.UNKNOWN_CATEGORY
CLIPPED = "boxes clipped to their image"
WITHOUT_BOX = "images without a box (evaluated, not trained on)"
DIFFICULT = "boxes that are difficult (trained on, ignored by evaluation)"

# pycocotools stores ids as float64, which is exact up to here.
_LARGEST_IMAGE_ID = 2**53
# Some of COCO's own boxes end up to 0.01 pixels outside their image, due to rounding.
_ROUNDING = 0.02


def plan(dataset: dict, image_dir: str, max_images: int = 0):
    """Brings images and boxes together, and checks that all image files exist.

    Args:
      dataset: the json, as dataset.coco_json.load returns it.
      image_dir: folder of the images.
      max_images: number of images to use, in the order of their ids; 0 for all.

    Returns:
      (entries, counts): list of shards.Entry in the order of the image ids; and a
      collections.Counter with the keys above, "images", "boxes" and "crowd".

    Raises:
      UserError: an entry of the json is wrong, or image files are missing.
    """
    with blaming("--annotations:"):
        names = categories.read_names(dataset["categories"])
    root = os.path.realpath(image_dir)
    if not os.path.isdir(root):
        raise UserError(f"--image_dir={image_dir}: there is no such folder")
    images = _images_by_id(dataset["images"])
    annotations = _annotations_by_image(dataset["annotations"])
    has_difficult = any("difficult" in a for a in dataset["annotations"])
    counts, entries = collections.Counter(), []
    for image_id in sorted(images)[: max_images or None]:
        image = images[image_id]
        with _naming("image", image):
            path = _path_of(image, root)
        size = (image["width"], image["height"])
        own = annotations.get(image_id, ())
        objects = _objects(own, size, names, has_difficult, counts)
        entries.append(shards.Entry(path, image["file_name"], image_id, size, objects))
    counts[UNKNOWN_IMAGE] = sum(
        len(group) for number, group in annotations.items() if number not in images
    )
    _check_boxes(entries, annotations, names, counts)
    missing = [entry for entry in entries if not os.path.isfile(entry.path)]
    refuse(
        [f"--image_dir: {e.path}, image {e.image_id}, is missing" for e in missing],
        "put it there or remove it from the annotations",
    )
    counts["images"] = len(entries)
    return entries, counts


def _check_boxes(entries, annotations, names, counts):
    """Checks that boxes count at all, and that they are in pixels."""
    left_out = [(counts[r], r) for r in (NO_SIZE, UNKNOWN_IMAGE, UNKNOWN_CATEGORY)]
    if not counts["boxes"] and any(count for count, _ in left_out):
        reasons = ", ".join(f"{count} {reason}" for count, reason in left_out if count)
        raise UserError(f"--annotations: no box counts: there are {reasons}")
    used = [
        (annotation["bbox"], entry.size)
        for entry in entries
        for annotation in annotations.get(entry.image_id, ())
        if annotation["category_id"] in names
        and box_rules.clip(annotation["bbox"], entry.size)
    ]
    with blaming("--annotations:"):
        box_rules.check_units([box for box, _ in used], [size for _, size in used])


@contextlib.contextmanager
def _naming(kind, entry):
    """Shows the entry of the json in which an error occurs."""
    try:
        yield
    except KeyError as error:
        reason = f"has no {error.args[0]}"
    except (ArithmeticError, TypeError, ValueError) as error:
        reason = f"is wrong: {error}"
    else:
        return
    raise UserError(f"--annotations: {kind} {entry!r:.200} {reason}")


def _images_by_id(images):
    by_id = {}
    for image in images:
        with _naming("image", image):
            _check_integer(image, "id", 0, _LARGEST_IMAGE_ID)
            _check_integer(image, "width", 1, image_header.MAX_PIXELS)
            _check_integer(image, "height", 1, image_header.MAX_PIXELS)
            if image["id"] in by_id:
                raise ValueError("its id occurs twice")
            by_id[image["id"]] = image
    if not by_id:
        raise UserError("--annotations: the list of images is empty")
    return by_id


def _check_integer(image, key, smallest, largest):
    value = image[key]
    # A bool is an int in Python.
    if type(value) is not int or not smallest <= value <= largest:
        raise ValueError(f"{key} must be an integer from {smallest} to {largest}")


def _annotations_by_image(annotations):
    by_image = collections.defaultdict(list)
    for annotation in annotations:
        with _naming("annotation", annotation):
            for key in ("image_id", "category_id"):
                # It would not equal any id, and all boxes would be left out.
                if isinstance(annotation[key], str):
                    raise ValueError(f"{key} must be a number")
            by_image[annotation["image_id"]].append(annotation)
    return by_image


def _path_of(image, root):
    # The name must stay in the folder; a link in the folder may lead elsewhere.
    path = os.path.abspath(os.path.join(root, image["file_name"]))
    if "\0" in path or os.path.commonpath([root, path]) != root:
        raise ValueError(f"the file name leaves {root}")
    return path


def _objects(annotations, size, names, has_difficult, counts):
    """Returns the boxes of an image as a tuple of shards.Object, and counts them."""
    objects = []
    for annotation in annotations:
        with _naming("annotation", annotation):
            if annotation["category_id"] not in names:
                counts[UNKNOWN_CATEGORY] += 1
                continue
            box = clip(annotation["bbox"], size, counts)
            if box is not None:
                objects.append(_object(annotation, box, size, names, has_difficult))
    counts["boxes"] += len(objects)
    counts["crowd"] += sum(o.is_crowd and not o.difficult for o in objects)
    counts[DIFFICULT] += sum(o.difficult or 0 for o in objects)
    counts[WITHOUT_BOX] += not objects
    return tuple(objects)


def _object(annotation, box, size, names, has_difficult):
    (left, top, right, bottom), (width, height) = box, size
    return shards.Object(
        box=(top / height, left / width, bottom / height, right / width),
        category_id=int(annotation["category_id"]),
        name=names[annotation["category_id"]],
        is_crowd=_flag(annotation, "iscrowd"),
        area=float(annotation.get("area", (right - left) * (bottom - top))),
        difficult=_flag(annotation, "difficult") if has_difficult else None,
    )


def _flag(annotation, name):
    value = annotation.get(name, 0)
    # Scripts that convert VOC's xml often keep the flags as strings.
    if value not in (0, 1, "0", "1"):
        raise ValueError(f"{name} {value!r:.80} is neither 0 nor 1")
    return int(value)


def clip(box, size, counts):
    """Clips a box to its image, and counts it.

    Args:
      box: list of four numbers, [x, y, width, height].
      size: (width, height) of the image.
      counts: collections.Counter; NO_SIZE or CLIPPED is incremented if it applies.

    Returns:
      (left, top, right, bottom), floats; None if nothing of the box is left.

    Raises:
      ValueError: the box is not four numbers.
    """
    clipped = box_rules.clip(box, size)
    if clipped is None:
        counts[NO_SIZE] += 1
        return None
    (left, top, right, bottom), (x, y, width, height) = clipped, box
    outside = max(left - x, top - y, x + width - right, y + height - bottom)
    counts[CLIPPED] += outside > _ROUNDING
    return clipped


def print_counts(counts: collections.Counter, output_prefix: str):
    """Prints what was written to the shards, and what was left out and why."""
    print(
        f"{output_prefix}: {counts['images']} images, {counts['boxes']} boxes, "
        f"{counts['crowd']} of them crowd"
    )
    for reason in (WITHOUT_BOX, CLIPPED):
        print(f"  {counts[reason]} {reason}")
    for reason in (DIFFICULT, image_file.CONVERTED, image_file.TURNED):
        if counts[reason]:
            print(f"  {counts[reason]} {reason}")
    for reason in (NO_SIZE, UNKNOWN_IMAGE, UNKNOWN_CATEGORY):
        print(f"  left out: {counts[reason]} {reason}")
