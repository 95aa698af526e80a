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

import collections
import math
import os
import re
from typing import NamedTuple, Optional
from xml.etree import ElementTree

from console import text_file
from console.errors import UserError, as_user_error
from conversion import annotations, image_file, voc_folder
from conversion import label_map as label_maps
from conversion.unusable import UnusableImages

NAMES = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor".split()
)

_SIDES = ("xmin", "ymin", "xmax", "ymax")
# The files of VOC have a few thousand bytes.
_MAX_XML_BYTES = 2**21


class Annotation(NamedTuple):
    """The contents of one xml.

    Attributes:
      file_name: name of the image file, "" if the xml does not tell.
      size: (width, height), None if the xml does not tell.
      objects: list of (name, difficult 0 or 1, [xmin, ymin, xmax, ymax]).
    """

    file_name: str
    size: Optional[tuple]
    objects: list


def read(
    folder,
    image_set=None,
    label_map=None,
    complete_path=None,
    max_images=0,
    ignore_exif=False,
    unusable=None,
):
    """Reads the images of one set, or all of them.

    Args:
      folder: voc_folder.VocFolder.
      image_set: name of a file in ImageSets/Main, without ".txt"; None for all images.
      label_map: categories.LabelMap with the ids; None: see the module.
      complete_path: path of the label map if it must have all names; None if boxes of
        other names are to be left out.
      max_images, ignore_exif: see annotations.plan and image_file.load.
      unusable: UnusableImages, to which images are added; None to allow none.

    Returns:
      (dataset, counts): dict of a COCO json, whose file names are relative to the
      folder of the images, and whose boxes are clipped to their images; and a
      collections.Counter, see annotations.plan.

    Raises:
      UserError: one line that names the file.
    """
    unusable = unusable or UnusableImages()
    if image_set:
        names, problems = voc_folder.names_of_set(folder, image_set)
    else:
        names, problems = voc_folder.all_names(folder)
    for text in problems:
        unusable.add(text)
    unusable.check()
    ids = _image_ids(names)
    names = sorted(names, key=ids.get)[: max_images or None]
    images = _read_images(folder, names, ignore_exif, unusable)
    # Object name: the xml of an image that has it.
    image_of = {}
    if label_map is None:
        image_of = _names_outside(folder, names, unusable)
        unusable.check()
    for name, annotation in images.items():
        image_of.update((o[0], folder.xml_path(name)) for o in annotation.objects)
    flag = f"--voc_dir={folder.path}:"
    category_ids = _category_ids(folder, image_of, label_map)
    if complete_path:
        label_maps.check_known(flag, image_of, complete_path, label_map)
    dataset, counts = _to_coco(images, ids, category_ids)
    annotations.check_boxes(flag, dataset["annotations"], counts)
    return dataset, counts


def _to_coco(images, ids, category_ids):
    counts = collections.Counter()
    dataset = {"images": [], "annotations": []}
    for name, (file_name, size, objects) in images.items():
        image = dict(id=ids[name], file_name=file_name, width=size[0], height=size[1])
        dataset["images"].append(image)
        for annotation in _coco_objects(objects, size, category_ids, counts):
            annotation["id"] = len(dataset["annotations"]) + 1
            annotation["image_id"] = ids[name]
            dataset["annotations"].append(annotation)
    dataset["categories"] = [
        {"id": number, "name": name} for name, number in category_ids.items()
    ]
    return dataset, counts


def _image_ids(names):
    digits = [name.replace("_", "") for name in names]
    if all(re.match(r"[0-9]{1,15}$", text) for text in digits):
        ids = [int(text) for text in digits]
        if len(set(ids)) == len(ids):
            return dict(zip(names, ids))
    return {name: number for number, name in enumerate(sorted(names), 1)}


def _read_images(folder, names, ignore_exif, unusable):
    """Returns a dict from name to Annotation with the file and size of the image."""
    images = {}
    for name in names:
        if unusable.are_too_many:
            break
        try:
            annotation = read_xml(folder.xml_path(name))
            file_name = _file_name(folder, name, annotation)
            size = annotation.size or _size_of_file(folder, file_name, ignore_exif)
            images[name] = Annotation(file_name, size, annotation.objects)
        except UserError as error:
            unusable.add(str(error))
    unusable.check(bool(images))
    return images


def _file_name(folder, name, annotation):
    """Returns the file of an image; the xml chooses among several extensions."""
    found = folder.images[name]
    if annotation.file_name in found:
        return annotation.file_name
    if len(found) > 1:
        raise UserError(
            f"--voc_dir: {folder.image_dir} has {' and '.join(found)}; "
            f"{folder.xml_path(name)} must name one of them in its <filename>"
        )
    return found[0]


def _size_of_file(folder, file_name, ignore_exif):
    path = os.path.join(folder.image_dir, file_name)
    with as_user_error(f"--voc_dir: {path}", (ValueError, OSError)):
        return image_file.load(path, ignore_exif=ignore_exif)[1]


def _category_ids(folder, image_of, label_map):
    """Returns a dict from name to category id, after checking the names."""
    if label_map is None:
        category_ids = _own_ids(folder, image_of)
        places = []
    else:
        category_ids = {name: number for number, name in label_map.names.items()}
        listed = sorted(label_map.names.items())
        places = [(name, f"id {number} in the label map") for number, name in listed]
        image_of = {n: image_of[n] for n in image_of if n not in category_ids}
    places += sorted(image_of.items())
    label_maps.check_alike(f"--voc_dir={folder.path}:", places)
    return category_ids


def _names_outside(folder, names, unusable):
    """Returns a dict from the names of the other images' objects to their xml."""
    image_of = {}
    for name in sorted(set(folder.images) & set(folder.xmls) - set(names)):
        path = folder.xml_path(name)
        try:
            image_of.update((name, path) for name, _, _ in read_xml(path).objects)
        except UserError as error:
            unusable.add(f"without --label_map, images outside the set count: {error}")
    return image_of


def _own_ids(folder, image_of):
    """Returns a dict from name to id, for VOC's names or else for those given."""
    own = sorted(set(image_of).difference(NAMES))
    if own:
        print(
            f"{folder.path}: {own[0]!r} in {image_of[own[0]]} is not one of VOC's "
            f"names; the {len(image_of)} names in the folder get their own ids"
        )
    names = sorted(image_of) if own else NAMES
    return {name: number for number, name in enumerate(names, 1)}


def _coco_objects(objects, size, category_ids, counts):
    """Yields COCO annotations without ids; counts the boxes that are left out."""
    for name, difficult, (xmin, ymin, xmax, ymax) in objects:
        box = [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]
        corners = annotations.clip(box, size, counts)
        if name not in category_ids:
            counts[annotations.UNKNOWN_CATEGORY] += 1
        elif corners is not None:
            left, top, right, bottom = corners
            yield {
                "category_id": category_ids[name],
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": difficult,
                "difficult": difficult,
            }


def read_xml(path: str) -> Annotation:
    """Reads one annotation, which may be hostile.

    Raises:
      UserError: one line that names the file.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_XML_BYTES + 1)
        if len(data) > _MAX_XML_BYTES:
            raise ValueError(f"it has more than {_MAX_XML_BYTES} bytes")
        parser = ElementTree.XMLParser(target=_Builder())
        text = text_file.decode_xml(data)
        return _annotation(ElementTree.fromstring(text, parser))
    except FileNotFoundError as error:
        raise UserError(
            f"--voc_dir: {path} is missing; an image without objects needs one as well"
        ) from error
    except OSError as error:
        raise UserError(f"--voc_dir: cannot read {path}: {error.strerror}") from error
    except ElementTree.ParseError as error:
        reason = f"it is not XML: {error}" if text.strip() else "it is empty"
    except ValueError as error:
        reason = str(error)
    raise UserError(f"--voc_dir: {path} is not a VOC annotation: {reason}")


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
    return Annotation(root.findtext("filename", "").strip(), size, objects)


def _number(element, path, default=""):
    text = element.findtext(path, "").strip() or default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{path} is {text!r}, which is not a number")
    return number
