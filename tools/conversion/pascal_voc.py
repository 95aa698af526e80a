# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads a Pascal VOC folder (Everingham et al., IJCV 2010) as a COCO dataset.

Boxes: VOC counts pixels from 1, and the corners are inclusive. So [xmin, ymin, xmax,
ymax] becomes COCO's [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1].

Difficult objects keep "difficult": 1 and get "iscrowd": 1, the only field that makes
pycocotools ignore a box: as in VOC's own evaluation, neither missing nor detecting it
is an error. Training uses difficult objects like any other, as Liu et al. do.

Categories: VOC's 20 names get the ids 1 to 20. If the annotations of any image in the
folder use another name, then all names in the folder get the ids 1 to K in alphabetical
order instead. So the ids are the same for every image set. A label map comes before
both: the user's, or the one beside the shards (see conversion/label_map.py).

Image ids: the digits of the names ("2007_000027" is 2007000027) if these differ for all
images of the set; else 1, 2, 3, ... in the order of the names.
"""

import itertools
import math
import os
import re
from xml.etree import ElementTree

from console import text_file
from console.errors import UserError, as_user_error
from conversion import image_file, voc_folder
from conversion.label_map import check_alike
from dataset import categories

NAMES = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor".split()
)

_SIDES = ("xmin", "ymin", "xmax", "ymax")
# The files of VOC have a few thousand bytes.
_MAX_XML_BYTES = 2**21


def read(folder, image_set, label_map, map_path, ignore_exif, unusable) -> dict:
    """Reads the images of one set, or all of them.

    Args:
      folder: voc_folder.VocFolder.
      image_set: see voc_folder.names_of.
      label_map: path of the user's label map; boxes of other names get the category
        -1. None: see the module.
      map_path: path of the label map beside the shards, which counts otherwise; names
        that it lacks get further ids. None if there is none.
      ignore_exif: see image_file.load.
      unusable: shards.UnusableImages, to which images are added.

    Returns:
      dict of a COCO json, whose file names are relative to the folder of the images.

    Raises:
      UserError: one line that names the file.
    """
    names = voc_folder.names_of(folder, image_set, unusable)
    # Other images only matter for the ids of the categories.
    others = set()
    if not label_map and not map_path:
        others = set(folder.images) & set(folder.xmls) - set(names)
    # File name, size and objects of an image; object name: an xml that has it.
    images, xml_of = {}, {}
    for name in names + sorted(others):
        if unusable.are_too_many:
            break
        try:
            xml = read_xml(folder.xmls[name])
            if name not in others:
                images[name] = _complete(xml, folder, name, ignore_exif)
        except UserError as error:
            unusable.texts.append(str(error))
            continue
        for object_name, _, _ in xml[2]:
            xml_of.setdefault(object_name, folder.xmls[name])
    unusable.check(bool(images))
    category_ids = _category_ids(folder, xml_of, label_map, map_path)
    return _to_coco(images, _image_ids(names), category_ids)


def _image_ids(names):
    digits = [name.replace("_", "") for name in names]
    if all(re.match(r"[0-9]{1,15}$", text) for text in digits):
        ids = [int(text) for text in digits]
        if len(set(ids)) == len(ids):
            return dict(zip(names, ids))
    return {name: number for number, name in enumerate(sorted(names), 1)}


def _complete(xml, folder, name, ignore_exif):
    """Returns (file name, size, objects) of an image, of which an xml may lack two."""
    file_name, size, objects = xml
    found = folder.images[name]
    if file_name not in found:
        if len(found) > 1:
            raise UserError(
                f"--voc_dir: {folder.image_dir} has {' and '.join(found)}; "
                f"{folder.xmls[name]} must name one of them in its <filename>"
            )
        file_name = found[0]
    if size is None:
        path = os.path.join(folder.image_dir, file_name)
        with as_user_error(f"--voc_dir: {path}", (ValueError, OSError)):
            _, size, _ = image_file.load(path, ignore_exif=ignore_exif)
    return file_name, size, objects


def _category_ids(folder, xml_of, label_map, map_path):
    """Returns a dict from name to id, after comparing the names."""
    listed = {}
    if label_map or map_path:
        with as_user_error("--label_map:" if label_map else "--output_prefix:"):
            listed = categories.read_label_map(label_map or map_path).names
    category_ids = {name: number for number, name in listed.items()}
    others = sorted(set(xml_of).difference(category_ids))
    places = [
        (name, f"id {number} in the label map") for number, name in listed.items()
    ]
    places += [(name, xml_of[name]) for name in others]
    check_alike(f"--voc_dir={folder.path}:", places)
    if label_map:
        return category_ids
    if not listed:
        own = sorted(set(others).difference(NAMES))
        others = others if own else NAMES
        if own:
            print(
                f"{folder.path}: {own[0]!r} in {xml_of[own[0]]} is not one of VOC's "
                f"names; the {len(others)} names in the folder get their own ids"
            )
    # Those that the label map beside the shards lacks are refused later.
    category_ids.update(zip(others, itertools.count(max(listed, default=0) + 1)))
    return category_ids


def _to_coco(images, ids, category_ids):
    """Returns a COCO json; the boxes are not clipped."""
    dataset = {"images": [], "annotations": []}
    for name, (file_name, (width, height), objects) in images.items():
        image = {"id": ids[name], "file_name": file_name}
        dataset["images"].append({**image, "width": width, "height": height})
        for object_name, difficult, (xmin, ymin, xmax, ymax) in objects:
            annotation = {
                "image_id": ids[name],
                "category_id": category_ids.get(object_name, -1),
                "bbox": [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1],
                "iscrowd": difficult,
                "difficult": difficult,
            }
            dataset["annotations"].append(annotation)
    dataset["categories"] = [
        {"id": number, "name": name} for name, number in category_ids.items()
    ]
    return dataset


def read_xml(path: str):
    """Reads one annotation, which may be hostile.

    Returns:
      (file name, size, objects): name of the image file, "" if the xml does not tell;
      (width, height), None if the xml does not tell; and a list of (name, difficult 0
      or 1, [xmin, ymin, xmax, ymax]).

    Raises:
      UserError: one line that names the file.
    """
    with as_user_error("--voc_dir: cannot read", OSError), open(path, "rb") as file:
        data = file.read(_MAX_XML_BYTES + 1)
    errors = (ValueError, ElementTree.ParseError)
    with as_user_error(f"--voc_dir: {path} is not a VOC annotation:", errors):
        if len(data) > _MAX_XML_BYTES:
            raise ValueError(f"it has more than {_MAX_XML_BYTES} bytes")
        text = text_file.decode_xml(data)
        if not text.strip():
            raise ValueError("it is empty")
        parser = ElementTree.XMLParser(target=_Builder())
        return _annotation(ElementTree.fromstring(text, parser))


class _Builder(ElementTree.TreeBuilder):
    """Builds the elements of an xml without a document type.

    It could declare entities; Expat limits their size only since version 2.4.
    """

    def doctype(self, *unused):
        raise ValueError("it declares a document type, which VOC does not need")


def _annotation(root):
    if root.tag != "annotation":
        raise ValueError(f"its root element is {root.tag[:40]}, not annotation")
    sides = [_number(root, "size/" + name, 0) for name in ("width", "height")]
    objects = []
    for element in root.findall("object"):
        name = element.findtext("name", "").strip()
        if not name:
            raise ValueError("an object has no name")
        if element.find("bndbox") is None:
            raise ValueError(f"its object {name!r:.80} has no bndbox")
        # Direct children only: the head and hands of a person have boxes as well.
        box = [_number(element, "bndbox/" + side) for side in _SIDES]
        difficult = int(_number(element, "difficult", 0) != 0)
        objects.append((name, difficult, box))
    # Some tools write a size of 0 if they do not know it.
    size = tuple(map(int, sides)) if all(sides) else None
    return root.findtext("filename", "").strip(), size, objects


def _number(element, path, default=""):
    text = element.findtext(path, "").strip() or default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{path} is {text!r}, which is not a number")
    return number
