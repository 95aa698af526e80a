# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFRecords to batches: read, decode, augment, encode targets.

Glossary: B images a batch, N = 8732 default boxes, G ground truth boxes of an image;
boxes and windows are ltrb, [ymin, xmin, ymax, xmax] in 0..1 of height and width;
pixels are RGB.
"""

import os

import numpy as np
import tensorflow.compat.v1 as tf

import anchors
from dataset import augmentation, bad_records, categories, color, record_rules

# Records, still encoded, that are shuffled together: about 160 MB of COCO.
SHUFFLE_RECORDS = 1024
FILES_READ_TOGETHER = 16
# AUTOTUNE would keep hundreds, of 35 MB each, where the network is the slower one.
BATCHES_IN_STOCK = 2
# Broken records that one rank may leave out.
MAX_BAD_RECORDS = 100

# Marks the images that only fill up the last evaluation batch.
PADDING_ID = -1

_IMAGE_SHAPE = [anchors.IMAGE_SIZE, anchors.IMAGE_SIZE, 3]
_EVALUATION_FEATURES = {
    "image/encoded": tf.FixedLenFeature([], tf.string),
    "image/source_id": tf.FixedLenFeature([], tf.string),
}
_TRAINING_FEATURES = {
    name: tf.VarLenFeature(tf.float32) for name in record_rules.BOX_FEATURES
}
_TRAINING_FEATURES[record_rules.LABEL_FEATURE] = tf.VarLenFeature(tf.int64)
_TRAINING_FEATURES["image/encoded"] = _EVALUATION_FEATURES["image/encoded"]


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
        # bad_records.BadRecords of the newest dataset, None before the first.
        self.bad = None

    @property
    def file_pattern(self):
        """str, the glob over TFRecord files."""
        return self._file_pattern

    # Nothing in here is a Python loop for AutoGraph to convert: it would look for one
    # for seconds.
    @tf.autograph.experimental.do_not_convert
    def __call__(self, params):
        """Builds the dataset.

        Args:
          params: dict with "batch_size", images of one batch B, "label_map",
            categories.LabelMap (default: COCO's), and, with more ranks than one,
            "num_ranks" and "rank". For evaluation "eval_samples" may limit
            the number of images (of all ranks). For training "max_bad_records" is
            how many broken records may be left out, and "synthetic_data" asks for
            `synthetic_batches`, without any file; with "deterministic", what a seed
            of the graph leaves to chance is the same every time.

        Returns:
          tf.data.Dataset. For training of (features, labels): {"image": float32
          [B, 300, 300, 3] in 0..1 or a little outside}, and {"classes": int32 [B, N],
          "boxes": float32 [B, N, 4], offsets, "num_matched_boxes": float32 [B]}.
          For evaluation of {"image": likewise, "source_id": int64 [B], "raw_shape":
          int32 [B, 3], height, width and 3}; the last batch is filled up with
          images of source_id PADDING_ID.
          The dataset ends early when it meets more broken records than it may leave
          out (for evaluation: any; self.bad.error then says which), and when training
          finds no image with a box in an epoch.

        Raises:
          ValueError: when no file matches.
        """
        if self._is_training and params.get("synthetic_data"):
            return synthetic_batches(params)
        files = sorted(tf.gfile.Glob(self._file_pattern))
        if not files:
            raise ValueError(f"no file matches {self._file_pattern}")
        limit = params.get("max_bad_records", MAX_BAD_RECORDS)
        limit = limit if self._is_training else 0
        self.bad = bad_records.BadRecords(files, limit, self._is_training)
        if self._is_training:
            return _training_batches(files, params, self.bad)
        return _evaluation_batches(files, params, self.bad)


def shard_records(files, num_ranks, rank, is_training, is_deterministic=False):
    """Reads the records of one rank; every record belongs to exactly one.

    Whole files are dealt out where that comes out even, so that a rank reads no byte
    in vain; else every rank reads all files and keeps each num_ranks-th record.

    Args:
      files: list of str.
      num_ranks: int, at least 1.
      rank: int, 0..num_ranks - 1.
      is_training: bool; files then come in a new random order every time.
      is_deterministic: bool; no file is then read ahead of another.

    Returns:
      tf.data.Dataset of elements, see bad_records.
    """
    whole_files = len(files) % num_ranks == 0
    numbers = np.arange(len(files), dtype=np.int64)
    if whole_files:
        numbers = numbers[rank::num_ranks]
    paths = [files[number] for number in numbers]
    dataset = tf.data.Dataset.from_tensor_slices((paths, numbers))
    if is_training:
        dataset = dataset.shuffle(len(files))

    def read(path, number):
        records = bad_records.read_file(path, number)
        if whole_files:
            return records
        # The first record is not always the same rank's: files may have only one.
        return records.shard(num_ranks, (rank + number) % num_ranks)

    return dataset.interleave(
        read,
        cycle_length=min(len(files), FILES_READ_TOGETHER),
        num_parallel_calls=(
            tf.data.experimental.AUTOTUNE
            if is_training and not is_deterministic
            else None
        ),
    )


def num_cores():
    """Of this process; AUTOTUNE takes long to find out that one worker is too few."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _training_batches(files, params, bad):
    is_deterministic = params.get("deterministic", False)
    dataset = shard_records(
        files,
        params.get("num_ranks", 1),
        params.get("rank", 0),
        is_training=True,
        is_deterministic=is_deterministic,
    )
    # Shuffled while still encoded: decoded images would take 30 times the memory.
    dataset = dataset.shuffle(SHUFFLE_RECORDS)
    dataset = dataset.concatenate(bad_records.end_of_epoch()).repeat()
    label_map = params.get("label_map", categories.COCO)
    dataset = bad_records.good_batches(
        dataset,
        lambda record: training_example(record, label_map),
        bad,
        params["batch_size"],
        drop_remainder=True,
        # Random numbers come in one order only to one worker.
        workers=1 if is_deterministic else num_cores(),
    )
    return dataset.prefetch(BATCHES_IN_STOCK)


def _evaluation_batches(files, params, bad):
    num_ranks, rank = params.get("num_ranks", 1), params.get("rank", 0)
    if params.get("eval_samples"):
        # The same images for any number of ranks, so all read them in one order.
        dataset = shard_records(files, 1, 0, is_training=False)
        dataset = dataset.filter(bad_records.is_record)
        dataset = dataset.take(params["eval_samples"]).shard(num_ranks, rank)
    else:
        dataset = shard_records(files, num_ranks, rank, is_training=False)
    dataset = bad_records.good_batches(
        dataset.concatenate(bad_records.end_of_epoch()),
        _evaluation_example,
        bad,
        params["batch_size"],
        drop_remainder=False,
        workers=num_cores(),
    )
    dataset = dataset.map(lambda batch: _pad_batch(batch, params["batch_size"]))
    return dataset.prefetch(BATCHES_IN_STOCK)


def synthetic_batches(params):
    """Makes training batches that cost the host nothing: one batch, over and over.

    Args:
      params: dict, see SSDInputReader.

    Returns:
      tf.data.Dataset, as of SSDInputReader for training.
    """
    batch_size = params["batch_size"]
    boxes = tf.constant([[0.1, 0.2, 0.5, 0.9], [0.4, 0.1, 0.9, 0.3]])

    def make(unused):
        targets = anchors.encode_labels(boxes, tf.constant([1, 2]))
        names = ("classes", "boxes", "num_matched_boxes")
        return {"image": tf.random_uniform(_IMAGE_SHAPE)}, dict(zip(names, targets))

    dataset = tf.data.Dataset.range(batch_size).map(make)
    return dataset.batch(batch_size, drop_remainder=True).cache().repeat().prefetch(1)


def parse_record(serialized, label_map=categories.COCO):
    """Reads what training needs of a serialized tf.train.Example.

    Args:
      serialized: string scalar.
      label_map: categories.LabelMap, C - 1 categories.

    Returns:
      dict: "encoded", string scalar, the JPEG or PNG; "boxes", float32 [G, 4], ltrb;
      "classes", int32 [G], 1..C-1. Boxes of a category that label_map does not have are
      left out.

    Raises:
      tf.errors.InvalidArgumentError: (when run) for a record that
        record_rules.problem_of finds a problem for training in.
    """
    parsed = _parse_example(serialized, _TRAINING_FEATURES)
    corners = [parsed[name].values for name in record_rules.BOX_FEATURES]
    classes = _classes_of(parsed[record_rules.LABEL_FEATURE].values, label_map)
    boxes = record_rules.check_boxes(tf.stack(corners, axis=1), tf.size(classes))
    known = tf.where(classes > 0)[:, 0]
    return {
        "encoded": parsed["image/encoded"],
        "boxes": tf.gather(boxes, known),
        "classes": tf.gather(classes, known),
    }


def _parse_example(serialized, features):
    """Values by name; fails for what is no tf.train.Example.

    A bytes list whose item claims 2 GB or more crashes the parser of Examples in
    TensorFlow 2.15, and that of SequenceExamples in 1.15. To the latter an Example is a
    SequenceExample without lists: the bytes are the same.
    """
    if tf.version.VERSION.startswith("1."):
        return tf.parse_single_example(serialized, features)
    return tf.parse_single_sequence_example(serialized, features)[0]


def _classes_of(category_ids, label_map):
    """int32 classes of int64 category ids, 0 where label_map has no such id."""
    # One entry more than there are ids: everything past the last goes there.
    table = label_map.class_of_category_table() + [0]
    index = tf.clip_by_value(category_ids, 0, len(table) - 1)
    return tf.gather(tf.constant(table, tf.int32), index)


def training_example(serialized, label_map):
    """Makes one augmented image and its targets of a serialized example.

    Args:
      serialized: string scalar.
      label_map: categories.LabelMap.

    Returns:
      (has_boxes, (features, labels)): bool scalar, whether there is a box to train
      on; and if so what SSDInputReader gives for training, but for the first axis.
    """
    example = parse_record(serialized, label_map)
    has_boxes = tf.size(example["classes"]) > 0
    return has_boxes, tf.cond(
        has_boxes, lambda: _augmented_example(example), _blank_training_example
    )


def _blank_training_example():
    num_boxes = anchors.NUM_DEFAULT_BOXES
    return {"image": tf.zeros(_IMAGE_SHAPE)}, {
        "classes": tf.zeros([num_boxes], tf.int32),
        "boxes": tf.zeros([num_boxes, 4]),
        "num_matched_boxes": tf.zeros([]),
    }


def _augmented_example(example):
    """One augmented (features, labels) pair from a parsed record."""
    size = augmentation.height_width(example["encoded"])
    window, boxes, classes = augmentation.random_crop(
        example["boxes"], example["classes"], size
    )
    is_flipped = tf.random_uniform([]) < augmentation.FLIP_PROBABILITY
    pixels = augmentation.decode_window(*(example["encoded"], size, window, is_flipped))
    boxes = tf.cond(
        is_flipped, lambda: augmentation.flip_left_right(boxes), lambda: boxes
    )
    classes, offsets, num_matched = anchors.encode_labels(boxes, classes)
    labels = {"classes": classes, "boxes": offsets, "num_matched_boxes": num_matched}
    return {"image": color.distort_color(pixels)}, labels


def _evaluation_example(serialized):
    """(whether this is a record, its whole image)."""
    parsed = _parse_example(serialized, _EVALUATION_FEATURES)
    pixels = augmentation.decode(parsed["image/encoded"])
    # Of uint8 pixels the kernel takes twice as long.
    resized = tf.image.resize_images(tf.cast(pixels, tf.float32), _IMAGE_SHAPE[:2])
    return tf.not_equal(serialized, bad_records.END_RECORD), {
        "image": resized / 255.0,
        "source_id": record_rules.to_id(parsed["image/source_id"]),
        "raw_shape": tf.shape(pixels),
    }


def _pad_batch(batch, batch_size):
    """Fills a partial batch up, so that its shape is static."""
    missing = batch_size - tf.shape(batch["source_id"])[0]

    def pad(tensor, value):
        paddings = [[0, missing]] + [[0, 0]] * (tensor.shape.ndims - 1)
        # Padding by nothing would still copy the batch.
        padded = tf.cond(
            missing > 0,
            lambda: tf.pad(tensor, paddings, constant_values=value),
            lambda: tensor,
        )
        padded.set_shape([batch_size] + tensor.shape.as_list()[1:])
        return padded

    return {
        "image": pad(batch["image"], 0),
        "source_id": pad(batch["source_id"], PADDING_ID),
        "raw_shape": pad(batch["raw_shape"], 1),
    }
