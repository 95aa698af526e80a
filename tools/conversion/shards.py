# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes images and their boxes to TFRecord shards."""

import collections
import concurrent.futures
import os
import threading
from typing import NamedTuple

from console import progress
from console.errors import UserError
from conversion import image_file
from conversion.unusable import UnusableImages

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

    try:
        encoded, _, changes = image_file.load(entry.path, entry.size, ignore_exif)
    except ValueError as error:
        raise UserError(f"{entry.path} {error}") from error
    except OSError as error:
        raise UserError(f"{entry.path} cannot be read: {error.strerror}") from error
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

    Threads suffice: reading files and decoding images release Python's global lock. The
    main thread only waits, because TensorFlow 1.15 may swallow a KeyboardInterrupt.

    Args:
      output_prefix: folder of the shards and start of their names.
      entries: list of Entry.
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
    changes, broken_ids = collections.defaultdict(list), set()
    lock, is_over = threading.Lock(), threading.Event()

    def write_record(entry, writer):
        try:
            record, changes_of_image = serialize(entry, names, ignore_exif)
        except UserError as error:
            with lock:
                if not unusable.are_too_many:
                    unusable.texts.append(str(error))
                    broken_ids.add(entry.image_id)
            return
        writer.write(record)
        with lock:
            for change in changes_of_image:
                changes[change].append(entry.path)
            bar.update(1)

    def write_shard(path, entries_of_shard):
        import tensorflow.compat.v1 as tf

        try:
            with tf.python_io.TFRecordWriter(path) as writer:
                for entry in entries_of_shard:
                    # Very many unusable images usually have one cause.
                    if is_over.is_set() or unusable.are_too_many:
                        break
                    write_record(entry, writer)
        except tf.errors.OpError as error:
            raise UserError(f"--output_prefix: cannot write {error.message}") from error

    paths = shard_paths(output_prefix, num_shards)
    parts = [entries[i::num_shards] for i in range(num_shards)]
    with progress.progress_bar(len(entries)) as bar:
        with concurrent.futures.ThreadPoolExecutor(workers) as executor:
            try:
                # The list waits for all results, and raises the first error.
                list(executor.map(write_shard, paths, parts))
            finally:
                # After Ctrl-C or an error, each thread only finishes its current image.
                is_over.set()
    written = [entry for entry in entries if entry.image_id not in broken_ids]
    unusable.check(bool(written))
    return written, changes
