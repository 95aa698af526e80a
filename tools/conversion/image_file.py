# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads image files as training needs them: JPEGs with upright pixels, not too large.

tools/create_tf_record.py stores the JPEGs of `load`; tools/detect.py takes the pixels
of `read`, which are those of the JPEGs before they are encoded.

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

import contextlib
import io
import os
import warnings

from PIL import Image

from conversion import pixels
from dataset import image_header

# The limit of a TFRecord is 2 GB; no image comes near it.
MAX_BYTES = 2**28
# Pillow warns above its own limit, and refuses twice as many pixels.
Image.MAX_IMAGE_PIXELS = image_header.MAX_PIXELS // 2

# Changes of an image; the module pixels has those that may have lost its content.
CONVERTED = "images converted to JPEG"
TURNED = "images turned upright as their EXIF data says"

_JPEG_END = b"\xff\xd9"

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
      size: (width, height) according to the annotations; None if they do not tell.
      ignore_exif: never turn the pixels.

    Returns:
      (encoded, size, changes): bytes of a JPEG; its (width, height); and a list that
      may contain CONVERTED, TURNED, and the losses of pixels.to_8_bits.

    Raises:
      ValueError: the image cannot be used, or its size contradicts the annotations.
      OSError: the file cannot be read.
    """
    encoded, image, changes = read(path, size, ignore_exif)
    if not changes:
        return encoded, image.size, changes
    # The sides of a JPEG have at most 65500 pixels.
    with _naming("converted to a JPEG"):
        # Pillow would write comments into the JPEG.
        image.info, output = {}, io.BytesIO()
        # Full resolution for chroma as well.
        image.save(output, "JPEG", quality=95, subsampling=0)
    return output.getvalue(), image.size, changes


def read(path: str, size=None, ignore_exif: bool = False):
    """Reads an image file, and decodes it if training cannot use it as it is.

    Arguments and errors are those of `load`.

    Returns:
      (encoded, image, changes): bytes of the file; PIL.Image.Image; and a list, see
      `load`. If the list is empty, the file is a JPEG that TensorFlow decodes
      correctly, and the image is not decoded. Otherwise the image has 8 bits, is
      upright, and has the mode "L" or "RGB".
    """
    num_bytes = os.path.getsize(path)
    if num_bytes > MAX_BYTES:
        raise ValueError(f"has {num_bytes} bytes; the limit is {MAX_BYTES}")
    with open(path, "rb") as file:
        encoded = file.read()
    image, changes = _open(encoded), []
    if not _is_plain_jpeg(image):
        changes.append(CONVERTED)
        # Now, because a PNG may contain its orientation after the pixels, and because
        # Pillow turns a TIFF while decoding it.
        with _naming("decoded"):
            image.load()
    orientation = 1 if ignore_exif else _orientation(image)
    if _is_turned(image.size, orientation, size):
        changes.append(TURNED)
    if changes:
        with _naming("decoded"):
            image, losses = pixels.to_8_bits(image, encoded)
            if TURNED in changes:
                image = image.transpose(_TURNS[orientation])
        changes += losses
    return encoded, image, changes


def exif_orientation(encoded: bytes) -> int:
    """Returns the EXIF orientation, 1 to 8, of an image; 1 if it does not tell."""
    try:
        return _orientation(_open(encoded))
    except ValueError:
        return 1


@contextlib.contextmanager
def _naming(action):
    """Turns an error of Pillow, which may be of any kind, into a ValueError."""
    try:
        yield
    except Image.UnidentifiedImageError:
        raise ValueError("is not an image that Pillow can open") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cannot be {action}: {reason}") from error


def _open(encoded):
    """Opens an image without decoding its pixels."""
    file = io.BytesIO(encoded)
    Image.init()
    # The plug-in for EPS starts Ghostscript, whose language can read files.
    formats = [name for name in Image.ID if name != "EPS"]
    with _naming("opened"):
        image = Image.open(file, formats=formats)
    # Pillow has read up to the pixels. A thumbnail before them has its own end marker.
    if image.format == "JPEG" and encoded.rfind(_JPEG_END) < file.tell():
        raise ValueError("is cut off: it is a JPEG without an end marker")
    return image


def _is_plain_jpeg(image):
    """Whether TensorFlow decodes an image to the right colors.

    There are two kinds of CMYK, and TensorFlow only knows Adobe's. A lossless JPEG has
    no quantization tables.
    """
    # MPO is a JPEG with further pictures behind the first, as some cameras write it.
    is_jpeg = image.format in ("JPEG", "MPO")
    return is_jpeg and image.mode in ("L", "RGB") and bool(image.quantization)


def _orientation(image):
    # Decoding a TIFF has turned it already.
    if image.format == "TIFF":
        return 1
    # Broken EXIF data makes Pillow raise exceptions of any kind.
    try:
        value = image.getexif().get(_ORIENTATION_TAG)
    except Exception:
        return 1
    return value if value in _TURNS else 1


def _is_turned(stored, orientation, size):
    """Whether annotators who give this size saw the turned image.

    Raises:
      ValueError: the size is neither that of the stored pixels nor the turned one.
    """
    upright = stored[::-1] if orientation >= 5 else stored
    if size not in (None, stored, upright):
        hint = ": width and height are exchanged" if size == stored[::-1] else ""
        raise ValueError(
            f"has {stored[0]} x {stored[1]} pixels, but the annotations say "
            f"{size[0]} x {size[1]}{hint}"
        )
    return orientation != 1 and size in (None, upright)
