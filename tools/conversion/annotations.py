# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Brings the images and the boxes of a COCO instances json together.

A COCO box is [x, y, width, height] in pixels; x and y are its upper left corner.
"""

import collections
import os

from console.errors import UserError, as_user_error, raise_all
from conversion import image_file, shards
from conversion.unusable import UnusableImages
from dataset import box_rules, categories, image_header

# Keys of the counts that `plan` returns.
NO_SIZE = box_rules.NO_SIZE
UNKNOWN_IMAGE = box_rules.UNKNOWN_IMAGE
UNKNOWN_CATEGORY = box_rules.UNKNOWN_CATEGORY
CLIPPED = "boxes clipped to their image"
WRONG_AREA = "areas that are not positive (that of the box is stored)"
WITHOUT_BOX = "images without a box (evaluated, not trained on)"
DIFFICULT = "boxes that are difficult (trained on, ignored by evaluation)"

LEFT_OUT = (NO_SIZE, UNKNOWN_IMAGE, UNKNOWN_CATEGORY)

# pycocotools stores numbers as float64, which is exact up to here.
_LARGEST = 2**53
# Some of COCO's own boxes end up to 0.01 pixels outside their image, due to rounding.
_ROUNDING = 0.02


def plan(dataset: dict, image_dir: str, max_images: int = 0, unusable=None):
    """Brings images and boxes together, and checks that all image files exist.

    Args:
      dataset: the json, as dataset.coco_json.load returns it.
      image_dir: folder of the images.
      max_images: number of images to use, in the order of their ids; 0 for all.
      unusable: UnusableImages, to which images whose file is missing are added; None
        to allow none.

    Returns:
      (entries, counts): list of shards.Entry in the order of the image ids; and a
      collections.Counter of what was clipped or left out, with the keys above.

    Raises:
      UserError: entries of the json are wrong, too many image files are missing, or
        the json has boxes but none of them can be used.
    """
    unusable = unusable or UnusableImages()
    with as_user_error("--annotations:"):
        names = categories.read_names(dataset["categories"])
    root = os.path.realpath(image_dir)
    if not os.path.isdir(root):
        raise UserError(f"--image_dir={image_dir}: there is no such folder")
    problems = _Problems()
    images = _images_by_id(dataset["images"], problems)
    annotations = _annotations_by_image(dataset["annotations"], problems)
    has_difficult = any("difficult" in a for a in dataset["annotations"])
    boxes, entries = _Boxes(names, has_difficult, problems), []
    for image_id in sorted(images)[: max_images or None]:
        image = images[image_id]
        try:
            path = _path_of(image, root)
        except ValueError as error:
            problems.add("image", image, error)
            continue
        size = (image["width"], image["height"])
        objects = boxes.of_image(annotations.get(image_id, ()), size)
        entries.append(shards.Entry(path, image["file_name"], image_id, size, objects))
    problems.check()
    boxes.counts[UNKNOWN_IMAGE] = sum(
        len(group) for number, group in annotations.items() if number not in images
    )
    check_boxes("--annotations:", boxes.used, boxes.counts)
    with as_user_error("--annotations:"):
        box_rules.check_units(boxes.used, boxes.sizes)
    return _existing(entries, image_dir, unusable), boxes.counts


def check_boxes(flag, are_any_left, counts):
    """Checks that not all boxes are left out.

    Raises:
      UserError: one line that starts with the flag, and has the reasons.
    """
    reasons = [f"{counts[reason]} {reason}" for reason in LEFT_OUT if counts[reason]]
    if reasons and not are_any_left:
        raise UserError(
            f"{flag} no box counts: there are {', '.join(reasons)}; correct the boxes "
            "or their numbers"
        )


def _existing(entries, image_dir, unusable):
    """Returns the entries whose image file exists."""
    missing = [entry for entry in entries if not os.path.isfile(entry.path)]
    for entry in missing:
        text = f"--image_dir: {entry.path}, image {entry.image_id}, is missing"
        unusable.add(text, entry.image_id)
    if len(missing) == len(entries) > unusable.limit:
        raise_all(
            unusable.texts,
            f"none of the {len(entries)} images is in --image_dir={image_dir}; give "
            "the folder that has them",
        )
    unusable.check(len(missing) < len(entries))
    return unusable.others(entries)


class _Problems:
    """Entries of the json that are wrong."""

    def __init__(self):
        self._texts = []

    def add(self, kind, entry, error):
        """Adds a ValueError, or the KeyError of a missing field, of an entry."""
        reason = f"is wrong: {error}"
        if isinstance(error, KeyError):
            reason = f"has no {error.args[0]}"
        self._texts.append(f"--annotations: {kind} {entry!r:.200} {reason}")

    def check(self):
        """Checks that there are none.

        Raises:
          UserError: there are some; they are listed.
        """
        raise_all(self._texts, "correct or remove it; nothing was written")


def _images_by_id(images, problems):
    by_id = {}
    for image in images:
        try:
            _check_integer(image, "id", 0, _LARGEST)
            _check_integer(image, "width", 1, image_header.MAX_PIXELS)
            _check_integer(image, "height", 1, image_header.MAX_PIXELS)
            if image["id"] in by_id:
                raise ValueError("its id occurs twice")
            if not isinstance(image["file_name"], str):
                raise ValueError("file_name must be a text")
            by_id[image["id"]] = image
        except (KeyError, ValueError) as error:
            problems.add("image", image, error)
    problems.check()
    if not by_id:
        raise UserError("--annotations: the list of images is empty")
    return by_id


def _check_integer(image, key, smallest, largest):
    value = image[key]
    # A bool is an int in Python.
    if type(value) is not int or not smallest <= value <= largest:
        raise ValueError(f"{key} must be an integer from {smallest} to {largest}")


def _annotations_by_image(annotations, problems):
    by_image = collections.defaultdict(list)
    for annotation in annotations:
        try:
            for key in ("image_id", "category_id"):
                # A text would not equal any id, and all boxes would be left out.
                if type(annotation[key]) not in (int, float):
                    raise ValueError(f"{key} must be a number")
            by_image[annotation["image_id"]].append(annotation)
        except (KeyError, ValueError) as error:
            problems.add("annotation", annotation, error)
    problems.check()
    return by_image


def _path_of(image, root):
    # The name must stay in the folder; a link in the folder may lead elsewhere.
    path = os.path.abspath(os.path.join(root, image["file_name"]))
    if "\0" in path or os.path.commonpath([root, path]) != root:
        raise ValueError(f"the file name leaves {root}")
    return path


class _Boxes:
    """Turns annotations into shards.Object.

    Attributes:
      counts: collections.Counter of what was clipped or left out.
      used: list of [x, y, width, height], the boxes that count, not clipped.
      sizes: list of (width, height), the size of the image of each of them.
    """

    def __init__(self, names, has_difficult, problems):
        self.counts, self.used, self.sizes = collections.Counter(), [], []
        self._names, self._has_difficult = names, has_difficult
        self._problems = problems

    def of_image(self, annotations, size):
        """Returns the boxes of an image that count, as a tuple of shards.Object."""
        objects = []
        for annotation in annotations:
            try:
                if annotation["category_id"] not in self._names:
                    self.counts[UNKNOWN_CATEGORY] += 1
                    continue
                corners = clip(annotation["bbox"], size, self.counts)
                if corners is not None:
                    objects.append(self._object(annotation, corners, size))
                    self.used.append(annotation["bbox"])
                    self.sizes.append(size)
            except (KeyError, ValueError) as error:
                self._problems.add("annotation", annotation, error)
        return tuple(objects)

    def _object(self, annotation, corners, size):
        (left, top, right, bottom), (width, height) = corners, size
        box = annotation["bbox"]
        if _is_clipped(box, corners):
            box = [left, top, right - left, bottom - top]
        return shards.Object(
            box=(top / height, left / width, bottom / height, right / width),
            bbox=box,
            category_id=int(annotation["category_id"]),
            name=self._names[annotation["category_id"]],
            is_crowd=_flag(annotation, "iscrowd"),
            area=_area(annotation, (right - left) * (bottom - top), self.counts),
            difficult=_flag(annotation, "difficult") if self._has_difficult else None,
        )


def _area(annotation, area_of_box, counts):
    """Returns the area of an object, or that of its box if it is missing or wrong."""
    area = annotation.get("area")
    if area is None:
        return area_of_box
    if type(area) not in (int, float) or not abs(area) < _LARGEST:
        raise ValueError(f"area {area!r:.80} is not a number of pixels")
    counts[WRONG_AREA] += area <= 0
    return float(area) if area > 0 else area_of_box


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
    counts[CLIPPED] += _is_clipped(box, clipped)
    return clipped


def _is_clipped(box, corners):
    """Returns whether clipping changed a box by more than rounding."""
    (x, y, width, height), (left, top, right, bottom) = box, corners
    outside = max(left - x, top - y, x + width - right, y + height - bottom)
    return outside > _ROUNDING


def print_counts(counts: collections.Counter, sets: dict):
    """Prints what was written to the shards, and what was left out and why.

    Args:
      counts: of `plan` and of shards.convert.
      sets: dict from output prefix to list of the shards.Entry that were written.
    """
    for output_prefix, entries in sets.items():
        boxes = [box for entry in entries for box in entry.objects]
        crowds = sum(box.is_crowd and not box.difficult for box in boxes)
        print(
            f"{output_prefix}: {len(entries)} images, {len(boxes)} boxes, {crowds} of "
            "them crowd"
        )
        counts[WITHOUT_BOX] += sum(not entry.objects for entry in entries)
        counts[DIFFICULT] += sum(box.difficult or 0 for box in boxes)
    for reason in (WITHOUT_BOX, CLIPPED):
        print(f"  {counts[reason]} {reason}")
    rare = (WRONG_AREA, DIFFICULT, image_file.CONVERTED, image_file.TURNED)
    for reason in rare:
        if counts[reason]:
            print(f"  {counts[reason]} {reason}")
    for reason in LEFT_OUT:
        print(f"  left out: {counts[reason]} {reason}")
