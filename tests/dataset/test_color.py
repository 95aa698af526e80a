# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The ranges of the random colors, and the same values as TensorFlow's operations."""

import colorsys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import records
from dataset import color


def assert_uniform(values, low, high):
    """Checks range, mean and spread of a uniform distribution, to 5 standard errors."""
    values, width = np.asarray(values), high - low
    assert values.min() >= low - 1e-3 and values.max() <= high + 1e-3
    error = width / np.sqrt(12 * len(values))
    assert abs(values.mean() - (low + high) / 2) < 5 * error
    assert abs(values.std() - width / np.sqrt(12)) < 5 * error
    assert values.min() < low + 0.05 * width and values.max() > high - 0.05 * width


@pytest.fixture(scope="module")
def distorted():
    """Function that distorts one picture of 2 x 2 pixels a thousand times."""

    def distort(rgb):
        with tf.Graph().as_default():
            image = tf.constant(np.broadcast_to(rgb, [2, 2, 3]) * 255, tf.float32)
            dataset = tf.data.Dataset.range(1000).map(
                lambda _: color.adjust_color(image, color.random_changes())
            )
            return np.array(records.elements(dataset))

    return distort


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


def test_brightness_moves_by_an_eighth(distorted):
    # On an even gray nothing else has an effect.
    images = distorted([0.5, 0.5, 0.5])
    assert_uniform(images[:, 0, 0, 0] - 0.5, -0.125, 0.125)


def test_contrast_scales_by_half_to_one_and_a_half(distorted):
    # Rows of 0.45 and 0.55: their distance of 0.1 is scaled.
    images = distorted([[[0.45] * 3], [[0.55] * 3]])
    assert_uniform((images[:, 1, 0, 0] - images[:, 0, 0, 0]) / 0.1, 0.5, 1.5)


def test_saturation_scales_by_half_to_one_and_a_half_and_hue_turns(distorted):
    # Contrast leaves an even color alone. Brightness adds to all three channels, so
    # that the largest minus the smallest stays 0.2, and saturation scales that.
    colors = distorted([0.6, 0.4, 0.4])[:, 0, 0]
    assert_uniform((colors.max(axis=1) - colors.min(axis=1)) / 0.2, 0.5, 1.5)
    hues = np.array([colorsys.rgb_to_hsv(*rgb)[0] for rgb in colors])
    assert_uniform((hues + 0.5) % 1 - 0.5, -0.05, 0.05)


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
    images = tf.placeholder(tf.float32, [16, 30, 20, 3])
    image, numbers = tf.placeholder(tf.float32, [30, 20, 3]), tf.placeholder(tf.float32)
    on_device, on_host = (
        color.adjust_color(images, changes),
        color.adjust_color(image, tf.reshape(numbers, [4])),
    )
    with tf.Session() as session:
        found = session.run(on_device, {images: rounded})

        def host(batch):
            feeds = [{image: x, numbers: y} for x, y in zip(batch, changes)]
            return np.array([session.run(on_host, feed) for feed in feeds])

        np.testing.assert_allclose(found, host(rounded), atol=1e-5)
        # Contrast and saturation each enlarge half a level by up to 1.5, saturation
        # twice: it moves the channel and the smallest one.
        limit = 0.5 / 255 * 1.5 * (1 + 2 * 1.5)
        np.testing.assert_allclose(found, host(pixels), atol=limit)
