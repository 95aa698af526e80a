# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random changes of a training image: window, mirror image, colors.

Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2, with the
windows and color ranges of MLPerf's SSD-ResNet34.

Glossary: G ground truth boxes of an image; boxes and windows are ltrb, [ymin, xmin,
ymax, xmax] in 0..1 of height and width, a window's from the center of the first pixel
to that of the last; pixels are RGB; a plane is one channel.
"""

import tensorflow.compat.v1 as tf

import anchors

# What a random window must satisfy: one of these is drawn each round, as the IoU that
# every box has to exceed; or, as often as each of them, the whole image is taken.
MIN_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
WINDOWS_PER_ROUND = 50
MIN_WINDOW_SIDE = 0.3
MAX_ASPECT = 2.0

FLIP_PROBABILITY = 0.5

# An image that claims to be larger is taken for a broken one.
MAX_PIXELS = 2**26

# More than float32 can be wrong by in a ratio of areas.
_ROUNDING = 1.001
_JPEG_END = b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)


def height_width(encoded):
    """Reads the size of an image from its header, before anything is decoded.

    Args:
      encoded: string scalar, a JPEG or PNG.

    Returns:
      int32 [2].

    Raises:
      tf.errors.InvalidArgumentError: (when run) when it is neither, or claims more
        than MAX_PIXELS.
    """
    size = tf.cond(
        tf.image.is_jpeg(encoded),
        lambda: tf.image.extract_jpeg_shape(encoded)[:2],
        lambda: _png_size(encoded),
    )
    num_pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    with tf.control_dependencies([tf.Assert(num_pixels <= MAX_PIXELS, [size])]):
        return tf.identity(size)


def _png_size(encoded):
    # Behind the signature: length and name of the first chunk, then width and height.
    # Of too short a text tf.substr's complaint is its bytes, which Python may not take.
    sides = tf.substr(encoded + 24 * b"\0", 16, 8)
    size = tf.decode_raw(sides, tf.int32, little_endian=False)
    is_png = tf.equal(tf.substr(encoded, 0, 8), _PNG_START) & tf.reduce_all(size > 0)
    with tf.control_dependencies([tf.Assert(is_png, ["neither a JPEG nor a PNG"])]):
        return tf.reverse(size, [0])


def decode(encoded):
    """Decodes a whole image.

    Args:
      encoded: string scalar, a JPEG or PNG.

    Returns:
      uint8 [height, width, 3].

    Raises:
      tf.errors.InvalidArgumentError: (when run) when it cannot be decoded or claims
        more than MAX_PIXELS.
    """
    with tf.control_dependencies([height_width(encoded)]):
        # This kernel takes PNG as well.
        return tf.image.decode_jpeg(encoded, channels=3)


def random_crop(boxes, classes, height_width):
    """Draws the window to train on, and the ground truth in it.

    Rounds are repeated until one is accepted. With probability 1/7 a round takes the
    whole image. Else it draws one minimum IoU and 50 windows, sides uniform in
    0.3..1 and position uniform, and takes the last window that is valid: aspect
    strictly within 1:2, IoU of every box with it above the minimum, and the center
    of some box strictly inside. Windows are of whole pixels. A minimum that no window
    can exceed is never drawn: its rounds would all be in vain, and what is accepted in
    the end has the same probabilities without them.

    Args:
      boxes: float32 [G, 4], ltrb, G at least 1.
      classes: int32 [G].
      height_width: int32 [2], of the image.

    Returns:
      window: float32 [4], ltrb.
      boxes: float32 [G', 4], ltrb relative to the window and clipped to it: those
        whose center lies inside; all of them when the window is the whole image.
      classes: int32 [G'].
    """
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    is_possible = MIN_IOUS < largest_min_iou(boxes, height_width)
    num_possible = tf.reduce_sum(tf.cast(is_possible, tf.int32))

    def draw(*unused):
        choice = tf.random_uniform([], maxval=num_possible + 1, dtype=tf.int32)
        return tf.cond(
            tf.equal(choice, num_possible),
            lambda: (tf.constant(True), tf.constant(True), tf.constant(_WHOLE_IMAGE)),
            lambda: _draw_window(
                *(boxes, centers, tf.gather(MIN_IOUS, choice), height_width)
            ),
        )

    _, is_whole, window = tf.while_loop(
        lambda is_accepted, *unused: tf.logical_not(is_accepted),
        draw,
        (tf.constant(False), tf.constant(False), tf.constant(_WHOLE_IMAGE)),
    )
    kept = tf.where(is_whole | _strictly_inside(centers, window))[:, 0]
    origin, size = tf.tile(window[:2], [2]), tf.tile(window[2:] - window[:2], [2])
    cropped = tf.clip_by_value((tf.gather(boxes, kept) - origin) / size, 0.0, 1.0)
    return window, cropped, tf.gather(classes, kept)


def largest_min_iou(boxes, height_width):
    """Bounds the IoU that a window can have with every box at once.

    An IoU is at most the smaller area over the larger one. So of the smallest box and
    a window it is at most that box's area over that of the smallest window; and of the
    smallest and the largest box one is at most the root of their ratio.

    Args:
      boxes: float32 [G, 4], ltrb, G at least 1.
      height_width: int32 [2], of the image.

    Returns:
      float32 scalar; for each window of `random_crop` some box's IoU lies below it.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = sides[:, 0] * sides[:, 1]
    smallest, largest = tf.reduce_min(areas), tf.reduce_max(areas)
    # Rounding to whole pixels takes up to one from a side.
    pixel = 1.0 / tf.cast(tf.maximum(height_width - 1, 1), tf.float32)
    window = tf.reduce_prod(tf.maximum(MIN_WINDOW_SIDE - pixel, 0.0))
    # Of an image of very few pixels a window may be empty: then nothing is known.
    by_window = tf.where(window > 0.0, smallest / window, tf.ones([]))
    by_largest = tf.sqrt(tf.div_no_nan(smallest, largest))
    return tf.minimum(by_window, by_largest) * _ROUNDING


def _draw_window(boxes, centers, min_iou, height_width):
    """One round: (is any window valid, False for not whole, the last valid one)."""
    size = tf.random_uniform([WINDOWS_PER_ROUND, 2], MIN_WINDOW_SIDE, 1.0)
    corner = tf.random_uniform([WINDOWS_PER_ROUND, 2]) * (1.0 - size)
    windows = tf.concat([corner, corner + size], axis=1)
    last_pixel = _last_pixel(height_width)
    windows = tf.round(windows * last_pixel) / tf.maximum(last_pixel, 1.0)
    size = windows[:, 2:] - windows[:, :2]
    aspect = size[:, 0] / size[:, 1]
    overlaps = anchors.iou_ltrb(windows, boxes) > min_iou  # [windows, G]
    inside = _strictly_inside(centers, tf.expand_dims(windows, 1))
    valid = (aspect > 1.0 / MAX_ASPECT) & (aspect < MAX_ASPECT)
    valid &= tf.reduce_all(overlaps, axis=1) & tf.reduce_any(inside, axis=1)
    numbers = tf.range(WINDOWS_PER_ROUND)
    last = tf.reduce_max(tf.where(valid, numbers, -tf.ones_like(numbers)))
    return last >= 0, tf.constant(False), windows[tf.maximum(last, 0)]


def _last_pixel(height_width):
    """float32 [4]: row, column, row, column, by which windows are scaled to pixels."""
    return tf.tile(tf.cast(height_width - 1, tf.float32), [2])


def _strictly_inside(centers, window):
    """bool [..., G]: which centers [G, 2] lie inside the window [..., 4]."""
    return tf.reduce_all(
        (centers > window[..., :2]) & (centers < window[..., 2:]), axis=-1
    )


def flip_left_right(boxes):
    """Mirrors boxes, float32 [G, 4], ltrb, with the image."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    return tf.stack([ymin, 1.0 - xmax, ymax, 1.0 - xmin], axis=1)


def decode_window(encoded, size, window, is_flipped):
    """Decodes one window of an image, resized to 300 x 300.

    Of a JPEG that ends as it should only the pixels of the window are decoded. Of a
    window of whole pixels resize_bilinear takes the same samples as crop_and_resize, in
    a third of the time.

    Args:
      encoded: string scalar, a JPEG or PNG.
      size: int32 [2], what `height_width` gives for it.
      window: float32 [4], ltrb, of whole pixels.
      is_flipped: bool scalar.

    Returns:
      float32 [300, 300, 3] in 0..255, sampled as tf.image.crop_and_resize does.

    Raises:
      tf.errors.InvalidArgumentError: (when run) when it cannot be decoded.
    """
    corners = tf.cast(tf.round(window * _last_pixel(size)), tf.int32)
    top, left, bottom, right = tf.unstack(corners)
    # A JPEG cut short may still hold a window: decoding all of it tells.
    has_parts = tf.image.is_jpeg(encoded) & tf.equal(
        tf.substr(encoded, -2, 2), _JPEG_END
    )
    pixels = tf.cond(
        has_parts,
        lambda: tf.image.decode_and_crop_jpeg(
            encoded, [top, left, bottom - top + 1, right - left + 1], channels=3
        ),
        lambda: decode(encoded)[top : bottom + 1, left : right + 1],
    )
    resized = tf.image.resize_bilinear(
        # Of uint8 pixels the kernel takes twice as long.
        tf.expand_dims(tf.cast(pixels, tf.float32), 0),
        [anchors.IMAGE_SIZE, anchors.IMAGE_SIZE],
        align_corners=True,
    )[0]
    return tf.cond(is_flipped, lambda: tf.reverse(resized, [1]), lambda: resized)
