# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The first evaluated images with their boxes, the same ones in each evaluation."""

import io

import numpy as np

from coco_metric import IGNORED, RIGHT
from dataset import drawing
from evaluation import postprocess, report_images

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


def draw(coco_gt, judgement, file_pattern, repeated_ids):
    """Draws the images.

    Args:
      coco_gt: pycocotools COCO, see coco_metric.create_coco.
      judgement: coco_metric.Judgement.
      file_pattern: str, glob of the TFRecord files with the images.
      repeated_ids: set of int; these images are left out, because it is unknown which
        of their records was evaluated.

    Returns:
      dict from image id to JPEG bytes, of at most 8 images.

    Raises:
      ImportError: Pillow is not installed.
    """
    jpegs = {}
    for image_id, encoded in report_images.read_records(file_pattern):
        if image_id in judgement.detections and image_id not in repeated_ids:
            jpeg = _draw(encoded, coco_gt, judgement, image_id)
            if jpeg:
                jpegs[image_id] = jpeg
        if len(jpegs) == _MAX_IMAGES:
            break
    return jpegs


def _draw(encoded, coco_gt, judgement, image_id):
    """Returns JPEG bytes of an image with its boxes; None if Pillow cannot read it."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(encoded)).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    longer_side = max(image.size)
    image.thumbnail((_LONGER_SIDE, _LONGER_SIDE))
    scale = max(image.size) / longer_side

    def name_of(category_id):
        return str(coco_gt.cats.get(category_id, {}).get("name", category_id))

    truth = _ground_truth(coco_gt, judgement, image_id)
    image = drawing.draw(
        image,
        [_ltrb(annotation["bbox"], scale) for annotation, _ in truth],
        ["" if found else name_of(a["category_id"]) for a, found in truth],
        [FOUND_COLOR if found else MISSED_COLOR for _, found in truth],
        _TRUTH_WIDTH,
    )
    detections, verdicts = judgement.detections[image_id], judgement.verdicts[image_id]
    # The best one is drawn last, over the others.
    shown = _shown(judgement, image_id)[::-1]
    image = drawing.draw(
        image,
        [_ltrb(detections.boxes_xywh[i], scale) for i in shown],
        [
            f"{name_of(detections.category_ids[i])} {detections.scores[i]:.2f}"
            for i in shown
        ],
        [RIGHT_COLOR if verdicts[i] == RIGHT else FALSE_COLOR for i in shown],
        _DETECTION_WIDTH,
    )
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def _shown(judgement, image_id):
    """Returns the indices of the shown detections, int64, best first."""
    is_shown = judgement.detections[image_id].scores >= postprocess.DEFAULT_SCORE
    return np.flatnonzero(is_shown & (judgement.verdicts[image_id] != IGNORED))


def _ground_truth(coco_gt, judgement, image_id):
    """Returns a list of (annotation, whether a shown detection matches it)."""
    return [
        (annotation, judgement.gt_scores[annotation["id"]] >= postprocess.DEFAULT_SCORE)
        for annotation in coco_gt.imgToAnns.get(image_id, ())
        if annotation["id"] in judgement.gt_scores
    ]


def _ltrb(xywh, scale):
    """Returns (ymin, xmin, ymax, xmax) of COCO's x, y, width, height, scaled."""
    x, y, width, height = (number * scale for number in xywh)
    return y, x, y + height, x + width
