# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Default boxes of SSD-300: creating, matching, encoding and decoding them.

Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, sections 2.2 (default
boxes, matching) and 2.1 (offsets); scales and steps as in MLPerf's SSD-ResNet34.

Glossary, used by the docstrings of every module:
  N = 8732 default boxes, in the order level, row, column, box of the cell: the order
    in which the network's NHWC outputs reshape.
  G  ground truth boxes of one image, C classes with background.
  ltrb  corners [ymin, xmin, ymax, xmax], as fractions of the image's height and width.
  xywh  center and size [cy, cx, h, w], as fractions likewise. (The published code uses
    these two names; the order is always y before x.)
  offsets  the predictions of the network: [y, x, h, w] relative to a default box.
"""

import numpy as np
import tensorflow.compat.v1 as tf

IMAGE_SIZE = 300

# For each feature level: side of the feature map, distance between cells in pixels,
# scale of the boxes in pixels of the 300 (the larger square also uses the scale of the
# next level, hence one more entry), and the aspect ratios.
LEVELS = (3, 4, 5, 6, 7, 8)
FEATURE_SIZES = (38, 19, 10, 5, 3, 1)
STEPS = (8, 16, 32, 64, 100, 300)
SCALES = (21, 45, 99, 153, 207, 261, 315)
ASPECT_RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))

# Two squares, and two boxes per aspect ratio, one wide and one tall: 4, 6, 6, 6, 4, 4
# boxes per cell.
BOXES_PER_CELL = tuple(2 + 2 * len(ratios) for ratios in ASPECT_RATIOS)
NUM_DEFAULT_BOXES = sum(
    size * size * boxes for size, boxes in zip(FEATURE_SIZES, BOXES_PER_CELL)
)

MATCH_IOU = 0.5
# Factors that bring the offsets near unit variance: the inverse of SSD's "variances".
CENTER_SCALE = 10.0
SIZE_SCALE = 5.0
# Added to every side before dividing by it or taking its logarithm.
EPSILON = 1e-8


class DefaultBoxes:
    """The 8732 default boxes, computed in float64 and returned as float32."""

    def __init__(self):
        cells = [_level_boxes(index) for index in range(len(LEVELS))]
        # Sizes are clipped but centers stay, so that corners may still lie outside.
        xywh = np.clip(np.concatenate(cells), 0.0, 1.0)
        center, size = xywh[:, :2], xywh[:, 2:]
        self._boxes = {
            "xywh": xywh.astype(np.float32),
            "ltrb": np.concatenate(
                [center - size / 2, center + size / 2], axis=1
            ).astype(np.float32),
        }

    def __call__(self, order="ltrb"):
        """Returns the boxes.

        Args:
          order: "ltrb", corners that may reach outside the image, or "xywh", centers
            and sizes in 0..1.

        Returns:
          float32 [N, 4] NumPy array.

        Raises:
          ValueError: for another order.
        """
        if order not in self._boxes:
            raise ValueError(f"order is {order!r}, but must be 'ltrb' or 'xywh'")
        return self._boxes[order]


def _level_boxes(index):
    """Returns the boxes of one level, float64 [cells * boxes per cell, 4], xywh."""
    scale, next_scale = SCALES[index], SCALES[index + 1]
    sides = [(scale, scale), (np.sqrt(scale * next_scale),) * 2]
    for ratio in ASPECT_RATIOS[index]:
        long_side, short_side = scale * np.sqrt(ratio), scale / np.sqrt(ratio)
        sides += [(short_side, long_side), (long_side, short_side)]
    sides = np.array(sides) / IMAGE_SIZE
    cells = FEATURE_SIZES[index]
    centers = (np.arange(cells) + 0.5) * STEPS[index] / IMAGE_SIZE
    boxes = np.empty((cells, cells, len(sides), 4))
    boxes[..., 0] = centers[:, None, None]
    boxes[..., 1] = centers[None, :, None]
    boxes[..., 2:] = sides
    return boxes.reshape(-1, 4)


def iou_ltrb(boxes, others):
    """Returns the intersection over union of every pair of boxes.

    Args:
      boxes: float32 [A, 4], ltrb.
      others: float32 [B, 4], ltrb.

    Returns:
      float32 [A, B], 0..1; 0 where both boxes are empty.
    """
    ymin_a, xmin_a, ymax_a, xmax_a = tf.split(boxes, 4, axis=1)
    ymin_b, xmin_b, ymax_b, xmax_b = tf.unstack(others, axis=1)
    height = tf.maximum(tf.minimum(ymax_a, ymax_b) - tf.maximum(ymin_a, ymin_b), 0.0)
    width = tf.maximum(tf.minimum(xmax_a, xmax_b) - tf.maximum(xmin_a, xmin_b), 0.0)
    intersection = height * width  # [A, B]
    area_a = (ymax_a - ymin_a) * (xmax_a - xmin_a)
    area_b = (ymax_b - ymin_b) * (xmax_b - xmin_b)
    return tf.div_no_nan(intersection, area_a + area_b - intersection)


def match(gt_boxes):
    """Assigns ground truth to default boxes (SSD, section 2.2).

    Each default box is matched to its best ground truth if their IoU is at least 0.5.
    Then each ground truth is matched to its best default box, whatever their IoU, and
    replaces the match of that default box; on ties it takes the first default box. If
    two ground truths have the same best default box, the earlier row gets it.

    Args:
      gt_boxes: float32 [G, 4], ltrb, G at least 1.

    Returns:
      rows: int32 [M], the row of gt_boxes for each matched default box.
      defaults: int32 [M], the matched default boxes in ascending order. M is far
        smaller than N, which makes the following operations cheap.
    """
    iou = iou_ltrb(gt_boxes, tf.constant(DefaultBoxes()("ltrb")))  # [G, N]
    best_default = tf.argmax(iou, axis=1, output_type=tf.int32)
    num_rows = tf.shape(gt_boxes)[0]
    # The smallest row whose best default box this is; a huge number if there is none.
    forced_row = tf.math.unsorted_segment_min(
        tf.range(num_rows), best_default, NUM_DEFAULT_BOXES
    )
    matched = (forced_row < num_rows) | (tf.reduce_max(iou, axis=0) >= MATCH_IOU)
    defaults = tf.cast(tf.where(matched)[:, 0], tf.int32)  # [M]
    best_row = tf.argmax(tf.gather(iou, defaults, axis=1), output_type=tf.int32)
    forced_row = tf.gather(forced_row, defaults)
    return tf.where(forced_row < num_rows, forced_row, best_row), defaults


def encode_labels(gt_boxes, gt_classes):
    """Creates the training targets of one image.

    Args:
      gt_boxes: float32 [G, 4], ltrb, G at least 1.
      gt_classes: integer [G], 1..C-1.

    Returns:
      classes: int32 [N], 0 (background) for default boxes without a match.
      boxes: float32 [N, 4], offsets, zeros for default boxes without a match. The
        inverse is `decode_offsets`.
      num_matched: float32 scalar, the number of matched default boxes.
    """
    rows, defaults = match(gt_boxes)
    classes = tf.gather(tf.cast(gt_classes, tf.int32), rows)
    default_boxes = tf.gather(tf.constant(DefaultBoxes()("ltrb")), defaults)
    default_center, default_size = _center_and_size(default_boxes)
    center, size = _center_and_size(tf.gather(gt_boxes, rows))
    size_ratio = (size + EPSILON) / (default_size + EPSILON)
    offsets = tf.concat(
        [
            CENTER_SCALE * (center - default_center) / (default_size + EPSILON),
            SIZE_SCALE * tf.log(size_ratio),
        ],
        axis=1,
    )
    index = tf.expand_dims(defaults, 1)
    return (
        tf.scatter_nd(index, classes, [NUM_DEFAULT_BOXES]),
        tf.scatter_nd(index, offsets, [NUM_DEFAULT_BOXES, 4]),
        tf.cast(tf.size(defaults), tf.float32),
    )


def decode_offsets(offsets):
    """Converts offsets to boxes (the inverse of `encode_labels`).

    Args:
      offsets: float32 [..., N, 4], [y, x, h, w].

    Returns:
      float32 [..., N, 4], ltrb, not clipped to the image.
    """
    default_center, default_size = _center_and_size(tf.constant(DefaultBoxes()("ltrb")))
    center = offsets[..., :2] / CENTER_SCALE * default_size + default_center
    half = tf.exp(offsets[..., 2:] / SIZE_SCALE) * default_size / 2
    return tf.concat([center - half, center + half], axis=-1)


def _center_and_size(boxes):
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low
