# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Image files: kept as they are, made JPEGs, turned upright, or refused."""

import io
import os
import resource
import struct
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image, ImageOps

import records
from conversion import image_file

TOOLS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    "tools",
)
WIDTH, HEIGHT = 60, 40


def picture(mode="RGB"):
    """Smooth, so that JPEG keeps it; no two sides or corners are alike."""
    seed = np.random.RandomState(5).randint(0, 256, [4, 5, 3]).astype(np.uint8)
    image = Image.fromarray(seed).resize((WIDTH, HEIGHT), Image.BICUBIC)
    return image if mode == "RGB" else image.convert(mode)


def sixteen_bits():
    values = np.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    return Image.fromarray(values.astype(np.uint16))


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


@pytest.fixture
def load(tmp_path):
    def load(encoded, size=None, **options):
        (tmp_path / "x.img").write_bytes(encoded)
        return image_file.load(str(tmp_path / "x.img"), size, **options)

    return load


def as_training_sees(encoded):
    """int32 [height, width, 3] of TensorFlow."""
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.image.decode_jpeg(encoded, channels=3)).astype(int)


def difference(encoded, image):
    """Mean difference of TensorFlow's pixels from those of a Pillow image."""
    pixels = as_training_sees(encoded)
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape == expected.shape
    return np.abs(pixels - expected).mean()


@pytest.mark.parametrize(
    "encoded",
    [
        encode(picture()),
        encode(picture("L")),
        encode(picture(), progressive=True),
    ],
    ids="rgb gray progressive".split(),
)
def test_a_jpeg_is_kept_byte_for_byte_and_reads_right(load, encoded):
    kept, header, changes = load(encoded, (WIDTH, HEIGHT))
    assert kept == encoded
    assert changes == ()
    assert header.size == (WIDTH, HEIGHT)
    # JPEG decoders differ in how they spread the coarser colors.
    assert difference(kept, Image.open(io.BytesIO(encoded))) < 2


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA"])
def test_other_kinds_become_jpegs_of_the_same_pixels(load, kind):
    encoded = encode(picture(), kind)
    converted, header, changes = load(encoded, (WIDTH, HEIGHT))
    assert changes == ("converted",)
    assert image_file.read_header(converted) == header
    assert header.is_plain
    # JPEG smooths the dots that stand for GIF's missing colors.
    limit = 6 if kind == "GIF" else 2
    assert difference(converted, Image.open(io.BytesIO(encoded))) < limit


@pytest.mark.parametrize(
    "image, options",
    [
        (picture(), {}),
        (picture("L"), {}),
        (picture("1"), {}),
        (picture("P"), {}),
        (picture("RGBA"), {}),
        (picture("LA"), {}),
        (picture("P"), {"transparency": 3}),
        (picture("P"), {"transparency": bytes(range(256))}),
        (sixteen_bits(), {}),
    ],
    ids=(
        "rgb gray bits palette alpha gray_alpha clear_color clear_colors sixteen"
    ).split(),
)
def test_a_png_becomes_a_jpeg_of_what_tensorflow_sees(load, image, options, recwarn):
    encoded = encode(image, "PNG", **options)
    converted, header, changes = load(encoded, (WIDTH, HEIGHT))
    assert changes == ("converted",)
    assert image_file.read_header(converted) == header
    before, after = as_training_sees(encoded), as_training_sees(converted)
    # JPEG smooths the dots that stand for a palette's missing colors.
    assert np.abs(after - before).mean() < (6 if image.mode == "P" else 2)
    assert not [w for w in recwarn if "PIL" in w.filename]


def test_a_cmyk_jpeg_gets_the_colors_that_it_shows(load):
    converted, header, changes = load(encode(picture("CMYK")), (WIDTH, HEIGHT))
    assert changes == ("converted",)
    assert Image.open(io.BytesIO(converted)).mode == "RGB"
    assert difference(converted, picture()) < 4


def test_sixteen_bits_keep_their_upper_eight(load):
    converted = load(encode(sixteen_bits(), "TIFF"))[0]
    expected = Image.fromarray((np.asarray(sixteen_bits()) // 256).astype(np.uint8))
    assert difference(converted, expected) < 2


def test_noise_and_long_comments_are_no_harm(load):
    noise = np.random.RandomState(0).randint(0, 256, [500, 500, 3]).astype(np.uint8)
    converted = load(encode(Image.fromarray(noise), "PNG"))[0]
    assert difference(converted, Image.fromarray(noise)) < 20
    converted = load(encode(picture(), "GIF", comment=b"x" * 70000))[0]
    assert b"xxx" not in converted


def test_a_side_that_no_jpeg_has_is_refused(load):
    with pytest.raises(ValueError, match="70000 x 8 pixels cannot be made a JPEG"):
        load(encode(Image.new("L", (70000, 8)), "PNG"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pixels_are_turned_as_viewers_turn_them(load, kind, orientation):
    encoded = encode(picture(), kind, orientation)
    upright = ImageOps.exif_transpose(
        Image.open(io.BytesIO(encode(picture(), "PNG", orientation)))
    )
    turned, header, changes = load(encoded, upright.size)
    assert header.size == upright.size
    assert header.orientation == 1
    is_turned = orientation > 1 and kind != "TIFF"
    # Pillow turns a TIFF while it loads it.
    assert ("turned" in changes) == is_turned
    # A second reading finds nothing to turn.
    assert image_file.read_header(turned).orientation == 1
    assert difference(turned, upright) < 4


def test_annotations_of_the_stored_size_keep_the_stored_pixels(load):
    encoded = encode(picture(), orientation=6)
    kept, header, changes = load(encoded, (WIDTH, HEIGHT))
    assert (kept, changes) == (encoded, ())
    assert header.upright_size == (HEIGHT, WIDTH)
    converted, header, changes = load(encode(picture(), "PNG", 6), (WIDTH, HEIGHT))
    assert changes == ("converted",)
    assert header.size == (WIDTH, HEIGHT)
    assert difference(converted, picture()) < 2


def test_where_both_sizes_fit_the_flag_decides(load):
    encoded = encode(picture(), orientation=3)
    assert load(encoded, (WIDTH, HEIGHT))[2] == ("turned",)
    kept, _, changes = load(encoded, (WIDTH, HEIGHT), ignore_exif=True)
    assert (kept, changes) == (encoded, ())


@pytest.mark.parametrize(
    "size, orientation, options, message",
    [
        ((HEIGHT, WIDTH), 1, {}, "40 x 60: width and height are exchanged"),
        ((HEIGHT, WIDTH), 3, {}, "width and height are exchanged"),
        ((HEIGHT, WIDTH), 6, {"ignore_exif": True}, "the annotations say 40 x 60"),
        ((WIDTH * 2, HEIGHT * 2), 6, {}, "has 60 x 40 pixels, but"),
    ],
)
def test_a_size_that_fits_neither_way_is_refused(
    load, size, orientation, options, message
):
    with pytest.raises(ValueError, match=message):
        load(encode(picture(), orientation=orientation), size, **options)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_is_found_in_either_byte_order(order):
    tags = struct.pack(order + "HHHIHH", 1, 0x0112, 3, 1, 8, 0)
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    data = b"Exif\0\0" + start + tags
    jpeg = encode(picture())
    segment = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    header = image_file.read_header(jpeg[:2] + segment + jpeg[2:])
    assert (header.orientation, header.upright_size) == (8, (HEIGHT, WIDTH))
    # Cut at any place it says nothing, and nothing fails.
    for end in range(len(data)):
        cut = b"\xff\xe1" + struct.pack(">H", end + 2) + data[:end]
        header = image_file.read_header(jpeg[:2] + cut + jpeg[2:])
        assert header.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_cut_anywhere_is_refused_and_never_crashes(kind):
    encoded = encode(picture(), kind)
    for end in range(8, len(encoded) - 1):
        with pytest.raises(ValueError, match="is cut off|without an image"):
            image_file.read_header(encoded[:end])


def test_bytes_behind_the_end_and_fill_bytes_are_no_harm():
    jpeg = encode(picture())
    padded = jpeg[:2] + b"\xff\xff\xff" + jpeg[2:] + b"\0" * 20
    assert image_file.read_header(padded) == image_file.read_header(jpeg)


def png_bomb():
    return records.png(60000, 8, 2, b"\0" * 9999)


def jpeg_bomb():
    encoded = bytearray(encode(picture()))
    frame = encoded.index(b"\xff\xc0")
    encoded[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    return bytes(encoded)


def bmp_bomb():
    encoded = bytearray(encode(picture(), "BMP"))
    encoded[18:26] = struct.pack("<ii", 60000, 60000)
    return bytes(encoded)


@pytest.mark.parametrize("bomb", [png_bomb, jpeg_bomb, bmp_bomb])
def test_a_huge_claim_is_refused_before_memory_is_taken(tmp_path, bomb):
    (tmp_path / "x.img").write_bytes(bomb())
    code = "import sys, image_file; image_file.load(sys.argv[1])"
    limit = 2**30
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "x.img")],
        env={"PYTHONPATH": TOOLS},
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ValueError: ")
    assert "says that it has" in last or "decompression bomb" in last


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    with open(str(tmp_path / "x.jpg"), "wb") as file:
        file.truncate(2**33)
    with pytest.raises(ValueError, match="has 8589934592 bytes; an image has 1 to"):
        image_file.load(str(tmp_path / "x.jpg"))


@pytest.mark.parametrize(
    "encoded, message",
    [
        (b"no picture", "is no image that Pillow opens"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image"),
        (encode(picture(), "BMP")[:-500], "cannot be decoded: "),
        (encode(picture("F"), "TIFF"), "floating point"),
    ],
)
def test_what_pillow_cannot_read_is_a_line(load, encoded, message):
    with pytest.raises(ValueError, match=message):
        load(encoded)


def test_without_pillow_only_what_needs_it_is_refused(load, monkeypatch):
    plain = encode(picture())
    needing = {
        "is no JPEG": encode(picture(), "PNG"),
        "to make it one": encode(picture(), "BMP"),
        "has to be turned": encode(picture(), orientation=6),
        "rare kind": encode(picture("CMYK")),
    }
    # What Python does for a package that is not there.
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert load(plain, (WIDTH, HEIGHT))[0] == plain
    for message, encoded in needing.items():
        with pytest.raises(ValueError, match=message + ".*pip install Pillow"):
            load(encoded)


def test_frame_is_the_size_that_load_gives(tmp_path):
    for kind in ("JPEG", "PNG", "WEBP"):
        for orientation in (1, 3, 6):
            (tmp_path / "x").write_bytes(encode(picture(), kind, orientation))
            for size in (None, (WIDTH, HEIGHT)):
                frame = image_file.frame(str(tmp_path / "x"), size)
                header = image_file.load(str(tmp_path / "x"), size)[1]
                assert frame == header.size
