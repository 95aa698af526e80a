# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads image files as training needs them: JPEGs with upright pixels, not too large.

A JPEG that TensorFlow decodes correctly is kept byte for byte. Any other image that
Pillow can open is encoded as a JPEG once. This includes PNGs: training can read them,
but more slowly, because it cannot decode only a part of a PNG.

EXIF orientation: TensorFlow ignores it and decodes the pixels as they are stored. The
width and height of the annotations tell which pixels the annotators saw. If they are
those of the turned image, the pixels are turned, as image viewers do. If they are those
of the stored pixels, nothing is turned. If both are equal (half turns, mirror images,
squares), the pixels are turned unless ignore_exif is set, because image viewers and
annotation tools have applied the orientation for years.

Sizes are (width, height) in pixels. The text of every ValueError follows the name of
the file: "is cut off".
"""

import io
import os
import warnings

import numpy as np
from PIL import Image, JpegImagePlugin

from dataset import image_header

# The limit of a TFRecord is 2 GB; no image comes near it.
MAX_BYTES = 2**28

# Full resolution for chroma as well.
_JPEG_OPTIONS = {"quality": 95, "subsampling": 0}
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"

_ORIENTATION_TAG = 0x0112
# EXIF orientation: method that turns the stored pixels upright.
_TURNS = {
    2: Image.FLIP_LEFT_RIGHT,
    3: Image.ROTATE_180,
    4: Image.FLIP_TOP_BOTTOM,
    5: Image.TRANSPOSE,
    6: Image.ROTATE_270,
    7: Image.TRANSVERSE,
    8: Image.ROTATE_90,
}

# Pillow's warnings, of broken EXIF data and of many pixels, do not name the file.
warnings.filterwarnings("ignore", module=r"PIL\.")


def load(path: str, size=None, ignore_exif: bool = False):
    """Reads an image file, and converts it if training cannot use it as it is.

    Args:
      path: path of the file.
      size: (width, height) according to the annotations; None if they do not tell.
      ignore_exif: never turn the pixels.

    Returns:
      (encoded, size, changes): bytes of a JPEG; its (width, height); and a tuple that
      may contain "converted" and "turned".

    Raises:
      ValueError: the image cannot be used, or its size contradicts the annotations.
      OSError: the file cannot be read.
    """
    encoded = _read(path)
    image, changes = _open(encoded), ()
    if not _is_plain_jpeg(image):
        changes = ("converted",)
        # Now, because a PNG may contain its orientation after the pixels, and because
        # Pillow turns a TIFF while decoding it.
        _decode(image)
    orientation = 1 if ignore_exif else _orientation(image)
    if _is_turned(image.size, orientation, size):
        changes += ("turned",)
        _decode(image)
        image = image.transpose(_TURNS[orientation])
    return _encode(image) if changes else encoded, image.size, changes


def exif_orientation(encoded: bytes) -> int:
    """Returns the EXIF orientation, 1 to 8, of the contents of an image file.

    It is 1 if the file does not tell, or is not an image.
    """
    try:
        return _orientation(_open(encoded))
    except ValueError:
        return 1


def _read(path):
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not 0 < size <= MAX_BYTES:
            raise ValueError(f"has {size} bytes; an image has 1 to {MAX_BYTES}")
        return file.read()


def _open(encoded):
    """Opens an image without decoding its pixels."""
    file = io.BytesIO(encoded)
    if not encoded.startswith(_JPEG_START):
        image = _open_other(file)
        _check_size(image.size)
        return image
    try:
        # Unlike Image.open, this does not look for more pictures after the first.
        image = JpegImagePlugin.JpegImageFile(file)
    except Exception as error:
        raise ValueError("is a JPEG whose header is cut off or broken") from error
    _check_size(image.size)
    # Pillow has read up to the pixels. A thumbnail before them has its own end marker.
    if encoded.rfind(_JPEG_END) < file.tell():
        raise ValueError("is cut off: it is a JPEG without an end marker")
    return image


def _open_other(file):
    Image.init()
    # The plug-in for EPS starts Ghostscript, whose language can read files.
    formats = [name for name in Image.ID if name != "EPS"]
    try:
        return Image.open(file, formats=formats)
    except Image.UnidentifiedImageError:
        raise ValueError("is not an image that Pillow can open") from None
    except Exception as error:
        raise ValueError(f"cannot be opened: {_one_line(error)}") from error


def _check_size(size):
    if size[0] * size[1] > image_header.MAX_PIXELS:
        raise ValueError(
            f"claims to have {size[0]} x {size[1]} pixels; the limit is "
            f"{image_header.MAX_PIXELS}"
        )


def _decode(image):
    try:
        image.load()
    # Broken bytes make Pillow's decoders raise exceptions of any kind.
    except Exception as error:
        raise ValueError(f"cannot be decoded: {_one_line(error)}") from error


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


def _is_plain_jpeg(image):
    """Whether TensorFlow decodes an image to the right colors.

    There are two kinds of CMYK, and TensorFlow only knows Adobe's. A lossless JPEG has
    no quantization tables.
    """
    is_jpeg = image.format == "JPEG"
    return is_jpeg and image.mode in ("L", "RGB") and bool(image.quantization)


def _orientation(image):
    # Decoding a TIFF has turned it already.
    if image.format == "TIFF":
        return 1
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        value = exif.get(_ORIENTATION_TAG)
    # Broken EXIF data makes Pillow raise exceptions of any kind.
    except Exception:
        return 1
    return value if value in _TURNS else 1


def _is_turned(stored, orientation, size):
    """Whether the annotators saw the turned image rather than the stored pixels.

    Args:
      stored: size of the stored pixels.
      orientation: 1 to 8, as in EXIF.
      size: size according to the annotations; None if they do not tell.

    Raises:
      ValueError: the size of the annotations fits neither.
    """
    upright = stored[::-1] if orientation >= 5 else stored
    if size not in (None, stored, upright):
        hint = ": width and height are exchanged" if size == stored[::-1] else ""
        raise ValueError(
            f"has {stored[0]} x {stored[1]} pixels, but the annotations say "
            f"{size[0]} x {size[1]}{hint}"
        )
    return orientation != 1 and size in (None, upright)


def _encode(image):
    """Encodes a decoded image as a JPEG, in RGB or gray."""
    output = io.BytesIO()
    try:
        _to_8_bits(image).save(output, "JPEG", **_JPEG_OPTIONS)
    except OSError as error:
        raise ValueError(
            f"has {image.width} x {image.height} pixels and cannot become a JPEG, "
            f"whose sides have at most 65500: {error}"
        ) from error
    return output.getvalue()


def _to_8_bits(image):
    if image.mode == "F":
        raise ValueError("has floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 0xFFFF:
            raise ValueError("has pixels of more than 16 bits")
        return Image.fromarray((pixels >> 8).astype(np.uint8))
    # Pillow would warn of transparent colors, and write comments into the JPEG.
    image.info = {}
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
