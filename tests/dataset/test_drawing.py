# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Boxes and labels are drawn where they should be, in their colors."""

import pytest

from dataset import drawing

Image = pytest.importorskip("PIL.Image")

RED, GREEN, GRAY = (255, 0, 0), (0, 255, 0), (90, 90, 90)


@pytest.fixture
def picture():
    return Image.new("RGB", (300, 200), GRAY)


def test_a_box_is_an_outline_at_its_ltrb(picture):
    drawn = drawing.draw(picture, [[50, 100, 120, 260]], [""], [RED])
    for x, y in ((100, 80), (260, 80), (180, 50), (180, 120)):
        assert drawn.getpixel((x, y)) == RED
    for x, y in ((180, 85), (97, 80), (263, 80), (180, 47), (180, 123)):
        assert drawn.getpixel((x, y)) == GRAY
    assert picture.getpixel((100, 80)) == GRAY


def test_later_boxes_lie_over_earlier_ones_and_boxes_are_clipped(picture):
    boxes = [[-9, 310, -5, 320], [150, 100, 150, 100]] + [[-40, -30, 500, 700]] * 2
    drawn = drawing.draw(
        picture, boxes, ["outside", "empty", "", ""], [RED, RED, GREEN, RED]
    )
    assert drawn.size == (300, 200)
    assert drawn.getpixel((0, 190)) == drawn.getpixel((299, 190)) == RED


def test_a_label_is_above_its_box_or_inside_at_the_upper_edge(picture):
    boxes = [[100, 20, 150, 200], [0, 20, 60, 200]]
    drawn = drawing.draw(picture, boxes, ["dog 0.95", "cat 0.50"], [RED, GREEN])
    # The letters cover a part of the label; the rest has the color of the box.
    for (left, upper), color in (((23, 88), RED), ((23, 4), GREEN)):
        pixels = list(drawn.crop((left, upper, left + 30, upper + 8)).getdata())
        assert pixels.count(color) > len(pixels) / 4


@pytest.mark.parametrize(
    "mode, label",
    [("L", "é 狗 🐕"), ("RGBA", "x" * 200), ("CMYK", "\ud800"), ("P", "two\nlines")],
)
def test_any_text_is_drawn_on_any_picture(mode, label):
    drawn = drawing.draw(Image.new(mode, (40, 30)), [[5, 5, 20, 30]], [label], [RED])
    assert (drawn.mode, drawn.size) == ("RGB", (40, 30))


def test_neighboring_numbers_have_colors_far_apart():
    colors = [drawing.color_of(i) for i in range(1, 91)]
    assert len(set(colors)) == 90
    for left, right in zip(colors, colors[1:]):
        assert sum(abs(a - b) for a, b in zip(left, right)) > 100
