# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Image files as training reads them: JPEGs, pixels upright, never huge.

A JPEG whose pixels TensorFlow decodes right is kept byte for byte, and no package is
needed for it. Whatever else Pillow opens is made a JPEG, once. (PNGs too, though
training reads them: they take longer to decode, for no window of one is decoded alone,
and TensorFlow logs a line for each whose color profile is odd.)

EXIF orientation: TensorFlow decodes the pixels as they are stored and ignores the tag.
The annotations' width and height tell what the annotators saw. Those of the turned
image: the pixels are turned for good, as viewers do. Those of the stored pixels: they
stay. Where both are the same (half turns, mirror images, squares) they are turned:
viewers and annotation tools have done so for years; ignore_exif says otherwise.

Sizes are (width, height) in pixels.
"""

import io
import os
import struct
import warnings
from typing import NamedTuple

# More than any camera's; a decoder would take 200 MB for them.
MAX_PIXELS = 2**26
# A TFRecord's limit is 2 GB; no image comes near.
MAX_BYTES = 2**28

# Of images that have to be written anew. Chroma at full resolution.
_JPEG_OPTIONS = {"quality": 95, "subsampling": 0}

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_START_OF_SCAN = 0xDA
_APP1 = 0xE1
# Start-of-frame markers; C4, C8 and CC mean other things.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Baseline, extended and progressive, all with Huffman codes.
_COMMON_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
# Markers that stand alone, without a length.
_LONE_MARKERS = frozenset([0x01] + list(range(0xD0, 0xD8)))
_ORIENTATION_TAG = 0x0112
# EXIF orientation: methods of PIL.Image.Transpose that turn the pixels upright.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


class Header(NamedTuple):
    """What a JPEG or PNG says of itself.

    Attributes:
      size: of the stored pixels.
      orientation: 1..8, as in EXIF; 1 where nothing is said.
      is_plain: whether it is a JPEG that TensorFlow decodes to the right colors.
    """

    size: tuple
    orientation: int
    is_plain: bool

    @property
    def upright_size(self):
        """Size after turning as the orientation says."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_header(encoded: bytes):
    """Reads size and kind of a JPEG or PNG without decoding it.

    Args:
      encoded: the whole file.

    Returns:
      Header; None when it is neither.

    Raises:
      ValueError: when it is cut off, broken or claims more than MAX_PIXELS.
    """
    try:
        if encoded.startswith(_JPEG_START):
            header = _read_jpeg(encoded)
        elif encoded.startswith(_PNG_START):
            header = _read_png(encoded)
        else:
            return None
    except (struct.error, IndexError):
        raise ValueError("is cut off in its header") from None
    _check_size(header.size)
    return header


def _check_size(size):
    if not all(size):
        raise ValueError(f"says that it has {size[0]} x {size[1]} pixels")
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            f"says that it has {size[0]} x {size[1]} pixels; at most {MAX_PIXELS} "
            "are taken"
        )


def _read_jpeg(encoded):
    frame, orientation, position = None, 1, 2
    while True:
        # Decoders skip what stands before a marker, and repeated FF.
        position = encoded.find(b"\xff", position)
        marker = encoded[position + 1] if position >= 0 else 0xFF
        if position < 0 or marker == _START_OF_SCAN:
            break
        if marker in (0x00, 0xFF) or marker in _LONE_MARKERS:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", encoded, position + 2)
        if marker in _FRAMES:
            frame = (marker,) + struct.unpack_from(">BHHB", encoded, position + 4)
        elif marker == _APP1 and encoded.startswith(b"Exif\0\0", position + 4):
            orientation = _orientation(encoded[position + 10 : position + 2 + length])
        position += 2 + length
    if frame is None:
        raise ValueError("is a JPEG without an image")
    if position < 0 or encoded.rfind(_JPEG_END) < position:
        raise ValueError("is cut off: it is a JPEG without an end")
    marker, bits, height, width, channels = frame
    # Of CMYK there are two kinds, and TensorFlow knows only Adobe's.
    is_plain = marker in _COMMON_FRAMES and bits == 8 and channels in (1, 3)
    return Header((width, height), orientation, is_plain)


def _read_png(encoded):
    size, orientation, position = None, 1, len(_PNG_START)
    while True:
        length, kind = struct.unpack_from(">I4s", encoded, position)
        if position + 12 + length > len(encoded):
            raise ValueError("is cut off: it is a PNG without an end")
        if kind == b"IHDR":
            size = struct.unpack_from(">II", encoded, position + 8)
        elif kind == b"eXIf":
            orientation = _orientation(encoded[position + 8 : position + 8 + length])
        elif kind == b"IEND":
            break
        position += 12 + length
    if size is None:
        raise ValueError("is a PNG without a header")
    return Header(size, orientation, is_plain=False)


def _orientation(exif):
    """The orientation of a TIFF header with tags; 1 when it says nothing sensible."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return 1
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for i in range(count):
            entry = start + 2 + 12 * i
            tag, kind = struct.unpack_from(order + "HH", exif, entry)
            if tag == _ORIENTATION_TAG:
                code = {3: "H", 4: "I"}.get(kind, "B")
                (value,) = struct.unpack_from(order + code, exif, entry + 8)
                return value if value in _TURNS else 1
    except struct.error:
        pass
    return 1


def is_turned(header, size, ignore_exif=False) -> bool:
    """Says whether boxes belong to the turned image rather than the stored pixels.

    Args:
      header: Header.
      size: what the annotations say, (width, height); None when they say nothing.
      ignore_exif: the annotators saw the stored pixels.

    Returns:
      bool; False as well where the orientation is 1.

    Raises:
      ValueError: when the annotations' size is neither's.
    """
    can_turn = header.orientation != 1 and not ignore_exif
    if can_turn and size in (None, header.upright_size):
        return True
    if size not in (None, header.size):
        hint = ""
        if tuple(size) == header.size[::-1]:
            hint = ": width and height are exchanged"
        raise ValueError(
            f"has {header.size[0]} x {header.size[1]} pixels, but the annotations say "
            f"{size[0]} x {size[1]}{hint}"
        )
    return False


def read_file(path: str) -> bytes:
    """Reads an image file.

    Args:
      path: of the file.

    Returns:
      its bytes.

    Raises:
      ValueError: when it has more than MAX_BYTES or none.
      OSError: when it cannot be read.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not 0 < size <= MAX_BYTES:
            raise ValueError(f"has {size} bytes; an image has 1 to {MAX_BYTES}")
        return file.read()


def load(path: str, size=None, ignore_exif: bool = False):
    """Reads an image file as training wants it.

    Args:
      path: of the file.
      size: (width, height) that the annotations say; None when they say nothing.
      ignore_exif: never turn the pixels.

    Returns:
      (encoded, header, changes): bytes of a JPEG; its Header; and what had to be done:
      a tuple that may hold "converted" and "turned".

    Raises:
      ValueError: what is wrong, to follow the file's name: "is cut off".
      OSError: when the file cannot be read.
    """
    encoded = read_file(path)
    header = read_header(encoded)
    if header is not None and header.is_plain:
        if not is_turned(header, size, ignore_exif):
            return encoded, header, ()
    try:
        from PIL import Image
    except ImportError:
        why = _why_pillow(encoded, header)
        raise ValueError(f"{why} Pillow: pip install Pillow") from None
    return _convert(Image, encoded, header, size, ignore_exif)


def frame(path: str, size=None, ignore_exif: bool = False) -> tuple:
    """Finds the size that `load` will give, without decoding a JPEG or PNG.

    Args:
      path: of the file.
      size: (width, height) that the annotations say; None when they say nothing.
      ignore_exif: never turn the pixels.

    Returns:
      (width, height).

    Raises:
      ValueError, OSError: as `load`.
    """
    header = read_header(read_file(path))
    if header is None:
        return size or load(path, size, ignore_exif)[1].size
    turned = is_turned(header, size, ignore_exif)
    return header.upright_size if turned else header.size


def _convert(pillow, encoded, header, size, ignore_exif):
    """Decodes, turns and encodes once; pillow: its module Image."""
    image = _decode(pillow, encoded)
    stored = header or Header(image.size, _orientation_of(image), is_plain=False)
    changes = () if stored.is_plain else ("converted",)
    if is_turned(stored, size, ignore_exif):
        changes += ("turned",)
        image = image.transpose(getattr(pillow, _TURNS[stored.orientation]))
    output = io.BytesIO()
    try:
        _to_rgb(pillow, image).save(output, "JPEG", **_JPEG_OPTIONS)
    except OSError as error:
        raise ValueError(
            f"with {image.width} x {image.height} pixels cannot be made a JPEG, which "
            f"has at most 65500 a side: {error}"
        ) from error
    return output.getvalue(), Header(image.size, 1, is_plain=True), changes


def _why_pillow(encoded, header):
    if not encoded.startswith(_JPEG_START):
        return "is no JPEG, and to make it one needs"
    if header.is_plain:
        return "has to be turned as its EXIF data says, which needs"
    return "is a JPEG of a rare kind (CMYK for one), which needs"


def _decode(pillow, encoded):
    pillow.init()
    # The plug-in of EPS starts Ghostscript, a language that can read files.
    formats = [name for name in pillow.ID if name != "EPS"]
    pillow.MAX_IMAGE_PIXELS = MAX_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        try:
            # This checks the size; the next line takes the memory.
            image = pillow.open(io.BytesIO(encoded), formats=formats)
            image.load()
        except pillow.UnidentifiedImageError:
            raise ValueError("is no image that Pillow opens") from None
        # Its decoders raise whatever broken bytes lead them to.
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"cannot be decoded: {text}") from error
    return image


def _orientation_of(image):
    # Pillow turns TIFFs itself when it loads them.
    value = 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION_TAG)
    return value if value in _TURNS else 1


def _to_rgb(pillow, image):
    """RGB, or gray where that is all there is."""
    if image.mode == "F":
        raise ValueError("has pixels of floating point, of no known range")
    if image.mode.startswith("I"):
        import numpy as np

        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 0xFFFF:
            raise ValueError("has pixels of more than 16 bits")
        return pillow.fromarray((pixels >> 8).astype(np.uint8))
    # Pillow warns of clear colors, and puts comments into the JPEG, if they fit.
    image.info = {}
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
