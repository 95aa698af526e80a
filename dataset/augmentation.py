# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoding of images, zooming out, random crops and flips of training images.

Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2, with the crops
of MLPerf's SSD-ResNet34; zooming out as in section 3.6 of its fifth version,
arXiv:1512.02325v5.

Glossary: G ground truth boxes of an image. Boxes and windows are ltrb, [ymin, xmin,
ymax, xmax]: boxes in 0..1 of height and width, windows in 0..1 of the distance from the
center of the first pixel to the center of the last. Pixels are RGB.
"""

import tensorflow.compat.v1 as tf

import anchors

# Each round draws the whole image or one of six minimum IoUs. The IoU of every box with
# the window must exceed that minimum.
MIN_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
WINDOWS_PER_ROUND = 50
MIN_WINDOW_SIDE = 0.3
MAX_ASPECT = 2.0

FLIP_PROBABILITY = 0.5

# Largest ratio of a canvas side to the image side.
MAX_ZOOM_OUT = 4.0
# RGB of the canvas: ssd_model.MEAN_RGB in 0..255.
CANVAS_COLOR = (124.0, 116.0, 104.0)

# Exceeds the rounding error of a ratio of areas in float32.
_ROUNDING = 1.001
_WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)


def decode(encoded):
    """Decodes a whole image.

    Args:
      encoded: string scalar, a JPEG or PNG. It must have passed image_header.read_size,
        because decoding allocates memory for the size in the header.

    Returns:
      uint8 [height, width, 3].

    Raises:
      tf.errors.InvalidArgumentError: (when run) when it cannot be decoded.
    """
    # This kernel takes PNG as well.
    return tf.image.decode_jpeg(encoded, channels=3)


def zoom_out(boxes, height_width, probability):
    """Draws a canvas to place the image on, so that its objects look smaller.

    Args:
      boxes: float32 [G, 4], ltrb in the image.
      height_width: int32 [2], of the image.
      probability: float, the probability of a larger canvas; otherwise the canvas is
        the image itself.

    Returns:
      boxes: float32 [G, 4], ltrb in the canvas.
      canvas: int32 [2], its height and width: those of the image times a ratio that is
        uniform in 1..MAX_ZOOM_OUT.
      origin: int32 [2], row and column of the image's first pixel in the canvas,
        uniform over the positions where the image fits.
    """
    is_zoomed = tf.random_uniform([]) < probability
    ratio = tf.where(is_zoomed, tf.random_uniform([], 1.0, MAX_ZOOM_OUT), 1.0)
    sides = tf.cast(height_width, tf.float32)
    canvas = tf.cast(sides * ratio, tf.int32)
    space = tf.cast(canvas - height_width, tf.float32)
    origin = tf.cast(tf.random_uniform([2]) * (space + 1.0), tf.int32)
    boxes *= tf.tile(sides, [2])
    boxes += tf.tile(tf.cast(origin, tf.float32), [2])
    return boxes / tf.tile(tf.cast(canvas, tf.float32), [2]), canvas, origin


def random_crop(boxes, classes, height_width):
    """Draws the window to train on, and the ground truth in it.

    Rounds are repeated until one is accepted. With probability 1/7 a round takes the
    whole image. Otherwise it draws one minimum IoU and 50 windows, with sides uniform
    in 0.3..1 and a uniform position. It takes the last valid window: its aspect ratio
    is strictly within 1:2, its IoU with every box exceeds the minimum, and the center
    of some box lies strictly inside. Windows consist of whole pixels. Minimum IoUs that
    no window can exceed, see _iou_bound, are not drawn. No round with them would be
    accepted, so this does not change the probabilities of the accepted windows.

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
    is_possible = MIN_IOUS < _iou_bound(boxes, height_width)
    num_possible = tf.reduce_sum(tf.cast(is_possible, tf.int32))

    def draw(*unused):
        choice = tf.random_uniform([], maxval=num_possible + 1, dtype=tf.int32)
        return tf.cond(
            tf.equal(choice, num_possible),
            lambda: (tf.constant(True), tf.constant(_WHOLE_IMAGE)),
            lambda: _draw_window(
                boxes, centers, tf.gather(MIN_IOUS, choice), height_width
            ),
        )

    _, window = tf.while_loop(
        lambda is_accepted, unused: tf.logical_not(is_accepted),
        draw,
        (tf.constant(False), tf.constant(_WHOLE_IMAGE)),
    )
    is_whole = tf.reduce_all(tf.equal(window, _WHOLE_IMAGE))
    kept = tf.where(is_whole | _strictly_inside(centers, window))[:, 0]
    origin, size = tf.tile(window[:2], [2]), tf.tile(window[2:] - window[:2], [2])
    cropped = tf.clip_by_value((tf.gather(boxes, kept) - origin) / size, 0.0, 1.0)
    return window, cropped, tf.gather(classes, kept)


def _iou_bound(boxes, height_width):
    """Returns a number that no window's IoU with the smallest box exceeds.

    An IoU is at most the smaller area divided by the larger one, here the area of that
    box divided by the area of the smallest window.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    # Rounding to whole pixels may shorten a side by one pixel.
    pixel = 1.0 / tf.cast(tf.maximum(height_width - 1, 1), tf.float32)
    window = tf.reduce_prod(tf.maximum(MIN_WINDOW_SIDE - pixel, 0.0))
    bound = tf.reduce_min(sides[:, 0] * sides[:, 1]) / window * _ROUNDING
    # In an image of very few pixels, the smallest window may have no area. The bound is
    # then 1, the largest IoU.
    return tf.where(window > 0.0, bound, 1.0)


def _draw_window(boxes, centers, min_iou, height_width):
    """Returns (whether any window is valid, the last valid one)."""
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
    return last >= 0, windows[tf.maximum(last, 0)]


def _last_pixel(height_width):
    """Returns float32 [4], the last row, column, row, column: scales ltrb to pixels."""
    return tf.tile(tf.cast(height_width - 1, tf.float32), [2])


def _strictly_inside(centers, window):
    """Returns bool [..., G]: which centers [G, 2] lie inside the window [..., 4]."""
    return tf.reduce_all(
        (centers > window[..., :2]) & (centers < window[..., 2:]), axis=-1
    )


def flip_left_right(boxes):
    """Mirrors boxes with the image.

    Args:
      boxes: float32 [G, 4], ltrb.

    Returns:
      float32 [G, 4], ltrb in the mirrored image.
    """
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    return tf.stack([ymin, 1.0 - xmax, ymax, 1.0 - xmin], axis=1)


def decode_window(encoded, height_width, window, is_flipped):
    """Decodes one window of an image, resized to 300 x 300.

    Only the pixels of the window are decoded if the image is a JPEG. Since the window
    consists of whole pixels, resize_bilinear takes the same samples as crop_and_resize,
    in a third of the time.

    Args:
      encoded: string scalar, a JPEG or PNG.
      height_width: int32 [2], of the whole image.
      window: float32 [4], ltrb, of whole pixels.
      is_flipped: bool scalar.

    Returns:
      float32 [300, 300, 3] in 0..255, sampled as tf.image.crop_and_resize does.

    Raises:
      tf.errors.InvalidArgumentError: (when run) when it cannot be decoded.
    """
    pixels = _decode_pixels(encoded, _corners(window, height_width))
    resized = tf.image.resize_bilinear(
        tf.expand_dims(pixels, 0),
        [anchors.IMAGE_SIZE, anchors.IMAGE_SIZE],
        align_corners=True,
    )[0]
    return _flip_if(is_flipped, resized)


def decode_canvas_window(encoded, height_width, canvas, origin, window, is_flipped):
    """Decodes one window of the canvas on which zoom_out places an image.

    Only the pixels of the image that lie in the window are decoded. The canvas around
    them takes no memory: crop_and_resize marks its samples with -1.

    Args:
      encoded: string scalar, a JPEG or PNG.
      height_width: int32 [2], of the whole image.
      canvas: int32 [2], see zoom_out.
      origin: int32 [2], see zoom_out.
      window: float32 [4], ltrb in the canvas, of whole pixels.
      is_flipped: bool scalar.

    Returns:
      float32 [300, 300, 3] in 0..255, sampled as decode_window does, but without
      blending the image with the canvas at its edges.

    Raises:
      tf.errors.InvalidArgumentError: (when run) when it cannot be decoded.
    """
    corners = _corners(window, canvas) - tf.tile(origin, [2])
    inside = tf.clip_by_value(corners, 0, tf.tile(height_width - 1, [2]))
    # 0.01 keeps samples of the last pixel inside the image in spite of rounding errors.
    last_pixel = tf.cast(inside[2:] - inside[:2], tf.float32) + 0.01
    part = tf.cast(corners - tf.tile(inside[:2], [2]), tf.float32)
    resized = tf.image.crop_and_resize(
        tf.expand_dims(_decode_pixels(encoded, inside), 0),
        tf.expand_dims(part / tf.tile(last_pixel, [2]), 0),
        [0],
        [anchors.IMAGE_SIZE, anchors.IMAGE_SIZE],
        extrapolation_value=-1.0,
    )[0]
    color = tf.broadcast_to(CANVAS_COLOR, tf.shape(resized))
    return _flip_if(is_flipped, tf.where(resized < 0.0, color, resized))


def _corners(window, height_width):
    """Returns int32 [4], the first and last row and column of a window: ltrb."""
    return tf.cast(tf.round(window * _last_pixel(height_width)), tf.int32)


def _decode_pixels(encoded, corners):
    """Decodes a window of an image; corners are those of _corners."""
    top, left, bottom, right = tf.unstack(corners)
    return tf.cond(
        tf.image.is_jpeg(encoded),
        lambda: tf.image.decode_and_crop_jpeg(
            encoded,
            [top, left, bottom - top + 1, right - left + 1],
            channels=3,
        ),
        lambda: decode(encoded)[top : bottom + 1, left : right + 1],
    )


def _flip_if(is_flipped, pixels):
    return tf.cond(is_flipped, lambda: tf.reverse(pixels, [1]), lambda: pixels)
