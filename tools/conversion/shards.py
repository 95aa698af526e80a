# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes TFRecord shards with all cores, all of them or none.

Shards grow in a hidden folder beside their place and are renamed when all are whole.
A run that fails or is killed before changes no shard; what it leaves behind, no glob of
the shards matches, and the next run removes it. One that is killed in the moment of the
renaming may leave some of the new shards beside some of the old ones, each whole.
"""

import collections
import contextlib
import fcntl
import glob
import os
import shutil
from typing import NamedTuple, Optional

from console.errors import MAX_LISTED, UserError, refuse
from conversion import image_file, worker_pool

# Counted by `convert`.
CONVERTED = "images converted to JPEG (of 16 bits the upper 8; transparency is dropped)"
TURNED = "images turned upright as their EXIF data says"
# What the shards' names have digits for.
MAX_SHARDS = 99999


class Object(NamedTuple):
    """One box of an image.

    Attributes:
      box: (ymin, xmin, ymax, xmax) in 0..1 of height and width.
      category_id: the dataset's number.
      name: of the category.
      is_crowd: 1 when evaluation neither wants nor punishes detections of it.
      area: pixels.
      difficult: Pascal VOC's flag; None in datasets that have none.
    """

    box: tuple
    category_id: int
    name: str
    is_crowd: int
    area: float
    difficult: Optional[int] = None


class Entry(NamedTuple):
    """One image, to become a record.

    Attributes:
      path: of the file.
      file_name: the dataset's name for it.
      image_id: whole number.
      size: (width, height) that the boxes refer to, in pixels.
      objects: tuple of Object.
    """

    path: str
    file_name: str
    image_id: int
    size: tuple
    objects: tuple


def serialize(entry: Entry, ignore_exif: bool = False):
    """Makes one record.

    Args:
      entry: the image.
      ignore_exif: see image_file.

    Returns:
      (record, changes): bytes of a tf.train.Example with the features of the usual
      COCO converters; and what image_file.load had to do.

    Raises:
      UserError: when the image cannot be read or has another size.
    """
    # Imported here: the processes that only plan do not need it.
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
    # Json takes half surrogates, which no encoding does.
    names = [o.name.encode(errors="replace") for o in objects]
    put("image/object/class/text", "bytes", names)
    put("image/object/is_crowd", "int64", [o.is_crowd for o in objects])
    put("image/object/area", "float", [o.area for o in objects])
    if objects and objects[0].difficult is not None:
        put("image/object/difficult", "int64", [o.difficult for o in objects])
    # Maps have no order of their own; without this the bytes differ from run to run.
    return example.SerializeToString(deterministic=True), changes


def write_shard(path: str, entries: list, ignore_exif: bool, bar):
    """Writes one shard.

    Args:
      path: of the shard.
      entries: list of Entry.
      ignore_exif: see image_file.
      bar: see worker_pool.run.

    Returns:
      (counts, problems): collections.Counter of CONVERTED and TURNED; and a list of
      str, why images cannot be used, so that all can be mended at once. If there are
      any the shard is of no use, and MAX_LISTED end it.

    Raises:
      UserError: when it cannot be written.
    """
    import tensorflow.compat.v1 as tf

    reasons = {"converted": CONVERTED, "turned": TURNED}
    counts, problems = collections.Counter(), []
    try:
        with tf.python_io.TFRecordWriter(path) as writer:
            for entry in entries:
                try:
                    record, changes = serialize(entry, ignore_exif)
                    writer.write(record)
                    counts.update(reasons[change] for change in changes)
                except UserError as error:
                    problems.append(" ".join(str(error).split()))
                    bar.write(problems[-1])
                    if len(problems) == MAX_LISTED:
                        break
                bar.update(1)
    except tf.errors.OpError as error:
        raise UserError(f"--output_prefix: cannot write {error.message}") from error
    return counts, problems


def _write_job(job, bar):
    return write_shard(*job, bar)


def shard_paths(output_prefix: str, num_shards: int) -> list:
    """Names of the shards, as TFRecord datasets usually have them."""
    return [
        f"{output_prefix}-{shard:05d}-of-{num_shards:05d}.tfrecord"
        for shard in range(num_shards)
    ]


def convert(
    entries: list,
    output_prefix: str,
    num_shards: int,
    workers: int,
    ignore_exif: bool = False,
):
    """Writes all shards or none; image i goes into shard i modulo their number.

    Args:
      entries: list of Entry.
      output_prefix: folder and start of the names.
      num_shards: files to write.
      workers: processes.
      ignore_exif: see image_file.

    Returns:
      collections.Counter of CONVERTED and TURNED.

    Raises:
      UserError: when the output cannot be written, shards of another number lie
        there, another run is writing them, or images cannot be used.
    """
    check_other_shards(output_prefix, num_shards)
    folder, name = os.path.split(output_prefix)
    try:
        with _partial_folder(os.path.join(folder, ".partial-" + name)) as partial:
            partials = shard_paths(os.path.join(partial, name), num_shards)
            jobs = [
                (path, entries[i::num_shards], ignore_exif)
                for i, path in enumerate(partials)
            ]
            counts = _write_all(jobs, min(workers, num_shards), len(entries))
            for path, place in zip(partials, shard_paths(output_prefix, num_shards)):
                os.replace(path, place)
    except OSError as error:
        raise UserError(f"--output_prefix={output_prefix}: {error}") from error
    return counts


def _write_all(jobs, workers, total):
    counts, problems = collections.Counter(), []
    results = worker_pool.run(
        *(_write_job, jobs, workers, total), preload=["tensorflow.compat.v1"]
    )
    with contextlib.closing(results):
        for changes, found in results:
            counts.update(changes)
            problems += found
            if len(problems) >= MAX_LISTED:
                break
    refuse(
        sorted(problems),
        "mend it or take it out of the annotations; no shard was changed",
        are_shown=True,
    )
    return counts


@contextlib.contextmanager
def _partial_folder(path):
    """A folder for one run at a time, empty at the start and gone in the end."""
    os.makedirs(path, exist_ok=True)
    lock = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path}: another run is writing the same shards; wait for it"
            ) from None
        for name in os.listdir(path):
            os.remove(os.path.join(path, name))
        try:
            yield path
        finally:
            # Here, not in the processes: the pool ends those in the middle of a file.
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def check_other_shards(output_prefix: str, num_shards: int):
    """Refuses to write beside the shards of another run.

    Args:
      output_prefix: folder and start of the names.
      num_shards: files to write.

    Raises:
      UserError: when shards of another number lie there, or a folder in the place of
        one.
    """
    present = glob.glob(glob.escape(output_prefix) + "-*-of-*")
    others = sorted(set(present) - set(shard_paths(output_prefix, num_shards)))
    if others:
        raise UserError(
            f"--output_prefix={output_prefix}: {len(others)} files of another run lie "
            f"there, {others[0]} first, and would be read together with the new ones; "
            "move them away"
        )
    for path in filter(os.path.isdir, present):
        raise UserError(
            f"--output_prefix={output_prefix}: {path} is a folder; move it away"
        )
