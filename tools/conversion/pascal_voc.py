# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads a Pascal VOC folder (Everingham et al., IJCV 2010) as a COCO dataset.

Layout: JPEGImages, Annotations (one xml an image) and ImageSets/Main/*.txt.

Boxes: VOC counts pixels from 1 and its corners belong to the box, so [xmin, ymin,
xmax, ymax] becomes COCO's [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1].

Difficult objects keep "difficult": 1 and get "iscrowd": 1, the only field by which
pycocotools ignores a box: it is neither wanted nor do detections on it count as wrong,
as in VOC's own evaluation. ("ignore": 1 is there for other tools; pycocotools
overwrites it.) Training takes them like any other, as Liu et al. do.

Categories: VOC's 20 names get ids 1..20. With any other name among the annotations of
the folder's images, whatever the set, all their names get 1..K in alphabetical order:
so every set has the same ids.

Image ids: the digits of the names ("2007_000027" is 2007000027) where they tell all
images apart, else 1, 2, 3, ... in the order of the names.
"""

import collections
import math
import os
import re
import xml.etree.ElementTree
from typing import NamedTuple
from xml.parsers import expat

from console.errors import MAX_LISTED, UserError, refuse
from conversion import coco_json, image_file

NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)

_SIDES = ("xmin", "ymin", "xmax", "ymax")
# VOC's own have a few thousand bytes.
_MAX_XML_BYTES = 2**24
# VOC's own are four deep.
_MAX_DEPTH = 100


class Annotation(NamedTuple):
    """One xml.

    Attributes:
      file_name: of the image, "" where none is given.
      size: (width, height), None where none is given.
      objects: list of (name, difficult 0 or 1, [xmin, ymin, xmax, ymax]).
    """

    file_name: str
    size: tuple
    objects: list


def read(folder: str, image_set: str, label_map=None, max_images=0, ignore_exif=False):
    """Reads the images of one set.

    Args:
      folder: VOC2007, for one.
      image_set: name of a file in ImageSets/Main, without ".txt".
      label_map: categories.LabelMap that gives the ids; None: see the module.
      max_images: keep the first so many by id; 0 for all.
      ignore_exif: see image_file.

    Returns:
      (dataset, counts): dict of a COCO json; its file names are relative to
      JPEGImages, its boxes clipped to their images. And a collections.Counter, see
      coco_source.

    Raises:
      UserError: one line that names the file.
    """
    images = _stems(folder, "JPEGImages")
    names = _image_names(folder, image_set, images)
    ids = _image_ids(names)
    names = sorted(names, key=ids.get)[: max_images or None]
    xml_files = _stems(folder, "Annotations")
    annotations = _of_each(names, lambda name: _annotation_of(folder, name, xml_files))
    if label_map is not None:
        category_ids = _ids_of_label_map(label_map)
    else:
        # What else lies in Annotations belongs to no image.
        others = sorted(n for n in images if n + ".xml" in xml_files.get(n, ()))
        others = [name for name in others if name not in annotations]
        category_ids = _category_ids(folder, xml_files, annotations, others)
    file_names = _of_each(
        names, lambda name: _file_name(folder, name, images, annotations[name])
    )
    sizes = _of_each(
        names,
        lambda name: _frame(folder, file_names[name], annotations[name], ignore_exif),
    )
    counts = collections.Counter()
    dataset = {"images": [], "annotations": []}
    for name in names:
        annotation, size = annotations.pop(name), sizes[name]
        image = {"id": ids[name], "file_name": file_names[name]}
        image["width"], image["height"] = size
        dataset["images"].append(image)
        for fields in _coco_objects(annotation, size, category_ids, counts):
            number = len(dataset["annotations"]) + 1
            fields.update(id=number, image_id=ids[name])
            dataset["annotations"].append(fields)
    dataset["categories"] = [
        {"id": number, "name": name}
        for name, number in sorted(category_ids.items(), key=lambda item: item[1])
    ]
    return dataset, counts


def _of_each(names, function):
    """dict from name to function(name); tells of all names where it fails."""
    results, problems = {}, []
    for name in names:
        try:
            results[name] = function(name)
        except UserError as error:
            problems.append(str(error))
            if len(problems) == MAX_LISTED:
                break
    refuse(problems, "mend it or take it out of the set")
    return results


def _stems(folder, part):
    """dict from name without extension to the sorted file names."""
    path = os.path.join(folder, part)
    stems = collections.defaultdict(list)
    try:
        for file_name in sorted(os.listdir(path)):
            stems[os.path.splitext(file_name)[0]].append(file_name)
    except OSError as error:
        raise UserError(
            f"--voc_dir={folder}: cannot read {path}: {error.strerror}; the folder "
            "must hold JPEGImages, Annotations and ImageSets, as VOC2007 does"
        ) from error
    return stems


def _image_names(folder, image_set, images):
    """Names in the order of the file, each once."""
    main = os.path.join(folder, "ImageSets", "Main")
    path = os.path.join(main, image_set + ".txt")
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except (OSError, ValueError) as error:
        sets = sorted(f[:-4] for f in _listing(main) if f.endswith(".txt"))
        raise UserError(
            f"--image_set={image_set}: cannot read {path}: {error}; there are: "
            + (", ".join(sets) or "none")
        ) from error
    names, missing = [], []
    for line in filter(None, lines):
        # The sets of one class ("dog_train") say in a second column whether it is in.
        name = line if line in images else re.sub(r"\s+-?[01]$", "", line)
        stem = os.path.splitext(name)[0]
        if name not in images and images.get(stem) == [name]:
            name = stem  # others' sets list files
        (names if name in images else missing).append(name)
    refuse(
        [
            f"--image_set={image_set}: {path} lists {name!r}, but JPEGImages has no "
            "such image"
            for name in missing
        ],
        "put it there or take it out of the set",
    )
    if not names:
        raise UserError(f"--image_set={image_set}: {path} lists no image")
    return list(dict.fromkeys(names))


def _listing(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _image_ids(names):
    digits = [name.replace("_", "") for name in names]
    if all(re.match(r"[0-9]{1,15}$", text) for text in digits):
        ids = [int(text) for text in digits]
        if len(set(ids)) == len(ids):
            return dict(zip(names, ids))
    return {name: number for number, name in enumerate(sorted(names), 1)}


def _annotation_of(folder, name, xml_files):
    if name + ".xml" not in xml_files.get(name, ()):
        raise UserError(
            f"--voc_dir={folder}: Annotations/{name}.xml is missing; an image without "
            "objects needs one, too"
        )
    return read_xml(os.path.join(folder, "Annotations", name + ".xml"))


def _file_name(folder, name, images, annotation):
    """The image of that name; where several differ in the extension, the xml's."""
    found = images[name]
    if annotation.file_name in found:
        return annotation.file_name
    if len(found) > 1:
        raise UserError(
            f"--voc_dir={folder}: JPEGImages has {' and '.join(found)}; "
            f"Annotations/{name}.xml must tell which in its <filename>"
        )
    return found[0]


def _frame(folder, file_name, annotation, ignore_exif):
    """(width, height) of the image that the boxes refer to."""
    path = os.path.join(folder, "JPEGImages", file_name)
    try:
        return image_file.frame(path, annotation.size, ignore_exif)
    except (ValueError, OSError) as error:
        raise UserError(f"--voc_dir: {path} {error}") from error


def _ids_of_label_map(label_map):
    ids = {name: number for number, name in label_map.names.items()}
    if len(ids) < len(label_map.names):
        raise UserError("--label_map: two categories have the same name")
    return ids


def _category_ids(folder, xml_files, annotations, others):
    """dict from name to category id, see the module.

    Args:
      annotations: dict from name of an image to Annotation.
      others: names of images outside the set.
    """
    places = {}
    for image, annotation in annotations.items():
        _note_names(places, image, annotation)
    for image in others:
        try:
            _note_names(places, image, _annotation_of(folder, image, xml_files))
        except UserError as error:
            raise UserError(
                f"{error}; it is outside the set, but its names decide on the ids: "
                "mend it, or give --label_map"
            ) from error
    own = sorted(set(places).difference(NAMES))
    if own:
        print(
            f"{folder}: {own[0]!r} in Annotations/{places[own[0]]}.xml is none of "
            f"VOC's names; the folder's {len(places)} names get ids of their own"
        )
    names = sorted(places) if own else NAMES
    return {name: number for number, name in enumerate(names, 1)}


def _note_names(places, image, annotation):
    """Adds, for each name that is new, the image where it occurs."""
    for name, _, _ in annotation.objects:
        places.setdefault(name, image)


def _coco_objects(annotation, size, category_ids, counts):
    """Yields COCO annotations without their ids; counts what is left out."""
    for name, difficult, (xmin, ymin, xmax, ymax) in annotation.objects:
        box = [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]
        corners = coco_json.clip(box, size, counts)
        if name not in category_ids:
            counts[coco_json.UNKNOWN_CATEGORY] += 1
        elif corners is not None:
            left, top, right, bottom = corners
            yield {
                "category_id": category_ids[name],
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": difficult,
                "ignore": difficult,
                "difficult": difficult,
            }


def read_xml(path: str) -> Annotation:
    """Reads one annotation, which may come from anybody: no entity is expanded.

    Args:
      path: of the xml.

    Returns:
      Annotation.

    Raises:
      UserError: one line that names the file.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_XML_BYTES + 1)
        if len(text) > _MAX_XML_BYTES:
            raise ValueError(f"more than {_MAX_XML_BYTES} bytes")
        return _annotation(_parse(text))
    # LookupError: of an encoding that Python does not have.
    except (OSError, ValueError, LookupError, expat.ExpatError) as error:
        raise UserError(f"--voc_dir: {path} is no VOC annotation: {error}") from error


def _parse(text):
    """The root element. A document type, where entities are declared, is refused."""
    builder = xml.etree.ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    open_elements = []

    def start(name, attributes):
        open_elements.append(name)
        # Expat's time grows with the square of the depth.
        if len(open_elements) > _MAX_DEPTH:
            raise ValueError(f"its elements lie more than {_MAX_DEPTH} deep")
        builder.start(name, attributes)

    def end(name):
        open_elements.pop()
        builder.end(name)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.Parse(text, True)
    return builder.close()


def _refuse_doctype(*unused):
    raise ValueError("it declares a document type, which VOC does not need")


def _annotation(root):
    if root.tag != "annotation":
        raise ValueError(f"its outermost element is {root.tag[:40]}, not annotation")
    sides = [_number(root, "size/" + name, 0) for name in ("width", "height")]
    objects = []
    for element in root.findall("object"):
        name = element.findtext("name", "").strip()
        if not name:
            raise ValueError("an object has no name")
        # Own children only: a person's head and hands have boxes as well.
        box = [_number(element, "bndbox/" + side) for side in _SIDES]
        difficult = int(_number(element, "difficult", 0) != 0)
        objects.append((name, difficult, box))
    # Some tools write a size of 0 where they do not know it.
    size = tuple(map(int, sides)) if all(sides) else None
    return Annotation(root.findtext("filename", "").strip(), size, objects)


def _number(element, path, default=None):
    text = element.findtext(path)
    if text is None or not text.strip():
        if default is None:
            raise ValueError(f"an object has no {path}")
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{path} is {text.strip()!r}, no number")
    return number
