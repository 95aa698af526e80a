# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws boxes with labels on images, by Pillow.

Pillow is imported only when something is drawn, because training and evaluation must
also work on machines without it. Boxes are ltrb, [ymin, xmin, ymax, xmax], in pixels.
"""

import colorsys
import functools

import numpy as np

# Parts of the image's shorter side, and their bounds in pixels.
_FONT_PART, _MIN_FONT, _MAX_FONT = 1 / 28, 11, 40
_LINE_PART, _MIN_LINE, _MAX_LINE = 1 / 160, 2, 8
# Pixels between a label's text and the edge of its background.
_PADDING = 2

# Fonts of the machine to try; Pillow's own has little more than Latin letters.
_FONTS = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf")

# Multiples of it give consecutive numbers hues that are far apart.
_GOLDEN_RATIO = 0.618034


def color_of(number):
    """Returns the color of a category: (red, green, blue), ints in 0..255."""
    hue = number * _GOLDEN_RATIO % 1.0
    return tuple(int(255 * x) for x in colorsys.hsv_to_rgb(hue, 0.8, 0.95))


def draw(image, boxes, labels, colors, width=None):
    """Draws boxes, each with a label at its upper left corner.

    Args:
      image: PIL.Image.Image of any mode; it is not changed.
      boxes: numbers [D, 4], ltrb in pixels; they are clipped to the image.
      labels: list of D str; "" for no label.
      colors: list of D (red, green, blue), ints in 0..255.
      width: int, width of the lines in pixels; None: depends on the size of the image.

    Returns:
      PIL.Image.Image, RGB. Later boxes lie over earlier ones, labels over all boxes.

    Raises:
      ImportError: Pillow is not installed.
    """
    from PIL import ImageDraw

    image = image.convert("RGB").copy()
    side = min(image.size)
    width = width or int(np.clip(side * _LINE_PART, _MIN_LINE, _MAX_LINE))
    font = font_of(int(np.clip(side * _FONT_PART, _MIN_FONT, _MAX_FONT)))
    last_pixel = np.array(image.size[::-1] * 2) - 1
    boxes = np.clip(np.reshape(boxes, [-1, 4]), 0, last_pixel)
    # Pillow refuses boxes whose end is before their start.
    boxes[:, 2:] = np.maximum(boxes[:, :2], boxes[:, 2:])
    canvas = ImageDraw.Draw(image)
    for (ymin, xmin, ymax, xmax), color in zip(boxes.tolist(), colors):
        canvas.rectangle((xmin, ymin, xmax, ymax), outline=color, width=width)
    for (ymin, xmin, _, _), label, color in zip(boxes.tolist(), labels, colors):
        if label:
            _draw_label(canvas, xmin, ymin, label, color, font)
    return image


@functools.lru_cache(maxsize=None)
def font_of(size):
    """Returns a PIL.ImageFont of a size in pixels; a small one if there is no other."""
    from PIL import ImageFont

    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    try:
        return ImageFont.load_default(size)
    except TypeError:
        # Pillow before 10.1 has a font of one size only.
        return ImageFont.load_default()


def drawable(text, font):
    """Returns a text as one line, with "?" for characters that the font refuses."""
    from PIL import ImageFont

    # No font accepts one half of a surrogate pair; the one of one size has Latin only.
    has_all = isinstance(font, ImageFont.FreeTypeFont)
    encoding = "utf-8" if has_all else "latin-1"
    return " ".join(text.split()).encode(encoding, "replace").decode(encoding)


def _draw_label(canvas, xmin, ymin, label, color, font):
    """Draws a label above its box, or inside if there is no space above."""
    label = drawable(label, font)
    _, _, text_width, text_height = font.getbbox(label)
    width, height = text_width + 2 * _PADDING, text_height + 2 * _PADDING
    x = max(min(xmin, canvas.im.size[0] - width), 0)
    y = ymin - height if ymin >= height else ymin
    canvas.rectangle((x, y, x + width, y + height), fill=color)
    # Black on bright colors, white on dark ones (luma of ITU-R BT.601).
    luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    text_color = (0, 0, 0) if luma > 128 else (255, 255, 255)
    canvas.text((x + _PADDING, y + _PADDING), label, fill=text_color, font=font)
