# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes images and their boxes to TFRecord shards: all of them or none.

The shards, and the files that belong to them, are written to a hidden folder beside
their final place, and renamed when all of them are complete. A run that fails or is
killed before that changes no file; the next run removes what is left in the hidden
folder. A run that is killed while renaming may leave some new files beside some old
ones, each of them complete.
"""

import collections
import concurrent.futures
import contextlib
import fcntl
import glob
import os
import shutil
import threading
from typing import NamedTuple, Optional

from console import progress
from console.errors import UserError
from conversion import image_file, pixels
from conversion.unusable import UnusableImages

# The names of the shards have five digits.
MAX_SHARDS = 99999


class Object(NamedTuple):
    """One box of an image.

    Attributes:
      box: (ymin, xmin, ymax, xmax) in 0..1 of height and width.
      bbox: [x, y, width, height] in pixels, as in a COCO json.
      category_id: number of the category in the dataset.
      name: name of the category.
      is_crowd: 1 if evaluation ignores the box and detections of it.
      area: in pixels.
      difficult: Pascal VOC's flag; None in datasets that do not have it.
    """

    box: tuple
    bbox: list
    category_id: int
    name: str
    is_crowd: int
    area: float
    difficult: Optional[int] = None


class Entry(NamedTuple):
    """One image, which becomes one record.

    Attributes:
      path: path of the file.
      file_name: name of the file in the dataset.
      image_id: integer.
      size: (width, height) that the boxes refer to, in pixels.
      objects: tuple of Object.
    """

    path: str
    file_name: str
    image_id: int
    size: tuple
    objects: tuple


def serialize(entry: Entry, ignore_exif: bool = False):
    """Creates one record.

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

    objects = entry.objects
    put("image/encoded", "bytes", [encoded])
    put("image/format", "bytes", [b"jpeg"])
    put("image/filename", "bytes", [os.fsencode(entry.file_name)])
    put("image/source_id", "bytes", [str(entry.image_id).encode()])
    put("image/height", "int64", [entry.size[1]])
    put("image/width", "int64", [entry.size[0]])
    for i, name in enumerate(("ymin", "xmin", "ymax", "xmax")):
        put("image/object/bbox/" + name, "float", [o.box[i] for o in objects])
    put("image/object/class/label", "int64", [o.category_id for o in objects])
    # JSON allows unpaired surrogates, which UTF-8 cannot encode.
    names = [o.name.encode(errors="replace") for o in objects]
    put("image/object/class/text", "bytes", names)
    put("image/object/is_crowd", "int64", [o.is_crowd for o in objects])
    put("image/object/area", "float", [o.area for o in objects])
    if objects and objects[0].difficult is not None:
        put("image/object/difficult", "int64", [o.difficult for o in objects])
    # The order of the features is random otherwise, and the bytes differ between runs.
    return example.SerializeToString(deterministic=True), changes


def shard_paths(output_prefix: str, num_shards: int) -> list:
    """Returns the paths of the shards, named as in other TFRecord datasets."""
    return [
        f"{output_prefix}-{shard:05d}-of-{num_shards:05d}.tfrecord"
        for shard in range(num_shards)
    ]


def convert(
    sets: dict,
    num_shards: int,
    workers: int,
    ignore_exif: bool = False,
    unusable=None,
    other_files=lambda sets: {},
):
    """Writes all files or none; image i of a set goes into its shard i modulo N.

    Args:
      sets: dict from output prefix, the folder of the shards and the start of their
        names, to list of Entry; all in one folder.
      num_shards: N, number of shards of each set.
      workers: number of threads; each writes one shard at a time.
      ignore_exif: see image_file.load.
      unusable: UnusableImages, to which images are added; None to allow none.
      other_files: function of the sets without the unusable images that returns a
        dict from file name to bytes, for files beside the shards.

    Returns:
      (sets, counts): the sets without the unusable images; and a collections.Counter
      of the changes of image_file.load.

    Raises:
      UserError: the files cannot be written, another run is writing the same shards,
        or too many images cannot be used.
    """
    unusable = unusable or UnusableImages()
    folder, name = os.path.split(next(iter(sets)))
    try:
        with _partial_folder(os.path.join(folder, ".partial-" + name)) as partial:
            jobs = [
                (os.path.join(partial, os.path.basename(path)), entries[i::num_shards])
                for prefix, entries in sets.items()
                for i, path in enumerate(shard_paths(prefix, num_shards))
            ]
            counts = _write_all(jobs, workers, ignore_exif, unusable)
            sets = {p: unusable.others(entries) for p, entries in sets.items()}
            unusable.check(all(sets.values()))
            names = [os.path.basename(path) for path, _ in jobs]
            for name, content in other_files(sets).items():
                names.append(name)
                with open(os.path.join(partial, name), "wb") as file:
                    file.write(content)
            for name in names:
                os.replace(os.path.join(partial, name), os.path.join(folder, name))
    except OSError as error:
        raise UserError(
            f"--output_prefix: cannot write {error.filename2 or error.filename}: "
            f"{error.strerror}"
        ) from error
    return sets, counts


def _write_all(jobs, workers, ignore_exif, unusable):
    with progress.progress_bar(sum(len(entries) for _, entries in jobs)) as bar:
        run = _Run(ignore_exif, bar, unusable)
        with concurrent.futures.ThreadPoolExecutor(workers) as executor:
            try:
                # The list waits for all results, and raises the first error.
                list(executor.map(run.write_shard, *zip(*jobs)))
            finally:
                # After Ctrl-C or an error, each thread only finishes its current image.
                run.is_over = True
    unusable.check()
    pixels.print_losses(run.counts, run.first)
    return run.counts


class _Run:
    """One conversion. Its threads call write_shard, and share its state.

    Threads suffice: reading files and decoding images release Python's global lock. The
    main thread only waits, because TensorFlow 1.15 may swallow a KeyboardInterrupt.

    Attributes:
      counts: collections.Counter of the changes of image_file.load.
      is_over: bool, whether the threads must stop.
      first: dict from change to the path of an image, the first in alphabetical order.
    """

    def __init__(self, ignore_exif, bar, unusable):
        self.counts, self.is_over = collections.Counter(), False
        self._ignore_exif, self._bar, self._unusable = ignore_exif, bar, unusable
        self._lock, self.first = threading.Lock(), {}

    def write_shard(self, path, entries):
        """Writes one shard, or a part of it if the run is over before.

        Raises:
          UserError: the shard cannot be written.
        """
        import tensorflow.compat.v1 as tf

        try:
            with tf.python_io.TFRecordWriter(path) as writer:
                for entry in entries:
                    if self.is_over:
                        break
                    self._write(entry, writer)
        except tf.errors.OpError as error:
            raise UserError(f"--output_prefix: cannot write {error.message}") from error

    def _write(self, entry, writer):
        try:
            record, changes = serialize(entry, self._ignore_exif)
        except UserError as error:
            with self._lock:
                if not self._unusable.are_too_many:
                    self._unusable.add(str(error), entry.image_id)
                # That many problems usually have one cause.
                self.is_over |= self._unusable.are_too_many
            return
        writer.write(record)
        with self._lock:
            self.counts.update(changes)
            for change in changes:
                path = self.first.get(change, entry.path)
                self.first[change] = min(path, entry.path)
            self._bar.update(1)


@contextlib.contextmanager
def _partial_folder(path):
    """Creates an empty folder for one run at a time, and removes it at the end."""
    os.makedirs(path, exist_ok=True)
    lock = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path}: another run is writing the same shards; wait for it to end"
            ) from None
        except OSError:
            # The file system has no locks; then two runs at a time are not noticed.
            pass
        for name in os.listdir(path):
            os.remove(os.path.join(path, name))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def check_other_shards(output_prefix: str, num_shards: int):
    """Checks that the new shards will not lie beside shards of another run.

    Raises:
      UserError: there are shards of another number.
    """
    present = set(glob.glob(glob.escape(output_prefix) + "-*-of-*"))
    others = sorted(present.difference(shard_paths(output_prefix, num_shards)))
    if others:
        raise UserError(
            f"--output_prefix={output_prefix}: there are {len(others)} files of "
            f"another run, the first is {others[0]}; they would be read together with "
            "the new ones: move them away"
        )
