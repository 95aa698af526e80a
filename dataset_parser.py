# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFRecords to batches: read, check, decode, augment, encode targets.

A record passes through these files once, in this order:
  dataset/record_files.py reads it, on one of the ranks.
  dataset/record_rules.py parses and checks it. If it cannot be used, it is left out,
    and dataset/bad_records.py counts and names it.
  dataset/augmentation.py and dataset/color.py decode and change its image.
  anchors.py encodes its boxes as targets.

Glossary: B images per batch, N = 8732 default boxes, G ground truth boxes of an image;
boxes and windows are ltrb, [ymin, xmin, ymax, xmax] in 0..1 of height and width;
pixels are RGB. An example is a dict of tensors, see `parse_record`.
"""

import contextlib
import functools
import os
import re

import numpy as np
import tensorflow.compat.v1 as tf

import anchors
from console.errors import UserError
from dataset import augmentation, categories, color, record_files, record_rules
from dataset.bad_records import BadRecords

# Examples that are shuffled together while still encoded: about 160 MB of COCO.
SHUFFLED_EXAMPLES = 1024
# AUTOTUNE would prefetch hundreds of batches, 35 MB each, if the network is slow.
PREFETCHED_BATCHES = 2
# How many broken records each rank may leave out of its training data.
MAX_BAD_RECORDS = 100

# The source_id of the images that only fill up the last evaluation batch.
PADDING_ID = -1

_IMAGE_SHAPE = [anchors.IMAGE_SIZE, anchors.IMAGE_SIZE, 3]
# Name, dtype and shape of the tensors of an example.
_EXAMPLE = (
    ("encoded", tf.string, []),
    ("height_width", tf.int32, [2]),
    ("boxes", tf.float32, [None, 4]),
    ("classes", tf.int32, [None]),
    ("source_id", tf.int64, []),
)


class SSDInputReader:
    """Creates the input of training or evaluation from TFRecord files."""

    def __init__(
        self, file_pattern, is_training, label_map=categories.COCO, bad_records=None
    ):
        """Initializes the reader; no file is opened yet.

        Args:
          file_pattern: str, a glob over TFRecord files.
          is_training: bool; True: endless augmented batches; False: every image once,
            not augmented.
          label_map: categories.LabelMap; evaluation does not need it.
          bad_records: bad_records.BadRecords, to which the datasets add what they leave
            out. If its `error` is set, a dataset has ended early. The default allows
            MAX_BAD_RECORDS in training and none in evaluation.
        """
        self._file_pattern = file_pattern
        self._is_training = is_training
        self._label_map = label_map
        default_limit = MAX_BAD_RECORDS if is_training else 0
        self._bad_records = bad_records or BadRecords(default_limit)

    # Without this, AutoGraph searches the code for Python loops, which takes seconds.
    @tf.autograph.experimental.do_not_convert
    def __call__(self, params):
        """Builds the dataset.

        Args:
          params: dict.
            batch_size: int, B.
            num_ranks, rank: int, needed if there are several ranks.
            eval_samples: int, evaluation only: how many images all ranks together
              evaluate; 0 or missing for all images.
            synthetic_data: bool, training only: return `synthetic_batches`.
            color_on: training only: "host", the default, or "device", which leaves the
              change of colors to ssd_model.ssd_model_fn.
            zoom_out: float, training only: the probability of augmentation.zoom_out;
              0 is the default.
            deterministic: bool, training only: the seed of the graph determines the
              order and the augmentation of the images.

        Returns:
          tf.data.Dataset. For training, elements are (features, labels): {"image":
          float32 [B, 300, 300, 3] in 0..1 or a little outside}, and {"classes": int32
          [B, N], "boxes": float32 [B, N, 4], offsets, "num_matched_boxes": float32
          [B]}. With color_on="device" the image is uint8 in 0..255, and the features
          have "color_changes", float32 [B, 4], see color.adjust_color.
          For evaluation, elements are {"image": float32 [B, 300, 300, 3] in 0..1,
          "source_id": int64 [B], "raw_shape": int32 [B, 3], height, width and 3}; the
          last batch is filled up with images of source_id PADDING_ID.
          The dataset ends early if there are more broken records than allowed, and in
          training also after an epoch in which no usable image has a box.

        Raises:
          ValueError: see record_files.find.
        """
        if self._is_training and params.get("synthetic_data"):
            color_on = params.get("color_on", "host")
            return synthetic_batches(params["batch_size"], color_on)
        files = record_files.find(self._file_pattern)
        if self._is_training:
            dataset = self._training_batches(files, params)
        else:
            dataset = self._evaluation_batches(files, params)
        return dataset.prefetch(PREFETCHED_BATCHES).with_options(_threads())

    def _training_batches(self, files, params):
        is_deterministic = params.get("deterministic", False)
        elements = record_files.shard_records(
            files,
            params.get("num_ranks", 1),
            params.get("rank", 0),
            is_training=True,
            is_deterministic=is_deterministic,
            goes_on=self._goes_on,
        )
        dataset = self._usable_examples(elements)
        # Shuffled while still encoded: decoded images would take 30 times the memory.
        dataset = dataset.shuffle(SHUFFLED_EXAMPLES).repeat()
        # repeat() ends after an epoch without examples. The fused shuffle_and_repeat
        # would loop forever instead.
        options = tf.data.Options()
        options.experimental_optimization.shuffle_and_repeat_fusion = False
        dataset = dataset.with_options(options)
        # Only a single worker draws the random numbers in a fixed order.
        workers = 1 if is_deterministic else num_cores()
        color_on = params.get("color_on", "host")
        zoom_out = params.get("zoom_out", 0.0)
        dataset = dataset.map(
            lambda example: training_example(example, color_on, zoom_out),
            num_parallel_calls=workers,
        )
        return dataset.batch(params["batch_size"], drop_remainder=True)

    def _evaluation_batches(self, files, params):
        num_ranks, rank = params.get("num_ranks", 1), params.get("rank", 0)
        if params.get("eval_samples"):
            # Every rank reads all files in the same order, so that the images are the
            # same for any number of ranks.
            elements = record_files.shard_records(
                files, 1, 0, is_training=False, goes_on=self._goes_on
            )
            dataset = self._usable_examples(elements)
            dataset = dataset.take(params["eval_samples"]).shard(num_ranks, rank)
        else:
            elements = record_files.shard_records(
                files, num_ranks, rank, is_training=False, goes_on=self._goes_on
            )
            dataset = self._usable_examples(elements)
        dataset = dataset.map(_evaluation_example, num_parallel_calls=num_cores())
        batch_size = params["batch_size"]
        return dataset.batch(batch_size).map(lambda batch: _pad(batch, batch_size))

    def _goes_on(self):
        return self._bad_records.error is None

    def _usable_examples(self, elements):
        """Parses records and leaves out those that cannot be used.

        Args:
          elements: tf.data.Dataset, see record_files.

        Returns:
          tf.data.Dataset of examples, in training only of those that have a box. There
          are no more once there are more broken records than allowed.
        """

        def parse(element):
            names = ("path", "index", "position", "record", "is_end")
            is_used, *values = tf.py_func(
                self._parse,
                [element[name] for name in names],
                [tf.bool] + [dtype for _, dtype, _ in _EXAMPLE],
            )
            is_used.set_shape([])
            return dict(_to_example(values), is_used=is_used)

        return elements.map(parse).filter(lambda example: example["is_used"])

    def _parse(self, path, index, position, serialized, is_end):
        """Parses one element in Python, and counts it if it is a broken record.

        Returns:
          list: whether the example is used, and its values.
        """
        place, record = path.decode(), record_rules.Record([])
        if is_end:
            problem = record_files.problem_at_end(place, index, position)
        else:
            record = record_rules.read_record(serialized)
            problem = record.problem(self._is_training)
            place += f", record {index}"
            if record.id_text:
                place += f" (image {record.id_text})"
        if problem:
            self._bad_records.add(place, problem)
        values = _values_of(record, self._label_map)
        _, _, _, classes, _ = values
        if self._is_training and not problem:
            num_unknown = len(record.labels) - classes.size
            self._bad_records.add_boxes(place, record_rules.UNKNOWN, num_unknown)
            num_empty = sum(p.kind == record_rules.NO_SIZE for p in record.problems)
            self._bad_records.add_boxes(place, record_rules.NO_SIZE, num_empty)
        is_used = self._goes_on() and not (is_end or problem)
        if self._is_training:
            is_used = is_used and classes.size > 0
        return [is_used] + values


@contextlib.contextmanager
def explaining_undecodable_images(file_pattern):
    """Raises a UserError where TensorFlow could not decode an image.

    This is rare: records are checked first, so decoding fails only on a complete image
    whose data after the header is damaged.

    Args:
      file_pattern: str, the flag and its value, for the message.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        reason = re.search("[^\n]*(JPEG|PNG)[^\n]*", error.message)
        if not reason:
            raise
        raise UserError(
            f"{file_pattern}: an image cannot be decoded: {reason.group().strip()}; "
            "tools/check_dataset.py names the record"
        ) from error


def num_cores():
    """Returns how many cores this process may use.

    The input makes this many parallel calls, because AUTOTUNE starts with one and takes
    long to add more.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _threads():
    """Returns tf.data.Options: in TensorFlow 1.15, each thread processes a whole image.

    Sharing each operation among threads, the default, makes the training input a
    quarter slower there on two cores. TensorFlow 2.15 would gain nothing.
    """
    options = tf.data.Options()
    if tf.version.VERSION.startswith("1."):
        options.experimental_threading.private_threadpool_size = num_cores()
        options.experimental_threading.max_intra_op_parallelism = 1
    return options


def synthetic_batches(batch_size, color_on="host"):
    """Creates training batches that cost the host nothing: one batch, repeated.

    Args:
      batch_size: int, B.
      color_on: "host" or "device", see SSDInputReader.

    Returns:
      tf.data.Dataset with the elements of SSDInputReader for training.
    """
    boxes = tf.constant([[0.1, 0.2, 0.5, 0.9], [0.4, 0.1, 0.9, 0.3]])

    def create(unused):
        labels = _encode_labels(boxes, tf.constant([1, 2]))
        pixels = tf.random_uniform(_IMAGE_SHAPE, maxval=255.0)
        return _image_features(pixels, color_on), labels

    dataset = tf.data.Dataset.range(batch_size).map(create)
    return dataset.batch(batch_size, drop_remainder=True).cache().repeat().prefetch(1)


def parse_record(serialized, label_map=categories.COCO):
    """Parses a record, whether or not it has problems; see record_rules.read_record.

    Args:
      serialized: string scalar, a tf.train.Example.
      label_map: categories.LabelMap, C - 1 categories.

    Returns:
      dict, an example: "encoded", string scalar, the JPEG or PNG; "height_width", int32
      [2], its size in pixels; "boxes", float32 [G, 4], ltrb; "classes", int32 [G],
      1..C-1; "source_id", int64 scalar, or PADDING_ID if the record has no valid id.
      Boxes of categories that label_map does not have are left out.
    """

    def parse(serialized):
        return _values_of(record_rules.read_record(serialized), label_map)

    types = [dtype for _, dtype, _ in _EXAMPLE]
    return _to_example(tf.py_func(parse, [serialized], types))


def _values_of(record, label_map):
    """Returns the values of an example, a list in the order of _EXAMPLE."""
    boxes, classes = record.boxes, map(label_map.class_of_category, record.labels)
    classes = np.array(list(classes), np.int32)
    if not classes.all():
        boxes, classes = boxes[classes > 0], classes[classes > 0]
    image_id = PADDING_ID if record.image_id is None else record.image_id
    return [
        # py_func copies bytes several times, but not an array of objects.
        np.array(record.encoded, dtype=object),
        np.array(record.height_width, np.int32),
        boxes,
        classes,
        np.int64(image_id),
    ]


def _to_example(values):
    """Returns the tensors that py_func returned for `_values_of` as an example."""
    example = {}
    for value, (name, _, shape) in zip(values, _EXAMPLE):
        value.set_shape(shape)
        example[name] = value
    return example


def training_example(example, color_on="host", zoom_out=0.0):
    """Augments an image and encodes its targets.

    Args:
      example: dict, see `parse_record`; G at least 1.
      color_on: "host" or "device", see SSDInputReader.
      zoom_out: float, see SSDInputReader.

    Returns:
      (features, labels), see SSDInputReader, but without the axis B.
    """
    encoded, height_width = example["encoded"], example["height_width"]
    boxes, canvas, decode = example["boxes"], height_width, augmentation.decode_window
    if zoom_out:
        boxes, canvas, origin = augmentation.zoom_out(boxes, height_width, zoom_out)
        decode = functools.partial(
            augmentation.decode_canvas_window, canvas=canvas, origin=origin
        )
    window, boxes, classes = augmentation.random_crop(boxes, example["classes"], canvas)
    is_flipped = tf.random_uniform([]) < augmentation.FLIP_PROBABILITY
    pixels = decode(encoded, height_width, window=window, is_flipped=is_flipped)
    boxes = tf.cond(
        is_flipped, lambda: augmentation.flip_left_right(boxes), lambda: boxes
    )
    return _image_features(pixels, color_on), _encode_labels(boxes, classes)


def _image_features(pixels, color_on):
    """Returns the features of an image; pixels are float32 [300, 300, 3] in 0..255."""
    changes = color.random_changes()
    if color_on == "device":
        # Adds 0.5 because the cast truncates; tf.round is slow in TensorFlow 1.15.
        return {"image": tf.cast(pixels + 0.5, tf.uint8), "color_changes": changes}
    return {"image": color.adjust_color(pixels, changes)}


def _encode_labels(boxes, classes):
    classes, offsets, num_matched = anchors.encode_labels(boxes, classes)
    return {"classes": classes, "boxes": offsets, "num_matched_boxes": num_matched}


def _evaluation_example(example):
    pixels = augmentation.decode(example["encoded"])
    resized = tf.image.resize_images(pixels, _IMAGE_SHAPE[:2])
    return {
        "image": resized / 255.0,
        "source_id": example["source_id"],
        "raw_shape": tf.shape(pixels),
    }


def _pad(batch, batch_size):
    """Fills a partial batch up, so that its shape is static."""
    missing = batch_size - tf.shape(batch["source_id"])[0]

    def pad(tensor, value):
        paddings = [[0, missing]] + [[0, 0]] * (tensor.shape.ndims - 1)
        # tf.pad would copy a full batch as well.
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
