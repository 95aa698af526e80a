# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The first evaluated images with their boxes, the same ones in each evaluation."""

from dataset import drawing
from evaluation import analysis, report_images

# Red, green, blue.
RIGHT_COLOR = (0, 150, 70)
FALSE_COLOR = (214, 39, 40)
FOUND_COLOR = (150, 200, 255)
MISSED_COLOR = (255, 165, 0)

_MAX_IMAGES = 8
# Pixels.
_LONGER_SIDE = 640
_TRUTH_WIDTH, _DETECTION_WIDTH = 4, 2
_JPEG_QUALITY = 80


def draw(coco_gt, judgement, result, file_pattern, repeated_ids):
    """Draws the images. For the arguments see report_images.collect.

    Returns:
      dict from image id to JPEG bytes, of at most 8 images.

    Raises:
      ImportError: Pillow is not installed.
    """

    def name_of(category_id):
        return str(coco_gt.cats.get(category_id, {}).get("name", category_id))

    jpegs = {}
    for image_id, encoded in report_images.read_records(file_pattern):
        if image_id in judgement.detections and image_id not in repeated_ids:
            boxes = report_images.boxes_of(coco_gt, judgement, result, image_id)
            shrunk = report_images.shrink(encoded, boxes, _LONGER_SIDE)
            if shrunk:
                image = _draw(*shrunk, result.score, name_of)
                jpegs[image_id] = report_images.to_jpeg(image, _JPEG_QUALITY)
        if len(jpegs) == _MAX_IMAGES:
            break
    return jpegs


def _draw(image, boxes, score, name_of):
    """Returns a PIL.Image.Image with the boxes, and detections of at least a score."""
    truth = [b for b in boxes if b.kind == analysis.MISSED]
    is_found = [b.score >= score for b in truth]
    image = drawing.draw(
        image,
        [_ltrb(b) for b in truth],
        ["" if found else name_of(b.category_id) for b, found in zip(truth, is_found)],
        [FOUND_COLOR if found else MISSED_COLOR for found in is_found],
        _TRUTH_WIDTH,
    )
    shown = [b for b in boxes if b.kind != analysis.MISSED and b.score >= score]
    return drawing.draw(
        image,
        [_ltrb(b) for b in shown],
        [f"{name_of(b.category_id)} {b.score:.2f}" for b in shown],
        [RIGHT_COLOR if b.kind == analysis.RIGHT else FALSE_COLOR for b in shown],
        _DETECTION_WIDTH,
    )


def _ltrb(box):
    x, y, width, height = box.xywh
    return y, x, y + height, x + width
