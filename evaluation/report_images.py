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
from evaluation import drawing

# Least score of the detections that are shown.
SHOWN_SCORE = 0.3

# Red, green, blue.
RIGHT_COLOR = (0, 150, 70)
FALSE_COLOR = (214, 39, 40)
FOUND_COLOR = (150, 200, 255)
MISSED_COLOR = (255, 165, 0)

_MAX_BEST = _MAX_WORST = 6
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
      is_best: bool, whether it is one of the best or of the worst images.
      image_id: int.
      name: str, its file name; "" if the annotations have none.
      jpeg: bytes, the image with its boxes.
      counts: Counts.
    """

    is_best: bool
    image_id: int
    name: str
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
      list of Picture: at most 6 best ones, the best first, and at most 6 worst ones,
      the worst first. Images that have neither ground truth nor shown detections are
      left out, and so are images that Pillow cannot read.

    Raises:
      ImportError: Pillow is not installed.
    """
    # Fails before the records are read.
    import PIL.Image  # noqa: F401

    counts = {
        image_id: _count(coco_gt, judgement, image_id)
        for image_id in judgement.detections
        if image_id not in repeated_ids
    }
    best, worst = _choose(counts)
    encoded = _read_images(file_pattern, best + worst)
    pictures = []
    for image_id in best + worst:
        jpeg = _draw(encoded.get(image_id, b""), coco_gt, judgement, image_id)
        if jpeg:
            name = str(coco_gt.imgs[image_id].get("file_name", ""))
            pictures.append(
                Picture(image_id in best, image_id, name, jpeg, counts[image_id])
            )
    return pictures


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
    """Chooses the best and the worst images.

    Of equal F1, the image with more right detections is better, then that with fewer
    errors.

    Args:
      counts: dict from image id to Counts.

    Returns:
      (best, worst): lists of image ids that have none in common.
    """
    ranked = sorted(
        (image_id for image_id, c in counts.items() if any(c)),
        key=lambda i: (-counts[i].f1, -counts[i].right, sum(counts[i][1:]), i),
    )
    best = ranked[: min(_MAX_BEST, (len(ranked) + 1) // 2)]
    return best, ranked[len(best) :][-_MAX_WORST:][::-1]


def _read_images(file_pattern, image_ids):
    """Reads images from TFRecords.

    Returns:
      dict from image id to bytes, the JPEG or PNG of its first record; ids without a
      record are left out.
    """
    found = {}
    for path in sorted(tf.gfile.Glob(file_pattern)):
        # The evaluation has already reported the records that are broken.
        with contextlib.suppress(tf.errors.OpError):
            for record in tf.python_io.tf_record_iterator(path):
                image_id, encoded = _parse(record)
                if image_id in image_ids:
                    found.setdefault(image_id, encoded)
                if len(found) == len(image_ids):
                    return found
    return found


def _parse(record):
    """Returns (image id, encoded image) of a record; (None, b"") if it has none."""
    with contextlib.suppress(message.DecodeError, ValueError, IndexError):
        feature = tf.train.Example.FromString(record).features.feature
        image_id = int(feature["image/source_id"].bytes_list.value[0])
        return image_id, feature["image/encoded"].bytes_list.value[0]
    return None, b""


def _draw(encoded, coco_gt, judgement, image_id):
    """Returns JPEG bytes of an image with its boxes; None if Pillow cannot read it."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(encoded)).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    scale = min(_LONGER_SIDE / max(image.size), 1)
    size = [max(int(round(side * scale)), 1) for side in image.size]
    image = image.resize(size)

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
