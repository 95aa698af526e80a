# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds the faults of a COCO json."""

import collections

from dataset import box_rules, categories
from dataset.record_rules import Problem
from inspection import faults


def faults_of_json(dataset, left_out, label_map):
    """Finds the faults of a json whose entries are valid.

    Args:
      dataset: dict, after coco_metric.complete.
      left_out: dict, the result of coco_metric.complete.
      label_map: categories.LabelMap.

    Yields:
      Problem.
    """
    try:
        categories.read_names(dataset["categories"])
    except ValueError as error:
        yield Problem(faults.BAD_CATEGORIES, str(error))
    for text in label_map.other_names(dataset["categories"]):
        yield Problem(faults.OTHER_NAMES, text)
    try:
        box_rules.check_all(dataset, left_out)
    except ValueError as error:
        yield Problem(faults.REFUSED, str(error))
    yield from _faults_of_images(dataset["images"])
    yield from _faults_of_annotations(dataset["annotations"], left_out, label_map)


def _faults_of_images(images):
    for number, count in _count(images, "id").items():
        if count > 1:
            yield Problem(faults.IMAGE_IDS, f"image id {number}, of {count} images")
    for image in images:
        if not box_rules.size_of(image):
            yield Problem(faults.SIZELESS, f"image {image['id']}")


def _faults_of_annotations(annotations, left_out, label_map):
    everything = annotations + [a for entries in left_out.values() for a in entries]
    for number, count in _count(everything, "id").items():
        if number == 0 or count > 1:
            text = f"id {number}, of {count} annotations"
            yield Problem(faults.ANNOTATION_IDS, text)
    for reason, entries in left_out.items():
        for annotation in entries:
            yield Problem(reason, _describe(annotation))
    for annotation in annotations:
        problem = box_rules.problem_of_area(annotation)
        if problem:
            yield Problem(faults.AREA, f"{_describe(annotation)}: {problem}")
    problem = box_rules.problem_of_areas(annotations)
    if problem:
        yield Problem(faults.AREA, problem)
    counts = _count(annotations, "category_id")
    for number in sorted(counts.keys() - label_map.names.keys()):
        text = f"category id {number}, of {counts[number]} annotations"
        yield Problem(faults.CATEGORIES, text)


def _count(entries, name):
    """Counts the values that the entries have under a name."""
    return collections.Counter(entry[name] for entry in entries)


def _describe(annotation):
    return (
        "annotation {id} of image {image_id}, category {category_id}, bbox {bbox}"
    ).format(**annotation)
