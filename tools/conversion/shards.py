# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes images and their boxes to TFRecord shards."""

import collections
import concurrent.futures
import os
import threading
from itertools import repeat
from typing import NamedTuple

from console import progress
from console.errors import MAX_LISTED, UserError, as_user_error, raise_all
from conversion import image_file

# The names of the shards have five digits.
MAX_SHARDS = 99999


class Entry(NamedTuple):
    """One image, which becomes one record.

    Attributes:
      path: path of the file.
      file_name: name of the file in the dataset.
      image_id: integer.
      size: (width, height) that the boxes refer to, in pixels.
      boxes: list of dict, annotations of a COCO json: "category_id", "bbox" ([x, y,
        width, height] in pixels), "area", "iscrowd" and maybe VOC's flag "difficult".
    """

    path: str
    file_name: str
    image_id: int
    size: tuple
    boxes: list


class UnusableImages:
    """The images of one conversion that cannot be used.

    Attributes:
      texts: list of str, one line for each, which names the file and what is wrong.
    """

    def __init__(self, limit=0):
        """Starts without any; limit is how many may be left out (--skip_unusable)."""
        self.texts, self._limit = [], limit

    @property
    def are_too_many(self):
        """Whether further ones need not be looked for, since no line would be shown."""
        return len(self.texts) >= self._limit + MAX_LISTED

    def check(self, are_others_left=True):
        """Checks that no more images are left out than are allowed, and not all.

        Raises:
          UserError: there are more; all of them are listed, up to MAX_LISTED.
        """
        if len(self.texts) > self._limit or not are_others_left:
            raise_all(
                sorted(self.texts),
                "add or repair it, or leave up to N out with --skip_unusable=N, but "
                "not all images; nothing was written",
            )


def serialize(entry: Entry, names: dict, ignore_exif: bool = False):
    """Creates one record.

    Args:
      entry: the image.
      names: dict from category id to name.
      ignore_exif: see image_file.load.

    Returns:
      (record, changes): bytes of a tf.train.Example with the features of the usual
      COCO converters; and the changes of image_file.load.

    Raises:
      UserError: the image cannot be read, or has another size.
    """
    import tensorflow.compat.v1 as tf

    with as_user_error("cannot read", OSError), as_user_error(entry.path):
        encoded, _, changes = image_file.load(entry.path, entry.size, ignore_exif)
    example = tf.train.Example()
    feature = example.features.feature

    def put(name, kind, values):
        getattr(feature[name], kind + "_list").value.extend(values)

    width, height = entry.size
    put("image/encoded", "bytes", [encoded])
    put("image/format", "bytes", [b"jpeg"])
    put("image/filename", "bytes", [os.fsencode(entry.file_name)])
    put("image/source_id", "bytes", [str(entry.image_id).encode()])
    put("image/height", "int64", [height])
    put("image/width", "int64", [width])
    boxes, objects = [box["bbox"] for box in entry.boxes], "image/object/"
    # Rounding may put a box of the json slightly outside its image.
    put(objects + "bbox/xmin", "float", [max(x, 0) / width for x, _, _, _ in boxes])
    put(objects + "bbox/ymin", "float", [max(y, 0) / height for _, y, _, _ in boxes])
    xmax = [min((x + w) / width, 1) for x, _, w, _ in boxes]
    put(objects + "bbox/xmax", "float", xmax)
    ymax = [min((y + h) / height, 1) for _, y, _, h in boxes]
    put(objects + "bbox/ymax", "float", ymax)
    category_ids = [box["category_id"] for box in entry.boxes]
    put(objects + "class/label", "int64", category_ids)
    # JSON allows unpaired surrogates, which UTF-8 cannot encode.
    texts = [names[number].encode(errors="replace") for number in category_ids]
    put(objects + "class/text", "bytes", texts)
    put(objects + "is_crowd", "int64", [box["iscrowd"] for box in entry.boxes])
    put(objects + "area", "float", [box["area"] for box in entry.boxes])
    if any("difficult" in box for box in entry.boxes):
        difficult = [box.get("difficult", 0) for box in entry.boxes]
        put(objects + "difficult", "int64", difficult)
    # The order of the features is random otherwise, and the bytes differ between runs.
    return example.SerializeToString(deterministic=True), changes


def shard_paths(output_prefix: str, num_shards: int) -> list:
    """Returns the paths of the shards, named as in other TFRecord datasets."""
    return [
        f"{output_prefix}-{shard:05d}-of-{num_shards:05d}.tfrecord"
        for shard in range(num_shards)
    ]


def write(
    output_prefix: str,
    entries: list,
    names: dict,
    num_shards: int,
    workers: int,
    ignore_exif: bool = False,
    unusable=None,
):
    """Writes the shards of one set; image i goes into shard i modulo num_shards.

    Args:
      output_prefix: folder of the shards and start of their names.
      entries: list of Entry, in the order of their ids.
      names: dict from category id to name.
      num_shards: number of shards.
      workers: number of threads; each writes one shard at a time.
      ignore_exif: see image_file.load.
      unusable: UnusableImages, to which images are added; None to allow none.

    Returns:
      (entries, changes): those that were written; and a dict from each change of
      image_file.load to the list of the paths that it happened to.

    Raises:
      UserError: the shards cannot be written, or too many images cannot be used.
    """
    unusable = unusable or UnusableImages()
    paths = shard_paths(output_prefix, num_shards)
    parts = [entries[i::num_shards] for i in range(num_shards)]
    is_over, lock = threading.Event(), threading.Lock()
    with progress.Progress(len(entries)) as bar:
        shared = (names, ignore_exif, unusable, is_over, bar, lock)
        with concurrent.futures.ThreadPoolExecutor(workers) as executor:
            try:
                # The list waits for all results, and raises the first error.
                results = list(executor.map(_write_shard, paths, parts, repeat(shared)))
            finally:
                # After Ctrl-C or an error, each thread only finishes its current image.
                is_over.set()
    written = [pair for result in results for pair in result]
    unusable.check(bool(written))
    paths_of_changes = collections.defaultdict(list)
    for entry, changes in written:
        for change in changes:
            paths_of_changes[change].append(entry.path)
    entries = sorted((entry for entry, _ in written), key=lambda e: e.image_id)
    return entries, paths_of_changes


def _write_shard(path, entries, shared):
    """Writes one shard; returns a list of (entry, changes) of its records.

    shared: what `write` hands to all threads.

    Runs in a thread. Threads suffice: reading files and decoding images release the
    global lock. The main thread only waits, because TensorFlow 1.15 may swallow a
    KeyboardInterrupt.
    """
    import tensorflow.compat.v1 as tf

    names, ignore_exif, unusable, is_over, bar, lock = shared
    written = []
    try:
        with tf.python_io.TFRecordWriter(path) as writer:
            for entry in entries:
                # Very many unusable images usually have one cause.
                if is_over.is_set() or unusable.are_too_many:
                    break
                try:
                    record, changes = serialize(entry, names, ignore_exif)
                except UserError as error:
                    unusable.texts.append(str(error))
                    continue
                writer.write(record)
                written.append((entry, changes))
                with lock:
                    bar.update(1)
    except tf.errors.OpError as error:
        raise UserError(f"--output_prefix: cannot write {error.message}") from error
    return written
