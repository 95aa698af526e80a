# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random changes of the colors of training images, with the ranges of MLPerf's SSD.

The same function changes one image on the host, or a batch at the start of the training
graph (--color_on). Glossary: B images per batch. A plane is one channel of an image or
of a batch.
"""

import tensorflow.compat.v1 as tf

# Added to pixel values in 0..1: up to this much more or less.
BRIGHTNESS = 0.125
# Factors 1 - 0.5 .. 1 + 0.5.
CONTRAST = 0.5
SATURATION = 0.5
# Turns of the color circle, in either direction.
HUE = 0.05


def random_changes():
    """Draws how to change the colors of one image.

    Returns:
      float32 [4]: brightness, contrast, saturation and hue, see adjust_color.
    """
    changes = tf.random_uniform([4], -1.0, 1.0)
    return changes * [BRIGHTNESS, CONTRAST, SATURATION, HUE] + [0.0, 1.0, 1.0, 0.0]


def adjust_color(images, changes):
    """Changes brightness, contrast, saturation and hue, in this order.

    Returns the same values as tf.image.adjust_brightness, adjust_contrast,
    adjust_saturation and adjust_hue in a quarter of the time. There is one exception:
    for a red pixel whose blue exceeds its green by a rounding error, TensorFlow rounds
    the hue up to a whole turn and returns black.

    It is faster because it works on planes, which suits vector instructions, and
    because it never computes a hue. While the hue makes one turn, each channel rises
    from the smallest value to the largest in one sixth of the turn, stays there for two
    sixths, falls in one sixth, and stays for two sixths. The difference between a
    channel and the next one follows a curve of the same slopes. Shifting that
    difference and clipping it therefore gives the channel after the turn.

    Args:
      images: float32 [height, width, 3] or [B, height, width, 3], in 0..255; the shape
        of a batch is static.
      changes: float32 [4] or [B, 4]: brightness, added to values in 0..1; factor of the
        contrast, more than 0; factor of the saturation, 0 or more; hue, -1/6..1/6 of a
        turn.

    Returns:
      float32 of the shape of images, in 0..1 or a little outside.
    """
    batch = images.shape.as_list()[:-3]  # [] or [B]
    if batch:
        changes = tf.expand_dims(changes, 2)  # [B, 1] goes with planes of [B, pixels]
    brightness, contrast, saturation, hue = tf.unstack(changes, axis=len(batch))
    scale, rest = contrast / 255.0, (1.0 - contrast) / 255.0
    planes = [
        # Contrast scales around the mean, which brightness has shifted as well.
        plane * scale
        + (rest * tf.reduce_mean(plane, axis=-1, keepdims=True) + brightness)
        for plane in _to_planes(images, batch)
    ]
    is_backward = hue < 0.0
    # A turn backward is a turn forward with green and blue exchanged.
    red, green, blue = planes[:1] + _swap_if(is_backward, *planes[1:])
    value = tf.maximum(tf.maximum(red, green), blue)
    chroma = value - tf.minimum(tf.minimum(red, green), blue)
    # The smallest channel must not fall below 0, so that chroma is at most value. Where
    # value is 0 or negative, the pixel becomes gray.
    new_chroma = tf.maximum(tf.minimum(chroma * saturation, value), 0.0)
    low = value - new_chroma
    slope = tf.div_no_nan(new_chroma, chroma)
    turn = new_chroma * (tf.abs(hue) * 6.0)
    rising, falling = low + turn, value - turn

    def turned(minus_next, next_minus_previous):
        start = tf.where(next_minus_previous <= 0.0, rising, falling)
        return tf.minimum(tf.maximum(start + slope * minus_next, low), value)

    differences = [red - green, green - blue, blue - red]
    red, green, blue = (
        turned(differences[i], differences[(i + 1) % 3]) for i in range(3)
    )
    planes = [red] + _swap_if(is_backward, green, blue)
    last_to_first = list(range(1, len(batch) + 2)) + [0]
    return tf.reshape(tf.transpose(tf.stack(planes), last_to_first), tf.shape(images))


def _to_planes(images, batch):
    """Returns three planes, each of [pixels] or [B, pixels]."""
    pixels = tf.reshape(images, batch + [-1, 3])
    # Transposing is faster than unstacking images of three channels.
    axes = list(range(len(batch) + 2))
    return tf.unstack(tf.transpose(pixels, axes[-1:] + axes[:-1]))


def _swap_if(condition, first, second):
    """Exchanges two planes if a bool scalar is true, or their rows where [B, 1] is."""
    if condition.shape.ndims:
        rows = tf.squeeze(condition, 1)
        return [tf.where(rows, second, first), tf.where(rows, first, second)]
    # Does not copy the planes of one image.
    return list(tf.cond(condition, lambda: (second, first), lambda: (first, second)))
