# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The images of a report: the best and the worst, detections over ground truth.

An image is judged by F1, 2 right / (2 right + false + missed), of the detections that
are shown, at IoU 0.5: what a user of the model would see. Pillow is imported only here
and in drawing, when an image is drawn.
"""

import io
from typing import NamedTuple

import numpy as np

from evaluation import drawing

# Least score of the detections that are shown.
SHOWN_SCORE = 0.3
IMAGES_OF_A_KIND = 6

RIGHT = (0, 150, 70)
FALSE = (214, 39, 40)
FOUND = (150, 200, 255)
MISSED = (255, 165, 0)

# Pixels of the longer side.
_LONGEST_SIDE = 640
_GT_WIDTH = 4
_JPEG_QUALITY = 80


class Picture(NamedTuple):
    """An image of the report.

    Attributes:
      is_best: bool; of the best ones, or of the worst.
      image_id: int.
      name: str, its file name.
      jpeg: bytes, the image with boxes drawn.
      counts: Counts.
    """

    is_best: bool
    image_id: int
    name: str
    jpeg: bytes
    counts: "Counts"


class Counts(NamedTuple):
    """How well the shown detections of one image fit, all int."""

    right: int
    false: int
    missed: int

    @property
    def f1(self):
        """float, 0..1."""
        return 2 * self.right / max(2 * self.right + self.false + self.missed, 1)


def best_and_worst(coco_gt, rows_by_image, images, find_images):
    """Draws the images of the report.

    Args:
      coco_gt: what coco_metric.create_coco gives.
      rows_by_image: what coco_metric.collect gives.
      images: dict from image id to coco_metric.ImageMatches.
      find_images: function from a list of image ids to a dict from id to the encoded
        image, bytes.

    Returns:
      list of Picture: at most 6 best ones, the best first, and at most 6 worst ones,
      the worst first. An image without ground truth and shown detections is none of
      them, nor is one that find_images does not have or Pillow cannot read.

    Raises:
      ImportError: without Pillow.
    """
    # Before the records are read in vain.
    import PIL.Image  # noqa: F401

    # The others have no record: there is nothing to show.
    judged = set(images) & set(rows_by_image)
    counts = {i: count(rows_by_image[i], images[i]) for i in judged}
    best, worst = choose(counts)
    encoded = find_images(best + worst)
    pictures = []
    for is_best, image_ids in ((True, best), (False, worst)):
        for image_id in image_ids:
            jpeg = encoded.get(image_id) and _draw(
                encoded[image_id], coco_gt, rows_by_image[image_id], images[image_id]
            )
            if jpeg:
                name = str(coco_gt.imgs[image_id].get("file_name", ""))
                pictures.append(
                    Picture(is_best, image_id, name, jpeg, counts[image_id])
                )
    return pictures


def count(rows, matches):
    """Counts how well the shown detections of an image fit.

    Args:
      rows: float64 [D, 7], see coco_metric.collect.
      matches: coco_metric.ImageMatches.

    Returns:
      Counts.
    """
    is_shown = (rows[:, 5] >= SHOWN_SCORE) & ~matches.is_ignored
    missed = sum(score < SHOWN_SCORE for score in matches.gt_scores)
    return Counts(
        right=int((is_shown & matches.is_right).sum()),
        false=int((is_shown & ~matches.is_right).sum()),
        missed=int(missed),
    )


def choose(counts):
    """Chooses the best and the worst images.

    Args:
      counts: dict from image id to Counts.

    Returns:
      (best, worst): lists of image ids, at most IMAGES_OF_A_KIND each, none in both.
      Of equal F1, the image with more objects found is better, then that with fewer
      errors.
    """
    ranked = sorted(
        (image_id for image_id, c in counts.items() if any(c)),
        key=lambda i: (-counts[i].f1, -counts[i].right, sum(counts[i][1:]), i),
    )
    best = ranked[: min(IMAGES_OF_A_KIND, (len(ranked) + 1) // 2)]
    return best, ranked[len(best) :][-IMAGES_OF_A_KIND:][::-1]


def _draw(encoded, coco_gt, rows, matches):
    """JPEG bytes of the image with boxes; None where Pillow cannot read it."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(encoded)).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    scale = min(_LONGEST_SIDE / max(image.size), 1)
    size = [max(int(round(side * scale)), 1) for side in image.size]
    image = _draw_ground_truth(image.resize(size), scale, coco_gt, matches)
    image = _draw_detections(image, scale, coco_gt, rows, matches)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def _draw_ground_truth(image, scale, coco_gt, matches):
    annotations = coco_gt.loadAnns(matches.gt_ids)
    is_found = [score >= SHOWN_SCORE for score in matches.gt_scores]
    return drawing.draw(
        image,
        [_ltrb(annotation["bbox"], scale) for annotation in annotations],
        [
            "" if found else _name(coco_gt, annotation["category_id"])
            for annotation, found in zip(annotations, is_found)
        ],
        [FOUND if found else MISSED for found in is_found],
        width=_GT_WIDTH,
    )


def _draw_detections(image, scale, coco_gt, rows, matches):
    is_shown = (rows[:, 5] >= SHOWN_SCORE) & ~matches.is_ignored
    # The best one last, over the others.
    shown = np.flatnonzero(is_shown)[::-1]
    return drawing.draw(
        image,
        [_ltrb(rows[i, 1:5], scale) for i in shown],
        [f"{_name(coco_gt, int(rows[i, 6]))} {rows[i, 5]:.2f}" for i in shown],
        [RIGHT if matches.is_right[i] else FALSE for i in shown],
        width=2,
    )


def _name(coco_gt, category_id):
    return str(coco_gt.cats.get(category_id, {}).get("name", category_id))


def _ltrb(xywh, scale):
    """COCO's x, y, width, height to ltrb, scaled."""
    x, y, width, height = (number * scale for number in xywh)
    return y, x, y + height, x + width
