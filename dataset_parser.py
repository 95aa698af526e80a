# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFRecords to batches: read, decode, augment, encode targets.

Augmentation follows Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016,
section 2.2, with the windows and color ranges of MLPerf's SSD-ResNet34.

Glossary: B images a batch, N = 8732 default boxes, G ground truth boxes of an image;
boxes and windows are ltrb, [ymin, xmin, ymax, xmax] in 0..1 of height and width;
pixels are RGB.
"""

import tensorflow.compat.v1 as tf

import anchors
import categories

# What a random window must satisfy: one of these is drawn each round, as the IoU that
# every box has to exceed; one draw in WHOLE_IMAGE_ODDS takes the whole image instead.
MIN_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
WHOLE_IMAGE_ODDS = 7
WINDOWS_PER_ROUND = 50
MIN_WINDOW_SIDE = 0.3
MAX_ASPECT = 2.0

FLIP_PROBABILITY = 0.5
# Largest changes of pixel values in 0..1.
BRIGHTNESS = 0.125
CONTRAST = 0.5
SATURATION = 0.5
HUE = 0.05

# Records, still encoded, that are shuffled together: about 160 MB of COCO.
SHUFFLE_RECORDS = 1024
FILES_READ_TOGETHER = 16

# Marks the images that only fill up the last evaluation batch.
PADDING_ID = -1

_WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)
_FLOATS = tf.FixedLenSequenceFeature([], tf.float32, allow_missing=True)
_FEATURES = {
    "image/encoded": tf.FixedLenFeature([], tf.string),
    "image/source_id": tf.FixedLenFeature([], tf.string),
    "image/object/bbox/ymin": _FLOATS,
    "image/object/bbox/xmin": _FLOATS,
    "image/object/bbox/ymax": _FLOATS,
    "image/object/bbox/xmax": _FLOATS,
    "image/object/class/label": tf.FixedLenSequenceFeature(
        [], tf.int64, allow_missing=True
    ),
}


class SSDInputReader:
    """Makes the input of training or evaluation from TFRecord files."""

    def __init__(self, file_pattern, is_training):
        """Keeps what to read.

        Args:
          file_pattern: str, a glob over TFRecord files.
          is_training: bool; augmented endless batches, or every image once as it is.
        """
        self._file_pattern = file_pattern
        self._is_training = is_training

    def __call__(self, params):
        """Builds the dataset.

        Args:
          params: dict with "batch_size", images of one batch B, "label_map",
            categories.LabelMap (default: COCO's), and, with more ranks than one,
            "num_ranks" and "rank". For evaluation "eval_samples" may limit
            the number of images (of all ranks).

        Returns:
          tf.data.Dataset. For training of (features, labels): {"image": float32
          [B, 300, 300, 3] in 0..1 or a little outside}, and {"classes": int32 [B, N],
          "boxes": float32 [B, N, 4], offsets, "num_matched_boxes": float32 [B]}.
          For evaluation of {"image": likewise, "source_id": int64 [B], "raw_shape":
          int32 [B, 3], height, width and 3}; the last batch is filled up with
          images of source_id PADDING_ID.

        Raises:
          ValueError: when no file matches.
        """
        files = sorted(tf.gfile.Glob(self._file_pattern))
        if not files:
            raise ValueError(f"no file matches {self._file_pattern}")
        if self._is_training:
            return _training_batches(files, params)
        return _evaluation_batches(files, params)


def shard_records(files, num_ranks, rank, is_training):
    """Reads the records of one rank; every record belongs to exactly one.

    Whole files are dealt out where that comes out even, so that a rank reads no byte
    in vain; else every rank reads all files and keeps each num_ranks-th record.

    Args:
      files: list of str.
      num_ranks: int, at least 1.
      rank: int, 0..num_ranks - 1.
      is_training: bool; files then come in a new random order every time.

    Returns:
      tf.data.Dataset of string scalars, serialized examples.
    """
    whole_files = len(files) % num_ranks == 0
    if whole_files:
        files = files[rank::num_ranks]
    dataset = tf.data.Dataset.from_tensor_slices(files)
    if is_training:
        dataset = dataset.shuffle(len(files))

    def read(path):
        records = tf.data.TFRecordDataset(path)
        return records if whole_files else records.shard(num_ranks, rank)

    return dataset.interleave(
        read,
        cycle_length=min(len(files), FILES_READ_TOGETHER),
        num_parallel_calls=tf.data.experimental.AUTOTUNE if is_training else None,
    )


def _training_batches(files, params):
    dataset = shard_records(
        files, params.get("num_ranks", 1), params.get("rank", 0), is_training=True
    )
    # Shuffled while still encoded: decoded images would take 30 times the memory.
    dataset = dataset.shuffle(SHUFFLE_RECORDS)
    label_map = params.get("label_map", categories.COCO)
    dataset = dataset.map(
        lambda record: parse_record(record, label_map), tf.data.experimental.AUTOTUNE
    )
    dataset = dataset.filter(lambda example: tf.size(example["classes"]) > 0)
    # After the filter: repeating nothing ends, where filtering without end hangs.
    dataset = dataset.repeat()
    dataset = dataset.map(_training_example, tf.data.experimental.AUTOTUNE)
    dataset = dataset.batch(params["batch_size"], drop_remainder=True)
    return dataset.prefetch(tf.data.experimental.AUTOTUNE)


def _evaluation_batches(files, params):
    num_ranks, rank = params.get("num_ranks", 1), params.get("rank", 0)
    dataset = shard_records(files, num_ranks, rank, is_training=False)
    if params.get("eval_samples"):
        # Rank r's share of the first n images.
        dataset = dataset.take((params["eval_samples"] - rank - 1) // num_ranks + 1)
    dataset = dataset.map(_evaluation_example, tf.data.experimental.AUTOTUNE)
    dataset = dataset.batch(params["batch_size"])
    dataset = dataset.map(lambda batch: _pad_batch(batch, params["batch_size"]))
    return dataset.prefetch(tf.data.experimental.AUTOTUNE)


def parse_record(serialized, label_map=categories.COCO):
    """Reads one serialized tf.train.Example.

    Args:
      serialized: string scalar.
      label_map: categories.LabelMap, C - 1 categories.

    Returns:
      dict: "encoded", string scalar, the JPEG or PNG; "source_id", int64 scalar;
      "boxes", float32 [G, 4], ltrb; "classes", int32 [G], 1..C-1. Boxes of a category
      that label_map does not have are left out.
    """
    parsed = tf.parse_single_example(serialized, _FEATURES)
    corners = [
        parsed["image/object/bbox/" + name] for name in ("ymin", "xmin", "ymax", "xmax")
    ]
    boxes = tf.stack(corners, axis=1)
    classes = _classes_of(parsed["image/object/class/label"], label_map)
    is_known = classes > 0
    return {
        "encoded": parsed["image/encoded"],
        "source_id": tf.string_to_number(parsed["image/source_id"], tf.int64),
        "boxes": tf.boolean_mask(boxes, is_known),
        "classes": tf.boolean_mask(classes, is_known),
    }


def _classes_of(category_ids, label_map):
    """int32 classes of int64 category ids, 0 where label_map has no such id."""
    # One entry more than there are ids: everything past the last goes there.
    table = label_map.class_of_category_table() + [0]
    index = tf.clip_by_value(category_ids, 0, len(table) - 1)
    return tf.gather(tf.constant(table, tf.int32), index)


def _training_example(example):
    """One augmented (features, labels) pair from a parsed record."""
    window, boxes, classes = random_crop(example["boxes"], example["classes"])
    is_flipped = tf.random_uniform([]) < FLIP_PROBABILITY
    image = decode_window(example["encoded"], window, is_flipped)
    boxes = tf.cond(is_flipped, lambda: flip_left_right(boxes), lambda: boxes)
    classes, offsets, num_matched = anchors.encode_labels(boxes, classes)
    labels = {"classes": classes, "boxes": offsets, "num_matched_boxes": num_matched}
    return {"image": distort_color(image)}, labels


def random_crop(boxes, classes):
    """Draws the window to train on, and the ground truth in it.

    Rounds are repeated until one is accepted. With probability 1/7 a round takes the
    whole image. Else it draws one minimum IoU and 50 windows, sides uniform in
    0.3..1 and position uniform, and takes the last window that is valid: aspect
    strictly within 1:2, IoU of every box with it above the minimum, and the center
    of some box strictly inside.

    Args:
      boxes: float32 [G, 4], ltrb, G at least 1.
      classes: int32 [G].

    Returns:
      window: float32 [4], ltrb.
      boxes: float32 [G', 4], ltrb relative to the window and clipped to it: those
        whose center lies inside; all of them when the window is the whole image.
      classes: int32 [G'].
    """
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2

    def draw(*unused):
        choice = tf.random_uniform([], maxval=WHOLE_IMAGE_ODDS, dtype=tf.int32)
        return tf.cond(
            tf.equal(choice, len(MIN_IOUS)),
            lambda: (tf.constant(True), tf.constant(True), tf.constant(_WHOLE_IMAGE)),
            lambda: _draw_window(boxes, centers, tf.gather(MIN_IOUS, choice)),
        )

    _, is_whole, window = tf.while_loop(
        lambda is_accepted, *unused: tf.logical_not(is_accepted),
        draw,
        (tf.constant(False), tf.constant(False), tf.constant(_WHOLE_IMAGE)),
    )
    keep = is_whole | _strictly_inside(centers, window)
    origin, size = tf.tile(window[:2], [2]), tf.tile(window[2:] - window[:2], [2])
    cropped = tf.clip_by_value((tf.boolean_mask(boxes, keep) - origin) / size, 0.0, 1.0)
    return window, cropped, tf.boolean_mask(classes, keep)


def _draw_window(boxes, centers, min_iou):
    """One round: (is any window valid, False for not whole, the last valid one)."""
    size = tf.random_uniform([WINDOWS_PER_ROUND, 2], MIN_WINDOW_SIDE, 1.0)
    corner = tf.random_uniform([WINDOWS_PER_ROUND, 2]) * (1.0 - size)
    windows = tf.concat([corner, corner + size], axis=1)
    aspect = size[:, 0] / size[:, 1]
    overlaps = anchors.iou_ltrb(windows, boxes) > min_iou  # [windows, G]
    inside = _strictly_inside(centers, tf.expand_dims(windows, 1))
    valid = (aspect > 1.0 / MAX_ASPECT) & (aspect < MAX_ASPECT)
    valid &= tf.reduce_all(overlaps, axis=1) & tf.reduce_any(inside, axis=1)
    numbers = tf.range(WINDOWS_PER_ROUND)
    last = tf.reduce_max(tf.where(valid, numbers, -tf.ones_like(numbers)))
    return last >= 0, tf.constant(False), windows[tf.maximum(last, 0)]


def _strictly_inside(centers, window):
    """bool [..., G]: which centers [G, 2] lie inside the window [..., 4]."""
    return tf.reduce_all(
        (centers > window[..., :2]) & (centers < window[..., 2:]), axis=-1
    )


def flip_left_right(boxes):
    """Mirrors boxes, float32 [G, 4], ltrb, with the image."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    return tf.stack([ymin, 1.0 - xmax, ymax, 1.0 - xmin], axis=1)


def decode_window(encoded, window, is_flipped):
    """Decodes one window of an image, resized to 300 x 300.

    Only the pixels of the window are decoded; a mirrored box given to the resizing
    flips at no cost.

    Args:
      encoded: string scalar, a JPEG or PNG.
      window: float32 [4], ltrb.
      is_flipped: bool scalar.

    Returns:
      float32 [300, 300, 3] in 0..1, sampled as tf.image.crop_and_resize does.
    """
    is_jpeg = tf.image.is_jpeg(encoded)
    # A PNG has to be decoded as a whole.
    pixels = tf.cond(
        is_jpeg,
        lambda: tf.zeros([1, 1, 3], tf.uint8),
        lambda: tf.image.decode_png(encoded, channels=3),
    )
    shape = tf.cond(
        is_jpeg,
        lambda: tf.image.extract_jpeg_shape(encoded),
        lambda: tf.shape(pixels),
    )
    # crop_and_resize counts in pixels between the centers of the outermost ones.
    last_pixel = tf.cast(shape[:2] - 1, tf.float32)
    first = tf.floor(window[:2] * last_pixel)
    last = tf.minimum(tf.ceil(window[2:] * last_pixel), last_pixel)
    offset, extent = tf.cast(first, tf.int32), tf.cast(last - first, tf.int32) + 1
    crop = tf.cond(
        is_jpeg,
        lambda: tf.image.decode_and_crop_jpeg(
            encoded, tf.concat([offset, extent], 0), channels=3
        ),
        lambda: tf.slice(
            pixels, tf.concat([offset, [0]], 0), tf.concat([extent, [3]], 0)
        ),
    )
    span = tf.maximum(last - first, 1.0)
    corners = tf.concat(
        [
            (window[:2] * last_pixel - first) / span,
            (window[2:] * last_pixel - first) / span,
        ],
        axis=0,
    )
    # A sample that rounding puts outside the image would be black.
    ymin, xmin, ymax, xmax = tf.unstack(tf.clip_by_value(corners, 1e-6, 1.0 - 1e-6))
    left, right = tf.cond(is_flipped, lambda: (xmax, xmin), lambda: (xmin, xmax))
    resized = tf.image.crop_and_resize(
        tf.expand_dims(crop, 0),
        tf.expand_dims(tf.stack([ymin, left, ymax, right]), 0),
        [0],
        [anchors.IMAGE_SIZE, anchors.IMAGE_SIZE],
    )
    return resized[0] / 255.0


def distort_color(image):
    """Changes brightness, contrast, saturation and hue at random, in this order.

    Args:
      image: float32 [height, width, 3] in 0..1.

    Returns:
      float32 of the same shape; values may leave 0..1 a little.
    """
    image = tf.image.random_brightness(image, BRIGHTNESS)
    image = tf.image.random_contrast(image, 1.0 - CONTRAST, 1.0 + CONTRAST)
    image = tf.image.random_saturation(image, 1.0 - SATURATION, 1.0 + SATURATION)
    return tf.image.random_hue(image, HUE)


def _evaluation_example(serialized):
    example = parse_record(serialized)
    # This kernel takes PNG as well.
    pixels = tf.image.decode_jpeg(example["encoded"], channels=3)
    size = [anchors.IMAGE_SIZE, anchors.IMAGE_SIZE]
    return {
        "image": tf.image.resize_images(pixels, size) / 255.0,
        "source_id": example["source_id"],
        "raw_shape": tf.shape(pixels),
    }


def _pad_batch(batch, batch_size):
    """Fills a partial batch up, so that its shape is static."""
    missing = batch_size - tf.shape(batch["source_id"])[0]

    def pad(tensor, value):
        paddings = [[0, missing]] + [[0, 0]] * (tensor.shape.ndims - 1)
        padded = tf.pad(tensor, paddings, constant_values=value)
        padded.set_shape([batch_size] + tensor.shape.as_list()[1:])
        return padded

    return {
        "image": pad(batch["image"], 0),
        "source_id": pad(batch["source_id"], PADDING_ID),
        "raw_shape": pad(batch["raw_shape"], 1),
    }
