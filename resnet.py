# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResNet34 as the backbone of SSD.

He et al., "Deep Residual Learning for Image Recognition", 2015, cut after the third
group of blocks; that group's stride is 1 instead of 2, which leaves a 38 x 38 map.

Layers get TensorFlow's automatic names (conv2d, conv2d_1, batch_normalization, ...)
in the order of creation. Checkpoints are exchanged by these names, and adding, removing
or reordering a layer would rename all layers that follow.
"""

import tensorflow.compat.v1 as tf

# Each group: number of blocks, filters, stride of the first block, and whether the
# first block has a projection in its shortcut.
GROUPS = ((3, 64, 1, False), (4, 128, 2, True), (6, 256, 1, True))

BATCH_NORM_MOMENTUM = 0.9
BATCH_NORM_EPSILON = 1e-5


def resnet34(images, is_training):
    """Builds the backbone under the variable scope "resnet34".

    Args:
      images: float32 [B, 300, 300, 3], normalized.
      is_training: bool, whether batch norm uses the statistics of the batch and adds
        the updates of its moving averages to the collection UPDATE_OPS.

    Returns:
      float32 [B, 38, 38, 256].
    """
    with tf.variable_scope("resnet34"):
        net = _conv(images, 64, kernel_size=7, stride=2)
        net = tf.nn.relu(_batch_norm(net, is_training))
        net = tf.layers.max_pooling2d(net, pool_size=3, strides=2, padding="SAME")
        for blocks, filters, stride, projects in GROUPS:
            net = _basic_block(net, filters, stride, projects, is_training)
            for _ in range(blocks - 1):
                net = _basic_block(net, filters, 1, False, is_training)
    return net


def _basic_block(net, filters, stride, projects, is_training):
    """Two 3x3 convolutions and a shortcut (He et al., figure 5, left)."""
    shortcut = net
    if projects:
        shortcut = _conv(net, filters, kernel_size=1, stride=stride)
        shortcut = _batch_norm(shortcut, is_training)
    net = _conv(net, filters, kernel_size=3, stride=stride)
    net = tf.nn.relu(_batch_norm(net, is_training))
    net = _conv(net, filters, kernel_size=3, stride=1)
    # A zero gamma makes every block start as the identity (Goyal et al. 2017, 5.1).
    net = _batch_norm(net, is_training, gamma_initializer=tf.zeros_initializer())
    return tf.nn.relu(net + shortcut)


def _conv(net, filters, kernel_size, stride):
    """A convolution without bias, whose padding does not depend on the input size.

    With a stride, TensorFlow's SAME pads odd and even inputs differently. The published
    weights expect kernel_size - 1 pixels always, the smaller half of them first.
    """
    if stride > 1:
        before = (kernel_size - 1) // 2
        after = kernel_size - 1 - before
        net = tf.pad(net, [[0, 0], [before, after], [before, after], [0, 0]])
    return tf.layers.conv2d(
        net,
        filters,
        kernel_size,
        strides=stride,
        padding="SAME" if stride == 1 else "VALID",
        use_bias=False,
        kernel_initializer=tf.variance_scaling_initializer(),
    )


def _batch_norm(net, is_training, gamma_initializer=None):
    return tf.layers.batch_normalization(
        net,
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        gamma_initializer=gamma_initializer or tf.ones_initializer(),
        training=is_training,
        fused=True,
    )
