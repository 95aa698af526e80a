# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The faults of a COCO json that evaluation and tools/check_dataset.py tell."""

import collections

from dataset import box_rules, categories

IMAGE_IDS = "image ids of the json that occur again"
ID_0 = "annotations with the id 0"
WITHOUT_SIZE = "images of the json without width or height"
SMALL_AREAS = "jsons whose areas are too small for their boxes"
BAD_CATEGORIES = "jsons with invalid categories"
OTHER_NAME = "categories with another name than in the label map"
CATEGORIES = "categories of the json's boxes that are not in the label map"

_LEFT_OUT = "conversion, training and evaluation leave the box out"

# How training, evaluation and tools treat each kind of fault.
CONSEQUENCES = {
    IMAGE_IDS: "conversion stops; evaluation takes the images for one",
    ID_0: "evaluation never matches it; number all annotations from 1",
    WITHOUT_SIZE: "conversion stops; evaluation cannot compare them with the records",
    SMALL_AREAS: "APm and APl are wrong",
    BAD_CATEGORIES: "conversion stops, and so does every command with --label_map",
    OTHER_NAME: "the commands use the ids; give the dataset's own --label_map",
    CATEGORIES: "evaluation counts their boxes as missed; give --label_map",
    box_rules.NO_SIZE: _LEFT_OUT,
    box_rules.UNKNOWN_IMAGE: _LEFT_OUT,
    box_rules.UNKNOWN_CATEGORY: _LEFT_OUT,
    box_rules.NO_AREA: "evaluation takes the area of the box",
    box_rules.LARGE_AREA: "APs, APm and APl are wrong",
}

# Outlines fill at least this share of their boxes; in COCO it is about 0.6.
_LEAST_FILLED = 0.1


def find(coco, label_map):
    """Finds the faults of a json whose entries are valid.

    Args:
      coco: pycocotools COCO, see coco_metric.to_coco.
      label_map: categories.LabelMap.

    Yields:
      (kind, text): str, one of the constants above, and str, the place.
    """
    for kind, entries in coco.faulty.items():
        for entry in entries:
            yield kind, _describe(entry)
    dataset = coco.dataset
    for number, count in _count(dataset["images"], "id").items():
        if count > 1:
            yield IMAGE_IDS, f"image id {number}, of {count} images"
    for image in dataset["images"]:
        if not box_rules.size_of(image):
            yield WITHOUT_SIZE, f"image {image['id']}"
    try:
        categories.read_names(dataset["categories"])
    except ValueError as error:
        yield BAD_CATEGORIES, str(error)
    for text in label_map.other_names(dataset["categories"]):
        yield OTHER_NAME, text
    if 0 in coco.anns:
        yield ID_0, _describe(coco.anns[0])
    yield from _faults_of_annotations(dataset["annotations"], label_map)


def _faults_of_annotations(annotations, label_map):
    for number, count in sorted(_count(annotations, "category_id").items()):
        if number not in label_map.names:
            yield CATEGORIES, f"category id {number}, of {count} annotations"
    areas = sum(annotation["area"] for annotation in annotations)
    boxes = sum(a["bbox"][2] * a["bbox"][3] for a in annotations)
    if areas < _LEAST_FILLED * boxes:
        text = f"all areas together are {areas:g}, those of the boxes {boxes:g}"
        yield SMALL_AREAS, text


def _count(entries, name):
    """Counts the values that the entries have under a name."""
    return collections.Counter(entry[name] for entry in entries)


def _describe(annotation):
    return (
        "annotation {id} of image {image_id}, category {category_id}, bbox {bbox}"
    ).format(**annotation)
