# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The statistics of augmentation: what SSD's paper and MLPerf's reference describe.

Limits are five standard errors of the figure that is compared; they are written out
where they are used.
"""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
import dataset_parser
import records
from dataset import augmentation

DRAWS = 3000
# Height and width.
SHAPE = np.array([480, 640], np.int32)
# Two boxes that a window can lose, of unequal sides. No window exceeds an IoU of 0.3
# with the smaller box of the second pair, or of 0.1 with that of the third.
BOXES = {
    "large": np.array([[0.2, 0.1, 0.7, 0.5], [0.4, 0.35, 0.95, 0.9]], np.float32),
    "small": np.array([[0.2, 0.1, 0.7, 0.5], [0.6, 0.35, 0.73, 0.5]], np.float32),
    "tiny": np.array([[0.2, 0.1, 0.7, 0.5], [0.6, 0.35, 0.601, 0.351]], np.float32),
}


@pytest.fixture
def random():
    """Generator of random numbers, whose seed is printed if the test fails."""
    seed = np.random.randint(2**31)
    print("seed", seed)
    return np.random.RandomState(seed)


def numpy_window(random, boxes):
    """A window drawn by a plain NumPy version of the description."""
    while True:
        choice = random.randint(7)
        if choice == 0:
            return [0.0, 0.0, 1.0, 1.0]
        min_iou = (0, 0.1, 0.3, 0.5, 0.7, 0.9)[choice - 1]
        size = random.uniform(0.3, 1, [50, 2])
        corner = random.uniform(0, 1 - size)
        windows = np.concatenate([corner, corner + size], axis=1)
        accepted = windows[is_valid(windows, boxes, min_iou)]
        if len(accepted):
            return accepted[-1]


def is_valid(windows, boxes, min_iou):
    """bool [...] for windows [..., 4] and boxes [G, 4]."""
    height, width = np.moveaxis(windows[..., 2:] - windows[..., :2], -1, 0)
    is_valid = (0.5 < height / width) & (height / width < 2)
    is_valid &= numpy_iou(windows, boxes).min(axis=-1) > min_iou
    return is_valid & center_inside(windows, boxes).any(axis=-1)


def center_inside(windows, boxes):
    """bool [..., G] for windows [..., 4] and boxes [G, 4]."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    windows = windows[..., None, :]
    return ((windows[..., :2] < center) & (center < windows[..., 2:])).all(axis=-1)


def numpy_iou(windows, boxes):
    """[..., G] for windows [..., 4] and boxes [G, 4]."""
    windows = windows[..., None, :]
    low = np.maximum(windows[..., :2], boxes[:, :2])
    high = np.minimum(windows[..., 2:], boxes[:, 2:])
    both = np.maximum(high - low, 0).prod(axis=-1)
    areas = [(a[..., 2:] - a[..., :2]).prod(axis=-1) for a in (windows, boxes)]
    return both / (sum(areas) - both)


def assert_same_distribution(ours, theirs):
    """Kolmogorov and Smirnov: the largest distance of two distributions.

    1.95 is exceeded once in a thousand runs, 2.6 once in a million.
    """
    ours, theirs = np.sort(ours), np.sort(theirs)
    points = np.concatenate([ours, theirs])
    distance = np.abs(
        np.searchsorted(ours, points, "right") / len(ours)
        - np.searchsorted(theirs, points, "right") / len(theirs)
    ).max()
    assert distance < 2.6 * np.sqrt(1 / len(ours) + 1 / len(theirs))


@pytest.mark.parametrize("boxes", BOXES.values(), ids=list(BOXES))
def test_crops_are_distributed_as_described(boxes, random):
    with tf.Graph().as_default():
        dataset = tf.data.Dataset.range(DRAWS).map(
            lambda _: augmentation.random_crop(
                tf.constant(boxes), tf.constant([3, 4]), SHAPE
            ),
            2,
        )
        crops = records.elements(dataset)
    whole, parts = [], []
    for window, cropped, classes in crops:
        is_whole = (window == [0, 0, 1, 1]).all()
        whole.append(is_whole)
        if not is_whole:
            parts.append(window)
        # Boxes whose center is inside stay and are clipped.
        inside = center_inside(window, boxes) | is_whole
        assert classes.tolist() == [c for c, i in zip([3, 4], inside) if i]
        origin, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
        expected = np.clip((boxes[inside] - origin) / size, 0, 1)
        np.testing.assert_allclose(cropped, expected, atol=1e-5)
    assert any(len(classes) == 1 for _, _, classes in crops)
    parts = np.array(parts)
    assert is_valid(parts, boxes, min_iou=0).all()
    sizes = parts[:, 2:] - parts[:, :2]
    # Sides are rounded to whole pixels.
    assert (sizes > 0.3 - 1 / (SHAPE - 1)).all() and (sizes <= 1).all()
    assert parts.min() >= 0 and parts.max() <= 1 + 1e-6

    expected = np.array([numpy_window(random, boxes) for _ in range(DRAWS)])
    expected_whole = (expected == [0, 0, 1, 1]).all(axis=1)
    share = expected_whole.mean()
    limit = 5 * np.sqrt(2 * share * (1 - share) / DRAWS)
    assert abs(np.mean(whole) - share) < limit
    expected = expected[~expected_whole]
    assert_same_distribution(sizes[:, 0], expected[:, 2] - expected[:, 0])
    assert_same_distribution(sizes[:, 1], expected[:, 3] - expected[:, 1])
    assert_same_distribution(parts[:, 0], expected[:, 0])
    assert_same_distribution(parts[:, 1], expected[:, 1])


def test_zoom_out_draws_canvas_and_place():
    boxes = BOXES["large"]
    with tf.Graph().as_default():
        dataset = tf.data.Dataset.range(1000).map(
            lambda _: augmentation.zoom_out(tf.constant(boxes), SHAPE, 0.3), 2
        )
        draws = records.elements(dataset)
    for moved, canvas, origin in draws:
        # The same pixels as before.
        pixels = moved * np.tile(canvas, 2) - np.tile(origin, 2)
        np.testing.assert_allclose(pixels, boxes * np.tile(SHAPE, 2), atol=1e-3)
    canvases, origins = (np.array([draw[i] for draw in draws]) for i in (1, 2))
    is_zoomed = (canvases > SHAPE).any(axis=1)
    assert abs(is_zoomed.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 1000)
    assert (origins[~is_zoomed] == 0).all()
    canvases, origins = canvases[is_zoomed], origins[is_zoomed]
    assert (abs(canvases[:, 1] - canvases[:, 0] * 640 / 480) < 2).all()
    space = canvases - SHAPE
    assert (origins >= 0).all() and (origins <= space).all()
    uniform = np.linspace(0, 1, 10**5)
    assert_same_distribution((canvases[:, 0] / 480 - 1) / 3, uniform)
    places = (origins + 0.5) / (space + 1)
    assert_same_distribution(places[:, 0], uniform)
    assert_same_distribution(places[:, 1], uniform)


@pytest.fixture(scope="module")
def canvas_window():
    """Function that runs decode_canvas_window."""
    with tf.Graph().as_default(), tf.Session() as session:
        places = [tf.placeholder(tf.string, [])]
        places += [tf.placeholder(tf.int32, [2]) for _ in range(3)]
        places += [tf.placeholder(tf.float32, [4]), tf.placeholder(tf.bool, [])]
        image = augmentation.decode_canvas_window(*places)
        yield lambda *values: session.run(image, dict(zip(places, values)))


def test_rounding_shows_no_canvas_around_a_whole_image(canvas_window):
    for height in range(1, 1200, 37):
        shape = [height, 1200 - height]
        encoded = records.encode_image(np.zeros([*shape, 3], np.uint8), "png")
        image = canvas_window(encoded, shape, shape, [0, 0], [0, 0, 1, 1], False)
        assert not image.any(), shape


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_windows_equal_those_of_a_drawn_canvas(canvas_window, random, kind):
    # Gray, because parts of a colored JPEG blend less at their edges.
    y, x = np.mgrid[:37, :23]
    pixels = np.stack([5 * y + 3 * x] * 3, axis=-1).astype(np.uint8)
    encoded = records.encode_image(pixels, kind)
    with tf.Graph().as_default(), tf.Session() as session:
        pixels = session.run(augmentation.decode(encoded))
    for _ in range(30):
        canvas = random.randint([37, 23], [150, 100])
        origin = random.randint([0, 0], canvas - [36, 22])
        # A window with the middle of the image in it.
        first = random.randint([0, 0], origin + [18, 11])
        last = random.randint(origin + [19, 12], canvas)
        window = np.concatenate([first, last]) / np.tile(canvas - 1, 2)
        flipped = canvas_window(encoded, [37, 23], canvas, origin, window, True)
        drawn = np.tile(np.float32([124, 116, 104]), [canvas[0], canvas[1], 1])
        drawn[origin[0] : origin[0] + 37, origin[1] : origin[1] + 23] = pixels
        # Blending with the canvas is left out at the edges of the image.
        positions = [np.linspace(first[i], last[i], 300) for i in range(2)]
        rows, columns = (
            ((p > o) & (p < o + n - 1)) | (p < o - 1) | (p > o + n)
            for p, o, n in zip(positions, origin, (37, 23))
        )
        np.testing.assert_allclose(
            flipped[:, ::-1][np.ix_(rows, columns)],
            sample(drawn, positions[0][rows], positions[1][columns]),
            atol=0.15,
        )


def sample(pixels, y, x):
    """Bilinear samples at rows y and columns x."""
    for axis, p in enumerate((y, x)):
        low = np.minimum(p.astype(int), pixels.shape[axis] - 2)
        part = np.expand_dims(p - low, [[1, 2], [0, 2]][axis])
        low_value, high_value = (np.take(pixels, i, axis) for i in (low, low + 1))
        pixels = low_value + (high_value - low_value) * part
    return pixels


def red_examples(folder, limit, **params):
    """Augmented examples of a red box on green; the left half is darker."""
    pixels = np.zeros([200, 320, 3], np.uint8)
    pixels[..., 1] = np.where(np.arange(320) < 160, 110, 190)
    box = (0.25, 0.3125, 0.6, 0.625)
    pixels[50:120, 100:200] = [220, 30, 30]
    path = folder / "train"
    encoded = records.encode_image(pixels, "png")
    records.write(path, [records.record(1, encoded, [box], [1])])
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(str(path), is_training=True)
        return records.elements(reader(dict(params, batch_size=40)), limit)


def object_mask(image, share):
    """Where the red object is: bool [height, width].

    Contrast pulls every channel to its mean, so a mostly red image may leave no pixel
    more green than red. Red minus green still has two levels, object and background; on
    a canvas it has a third one between them.
    """
    redness = image[..., 0] - np.float32(image[..., 1])
    low, high = redness.min(), redness.max()
    if high - low < 0.1:
        return np.ones(redness.shape, bool)
    return redness > low + share * (high - low)


def object_heights(examples, share=0.5):
    """Compares the boxes of the targets with the pixels; returns their heights."""
    heights = []
    with tf.Graph().as_default(), tf.Session() as session:
        offsets = tf.placeholder(tf.float32, [None, 8732, 4])
        decoded = anchors.decode_offsets(offsets)
        for features, labels in examples:
            boxes = session.run(decoded, {offsets: labels["boxes"]})
            for image, matched, candidates in zip(
                features["image"], labels["classes"] > 0, boxes
            ):
                is_red = object_mask(image, share)
                rows = np.flatnonzero(is_red.any(axis=1))
                columns = np.flatnonzero(is_red.any(axis=0))
                edges = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
                # Resizing blurs an edge over some pixels of the 300.
                np.testing.assert_allclose(candidates[matched][0] * 300, edges, atol=4)
                heights.append(edges[2] - edges[0])
    return heights


def test_targets_still_frame_their_object_and_half_of_the_images_are_flipped(tmp_path):
    examples = red_examples(tmp_path, limit=8)
    # The object has 105 of 300 rows in the whole image; a window may cut half of it.
    assert min(object_heights(examples)) > 45
    # Whether the brighter side of the green lies left, where both can be seen.
    images = np.concatenate([features["image"] for features, _ in examples])
    left, right = np.moveaxis(images[:, :, [0, -1], 1].mean(axis=1), -1, 0)
    flipped = (left > right)[abs(left - right) > 0.05]
    assert len(flipped) > 100
    assert abs(flipped.mean() - 0.5) < 5 * np.sqrt(0.25 / len(flipped))


def test_targets_frame_their_object_on_a_canvas(tmp_path):
    examples = red_examples(tmp_path, 3, zoom_out=1.0, color_on="device")
    # It has 26 rows in the largest canvas.
    assert 10 < min(object_heights(examples, share=0.75)) < 40
    images = np.concatenate([features["image"] for features, _ in examples])
    assert 0.2 < (images == [124, 116, 104]).all(axis=-1).mean() < 0.8
