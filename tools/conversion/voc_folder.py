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

from console import paths, text_file
from console.errors import UserError

_IMAGE_FOLDERS, _XML_FOLDERS = ("jpegimages", "images"), ("annotations",)
_OTHER_FOLDERS = (*_XML_FOLDERS, "imagesets")
LAYOUTS = (
    "expected are JPEGImages and Annotations as in VOC2007, images and annotations, or "
    "images and xml files side by side"
)


class VocFolder(NamedTuple):
    """A folder and what is in it.

    Attributes:
      path: as the user gave it.
      image_dir, xml_dir: folders of the images and of the xml files.
      images: dict from name without extension to list of file names, in image_dir.
      xmls: dict from name without extension to file name, in xml_dir.
    """

    path: str
    image_dir: str
    xml_dir: str
    images: dict
    xmls: dict

    def xml_path(self, name: str) -> str:
        """Returns the path of the xml of an image, which may be missing."""
        return os.path.join(self.xml_dir, self.xmls.get(name, name + ".xml"))


def find(path: str) -> VocFolder:
    """Finds the images and xml files of a folder.

    Raises:
      UserError: the folder cannot be read, or has no images.
    """
    folders = [n for n in _list(path) if os.path.isdir(os.path.join(path, n))]
    image_dir = _subfolder(path, folders, _IMAGE_FOLDERS) or path
    xml_dir = _subfolder(path, folders, _XML_FOLDERS) or image_dir
    images, others = collections.defaultdict(list), []
    extensions = _image_extensions()
    for file_name in _list(image_dir):
        name, extension = os.path.splitext(file_name)
        if extension.lower() in extensions:
            images[name].append(file_name)
        elif extension.lower() != ".xml" and file_name.lower() not in _OTHER_FOLDERS:
            others.append(file_name)
    if not images:
        within = f" (it has the folders {', '.join(folders)})" if folders else ""
        raise UserError(
            f"--voc_dir={path}: there are no images in {image_dir}{within}; {LAYOUTS}"
        )
    if others:
        print(f"{image_dir}: passed over {_count(others, 'name')}, not an image file")
    xmls = (os.path.splitext(n) for n in _list(xml_dir))
    xmls = {name: name + end for name, end in xmls if end.lower() == ".xml"}
    return VocFolder(path, image_dir, xml_dir, dict(images), xmls)


def _list(path):
    """Returns the names in a folder, sorted, without hidden ones ("._a.jpg")."""
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError as error:
        raise UserError(
            f"--voc_dir: cannot read the folder {path}: {error.strerror}; {LAYOUTS}"
        ) from error


def _subfolder(path, folders, wanted):
    lower = {name.lower(): os.path.join(path, name) for name in folders}
    return next((lower[name] for name in wanted if name in lower), None)


def _image_extensions():
    """Returns the extensions, with the dot, of what Pillow can open."""
    return {e for e, name in Image.registered_extensions().items() if name in Image.ID}


def _count(names, noun):
    return f"{len(names)} {noun}{'s' * (len(names) > 1)} ({names[0]}" + (
        ", ...)" if len(names) > 1 else ")"
    )


def names_of_set(folder: VocFolder, image_set: str):
    """Reads ImageSets/Main/IMAGE_SET.txt, or ImageSets/IMAGE_SET.txt.

    Returns:
      (names, problems): list of the names of its images, each once, in their order; and
      list of one line for each image that does not exist.

    Raises:
      UserError: the list cannot be read, or is empty.
    """
    path = os.path.join(folder.path, "ImageSets", image_set + ".txt")
    if not os.path.isfile(path):
        path = os.path.join(folder.path, "ImageSets", "Main", image_set + ".txt")
    try:
        lines = [line.strip() for line in text_file.read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        found = paths.expand(os.path.join(os.path.dirname(path), "*.txt"))
        names = ", ".join(os.path.basename(name)[:-4] for name in found) or "none"
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--image_set={image_set}: cannot read {path}: {reason}; the folder has: "
            f"{names}; without --image_set all images are used"
        ) from error
    names, problems = [], {}
    for line in filter(None, lines):
        # In the set of one class ("dog_train"), a second column tells whether the image
        # shows it. Other datasets list file names.
        stem, column = os.path.splitext(line)[0], r"\s+-?[01]$"
        candidates = (line, re.sub(column, "", line), stem)
        name = next((name for name in candidates if name in folder.images), None)
        if name is not None:
            names.append(name)
        else:
            problems[line] = (
                f"--image_set={image_set}: {path} lists {line!r}, but "
                f"{folder.image_dir} does not have that image"
            )
    if not names and not problems:
        raise UserError(f"--image_set={image_set}: {path} does not list any image")
    return list(dict.fromkeys(names)), list(problems.values())


def all_names(folder: VocFolder):
    """Finds all images that have an xml; prints how many have none.

    Returns:
      (names, problems): as `names_of_set` returns them; the problems are xml files
      without an image.

    Raises:
      UserError: no image has an xml.
    """
    names = [name for name in folder.images if name in folder.xmls]
    unlabeled = [folder.images[n][0] for n in folder.images if n not in folder.xmls]
    if not names:
        raise UserError(
            f"--voc_dir={folder.path}: none of the {len(unlabeled)} images in "
            f"{folder.image_dir} has an xml of its name in {folder.xml_dir}; {LAYOUTS}"
        )
    print(f"{folder.path}: all {len(names)} images with an xml are used")
    if unlabeled:
        print(f"  left out: {_count(unlabeled, 'image')} without an xml")
    problems = [
        f"--voc_dir: {folder.xml_path(name)} has no image in {folder.image_dir}"
        for name in folder.xmls
        if name not in folder.images
    ]
    return names, problems
