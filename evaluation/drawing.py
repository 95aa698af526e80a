# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws boxes with labels on images, by Pillow.

Pillow is imported only when something is drawn, because training and evaluation must
also work on machines without it. Boxes are ltrb, [ymin, xmin, ymax, xmax], in pixels.
"""

import colorsys
import functools

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
    """Returns a color that tells a category from others.

    Args:
      number: int, for example a category id.

    Returns:
      (red, green, blue), ints in 0..255; always the same for a number.
    """
    hue = number * _GOLDEN_RATIO % 1.0
    return tuple(int(255 * x) for x in colorsys.hsv_to_rgb(hue, 0.8, 0.95))


def draw(image, boxes, labels, colors, width=None):
    """Draws boxes, each with a label at its upper left corner.

    Args:
      image: PIL.Image.Image of any mode; it is not changed.
      boxes: numbers [D, 4], ltrb in pixels; they are clipped to the image.
      labels: list of D str, each one line; "" for no label.
      colors: list of D (red, green, blue), ints in 0..255.
      width: int, width of the lines in pixels; None: depends on the size of the image.

    Returns:
      PIL.Image.Image, RGB, of the same size. Later boxes lie over earlier ones, and
      labels over all boxes.

    Raises:
      ImportError: Pillow is not installed.
    """
    from PIL import ImageDraw

    image = image.convert("RGB").copy()
    side = min(image.size)
    width = width or _clip(side * _LINE_PART, _MIN_LINE, _MAX_LINE)
    font = font_of(int(_clip(side * _FONT_PART, _MIN_FONT, _MAX_FONT)))
    canvas = ImageDraw.Draw(image)
    shapes = [_to_shape(box, image.size) for box in boxes]
    for shape, color in zip(shapes, colors):
        canvas.rectangle(shape, outline=tuple(color), width=int(width))
    for shape, label, color in zip(shapes, labels, colors):
        if label:
            _draw_label(canvas, shape, label, tuple(color), font)
    return image


def _clip(number, low, high):
    return min(max(number, low), high)


def _to_shape(box_ltrb, size):
    """Returns (xmin, ymin, xmax, ymax), Pillow's order, clipped to the image."""
    right, bottom = size[0] - 1, size[1] - 1
    ymin, xmin, ymax, xmax = (float(x) for x in box_ltrb)
    xmin, ymin = _clip(xmin, 0, right), _clip(ymin, 0, bottom)
    return xmin, ymin, _clip(xmax, xmin, right), _clip(ymax, ymin, bottom)


@functools.lru_cache(maxsize=None)
def font_of(size):
    """Returns a font.

    Args:
      size: int, pixels.

    Returns:
      PIL.ImageFont of that size; a small one if Pillow has no other.
    """
    from PIL import ImageFont

    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except (ImportError, OSError):
            continue
    try:
        return ImageFont.load_default(size)
    except (TypeError, ImportError, OSError):
        # Pillow before 10.1 or without FreeType has a font of one size only.
        return ImageFont.load_default()


def drawable(text, font):
    """Makes a text fit for drawing in one line.

    Args:
      text: str.
      font: see `font_of`.

    Returns:
      str with "?" for characters that the font does not accept.
    """
    from PIL import ImageFont

    # No font accepts one half of a surrogate pair.
    text = " ".join(text.split()).encode("utf-8", "replace").decode()
    if not isinstance(font, getattr(ImageFont, "FreeTypeFont", ())):
        # The font of one size has Latin letters only.
        text = text.encode("latin-1", "replace").decode("latin-1")
    return text


def _draw_label(canvas, shape, label, color, font):
    """Draws a label above its box, or inside if there is no space above."""
    label = drawable(label, font)
    _, _, text_width, text_height = font.getbbox(label)
    width, height = text_width + 2 * _PADDING, text_height + 2 * _PADDING
    x = max(min(shape[0], canvas.im.size[0] - width), 0)
    y = shape[1] - height if shape[1] >= height else shape[1]
    canvas.rectangle((x, y, x + width, y + height), fill=color)
    # Black on bright colors, white on dark ones (luma of ITU-R BT.601).
    luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    text_color = (0, 0, 0) if luma > 128 else (255, 255, 255)
    canvas.text((x + _PADDING, y + _PADDING), label, fill=text_color, font=font)
