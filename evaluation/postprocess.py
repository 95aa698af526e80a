# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Converts raw outputs of the network to detections, on the host.

Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, sections 2.2 and 3.1.
Suppression does not run well on an NPU. This is therefore a separate TensorFlow graph
on the CPU, on all devices.

Glossary: B images, N = 8732 default boxes, C classes with background; boxes are ltrb,
[ymin, xmin, ymax, xmax] in 0..1 of the image.
"""

import math

import tensorflow.compat.v1 as tf

import anchors

MAX_PER_CLASS = 200
MAX_PER_IMAGE = 200
MIN_SCORE = 0.05
SUPPRESSION_IOU = 0.5
# Lowest score shown to people, unless an evaluation knows a better one.
DEFAULT_SCORE = 0.3

# Smallest coordinate and extent that a box has before suppression.
_TINY = 1e-5
# Bound on the rounding error of a difference of logits, with a wide margin.
_MARGIN = 1e-3


def detections(class_logits, box_offsets):
    """Builds the graph from raw outputs to detections.

    The steps are softmax, the 200 best scores of each class, scores above 0.05,
    suppression within each class at IoU 0.5, and the 200 best of the image. Boxes that
    cannot reach 0.05 are removed before the costly steps; the result is the same.

    Args:
      class_logits: float32 [B, N, C], class 0 is background.
      box_offsets: float32 [B, N, 4], see anchors.decode_offsets.

    Returns:
      boxes: float32 [B, 200, 4], at least 1e-5; ymax and xmax may exceed 1. The best
        detection comes first; equal scores are ordered by class and box.
      scores: float32 [B, 200].
      classes: int32 [B, 200], 1..C-1.
      counts: int32 [B], number of detections of each image; the rest is zeros.
    """
    boxes, scores = _likely_boxes(class_logits, box_offsets)
    boxes, scores, class_numbers = _likely_classes(boxes, scores)
    boxes, scores, slots, counts = tf.image.combined_non_max_suppression(
        tf.transpose(boxes, [0, 2, 1, 3]),  # [B, 200, Q, 4]
        tf.transpose(scores, [0, 2, 1]),
        max_output_size_per_class=MAX_PER_CLASS,
        max_total_size=MAX_PER_IMAGE,
        iou_threshold=SUPPRESSION_IOU,
        score_threshold=MIN_SCORE,
        clip_boxes=False,
    )
    classes = tf.batch_gather(class_numbers, tf.cast(slots, tf.int32))
    is_there = tf.sequence_mask(counts, MAX_PER_IMAGE, tf.int32)
    return in_order(boxes, scores, classes * is_there) + (counts,)


def _likely_boxes(class_logits, box_offsets):
    """Selects the default boxes that may have a score above MIN_SCORE.

    A score is at most exp(its logit - the background's logit). The largest logit of a
    box is therefore enough to remove nearly all boxes of a trained model before the
    softmax.

    Returns boxes [B, M, 4] and scores [B, M, C - 1], zeros in unused places; M is the
    largest number of such boxes in an image, at least 200.
    """
    best_logit = tf.reduce_max(class_logits[:, :, 1:], axis=2)
    bound = best_logit - class_logits[:, :, 0]
    kept = tf.where(bound > math.log(MIN_SCORE) - _MARGIN)  # [T, 2]
    scores = tf.nn.softmax(tf.gather_nd(class_logits, kept))[:, 1:]  # [T, C - 1]
    boxes = tf.gather_nd(anchors.decode_offsets(box_offsets), kept)  # [T, 4]
    num_images = tf.shape(class_logits)[0]
    return _spread([give_extent(boxes), scores], kept[:, 0], num_images, MAX_PER_CLASS)


def _likely_classes(boxes, scores):
    """Selects the 200 best boxes of each class that may occur in an image.

    Returns boxes [B, Q, 200, 4] and scores [B, Q, 200], best first, and class_numbers
    [B, Q], ascending; Q is the largest number of such classes in an image.
    """
    kept = tf.where(tf.reduce_max(scores, axis=1) > MIN_SCORE)  # [U, 2]
    num_images = tf.shape(scores)[0]
    scores = tf.gather_nd(tf.transpose(scores, [0, 2, 1]), kept)  # [U, M]
    # If scores are equal, the earlier default box comes first.
    scores, order = tf.nn.top_k(scores, MAX_PER_CLASS)
    image = tf.tile(tf.cast(kept[:, :1], tf.int32), [1, MAX_PER_CLASS])
    boxes = tf.gather_nd(boxes, tf.stack([image, order], axis=2))  # [U, 200, 4]
    class_numbers = tf.cast(kept[:, 1], tf.int32) + 1
    return _spread([boxes, scores, class_numbers], kept[:, 0], num_images, 1)


def _spread(entries, image, num_images, least):
    """Copies entries [T, ...] to tensors [B, places, ...] with a row per image.

    `image` is the image of each entry, ascending. A row has the entries of an image in
    their order, then zeros; the longest row gives the number of places, at least
    `least`.
    """
    counts = tf.math.bincount(tf.cast(image, tf.int32), minlength=num_images)
    num_places = tf.maximum(tf.reduce_max(counts), least)
    places = tf.where(tf.sequence_mask(counts, num_places))  # [T, 2]
    places, shape = tf.cast(places, tf.int32), [num_images, num_places]
    return [
        tf.scatter_nd(places, x, tf.concat([shape, tf.shape(x)[1:]], axis=0))
        for x in entries
    ]


def in_order(boxes, scores, classes):
    """Sorts the detections of each image by score, class and box.

    Without it, the order of equal scores, such as 1.0, would depend on the other images
    of the batch, because suppression sorts all classes that occur in the batch.

    Args:
      boxes: float32 [B, 200, 4].
      scores: float32 [B, 200].
      classes: int32 [B, 200].

    Returns:
      The same three tensors, sorted.
    """
    keys = [tf.expand_dims(x, 2) for x in (-scores, tf.cast(classes, tf.float32))]
    rows = tf.concat(keys + [boxes], axis=2)  # [B, 200, 6]
    # Starts with the least important column, because top_k keeps the order of equals.
    for column in reversed(range(6)):
        order = tf.nn.top_k(-rows[:, :, column], MAX_PER_IMAGE)[1]
        rows = tf.batch_gather(rows, order)
    return rows[:, :, 2:], -rows[:, :, 0], tf.cast(rows[:, :, 1], tf.int32)


def give_extent(boxes):
    """Returns boxes with ymax and xmax larger than ymin and xmin, and none negative.

    Args:
      boxes: float32 [..., 4].

    Returns:
      float32 [..., 4].
    """
    boxes = tf.where(boxes < 0, tf.fill(tf.shape(boxes), _TINY), boxes)
    start, end = boxes[..., :2], boxes[..., 2:]
    end = tf.where(end <= start, start + _TINY, end)
    return tf.concat([start, end], axis=-1)


class Detector:
    """Converts batches of predictions to the detections of each image."""

    def __init__(self):
        """Builds the graph."""
        with tf.Graph().as_default() as graph, tf.device("/cpu:0"):
            shape = [None, anchors.NUM_DEFAULT_BOXES, None]
            self._class_logits = tf.placeholder(tf.float32, shape)
            self._box_offsets = tf.placeholder(tf.float32, shape[:2] + [4])
            self._outputs = detections(self._class_logits, self._box_offsets)
        config = tf.ConfigProto(device_count={"GPU": 0})
        self._session = tf.Session(graph=graph, config=config)

    def __call__(self, batch):
        """Detects in one batch.

        Args:
          batch: dict of arrays as ssd_model_fn predicts them. Images with a negative
            source_id are padding.

        Returns:
          list of dict, one per image without padding: "source_id", int; "raw_shape",
          int32 [3]; "boxes", float32 [D, 4]; "scores", float32 [D], best first;
          "classes", int32 [D], 1..C-1.
        """
        # Removing the padding before detection would copy the batch.
        boxes, scores, classes, counts = self._session.run(
            self._outputs,
            {
                self._class_logits: batch["class_logits"],
                self._box_offsets: batch["box_offsets"],
            },
        )
        return [
            {
                "source_id": int(source_id),
                "raw_shape": raw_shape,
                "boxes": boxes[i, : counts[i]],
                "scores": scores[i, : counts[i]],
                "classes": classes[i, : counts[i]],
            }
            for i, (source_id, raw_shape) in enumerate(
                zip(batch["source_id"], batch["raw_shape"])
            )
            if source_id >= 0
        ]
