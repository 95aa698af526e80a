# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds the images and the xml files of a folder in one of the layouts people have.

  JPEGImages/ Annotations/ ImageSets/Main/    Pascal VOC; ImageSets may be missing
  images/ annotations/                        in any case of the letters
  a.jpg a.xml b.png b.xml                     side by side, as LabelImg saves them

An image and its xml have the same name up to the extension.
"""

import collections
import os
import re
from typing import NamedTuple

from PIL import Image

from console import text_file
from console.errors import UserError, as_user_error

# Folders that may lie beside the images.
_OTHER_FOLDERS = ("annotations", "imagesets")
LAYOUTS = (
    "expected are JPEGImages and Annotations as in VOC2007, images and annotations, or "
    "images and xml files side by side"
)


class VocFolder(NamedTuple):
    """A folder and what is in it.

    Attributes:
      path, image_dir: the folder as the user gave it, and that of the images.
      images: dict from name without extension to list of file names, in image_dir.
      xmls: dict from name without extension to path of the xml.
    """

    path: str
    image_dir: str
    images: dict
    xmls: dict


def find(path: str) -> VocFolder:
    """Finds the images and xml files of a folder.

    Raises:
      UserError: the folder cannot be read, or has no images.
    """
    subfolders = [n for n in _list(path) if os.path.isdir(os.path.join(path, n))]
    found = {name.lower(): os.path.join(path, name) for name in subfolders}
    image_dir = found.get("jpegimages") or found.get("images") or path
    xml_dir = found.get("annotations") or image_dir
    images, others = collections.defaultdict(list), []
    formats = Image.registered_extensions().items()
    extensions = {extension for extension, name in formats if name in Image.ID}
    for file_name in _list(image_dir):
        name, extension = os.path.splitext(file_name)
        if extension.lower() in extensions:
            images[name].append(file_name)
        elif extension.lower() != ".xml" and file_name.lower() not in _OTHER_FOLDERS:
            others.append(file_name)
    if not images:
        within = f" (it has the folders {', '.join(subfolders)})" if subfolders else ""
        raise UserError(
            f"--voc_dir={path}: there are no images in {image_dir}{within}; {LAYOUTS}"
        )
    if others:
        print(
            f"{image_dir}: passed over {len(others)} names that are not image files, "
            f"for example {others[0]}"
        )
    xmls = {
        os.path.splitext(name)[0]: os.path.join(xml_dir, name)
        for name in _list(xml_dir)
        if name.lower().endswith(".xml")
    }
    return VocFolder(path, image_dir, dict(images), xmls)


def _list(path):
    """Returns the names in a folder, sorted, without hidden ones ("._a.jpg")."""
    with as_user_error(f"--voc_dir={path}: cannot read the folder", OSError):
        return sorted(name for name in os.listdir(path) if not name.startswith("."))


def names_of(folder: VocFolder, image_set, unusable) -> list:
    """Lists the names of the images of a set, without extension, each once.

    Args:
      folder: where to look.
      image_set: name of a file in ImageSets/Main or ImageSets, without ".txt"; None
        for all images that have an xml.
      unusable: shards.UnusableImages, to which images that do not exist are added.

    Raises:
      UserError: the list cannot be read or is empty, or no image has an xml.
    """
    if image_set:
        return _names_in_list(folder, image_set, unusable)
    names = [name for name in folder.images if name in folder.xmls]
    unlabeled = [folder.images[n][0] for n in folder.images if n not in folder.xmls]
    if not names:
        raise UserError(
            f"--voc_dir={folder.path}: none of the {len(unlabeled)} images in "
            f"{folder.image_dir} has an xml of its name; {LAYOUTS}"
        )
    print(f"{folder.path}: all {len(names)} images with an xml are used")
    if unlabeled:
        print(
            f"  left out: {len(unlabeled)} images without an xml, for example "
            f"{unlabeled[0]}"
        )
    unusable.texts += [
        f"--voc_dir: {path} has no image in {folder.image_dir}"
        for name, path in folder.xmls.items()
        if name not in folder.images
    ]
    return names


def _names_in_list(folder, image_set, unusable):
    path = os.path.join(folder.path, "ImageSets", image_set + ".txt")
    if not os.path.isfile(path):
        path = os.path.join(folder.path, "ImageSets", "Main", image_set + ".txt")
    with as_user_error(f"--image_set={image_set}:"), text_file.naming(path):
        lines = [line.strip() for line in text_file.read_text(path).splitlines()]
    lines = list(dict.fromkeys(filter(None, lines)))
    if not lines:
        raise UserError(f"--image_set={image_set}: {path} does not list any image")
    names = []
    for line in lines:
        # In the set of one class ("dog_train"), a second column tells whether the image
        # shows it. Other datasets list file names.
        stem, column = os.path.splitext(line)[0], r"\s+-?[01]$"
        candidates = (line, re.sub(column, "", line), stem)
        name = next((name for name in candidates if name in folder.images), None)
        if name in folder.xmls:
            names.append(name)
        else:
            missing = "its xml" if name in folder.images else "that image"
            unusable.texts.append(
                f"--image_set={image_set}: {path} lists {line!r}, but {folder.path} "
                f"does not have {missing}"
            )
    return list(dict.fromkeys(names))
