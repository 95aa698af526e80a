# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Image files: kept as they are, encoded as JPEGs, turned upright, or refused."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image, ImageOps

import records
from conversion import image_file, pixels
from detection import picture_stream

WIDTH, HEIGHT = 60, 40
SIZE = (WIDTH, HEIGHT)


def picture(mode="RGB"):
    """A smooth image, which JPEG keeps; its sides and corners all differ."""
    seed = np.random.RandomState(5).randint(0, 256, [4, 5, 3]).astype(np.uint8)
    image = Image.fromarray(seed).resize(SIZE, Image.BICUBIC)
    return image if mode == "RGB" else image.convert(mode)


def sixteen_bits(divisor=1):
    values = np.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) // divisor
    return Image.fromarray(values.astype(np.uint16 if divisor == 1 else np.uint8))


def encode(image, kind="JPEG", orientation=None, **options):
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    if kind in ("JPEG", "WEBP"):
        options.setdefault("quality", 95)
    if kind == "WEBP":
        options["method"] = 0
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def gray(numbers, kind="PNG"):
    return encode(Image.fromarray(numbers), kind)


@pytest.fixture
def load(tmp_path):
    def load(encoded, size=None, **options):
        (tmp_path / "x.img").write_bytes(encoded)
        return image_file.load(str(tmp_path / "x.img"), size, **options)

    return load


@pytest.fixture(scope="module")
def decode():
    """Function that decodes JPEGs and PNGs as training does, to int [h, w, 3]."""
    with tf.Graph().as_default(), tf.Session() as session:
        encoded = tf.placeholder(tf.string, [])
        pixels = tf.image.decode_jpeg(encoded, channels=3)
        yield lambda value: session.run(pixels, {encoded: value}).astype(int)


def reopened(encoded):
    return Image.open(io.BytesIO(encoded))


@pytest.fixture(scope="module")
def difference(decode):
    """Function for the mean difference of TensorFlow's pixels from a Pillow image."""

    def difference(encoded, image):
        found, expected = decode(encoded), np.asarray(image.convert("RGB"))
        assert found.shape == expected.shape
        return np.abs(found - expected).mean()

    return difference


@pytest.mark.parametrize(
    "encoded",
    [
        encode(picture()),
        encode(picture("L")),
        encode(picture(), progressive=True),
        # With a second picture, as some cameras write it.
        encode(picture(), "MPO", save_all=True, append_images=[picture("L")]),
        encode(picture()) + b"\0" * 20,
        b"\xff\xd8\xff\xff\xff" + encode(picture())[2:],
    ],
    ids="rgb gray progressive two_pictures bytes_after_the_end fill_bytes".split(),
)
def test_a_jpeg_is_kept_byte_for_byte_and_decodes_right(load, difference, encoded):
    assert load(encoded, SIZE) == (encoded, SIZE, [])
    # JPEG decoders differ in how they upsample chroma.
    assert difference(encoded, reopened(encoded)) < 2


@pytest.mark.parametrize(
    "encoded, expected, limit",
    [
        (encode(picture(), "BMP"), picture(), 2),
        # JPEG smooths the dots with which GIF imitates missing colors.
        (encode(picture(), "GIF", comment=b"x" * 70000), picture(), 12),
        (encode(picture(), "TIFF"), picture(), 2),
        (encode(picture(), "WEBP"), picture(), 4),
        (encode(picture("CMYK")), picture(), 4),
        (encode(sixteen_bits(), "TIFF"), sixteen_bits(256), 2),
    ],
    ids="bmp gif tiff webp cmyk_jpeg 16_bits".split(),
)
def test_other_images_become_jpegs_of_the_same_pixels(
    load, difference, encoded, expected, limit
):
    converted, size, changes = load(encoded, expected.size)
    assert (size, changes) == (expected.size, [image_file.CONVERTED])
    assert reopened(converted).mode in ("RGB", "L")
    assert difference(converted, expected) < limit
    # A second conversion keeps it; comments are gone.
    assert load(converted, size) == (converted, size, [])
    assert b"xxx" not in converted


@pytest.mark.parametrize(
    "image, options",
    [
        (picture(), {}),
        (picture("1"), {}),
        (picture("RGBA"), {}),
        (picture("LA"), {}),
        (picture("P"), {"transparency": bytes(range(256))}),
        (sixteen_bits(), {}),
    ],
    ids="rgb bits rgba gray_alpha clear_colors 16_bits".split(),
)
def test_a_png_becomes_a_jpeg_of_what_tensorflow_sees(
    load, decode, image, options, recwarn
):
    encoded = encode(image, "PNG", **options)
    converted, size, changes = load(encoded, SIZE)
    assert (size, changes[0]) == (SIZE, image_file.CONVERTED)
    assert changes[1:] == [pixels.TRANSPARENT] * ("transparency" in options)
    # JPEG smooths the dots with which a palette imitates missing colors.
    limit = 6 if image.mode == "P" else 2
    assert np.abs(decode(converted) - decode(encoded)).mean() < limit
    assert not [w for w in recwarn if "PIL" in w.filename]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pixels_are_turned_as_viewers_turn_them(load, difference, kind, orientation):
    encoded = encode(picture(), kind, orientation)
    upright = ImageOps.exif_transpose(
        reopened(encode(picture(), "PNG", orientation=orientation))
    )
    turned, size, changes = load(encoded, upright.size)
    assert size == upright.size
    # Pillow turns a TIFF while decoding it.
    assert (image_file.TURNED in changes) == (orientation > 1 and kind != "TIFF")
    assert difference(turned, upright) < 4
    # The result must not be turned once more.
    assert image_file.exif_orientation(turned) == 1
    # Without annotations it is turned as well.
    assert load(encoded)[1] == upright.size


def test_the_size_of_the_annotations_or_else_the_flag_decides_on_turning(
    load, difference
):
    for kind, changes in (("JPEG", []), ("PNG", [image_file.CONVERTED])):
        kept, size, found = load(encode(picture(), kind, orientation=6), SIZE)
        assert (size, found) == (SIZE, changes)
        assert difference(kept, picture()) < 4
    # Both sizes fit.
    encoded = encode(picture(), orientation=3)
    assert load(encoded, SIZE)[2] == [image_file.TURNED]
    assert load(encoded, SIZE, ignore_exif=True) == (encoded, SIZE, [])


@pytest.mark.parametrize(
    "size, orientation, ignore_exif, message",
    [
        ((HEIGHT, WIDTH), 3, False, "40 x 60: width and height are exchanged"),
        ((HEIGHT, WIDTH), 6, True, "the annotations say 40 x 60"),
        ((WIDTH * 2, HEIGHT * 2), 6, False, "has 60 x 40 pixels, but"),
    ],
)
def test_a_size_that_fits_neither_way_is_refused(
    load, size, orientation, ignore_exif, message
):
    with pytest.raises(ValueError, match=message):
        load(encode(picture(), orientation=orientation), size, ignore_exif=ignore_exif)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_cut_anywhere_is_refused(load, kind):
    encoded = encode(picture(), kind)
    # A PNG ends with two checksums and the chunk IEND, which Pillow does not need.
    last = len(encoded) - (1 if kind == "JPEG" else 30)
    for end in [*range(8, last, 97), last]:
        with pytest.raises(ValueError, match="cut off|cannot be|is not"):
            load(encoded[:end])


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    with open(str(tmp_path / "x.jpg"), "wb") as file:
        file.truncate(2**33)
    with pytest.raises(ValueError, match="has 8589934592 bytes; the limit is 26843"):
        image_file.load(str(tmp_path / "x.jpg"))


def lossless_jpeg():
    """A JPEG without quantization tables, as far as its header goes."""
    encoded = encode(picture())
    return encoded.replace(b"\xff\xdb", b"\xff\xee").replace(b"\xff\xc0", b"\xff\xc3")


@pytest.mark.parametrize(
    "encoded, message",
    [
        (b"text", "is not an image that Pillow can open"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
        (encode(picture(), "BMP")[:-500], "cannot be decoded: "),
        (lossless_jpeg(), "cannot be decoded: "),
        (
            gray(np.float32([[0.25, 2]]), "TIFF"),
            "its pixels are from 0.25 to 2, and it does not tell which numbers are bla",
        ),
        (gray(np.float32([[np.nan, 2]]), "TIFF"), "from nan to"),
        (gray(np.int32([[-1, 9]]), "TIFF"), "from -1 to 9, and"),
        (gray(np.int32([[0, 65536]]), "TIFF"), "from 0 to 65536"),
        (encode(Image.new("L", (70000, 8)), "PNG"), "cannot be converted to a JPEG: "),
        (records.png(60000, 8, 2, b"\0" * 9999), "cannot be opened: .* bomb"),
        # Between the limits of this project and of Pillow.
        (records.png(9000, 8, 2, b"\0" * 9999), "cannot be opened: .* bomb"),
    ],
    ids=(
        "text eps cut_bmp lossless_jpeg floats no_number negative 32_bits wide huge "
        "large"
    ).split(),
)
def test_an_image_that_cannot_be_used_is_refused(load, encoded, message):
    with pytest.raises(ValueError, match=message):
        load(encoded)


def columns(*numbers, kind=np.uint16):
    """Blocks of 8 x 8 pixels with these numbers, which JPEG keeps."""
    return np.repeat(np.array([numbers], kind), 8, 0).repeat(8, 1)


def tiff(numbers, more_tags):
    """An uncompressed gray TIFF; more_tags: dict from tag to int or float."""
    height, width = numbers.shape
    data = numbers.tobytes()
    if more_tags.get(258) == 12:
        pairs = numbers.astype(int).reshape(-1, 2)
        data = b"".join((a << 12 | b).to_bytes(3, "big") for a, b in pairs.tolist())
    tags = {256: width, 257: height, 258: numbers.itemsize * 8, 259: 1, 262: 1}
    tags.update({273: 8, 277: 1, 278: height, 279: len(data), **more_tags})
    entries = [
        struct.pack("<HHIHH", tag, 3, 1, value, 0)
        if isinstance(value, int)
        else struct.pack("<HHIf", tag, 11, 1, value)
        for tag, value in sorted(tags.items())
    ]
    head = b"II" + struct.pack("<HI", 42, 8 + len(data))
    return head + data + struct.pack("<H", len(tags)) + b"".join(entries) + b"\0" * 4


def png(numbers, bits):
    """A gray PNG of 16 bits whose chunk sBIT tells a smaller number of bits."""
    encoded = encode(Image.fromarray(numbers), "PNG")
    body = b"sBIT" + bytes([bits])
    chunk = struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body))
    return encoded[:33] + chunk + encoded[33:]


LOSS = pixels.DARK_OR_BRIGHT
TWELVE = columns(0, 300, 3900, 4095)
FLOATS = columns(0, 0.25, 0.5, 1, kind=np.float32)


@pytest.mark.parametrize(
    "encoded, expected, losses",
    [
        # BitsPerSample; PhotometricInterpretation.
        (tiff(TWELVE, {258: 12}), [0, 18, 243, 255], []),
        (tiff(TWELVE * 16, {262: 0}), [255, 237, 12, 0], []),
        # SMinSampleValue and SMaxSampleValue; SampleFormat.
        (tiff(TWELVE, {341: 4095.0}), [0, 18, 243, 255], []),
        (tiff(FLOATS * 2 - 1, {339: 3, 340: -1.0, 341: 1.0}), [0, 64, 128, 255], []),
        # Few of the 65536 numbers are used, as by scanners and thermal cameras.
        (tiff(columns(30000, 31000, 32000), {}), [117, 121, 125], [LOSS]),
        # MaxSampleValue, which may only be the brightest pixel.
        (tiff(TWELVE, {281: 4095}), [0, 18, 243, 255], []),
        (tiff(TWELVE // 2, {281: 2040}), [0, 0, 7, 7], [LOSS]),
        (png(TWELVE, 12), [0, 18, 243, 255], []),
        # As the standard has it: scaled, and the file tells where it comes from.
        (png(TWELVE * 16, 12), [0, 18, 243, 255], []),
        (png(columns(0, 16, 160, 1600), 12), [0, 0, 0, 6], [LOSS]),
        # Nothing tells that these have 12 bits; 3900 is only the brightest pixel.
        (gray(TWELVE), [0, 1, 15, 15], [LOSS]),
        (gray(columns(2, 2**14 - 1)), [0, 63], [LOSS]),
        (gray(columns(2, 2**14)), [0, 64], []),
        (gray(columns(61440, 65535)), [240, 255], [LOSS]),
        (gray(columns(0, 9, 20, kind=np.uint8)), [0, 9, 20], [LOSS]),
    ],
    ids=(
        "12_bits white_is_zero largest below_0 low_contrast maximum brightest sbit "
        "sbit_scaled sbit_scaled_dark unknown 14_bits 15_bits bright 8_bits"
    ).split(),
)
def test_larger_numbers_are_scaled_as_the_file_tells_or_named(
    load, decode, encoded, expected, losses
):
    converted, _, changes = load(encoded)
    assert changes == [image_file.CONVERTED, *losses]
    np.testing.assert_allclose(decode(converted)[4, 4::8, 0], expected, atol=2)


@pytest.mark.parametrize(
    "encoded",
    [
        encode(picture("L")),
        encode(picture("CMYK")),
        encode(picture("RGBA"), "PNG"),
        encode(picture("P"), "PNG", orientation=6),
        tiff(TWELVE, {258: 12}),
        encode(picture(), "WEBP", lossless=True),
        encode(picture("L"), "GIF", save_all=True, append_images=[picture("1")]),
        encode(picture(), orientation=6),
    ],
    ids="gray cmyk alpha turned_png tiff webp first_of_gif turned_jpeg".split(),
)
def test_detect_sees_the_pixels_that_the_conversion_encodes(
    load, decode, tmp_path, encoded
):
    converted, size, changes = load(encoded)
    found = picture_stream.Decoder().pixels(str(tmp_path / "x.img"))
    assert found.shape == (size[1], size[0], 3) and found.dtype == np.uint8
    if changes:
        image = Image.fromarray(found).convert(reopened(converted).mode)
        assert encode(image, quality=95, subsampling=0) == converted
    else:
        np.testing.assert_array_equal(found, decode(converted))
