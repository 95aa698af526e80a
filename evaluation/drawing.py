# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Boxes with labels on pictures, by Pillow.

Pillow is imported only when something is drawn: training and evaluating do without.
Boxes are ltrb, [ymin, xmin, ymax, xmax], here in pixels.
"""

import colorsys
import functools

# Of the picture's shorter side.
_FONT_PART = 1 / 28
_LINE_PART = 1 / 160
_MIN_FONT, _MAX_FONT = 11, 40
_MIN_LINE, _MAX_LINE = 2, 8
# Pixels between a label's text and the edge of its background.
_PADDING = 2

# Looked for among the machine's fonts; Pillow's own knows hardly more than English.
_FONTS = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf")

# Consecutive numbers times this give hues far from each other.
_GOLDEN_RATIO = 0.618034


def color_of(number):
    """Gives a color to tell categories apart by.

    Args:
      number: int, for instance a category id.

    Returns:
      (red, green, blue), ints of 0..255; always the same for a number.
    """
    hue = number * _GOLDEN_RATIO % 1.0
    return tuple(int(255 * x) for x in colorsys.hsv_to_rgb(hue, 0.8, 0.95))


def draw(image, boxes, labels, colors, width=None):
    """Draws boxes, each with a label at its upper left corner.

    Args:
      image: PIL.Image.Image of any mode; it is not changed.
      boxes: numbers [D, 4], ltrb in pixels; what reaches outside is cut off.
      labels: list of D str, each one line; "" for no label.
      colors: list of D (red, green, blue), ints of 0..255.
      width: int, pixels of the lines; None: by the size of the picture.

    Returns:
      PIL.Image.Image, RGB, of the same size. Later boxes lie over earlier ones, and
      labels over all boxes.

    Raises:
      ImportError: without Pillow.
    """
    from PIL import ImageDraw

    image = image.convert("RGB").copy()
    side = min(image.size)
    width = width or _clip(side * _LINE_PART, _MIN_LINE, _MAX_LINE)
    font = font_of(_clip(side * _FONT_PART, _MIN_FONT, _MAX_FONT))
    canvas = ImageDraw.Draw(image)
    shapes = [_inside(box, image.size) for box in boxes]
    for shape, color in zip(shapes, colors):
        canvas.rectangle(shape, outline=tuple(color), width=width)
    for shape, label, color in zip(shapes, labels, colors):
        if label:
            _draw_label(canvas, shape, label, tuple(color), font)
    return image


def _clip(number, low, high):
    return int(min(max(number, low), high))


def _inside(box, size):
    """(xmin, ymin, xmax, ymax) as Pillow takes it, within the picture."""
    right, bottom = size[0] - 1, size[1] - 1
    ymin, xmin, ymax, xmax = (float(x) for x in box)
    xmin, ymin = min(max(xmin, 0), right), min(max(ymin, 0), bottom)
    return xmin, ymin, max(min(xmax, right), xmin), max(min(ymax, bottom), ymin)


@functools.lru_cache(maxsize=None)
def font_of(size):
    """Gives a font of the machine.

    Args:
      size: int, pixels.

    Returns:
      PIL.ImageFont of that size; a small one where Pillow has no other.
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
        # Pillow before 10.1, or one without FreeType: a small font of one size.
        return ImageFont.load_default()


def drawable(text, font):
    """Makes of a text what a font can draw, in one line.

    Args:
      text: str.
      font: of `font_of`.

    Returns:
      str; "?" stands for what the font cannot take.
    """
    from PIL import ImageFont

    # No font takes half of a surrogate pair.
    text = " ".join(text.split()).encode("utf-8", "replace").decode()
    if not isinstance(font, getattr(ImageFont, "FreeTypeFont", ())):
        # The old font knows Latin letters only.
        text = text.encode("latin-1", "replace").decode("latin-1")
    return text


def _draw_label(canvas, shape, label, color, font):
    """The label in a filled rectangle: above the box, or in it at the picture's top."""
    label = drawable(label, font)
    _, _, text_width, text_height = font.getbbox(label)
    size = text_width + 2 * _PADDING, text_height + 2 * _PADDING
    picture_width = canvas.im.size[0]
    x = max(min(shape[0], picture_width - size[0]), 0)
    y = shape[1] - size[1] if shape[1] >= size[1] else shape[1]
    canvas.rectangle((x, y, x + size[0], y + size[1]), fill=color)
    # Black on bright colors, white on dark ones (luma of ITU-R BT.601).
    luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    text_color = (0, 0, 0) if luma > 128 else (255, 255, 255)
    canvas.text((x + _PADDING, y + _PADDING), label, fill=text_color, font=font)
