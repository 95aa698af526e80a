# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The ranges of the random colors, and the same values as TensorFlow's operations."""

import numpy as np
import tensorflow.compat.v1 as tf

import records
from dataset import color


def test_the_changes_are_uniform_in_their_ranges():
    with tf.Graph().as_default():
        dataset = tf.data.Dataset.range(1000).map(lambda _: color.random_changes())
        changes = np.array(records.elements(dataset))
    lowest, highest = [-0.125, 0.5, 0.5, -0.05], [0.125, 1.5, 1.5, 0.05]
    expected = np.linspace(lowest, highest, 1000)
    # Kolmogorov and Smirnov: 2.6 is exceeded once in a million runs.
    distance = np.abs(np.sort(changes, axis=0) - expected).max(axis=0)
    assert (distance < 2.6 / np.sqrt(1000) * np.ptp(expected, axis=0)).all()
    assert (changes >= lowest).all() and (changes <= highest).all()


def test_colors_change_as_tensorflows_own_operations_change_them():
    random = np.random.RandomState(7)
    image = random.randint(0, 256, [60, 40, 3]).astype(np.float32)
    image[:10] = image[:10, :, :1]  # gray
    image[10:20] = [[[0], [255]] * 20]
    image[20:30] = random.randint(0, 3, [10, 40, 3])
    image[30:40, :, :2] = 0  # saturated, and blue: for red see color.adjust_color
    amounts = random.uniform(-1, 1, [50, 4]) * [0.125, 0.5, 1.0, 1 / 6] + [0, 1, 1, 0]
    amounts[:2, 2] = 0

    def expected(brightness, contrast, saturation, hue):
        changed = tf.image.adjust_brightness(image / 255, brightness)
        changed = tf.image.adjust_contrast(changed, contrast)
        return tf.image.adjust_hue(tf.image.adjust_saturation(changed, saturation), hue)

    with tf.Graph().as_default(), tf.Session() as session:
        placeholder = tf.placeholder(tf.float32, [4])
        pair = (
            color.adjust_color(tf.constant(image), placeholder),
            expected(*tf.unstack(placeholder)),
        )
        for row in amounts:
            found, wanted = session.run(pair, {placeholder: row})
            np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg=str(row))


def test_colors_on_the_device_equal_those_on_the_host_but_for_rounding(graph):
    seed = np.random.randint(2**31)
    print("seed", seed)
    random = np.random.RandomState(seed)
    pixels = random.uniform(0, 255, [16, 30, 20, 3]).astype(np.float32)
    pixels[4:8] = 120 + pixels[4:8] / 25  # almost gray
    changes = random.uniform(
        [-0.125, 0.5, 0.5, -0.05], [0.125, 1.5, 1.5, 0.05], (16, 4)
    )
    changes[0, 3] = 0
    changes = changes.astype(np.float32)
    rounded = np.round(pixels)

    def on_host(images):
        pairs = tf.constant(images), tf.constant(changes)
        return tf.map_fn(lambda x: color.adjust_color(*x), pairs, dtype=tf.float32)

    on_device = color.adjust_color(tf.constant(rounded), tf.constant(changes))
    with tf.Session() as session:
        found, expected, unrounded = session.run(
            [on_device, on_host(rounded), on_host(pixels)]
        )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # Contrast and saturation each enlarge half a level by up to 1.5, saturation
    # twice: it moves the channel and the smallest one.
    limit = 0.5 / 255 * 1.5 * (1 + 2 * 1.5)
    np.testing.assert_allclose(found, unrounded, atol=limit)
