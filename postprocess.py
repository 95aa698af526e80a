# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Raw outputs of the network to detections, on the host.

Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2 and 3.1.
Suppression has no good form on an NPU, so this is a graph of its own on the CPU, made
of TensorFlow's kernels, whatever device the network runs on.
"""

import tensorflow.compat.v1 as tf

import anchors

MAX_PER_CLASS = 200
MAX_PER_IMAGE = 200
MIN_SCORE = 0.05
SUPPRESSION_IOU = 0.5

# Smallest coordinate and extent that a box has before suppression.
_TINY = 1e-5


def detections(class_logits, box_offsets):
    """Builds the graph from raw outputs to detections.

    Softmax, the 200 best scores of each class, those above 0.05, suppression within
    the class at IoU 0.5, the 200 best of the image.

    Args:
      class_logits: float32 [B, N, C], class 0 is background.
      box_offsets: float32 [B, N, 4].

    Returns:
      boxes: float32 [B, 200, 4], ltrb, at least 1e-5, the right and lower ends may
        lie past 1; best first.
      scores: float32 [B, 200].
      classes: int32 [B, 200], 1..C-1.
      counts: int32 [B], how many of the 200 are there; the others are zeros.
    """
    scores = tf.nn.softmax(class_logits)[:, :, 1:]  # [B, N, C - 1]
    scores, order = tf.nn.top_k(tf.transpose(scores, [0, 2, 1]), MAX_PER_CLASS)
    boxes = _give_extent(anchors.decode_offsets(box_offsets))
    boxes = _gather_boxes(boxes, order)  # [B, C - 1, 200, 4]
    boxes, scores, classes, counts = tf.image.combined_non_max_suppression(
        tf.transpose(boxes, [0, 2, 1, 3]),  # [B, 200, C - 1, 4]
        tf.transpose(scores, [0, 2, 1]),
        max_output_size_per_class=MAX_PER_CLASS,
        max_total_size=MAX_PER_IMAGE,
        iou_threshold=SUPPRESSION_IOU,
        score_threshold=MIN_SCORE,
        clip_boxes=False,
    )
    return boxes, scores, tf.cast(classes, tf.int32) + 1, counts


def _give_extent(boxes):
    """No negative coordinate, and no end at or before its start."""
    boxes = tf.where(boxes < 0, tf.fill(tf.shape(boxes), _TINY), boxes)
    start, end = boxes[..., :2], boxes[..., 2:]
    end = tf.where(end <= start, start + _TINY, end)
    return tf.concat([start, end], axis=-1)


def _gather_boxes(boxes, order):
    """boxes [B, N, 4] by order [B, C - 1, 200] -> [B, C - 1, 200, 4]."""
    shape = tf.shape(order)
    flat = tf.reshape(order, [shape[0], -1])
    gathered = tf.batch_gather(boxes, flat)
    return tf.reshape(gathered, tf.concat([shape, [4]], axis=0))


class Detector:
    """Turns batches of predictions into detections of single images."""

    def __init__(self):
        with tf.Graph().as_default() as graph, tf.device("/cpu:0"):
            shape = [None, anchors.NUM_DEFAULT_BOXES, None]
            self._class_logits = tf.placeholder(tf.float32, shape)
            self._box_offsets = tf.placeholder(tf.float32, shape[:2] + [4])
            self._outputs = detections(self._class_logits, self._box_offsets)
        self._session = tf.Session(graph=graph)

    def __call__(self, batch):
        """Detects in one batch.

        Args:
          batch: dict of arrays as ssd_model_fn predicts them. Images with a negative
            source_id are padding.

        Returns:
          list of dict, one for each image that is no padding: "source_id", int;
          "raw_shape", int32 [3]; "boxes", float32 [D, 4], ltrb; "scores", float32
          [D], best first; "classes", int32 [D].
        """
        is_real = batch["source_id"] >= 0
        boxes, scores, classes, counts = self._session.run(
            self._outputs,
            {
                self._class_logits: batch["class_logits"][is_real],
                self._box_offsets: batch["box_offsets"][is_real],
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
                zip(batch["source_id"][is_real], batch["raw_shape"][is_real])
            )
        ]
