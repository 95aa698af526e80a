# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Detects objects in picture files, one batch after the other.

Threads read, decode and resize the next batch while the network runs on the current
one. Pictures are read by the code that create_tf_record.py reads them with for
training: of every format, upright, with 8 bits.

Glossary: B images per batch.
"""

import concurrent.futures
import itertools
from typing import NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf

import anchors
from conversion import image_file
from dataset import augmentation
from detection import model_file
from evaluation import postprocess

# More readers would only wait: the network takes far longer than reading its pictures.
_READERS = 4


class Picture(NamedTuple):
    """A picture file, read for the network.

    Attributes:
      path: of the file.
      image: float32 [300, 300, 3] in 0..1, or None if the file cannot be read.
      raw_shape: (height, width, 3) of the upright picture in pixels, or None.
      error: one line that says why the file cannot be read, or None.
    """

    path: str
    image: Optional[np.ndarray] = None
    raw_shape: Optional[tuple] = None
    error: Optional[str] = None


class Decoder:
    """Reads picture files; several threads may share one decoder."""

    def __init__(self):
        with tf.Graph().as_default() as graph, tf.device("/cpu:0"):
            encoded = tf.placeholder(tf.string, [])
            pixels = tf.placeholder(tf.uint8, [None, None, 3])
            decoded, resized = augmentation.decode(encoded), model_file.resize(pixels)
        # -1: operations run in the calling thread, because TensorFlow's own threads are
        # busy with the network. The number of threads within an operation is not set
        # here: the first session of a process sets it for all sessions.
        config = tf.ConfigProto(
            inter_op_parallelism_threads=-1, device_count={"GPU": 0}
        )
        session = tf.Session(graph=graph, config=config)
        self._decode = session.make_callable(decoded, feed_list=[encoded])
        self._resize = session.make_callable(resized, feed_list=[pixels])

    def __call__(self, path):
        """Returns the Picture of a file, with an error if it cannot be read."""
        try:
            pixels = self.pixels(path)
        except OSError as error:
            return Picture(path, error=error.strerror or str(error))
        except ValueError as error:
            return Picture(path, error=f"it {error}")
        return Picture(path, self._resize(pixels), pixels.shape)

    def pixels(self, path):
        """Decodes a picture in its own size, upright, to uint8 [height, width, 3].

        Raises:
          OSError: the file cannot be read.
          ValueError: the file is not a picture that can be decoded; the text follows
            the name of the file, as in image_file.
        """
        encoded, image, changes = image_file.read(path)
        if changes:
            return np.array(image.convert("RGB"))
        try:
            return self._decode(encoded)
        except tf.errors.OpError as error:
            raise ValueError("is a broken JPEG: TensorFlow cannot decode it") from error


def detect(network, paths, batch_size, decoder):
    """Detects objects in picture files, B = batch_size at a time.

    Yields:
      (Picture, detection) in the order of paths. detection is a dict, see
      postprocess.Detector, or None if the picture cannot be read. At most two batches
      are in memory at a time.
    """
    paths = iter(paths)
    suppress = postprocess.Detector()
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:

        def start_reading():
            return readers.map(decoder, itertools.islice(paths, batch_size))

        pictures = list(start_reading())
        while pictures:
            following = start_reading()
            readable = [picture for picture in pictures if not picture.error]
            outputs = _run(network, readable, batch_size) if readable else None
            detections = iter(suppress(outputs) if readable else ())
            for picture in pictures:
                yield picture, None if picture.error else next(detections)
            pictures = list(following)


def _run(network, pictures, batch_size):
    """Returns the raw outputs for the pictures, as postprocess.Detector takes them."""
    # Missing images are zeros: with another batch size, TensorFlow would prepare its
    # kernels again.
    size = anchors.IMAGE_SIZE
    images = np.zeros([batch_size, size, size, 3], np.float32)
    images[: len(pictures)] = [picture.image for picture in pictures]
    class_logits, box_offsets = network(images)
    return {
        "class_logits": class_logits[: len(pictures)],
        "box_offsets": box_offsets[: len(pictures)],
        "source_id": np.arange(len(pictures)),
        "raw_shape": np.array([picture.raw_shape for picture in pictures]),
    }
