# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Detections in picture files, streamed; for the tools and benchmarks.

Threads read, decode and resize some batches ahead, the network runs, and another thread
suppresses. Pictures are turned upright where EXIF data in the file says how, as viewers
show them, and as create_tf_record.py stores them for training.

Glossary: B images a batch.
"""

import collections
import concurrent.futures

import numpy as np
import tensorflow.compat.v1 as tf

import anchors
from conversion import image_file
from dataset import augmentation, image_header
from detection import model_file
from evaluation import postprocess

# More would only wait: the network takes far longer than reading its pictures does.
_READERS = 4
_UNREADABLE = (
    f"neither JPEG nor PNG, broken, or of more than {image_header.MAX_PIXELS} pixels"
)

Picture = collections.namedtuple("Picture", "path image raw_shape error")
Picture.__doc__ = """A file that was read.

path: str.
image: float32 [300, 300, 3] in 0..1, None where it can't be read.
raw_shape: int32 [3], height and width of the upright picture in pixels, and 3; or None.
error: str, one line that says why it can't be read; or None.
"""


class Decoder:
    """Reads picture files; several threads may share it."""

    def __init__(self):
        with tf.Graph().as_default() as graph, tf.device("/cpu:0"):
            encoded = tf.placeholder(tf.string, [])
            orientation = tf.placeholder(tf.int32, [])
            pixels = _upright(augmentation.decode(encoded), orientation)
            outputs = [model_file.resize(pixels), tf.shape(pixels)]
        # In the thread that asks: TensorFlow's own threads are the network's. How many
        # work within an operation the first session says for all, so not this one.
        config = tf.ConfigProto(
            inter_op_parallelism_threads=-1, device_count={"GPU": 0}
        )
        session = tf.Session(graph=graph, config=config)
        feeds = [encoded, orientation]
        self._resized = session.make_callable(outputs, feed_list=feeds)
        self._pixels = session.make_callable(pixels, feed_list=feeds)

    def __call__(self, path):
        """Reads a picture, whatever may be wrong with it.

        Args:
          path: str, a JPEG or PNG.

        Returns:
          Picture.
        """
        try:
            content, orientation = _read(path)
            image_header.read_size(content)
            image, raw_shape = self._resized(content, orientation)
        except OSError as error:
            return Picture(path, None, None, error.strerror or str(error))
        except (ValueError, tf.errors.OpError):
            return Picture(path, None, None, _UNREADABLE)
        return Picture(path, image, raw_shape, None)

    def pixels(self, path):
        """Decodes a picture in its own size, upright.

        Args:
          path: str, one that could be read before.

        Returns:
          uint8 [height, width, 3].
        """
        return self._pixels(*_read(path))


def _read(path):
    """(content, orientation) of a file: bytes, and int as in EXIF."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        header = image_file.read_header(content)
    except ValueError:
        # Whoever decodes it says so.
        header = None
    return content, header.orientation if header else 1


def _upright(pixels, orientation):
    """Turns pixels, uint8 [height, width, 3], as EXIF's orientation, 1..8, says."""

    def change_if(condition, function, pixels):
        return tf.cond(condition, lambda: function(pixels), lambda: pixels)

    def is_among(*numbers):
        return tf.reduce_any(tf.equal(orientation, numbers))

    pixels = change_if(orientation >= 5, lambda x: tf.transpose(x, [1, 0, 2]), pixels)
    pixels = change_if(is_among(3, 4, 7, 8), lambda x: tf.reverse(x, [0]), pixels)
    return change_if(is_among(2, 3, 6, 7), lambda x: tf.reverse(x, [1]), pixels)


def detect(network, paths, batch_size, decoder):
    """Detects in picture files.

    Args:
      network: model_file.Network.
      paths: iterable of str.
      batch_size: int, B; where the network takes only one, that is taken.
      decoder: Decoder.

    Yields:
      (Picture, detection) in the order of paths: detection is None where the picture
      can't be read, else a dict as of postprocess.Detector. Some batches are in
      memory at a time, however many pictures there are.
    """
    batch_size = network.batch_size or batch_size
    suppress = postprocess.Detector()

    def run(pictures):
        return pictures, _run_batch(network, pictures, batch_size)

    def finish(batch):
        pictures, outputs = batch
        return _in_order(pictures, suppress(outputs) if outputs else [])

    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        with concurrent.futures.ThreadPoolExecutor(1) as suppressor:
            pictures = _map_ahead(readers, decoder, paths, 2 * batch_size)
            batches = map(run, _batches(pictures, batch_size))
            for results in _map_ahead(suppressor, finish, batches, 1):
                yield from results


def _map_ahead(executor, function, items, ahead):
    """Like map, with the results of so many further items under way."""
    under_way = collections.deque()
    for item in items:
        under_way.append(executor.submit(function, item))
        if len(under_way) > ahead:
            yield under_way.popleft().result()
    for future in under_way:
        yield future.result()


def _batches(pictures, batch_size):
    """Lists of pictures: those that can be read are batch_size or, at last, fewer."""
    batch, readable = [], 0
    for picture in pictures:
        batch.append(picture)
        readable += picture.error is None
        # A long row of files that can't be read shall be told of soon.
        if readable == batch_size or len(batch) >= 4 * batch_size:
            yield batch
            batch, readable = [], 0
    if batch:
        yield batch


def to_batch(pictures, batch_size):
    """Makes one batch of pictures.

    Args:
      pictures: list of up to batch_size Pictures that could be read.
      batch_size: int, B.

    Returns:
      float32 [B, 300, 300, 3] in 0..1, filled up with zeros: another size would have
      TensorFlow prepare its kernels anew.
    """
    size = anchors.IMAGE_SIZE
    images = np.zeros([batch_size, size, size, 3], np.float32)
    for row, picture in zip(images, pictures):
        row[:] = picture.image
    return images


def _run_batch(network, pictures, batch_size):
    """What postprocess.Detector takes; None where no picture can be read."""
    readable = [picture for picture in pictures if picture.error is None]
    if not readable:
        return None
    class_logits, box_offsets = network(to_batch(readable, batch_size))
    return {
        "class_logits": class_logits[: len(readable)],
        "box_offsets": box_offsets[: len(readable)],
        "source_id": np.arange(len(readable)),
        "raw_shape": np.stack([picture.raw_shape for picture in readable]),
    }


def _in_order(pictures, detections):
    found = iter(detections)
    return [
        (picture, next(found) if picture.error is None else None)
        for picture in pictures
    ]
