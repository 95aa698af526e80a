# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Brings the pixels of any image to 8 bits, and tells where their content may be lost.

Numbers of more than 8 bits are scaled from the range that the file tells: a TIFF's
SMinSampleValue, SMaxSampleValue and BitsPerSample, or a PNG's sBIT. Otherwise whole
numbers have 16 bits, and the upper 8 are kept, as in TensorFlow's decoding of a PNG.

Transparency is dropped: the colors are those that are stored, as TensorFlow decodes a
PNG in others' records and in tools/detect.py.
"""

import numpy as np
from PIL import Image

# What may have been lost in an image, and what the user can do about it.
TRANSPARENT = (
    "images with transparent pixels, whose stored colors were used (if these are not "
    "the visible ones, put the images onto a background, and convert again)"
)
DARK_OR_BRIGHT = (
    "images that are nearly black, white or gray after the conversion to 8 bits (if "
    "the numbers in the files use only a part of their bits, such as 12 of 16, scale "
    "them to all bits, and convert again)"
)
# The brightest pixel of 14 bits in a file of 16 becomes 63.
DARK_BELOW = 64
BRIGHT_ABOVE = 239
# An image of more than 8 bits that has fewer levels of gray after its conversion.
_FEWEST_LEVELS = 32

# Tags of a TIFF.
_BITS, _PHOTOMETRIC, _MAXIMUM, _SMALLEST, _LARGEST = 258, 262, 281, 340, 341
_WHITE_IS_ZERO = 0


def to_8_bits(image, encoded):
    """Converts a PIL.Image.Image, loaded from these bytes, to 8 bits per channel.

    Returns:
      (image, losses): PIL.Image.Image of mode "L" or "RGB"; and a list that may
      contain TRANSPARENT and DARK_OR_BRIGHT.

    Raises:
      ValueError: one line; the file does not tell which of its pixels are white.
    """
    losses = []
    is_scaled = image.mode[0] in "FI"
    if is_scaled:
        result = _scale(image, encoded)
    else:
        if _is_transparent(image):
            losses.append(TRANSPARENT)
        # Pillow would warn of transparent colors, and write comments into the JPEG.
        image.info = {}
        result = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    # A pair for each channel.
    extrema = np.reshape(result.getextrema(), (-1, 2))
    is_flat = is_scaled and extrema.max() - extrema.min() < _FEWEST_LEVELS
    if is_flat or extrema.max() < DARK_BELOW or extrema.min() > BRIGHT_ABOVE:
        losses.append(DARK_OR_BRIGHT)
    return result, losses


def _is_transparent(image):
    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return False
    return image.convert("RGBA").getextrema()[3][0] < 255


def _scale(image, encoded):
    """Returns the image of mode "L" of one with larger numbers or floats as pixels."""
    pixels = np.asarray(image)
    low, high = pixels.min(), pixels.max()
    told = None
    if image.format == "TIFF":
        told = _tiff_range(image.tag_v2)
    elif image.format == "PNG":
        told = _png_range(encoded, pixels)
    if told is None and image.mode != "F":
        told = 0, 0xFFFF
    # Written so that the condition is true for NaN as well.
    if told is None or not told[0] <= low <= high <= told[1]:
        raise ValueError(
            f"its pixels are from {low:g} to {high:g}, and it does not tell which "
            "numbers are black and white; save it with 8 bits"
        )
    black, white = told
    scaled = (pixels.astype(np.float32) - black) * (256 / (white - black))
    result = np.minimum(scaled, 255).astype(np.uint8)
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        # Pillow does this itself only for images of 8 bits.
        result = 255 - result
    return Image.fromarray(result)


def _tiff_range(tags):
    """Returns (black, white) as the tags of a TIFF tell, or None."""

    def number(tag):
        # A tuple has a number for each channel.
        return np.ravel(tags.get(tag, 0))[0]

    black, white, maximum = (number(tag) for tag in (_SMALLEST, _LARGEST, _MAXIMUM))
    if _LARGEST not in tags:
        if 8 < number(_BITS) < 16:
            white = 2 ** number(_BITS) - 1
        elif maximum in [2**bits - 1 for bits in range(9, 17)]:
            # Other values are only the brightest pixel, which need not be white.
            white = maximum
        else:
            return None
    return (black, white) if white > black else None


def _png_range(encoded, pixels):
    """Returns (black, white) as the chunk sBIT of a gray PNG tells, or None.

    By the standard, the pixels are scaled to 16 bits whatever the chunk says; the last
    bits then are zeros in a dark image. Some cameras' programs leave them unscaled.
    """
    position = encoded.find(b"sBIT", 0, encoded.find(b"IDAT"))
    bits = encoded[position + 4] if position >= 0 else 16
    is_scaled = not (pixels % 2 ** max(16 - bits, 0)).any()
    if not 8 < bits < 16 or is_scaled or pixels.max() >= 2**bits:
        return None
    return 0, 2**bits - 1
