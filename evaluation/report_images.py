# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The images of a report: the best and the worst, detections over ground truth.

Images are ordered by F1, 2 right / (2 right + false + missed), of the detections that
are shown, at IoU 0.5: this is what a user of the model would see.
"""

import contextlib
import io
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf import message

from coco_metric import FALSE, IGNORED, RIGHT
from dataset import drawing, record_files

# Least score of the detections that are shown.
SHOWN_SCORE = 0.3

# Red, green, blue.
RIGHT_COLOR = (0, 150, 70)
FALSE_COLOR = (214, 39, 40)
FOUND_COLOR = (150, 200, 255)
MISSED_COLOR = (255, 165, 0)

_MAX_BEST = _MAX_WORST = 6
_MAX_FIRST = 8
# Pixels.
_LONGER_SIDE = 640
_TRUTH_WIDTH, _DETECTION_WIDTH = 4, 2
_JPEG_QUALITY = 80


class Counts(NamedTuple):
    """How well the shown detections of one image match its ground truth."""

    right: int
    false: int
    missed: int

    @property
    def f1(self):
        """float, 0..1."""
        return 2 * self.right / max(2 * self.right + self.false + self.missed, 1)


class Picture(NamedTuple):
    """An image of the report.

    Attributes:
      caption: str.
      jpeg: bytes, the image with its boxes.
      counts: Counts.
    """

    caption: str
    jpeg: bytes
    counts: Counts


def best_and_worst(coco_gt, judgement, file_pattern, repeated_ids):
    """Draws the images of the report.

    Args:
      coco_gt: pycocotools COCO, see coco_metric.create_coco.
      judgement: coco_metric.Judgement.
      file_pattern: str, glob of the TFRecord files with the images.
      repeated_ids: set of int; these images are left out, because it is unknown which
        of their records was evaluated.

    Returns:
      (best, worst): lists of at most 6 Pictures each, the best and the worst first.
      Images that have neither ground truth nor shown detections are left out, and so
      are images that Pillow cannot read.

    Raises:
      ImportError: Pillow is not installed.
    """
    counts = {
        image_id: _count(coco_gt, judgement, image_id)
        for image_id in judgement.detections
        if image_id not in repeated_ids
    }
    best, worst = _choose(counts)
    encoded = _read_images(file_pattern, best + worst)

    def draw(image_ids):
        for image_id in image_ids:
            jpeg = _draw(encoded.get(image_id, b""), coco_gt, judgement, image_id)
            if jpeg:
                file_name = coco_gt.imgs[image_id].get("file_name", "no file name")
                caption = f"image {image_id}, {file_name}"
                yield Picture(caption, jpeg, counts[image_id])

    return list(draw(best)), list(draw(worst))


def _shown(judgement, image_id):
    """Returns the indices of the shown detections, int64, best first."""
    is_shown = judgement.detections[image_id].scores >= SHOWN_SCORE
    return np.flatnonzero(is_shown & (judgement.verdicts[image_id] != IGNORED))


def _ground_truth(coco_gt, judgement, image_id):
    """Returns a list of (annotation, whether a shown detection matches it)."""
    return [
        (annotation, judgement.gt_scores[annotation["id"]] >= SHOWN_SCORE)
        for annotation in coco_gt.imgToAnns.get(image_id, ())
        if annotation["id"] in judgement.gt_scores
    ]


def _count(coco_gt, judgement, image_id):
    verdicts = judgement.verdicts[image_id][_shown(judgement, image_id)].tolist()
    is_found = [found for _, found in _ground_truth(coco_gt, judgement, image_id)]
    return Counts(verdicts.count(RIGHT), verdicts.count(FALSE), is_found.count(False))


def _choose(counts):
    """Returns (best, worst), lists of image ids that have none in common.

    Of equal F1, the image with more right detections is better, then that with fewer
    errors.
    """
    ranked = sorted(
        (image_id for image_id, c in counts.items() if any(c)),
        key=lambda i: (-counts[i].f1, -counts[i].right, sum(counts[i][1:]), i),
    )
    best = ranked[: min(_MAX_BEST, (len(ranked) + 1) // 2)]
    return best, ranked[len(best) :][-_MAX_WORST:][::-1]


def first(coco_gt, judgement, file_pattern, repeated_ids):
    """Draws the first evaluated images of the files, the same in each evaluation.

    The arguments are those of `best_and_worst`.

    Returns:
      dict from image id to JPEG bytes, of at most 8 images.

    Raises:
      ImportError: Pillow is not installed.
    """
    jpegs = {}
    for image_id, encoded in _records(file_pattern):
        if image_id in judgement.detections and image_id not in repeated_ids:
            jpeg = _draw(encoded, coco_gt, judgement, image_id)
            if jpeg:
                jpegs[image_id] = jpeg
        if len(jpegs) == _MAX_FIRST:
            break
    return jpegs


def _read_images(file_pattern, image_ids):
    """Returns a dict from image id to bytes, the JPEG or PNG of its first record."""
    found = {}
    for image_id, encoded in _records(file_pattern):
        if image_id in image_ids:
            found.setdefault(image_id, encoded)
        if len(found) == len(image_ids):
            break
    return found


def _records(file_pattern):
    """Yields (image id, bytes of the JPEG or PNG) of each record."""
    # The evaluation refuses broken records. Those it did not read, because of
    # --eval_samples, come after the images that are looked for.
    broken = (tf.errors.OpError, message.DecodeError, ValueError, IndexError)
    for path in record_files.find(file_pattern):
        with contextlib.suppress(*broken):
            for record in tf.python_io.tf_record_iterator(path):
                feature = tf.train.Example.FromString(record).features.feature
                image_id = int(feature["image/source_id"].bytes_list.value[0])
                yield image_id, feature["image/encoded"].bytes_list.value[0]


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


def _ltrb(xywh, scale):
    """Returns (ymin, xmin, ymax, xmax) of COCO's x, y, width, height, scaled."""
    x, y, width, height = (number * scale for number in xywh)
    return y, x, y + height, x + width
