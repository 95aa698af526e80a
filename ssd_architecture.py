# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The SSD network: backbone, extra feature levels, class and box predictors.

Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, figure 2, on ResNet34.
Glossary: B images per batch, N = 8732 default boxes, C classes with background as
class 0 (COCO: 81). The feature map of a level has f x f cells (f = 38, 19, 10, 5, 3, 1
for levels 3 to 8) with k default boxes per cell.
"""

import tensorflow.compat.v1 as tf

import anchors
import resnet
from dataset import categories

# Each block: name, filters of its 1x1 convolution, then filters, stride and padding of
# its 3x3 convolution.
EXTRA_BLOCKS = (
    ("block7", 256, 512, 2, "SAME"),
    ("block8", 256, 512, 2, "SAME"),
    ("block9", 128, 256, 2, "SAME"),
    ("block10", 128, 256, 1, "VALID"),
    ("block11", 128, 256, 1, "VALID"),
)


def ssd(images, is_training, num_classes=categories.COCO.num_classes):
    """Builds the network.

    Args:
      images: float32 [B, 300, 300, 3], normalized.
      is_training: bool, whether batch norm uses the statistics of the batch.
      num_classes: int, C.

    Returns:
      (class_outputs, box_outputs), two dicts keyed by level 3..8 with tensors float32
      [B, f, f, C * k] (logits) and [B, f, f, 4 * k] (offsets).
    """
    features = resnet.resnet34(images, is_training)
    with tf.variable_scope("ssd"):
        levels = _extra_levels(features)
        with tf.variable_scope("class_net"):
            class_outputs = _predictors(levels, "class", num_classes)
        with tf.variable_scope("box_net"):
            box_outputs = _predictors(levels, "box", 4)
    return class_outputs, box_outputs


def flatten_levels(outputs):
    """Concatenates the levels of one predictor in the order of the default boxes.

    Args:
      outputs: dict keyed by level with tensors float32 [B, f, f, depth * k]: `depth`
        numbers for each default box.

    Returns:
      float32 [B, N, depth].
    """
    flat = []
    for level, boxes_per_cell in zip(anchors.LEVELS, anchors.BOXES_PER_CELL):
        _, height, width, channels = outputs[level].shape.as_list()
        boxes = height * width * boxes_per_cell
        depth = channels // boxes_per_cell
        flat.append(tf.reshape(outputs[level], [-1, boxes, depth]))
    return tf.concat(flat, axis=1)


def _extra_levels(net):
    """Returns the feature maps keyed by level; net is the backbone's output."""
    levels = {anchors.LEVELS[0]: net}
    for level, block in zip(anchors.LEVELS[1:], EXTRA_BLOCKS):
        name, narrow, wide, stride, padding = block
        net = _conv(net, narrow, 1, 1, "SAME", tf.nn.relu, name + "-conv1x1")
        net = _conv(net, wide, 3, stride, padding, tf.nn.relu, name + "-conv3x3")
        levels[level] = net
    return levels


def _predictors(levels, prefix, depth):
    """Adds a 3x3 convolution per level, with `depth` outputs for each default box."""
    outputs = {}
    for level, boxes in zip(anchors.LEVELS, anchors.BOXES_PER_CELL):
        name = f"{prefix}-{level}"
        outputs[level] = _conv(levels[level], depth * boxes, 3, 1, "SAME", None, name)
    return outputs


def _conv(net, filters, kernel_size, stride, padding, activation, name):
    return tf.layers.conv2d(
        net,
        filters,
        kernel_size,
        strides=stride,
        padding=padding,
        activation=activation,
        # The default of TensorFlow 1. That of TensorFlow 2.15 ignores the graph's seed.
        kernel_initializer=tf.glorot_uniform_initializer(),
        name=name,
    )
