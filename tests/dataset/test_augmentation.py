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
# Two boxes that a window can lose, of unequal sides; the second time one is so small
# that no window exceeds an IoU of 0.3 with it.
BOXES = {
    "large": np.array([[0.2, 0.1, 0.7, 0.5], [0.4, 0.35, 0.95, 0.9]], np.float32),
    "small": np.array([[0.2, 0.1, 0.7, 0.5], [0.6, 0.35, 0.73, 0.5]], np.float32),
}


@pytest.fixture(scope="module", params=sorted(BOXES))
def ground_truth(request):
    """float32 [2, 4], the boxes."""
    return BOXES[request.param]


@pytest.fixture(scope="module")
def crops(ground_truth):
    """(window, boxes, classes) of some thousand draws of random_crop."""
    with tf.Graph().as_default():
        boxes, classes = tf.constant(ground_truth), tf.constant([3, 4])
        dataset = tf.data.Dataset.range(DRAWS).map(
            lambda _: augmentation.random_crop(boxes, classes, SHAPE), 2
        )
        return records.elements(dataset)


@pytest.fixture(scope="module")
def expected_windows(ground_truth):
    """The same number of windows from a plain NumPy version of the description."""
    seed = np.random.randint(2**31)
    print("seed", seed)
    random = np.random.RandomState(seed)
    return np.array([numpy_window(random, ground_truth) for _ in range(DRAWS)])


def numpy_window(random, boxes):
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


def is_whole(windows):
    return (windows == [0, 0, 1, 1]).all(axis=1)


def test_share_of_whole_images(crops, expected_windows):
    windows = np.array([window for window, _, _ in crops])
    share, expected = is_whole(windows).mean(), is_whole(expected_windows).mean()
    limit = 5 * np.sqrt(2 * expected * (1 - expected) / DRAWS)
    assert abs(share - expected) < limit, (share, expected)


def test_window_sizes_and_positions(crops, expected_windows):
    windows = np.array([window for window, _, _ in crops])
    windows = windows[~is_whole(windows)]
    expected = expected_windows[~is_whole(expected_windows)]
    for name, figure in (
        ("height", lambda w: w[:, 2] - w[:, 0]),
        ("width", lambda w: w[:, 3] - w[:, 1]),
        ("top", lambda w: w[:, 0]),
        ("left", lambda w: w[:, 1]),
    ):
        # Kolmogorov and Smirnov: the largest distance of two distributions; 1.95 is
        # exceeded once in a thousand runs, 2.6 once in a million.
        ours, theirs = np.sort(figure(windows)), np.sort(figure(expected))
        points = np.concatenate([ours, theirs])
        distance = np.abs(
            np.searchsorted(ours, points, "right") / len(ours)
            - np.searchsorted(theirs, points, "right") / len(theirs)
        ).max()
        limit = 2.6 * np.sqrt(1 / len(ours) + 1 / len(theirs))
        assert distance < limit, name


def test_every_window_is_valid(crops, ground_truth):
    for window, _, _ in crops:
        if (window == [0, 0, 1, 1]).all():
            continue
        size = window[2:] - window[:2]
        # Sides are rounded to whole pixels.
        assert (size > 0.3 - 1 / (SHAPE - 1)).all() and (size <= 1).all()
        assert window.min() >= 0 and window.max() <= 1 + 1e-6
        assert is_valid(window, ground_truth, min_iou=0)


def test_no_window_exceeds_the_largest_minimum():
    seed = np.random.randint(2**31)
    print("seed", seed)
    random = np.random.RandomState(seed)
    with tf.Graph().as_default(), tf.Session() as session:
        boxes, shape = tf.placeholder(tf.float32, [None, 4]), tf.placeholder(tf.int32)
        limit = augmentation.largest_min_iou(boxes, shape)
        closest = 0
        for _ in range(2000):
            height_width = random.randint(1, random.choice([5, 700]), 2)
            last = np.maximum(height_width - 1, 1)
            # The smallest windows are the limit's worst case.
            size = random.choice([0.3, random.uniform(0.3, 1)]) * np.ones(2)
            corner = random.uniform(0, 1 - size)
            window = np.round(
                np.concatenate([corner, corner + size]) * np.tile(last, 2)
            )
            window /= np.tile(last, 2)
            shifts = random.normal(0, random.choice([1e-4, 0.03, 0.2]), (2, 4))
            near = np.sort((window + shifts).reshape(2, 2, 2), axis=1).reshape(2, 4)
            with np.errstate(invalid="ignore"):
                found = np.nan_to_num(numpy_iou(window, near)).min()
            most = session.run(limit, {boxes: near, shape: height_width})
            assert found <= most, (window, near, height_width)
            closest = max(closest, found / max(most, 1e-9))
        # The limit is no idle one.
        assert closest > 0.99


def test_boxes_whose_center_is_inside_stay_and_are_clipped(crops, ground_truth):
    lost = 0
    for window, boxes, classes in crops:
        whole = (window == [0, 0, 1, 1]).all()
        inside = center_inside(window, ground_truth) | whole
        assert classes.tolist() == [c for c, i in zip([3, 4], inside) if i]
        origin, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
        expected = np.clip((ground_truth[inside] - origin) / size, 0, 1)
        np.testing.assert_allclose(boxes, expected, atol=1e-5)
        lost += len(ground_truth) - len(boxes)
    assert lost > 0


def test_a_tiny_box_still_ends_with_a_crop():
    # No window has an IoU above 0.1 with it: only the minimum 0 and the whole image.
    with tf.Graph().as_default():
        boxes, classes = tf.constant([[0.5, 0.5, 0.501, 0.501]]), tf.constant([1])
        dataset = tf.data.Dataset.range(200).map(
            lambda _: augmentation.random_crop(boxes, classes, SHAPE), 2
        )
        windows = np.array([window for window, _, _ in records.elements(dataset)])
    # Of seven choices one is the whole image, and one gives a window.
    share = is_whole(windows).mean()
    assert abs(share - 0.5) < 5 * np.sqrt(0.25 / 200)


def test_zoom_out_draws_canvas_and_place():
    boxes = BOXES["large"]
    with tf.Graph().as_default():
        dataset = tf.data.Dataset.range(1000).map(
            lambda _: augmentation.zoom_out(tf.constant(boxes), SHAPE, 0.3), 2
        )
        draws = records.elements(dataset)
    canvases, origins = (np.array([draw[i] for draw in draws]) for i in (1, 2))
    for moved, canvas, origin in draws:
        # The same pixels as before.
        pixels = moved * np.tile(canvas, 2) - np.tile(origin, 2)
        np.testing.assert_allclose(pixels, boxes * np.tile(SHAPE, 2), atol=1e-3)
    is_zoomed = (canvases > SHAPE).any(axis=1)
    assert abs(is_zoomed.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 1000)
    assert (origins[~is_zoomed] == 0).all()
    canvases, origins = canvases[is_zoomed], origins[is_zoomed]
    assert (abs(canvases[:, 1] - canvases[:, 0] * 640 / 480) < 2).all()
    space = canvases - SHAPE
    assert (origins >= 0).all() and (origins <= space).all()
    for share in [(canvases[:, 0] / 480 - 1) / 3, *((origins + 0.5) / (space + 1)).T]:
        # Kolmogorov and Smirnov, as above, against a uniform distribution.
        distance = np.abs(np.sort(share) - np.linspace(0, 1, len(share))).max()
        assert distance < 2.6 / np.sqrt(len(share)) + 1 / len(share)


@pytest.fixture(scope="module")
def canvas_window():
    """Function that runs decode_canvas_window."""
    with tf.Graph().as_default(), tf.Session() as session:
        places = [tf.placeholder(tf.string, [])]
        places += [tf.placeholder(tf.int32, [2]) for _ in range(3)]
        places += [tf.placeholder(tf.float32, [4]), tf.placeholder(tf.bool, [])]
        image = augmentation.decode_canvas_window(*places)
        yield lambda *values: session.run(image, dict(zip(places, values)))


def test_an_image_on_a_canvas_of_known_size(canvas_window):
    # Each pixel of the canvas is one of the result, but for one at each side.
    pixels = np.full([75, 100, 3], 200, np.uint8)
    pixels[:, :50] = 20
    encoded = records.encode_image(pixels, "png")
    place = [75, 100], [300, 300], [30, 180]
    image = canvas_window(encoded, *place, [0, 0, 1, 1], False)
    flipped = canvas_window(encoded, *place, [0, 0, 1, 1], True)
    expected = np.tile(np.float32([124, 116, 104]), [300, 300, 1])
    expected[30:105, 180:230] = 20
    expected[30:105, 230:280] = 200
    # At the edges of the image a rounding error decides.
    rows = [y for y in range(300) if y not in (29, 30, 104, 105)]
    columns = [x for x in range(300) if x not in (179, 180, 229, 230, 279, 280)]
    inner = np.ix_(rows, columns)
    np.testing.assert_allclose(image[inner], expected[inner], atol=0.01)
    np.testing.assert_allclose(flipped[:, ::-1], image)


def test_rounding_shows_no_canvas_around_a_whole_image(canvas_window):
    for height in range(1, 1200, 37):
        shape = [height, 1200 - height]
        encoded = records.encode_image(np.zeros([*shape, 3], np.uint8), "png")
        image = canvas_window(encoded, shape, shape, [0, 0], [0, 0, 1, 1], False)
        assert not image.any(), shape


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_windows_equal_those_of_a_drawn_canvas(canvas_window, kind):
    seed = np.random.randint(2**31)
    print("seed", seed)
    random = np.random.RandomState(seed)
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
        image = canvas_window(encoded, [37, 23], canvas, origin, window, False)
        drawn = np.tile(np.float32([124, 116, 104]), [canvas[0], canvas[1], 1])
        drawn[origin[0] : origin[0] + 37, origin[1] : origin[1] + 23] = pixels
        # Blending with the canvas is left out at the edges of the image.
        positions = [np.linspace(first[i], last[i], 300) for i in range(2)]
        rows, columns = (
            ((p > o) & (p < o + n - 1)) | (p < o - 1) | (p > o + n)
            for p, o, n in zip(positions, origin, (37, 23))
        )
        expected = sample(drawn, positions[0][rows], positions[1][columns])
        np.testing.assert_allclose(image[np.ix_(rows, columns)], expected, atol=0.15)


def sample(pixels, y, x):
    """Bilinear samples at rows y and columns x."""
    for axis, p in enumerate((y, x)):
        low = np.minimum(p.astype(int), pixels.shape[axis] - 2)
        part = np.expand_dims(p - low, [[1, 2], [0, 2]][axis])
        low_value, high_value = (np.take(pixels, i, axis) for i in (low, low + 1))
        pixels = low_value + (high_value - low_value) * part
    return pixels


@pytest.fixture(scope="module")
def red_object(tmp_path_factory):
    return red_examples(tmp_path_factory, limit=8)


def red_examples(tmp_path_factory, limit, **params):
    """Augmented examples of a red box on green; the left half is darker."""
    pixels = np.zeros([200, 320, 3], np.uint8)
    pixels[..., 1] = np.where(np.arange(320) < 160, 110, 190)
    box = (0.25, 0.3125, 0.6, 0.625)
    pixels[50:120, 100:200] = [220, 30, 30]
    path = tmp_path_factory.mktemp("red") / "train"
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


def test_targets_still_frame_their_object_after_augmentation(red_object):
    # The object has 105 of 300 rows in the whole image; a window may cut half of it.
    assert min(object_heights(red_object)) > 45


def test_targets_frame_their_object_on_a_canvas(tmp_path_factory):
    examples = red_examples(tmp_path_factory, 3, zoom_out=1.0, color_on="device")
    # It has 26 rows in the largest canvas.
    assert 10 < min(object_heights(examples, share=0.75)) < 40
    images = np.concatenate([features["image"] for features, _ in examples])
    assert 0.2 < (images == [124, 116, 104]).all(axis=-1).mean() < 0.8


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


def test_half_of_the_images_are_flipped(red_object):
    # Whether the brighter side of the green lies left, where both can be seen.
    flipped = []
    for features, _ in red_object:
        for image in features["image"]:
            green = image[..., 1][:, [0, -1]].mean(axis=0)
            if abs(green[0] - green[1]) > 0.05:
                flipped.append(green[0] > green[1])
    assert len(flipped) > 100
    assert abs(np.mean(flipped) - 0.5) < 5 * np.sqrt(0.25 / len(flipped))
