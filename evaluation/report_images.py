# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The images of a report, with their detections and ground truth.

The page has at most 100 images. They are the first of each order that its reader can
choose, and the worst of each category.
"""

import collections
import contextlib
import io
import itertools
from typing import NamedTuple

import tensorflow.compat.v1 as tf
from google.protobuf import message

from dataset import record_files
from evaluation import analysis

_MAX_IMAGES = 100
_MAX_OF_ORDER = 10
# The page would grow over 5 MB with all its parts.
_MAX_BYTES = 1_500_000
# Pixels.
_LONGER_SIDE = 420
_JPEG_QUALITY = 70
# Least score of the detections on the page, unless the best score is lower still.
_LEAST_SCORE = 0.1


class Counts(NamedTuple):
    """How well the shown detections of one image match its ground truth."""

    right: int
    false: int
    missed: int
    surest: float  # the highest score of a false detection, 0 if there is none

    @property
    def f1(self):
        """float, 0..1."""
        return 2 * self.right / max(2 * self.right + self.false + self.missed, 1)


class Box(NamedTuple):
    """A detection or a ground truth box."""

    xywh: list  # 4 float, in pixels of the picture
    category_id: int
    name: str  # of the category
    kind: int  # see analysis; MISSED for every ground truth box
    score: float  # of a ground truth box that of the detection that matches it, or 0


class Picture(NamedTuple):
    """An image of the report."""

    image_id: int
    jpeg: bytes
    size: tuple  # (width, height) of the JPEG
    boxes: list  # of Box: ground truth, then detections, the best one last


# The orders that the reader can choose, by their names; the least key comes first.
ORDERS = {
    "worst": lambda counts: (counts.f1, -counts.false - counts.missed),
    "best": lambda counts: (-counts.f1, -counts.right),
    "missed": lambda counts: -counts.missed,
    "false": lambda counts: -counts.false,
    "surest": lambda counts: -counts.surest,
}


def least_score(results):
    """Returns the least score of the detections on the page, float."""
    return min(_LEAST_SCORE, results.analysis.score)


def count(boxes, score):
    """Returns the Counts of a list of Box at a score."""
    shown = [b for b in boxes if b.kind != analysis.MISSED and b.score >= score]
    false = [b.score for b in shown if b.kind != analysis.RIGHT]
    missed = sum(b.kind == analysis.MISSED and b.score < score for b in boxes)
    return Counts(len(shown) - len(false), len(false), missed, max(false, default=0.0))


def collect(results):
    """Chooses and reads the images of the report of analysis.Results.

    Returns a list of Picture, the worst first. Images that have neither ground truth
    nor shown detections are left out, and so are images that Pillow cannot read.

    Raises:
      ImportError: Pillow is not installed.
    """
    shown = results.judgement.detections.keys() - results.repeated_ids
    boxes = {i: boxes_of(results, i) for i in shown}
    chosen = _choose(boxes, results.analysis)
    encoded = {}
    for image_id, content in read_records(results.file_pattern):
        if image_id in chosen:
            encoded.setdefault(image_id, content)
        if len(encoded) == len(chosen):
            break
    pictures, size = [], 0
    for image_id in chosen:
        shrunk = shrink(encoded.get(image_id, b""), boxes[image_id], _LONGER_SIDE)
        if not shrunk:
            continue
        jpeg = to_jpeg(shrunk[0], _JPEG_QUALITY)
        if size + len(jpeg) <= _MAX_BYTES:
            size += len(jpeg)
            pictures.append(Picture(image_id, jpeg, shrunk[0].size, shrunk[1]))
    score = results.analysis.score
    return sorted(pictures, key=lambda p: ORDERS["worst"](count(p.boxes, score)))


def boxes_of(results, image_id):
    """Returns a list of Box in pixels of the image: see Picture, and least_score."""
    judgement = results.judgement
    names = {category.id: category.name for category in judgement.categories}
    truth = [
        (a["bbox"], a["category_id"], analysis.MISSED, judgement.gt_scores[a["id"]])
        for a in judgement.coco_gt.imgToAnns.get(image_id, ())
        if a["id"] in judgement.gt_scores
    ]
    found = judgement.detections[image_id]
    kinds = results.analysis.kinds_of_image[image_id]
    is_shown = (kinds != analysis.IGNORED) & (found.scores >= least_score(results))
    columns = (found.boxes_xywh, found.category_ids, kinds, found.scores)
    shown = zip(*(column[is_shown][::-1].tolist() for column in columns))
    return [Box(xywh, c, names[c], *rest) for xywh, c, *rest in [*truth, *shown]]


def _choose(boxes, result):
    """Returns the ids of the most important images; boxes: dict from id to Boxes."""
    counts = _count_by_category(boxes, result.score)

    def ordered(category_id, order):
        counts_of_image = counts[category_id]
        return sorted(counts_of_image, key=lambda i: ORDERS[order](counts_of_image[i]))

    overall = [ordered(None, order) for order in ORDERS]
    worst = [ordered(category_id, "worst") for category_id in result.curves]
    first = [image_ids[:_MAX_OF_ORDER] for image_ids in overall]
    chosen = dict.fromkeys([*_in_turn(first), *_in_turn(worst), *_in_turn(overall)])
    return list(chosen)[:_MAX_IMAGES]


def _count_by_category(boxes, score):
    """Returns a dict from category id, or None for all, to dict from image to Counts.

    Images without any box are left out.
    """
    counts = collections.defaultdict(dict)
    for image_id in sorted(boxes):
        groups = collections.defaultdict(list)
        for box in boxes[image_id]:
            groups[None].append(box)
            groups[box.category_id].append(box)
        for category_id, group in groups.items():
            counts_of_group = count(group, score)
            if any(counts_of_group):
                counts[category_id][image_id] = counts_of_group
    return counts


def _in_turn(lists):
    """Yields the first entry of each list, then the second of each, and so on."""
    for row in itertools.zip_longest(*lists):
        yield from (entry for entry in row if entry is not None)


def read_records(file_pattern):
    """Yields (image id, bytes of the JPEG or PNG) of each record of the files."""
    # The evaluation refuses broken records. Those it did not read, because of
    # --eval_samples, come after the images that are looked for.
    broken = (tf.errors.OpError, message.DecodeError, ValueError, IndexError)
    for path in record_files.find(file_pattern):
        with contextlib.suppress(*broken):
            for record in tf.python_io.tf_record_iterator(path):
                feature = tf.train.Example.FromString(record).features.feature
                image_id = int(feature["image/source_id"].bytes_list.value[0])
                yield image_id, feature["image/encoded"].bytes_list.value[0]


def shrink(encoded, boxes, longer_side):
    """Decodes an image, and shrinks it with its list of Box if it is larger.

    Returns (PIL.Image.Image, list of Box), or None if Pillow cannot read the bytes.

    Raises:
      ImportError: Pillow is not installed.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(encoded)).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    former_side = max(image.size)
    image.thumbnail((longer_side, longer_side))
    scale = max(image.size) / former_side
    return image, [b._replace(xywh=[x * scale for x in b.xywh]) for b in boxes]


def to_jpeg(image, quality):
    """Returns bytes, a PIL.Image.Image as a JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
