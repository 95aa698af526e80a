# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Size and completeness of a JPEG or PNG, read without decoding it."""

import struct

# An image whose header claims more pixels is taken to be damaged.
MAX_PIXELS = 2**26

_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND"

# JPEG markers. The start of a frame holds the size; C4, C8 and CC mean other things.
_FRAME_STARTS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers that no segment of a given length follows, and bytes that are not markers.
_WITHOUT_SEGMENT = frozenset(range(0xD0, 0xD8)) | {0x00, 0x01, 0xFF}
_SCAN_START, _IMAGE_END = 0xDA, 0xD9
# Bytes of a start of frame up to the size: marker, length, precision, height, width.
_FRAME_HEADER_BYTES = 9


def read_size(encoded):
    """Returns (height, width) in pixels of a JPEG or PNG, which must not be cut off.

    Raises:
      ValueError: one line; the image is neither a JPEG nor a PNG, has no size, claims
        more than MAX_PIXELS, or lacks its end marker.
    """
    if encoded.startswith(_JPEG_START):
        position = _find_frame(encoded)
        height, width = struct.unpack_from(">HH", encoded, position + 5)
        end = _JPEG_END
    elif encoded.startswith(_PNG_START) and len(encoded) >= 24:
        # The first chunk starts with 4 bytes each of length, name, width and height.
        width, height = struct.unpack_from(">II", encoded, 16)
        position, end = 24, _PNG_END
    else:
        raise ValueError("its image is neither a JPEG nor a PNG")
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(
            f"its image claims {width} x {height} pixels; at least 1 and at most "
            f"{MAX_PIXELS} pixels can be used"
        )
    # Searched from the back: other bytes may follow the end marker.
    if encoded.rfind(end, position) < 0:
        raise ValueError("its image is cut off: it has no end marker")
    return height, width


def _find_frame(encoded):
    """Returns the position of the start of frame in a JPEG."""
    position = len(_JPEG_START) - 1
    while position + _FRAME_HEADER_BYTES <= len(encoded):
        marker = encoded[position + 1]
        if encoded[position] != 0xFF or marker in _WITHOUT_SEGMENT:
            position += 1  # like libjpeg, skips what is not a segment
        elif marker in _FRAME_STARTS:
            return position
        elif marker in (_SCAN_START, _IMAGE_END):
            break
        else:
            (length,) = struct.unpack_from(">H", encoded, position + 2)
            position += 2 + length
    raise ValueError("its image is a JPEG without a size")
