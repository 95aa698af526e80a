# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random changes of the colors of a training image, with the ranges of MLPerf's SSD.

A plane is one channel of an image.
"""

import tensorflow.compat.v1 as tf

# Added to pixel values in 0..1: up to this much more or less.
BRIGHTNESS = 0.125
# Factors 1 - 0.5 .. 1 + 0.5.
CONTRAST = 0.5
SATURATION = 0.5
# Turns of the color circle, in either direction.
HUE = 0.05


def distort_color(image):
    """Changes brightness, contrast, saturation and hue at random, in this order.

    Args:
      image: float32 [height, width, 3] in 0..255.

    Returns:
      float32 of the same shape, in 0..1 or a little outside.
    """
    changes = tf.random_uniform([4], -1.0, 1.0)
    changes *= [BRIGHTNESS, CONTRAST, SATURATION, HUE]
    brightness, contrast, saturation, hue = tf.unstack(changes)
    return adjust_color(image, brightness, 1.0 + contrast, 1.0 + saturation, hue)


def adjust_color(image, brightness, contrast, saturation, hue):
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
      image: float32 [height, width, 3] in 0..255.
      brightness: float32 scalar tensor, added to values in 0..1.
      contrast: float32 scalar tensor, factor of the contrast, more than 0.
      saturation: float32 scalar tensor, factor of the saturation, 0 or more.
      hue: float32 scalar tensor, -1/6..1/6 of a turn.

    Returns:
      float32 of the same shape, in 0..1 or a little outside.
    """
    scale, rest = contrast / 255.0, (1.0 - contrast) / 255.0
    # Transposing a matrix is faster than unstacking an image of three channels.
    planes = tf.unstack(tf.transpose(tf.reshape(image, [-1, 3])))
    planes = [
        # Contrast scales around the mean, which brightness has shifted as well.
        plane * scale + (rest * tf.reduce_mean(plane) + brightness)
        for plane in planes
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
    return tf.reshape(tf.transpose(tf.stack(planes)), tf.shape(image))


def _swap_if(condition, first, second):
    return list(tf.cond(condition, lambda: (second, first), lambda: (first, second)))
