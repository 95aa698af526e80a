# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes TFRecord shards with all cores, all of them or none."""

import contextlib
import glob
import multiprocessing
import os
import sys

from command_line import InputError


def serialize(entry: dict) -> bytes:
    """Makes one record.

    Args:
      entry: one of those that `plan` gives.

    Returns:
      bytes of a tf.train.Example with the features of the usual COCO converters.

    Raises:
      InputError: when the file is neither JPEG nor PNG.
    """
    # Imported here: the processes that only plan do not need it.
    import tensorflow.compat.v1 as tf

    with open(entry["path"], "rb") as file:
        encoded = file.read()
    example = tf.train.Example()
    feature = example.features.feature

    def put(name, kind, values):
        getattr(feature[name], kind + "_list").value.extend(values)

    objects = entry["objects"]
    put("image/encoded", "bytes", [encoded])
    put("image/format", "bytes", [_image_format(encoded, entry["path"])])
    put("image/filename", "bytes", [entry["file_name"].encode()])
    put("image/source_id", "bytes", [str(entry["id"]).encode()])
    put("image/height", "int64", [entry["height"]])
    put("image/width", "int64", [entry["width"]])
    for i, name in enumerate(("ymin", "xmin", "ymax", "xmax")):
        put("image/object/bbox/" + name, "float", [o["box"][i] for o in objects])
    put("image/object/class/label", "int64", [o["category_id"] for o in objects])
    put("image/object/class/text", "bytes", [o["name"].encode() for o in objects])
    put("image/object/is_crowd", "int64", [o["is_crowd"] for o in objects])
    put("image/object/area", "float", [o["area"] for o in objects])
    # Maps have no order of their own; without this the bytes differ from run to run.
    return example.SerializeToString(deterministic=True)


def _image_format(encoded, path):
    if encoded.startswith(b"\xff\xd8\xff"):
        return b"jpeg"
    if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"png"
    raise InputError(f"--image_dir: {path} is neither a JPEG nor a PNG")


def write_shard(path: str, entries: list) -> int:
    """Writes one shard.

    Args:
      path: of the shard.
      entries: as `plan` gives them.

    Returns:
      int, the number of records.

    Raises:
      InputError: as `serialize`, or when it cannot be written.
    """
    import tensorflow.compat.v1 as tf

    try:
        with tf.python_io.TFRecordWriter(path) as writer:
            for entry in entries:
                writer.write(serialize(entry))
    except tf.errors.OpError as error:
        raise InputError(f"--output_prefix: cannot write {error.message}") from error
    return len(entries)


def _write_job(job):
    """write_shard, maybe in another process; errors come back as text."""
    try:
        return write_shard(*job), None
    except (InputError, OSError) as error:
        return 0, str(error)


def shard_paths(output_prefix: str, num_shards: int) -> list:
    """Names of the shards, as TFRecord datasets usually have them."""
    return [
        f"{output_prefix}-{shard:05d}-of-{num_shards:05d}.tfrecord"
        for shard in range(num_shards)
    ]


def convert(entries: list, output_prefix: str, num_shards: int, workers: int):
    """Writes all shards or none; image i goes into shard i modulo their number.

    Args:
      entries: as `plan` gives them.
      output_prefix: folder and start of the names.
      num_shards: files to write.
      workers: processes.

    Raises:
      InputError: when the output cannot be written, shards of another number lie
        there, or an image is broken.
    """
    check_other_shards(output_prefix, num_shards)
    paths = shard_paths(output_prefix, num_shards)
    folder, name = os.path.split(output_prefix)
    # A glob of the shards does not match these.
    partials = shard_paths(os.path.join(folder, ".partial-" + name), num_shards)
    jobs = [(partial, entries[i::num_shards]) for i, partial in enumerate(partials)]
    try:
        os.makedirs(folder or ".", exist_ok=True)
        with _progress(entries) as bar:
            for written, error in _run_jobs(jobs, min(workers, num_shards)):
                if error:
                    raise InputError(error)
                bar.update(written)
        for partial, path in zip(partials, paths):
            os.replace(partial, path)
    except OSError as error:
        raise InputError(f"--output_prefix={output_prefix}: {error}") from error
    finally:
        # Here, not in the processes: the pool ends those in the middle of a file.
        for partial in filter(os.path.exists, partials):
            os.remove(partial)


def _run_jobs(jobs, workers):
    if workers == 1:
        # Starting a process would take longer than a small dataset does.
        yield from map(_write_job, jobs)
        return
    # Fork is not safe beside the threads of TensorFlow and of NPU drivers.
    with multiprocessing.get_context("forkserver").Pool(workers) as pool:
        started = multiprocessing.active_children()
        results = pool.imap_unordered(_write_job, jobs)
        for _ in jobs:
            yield _next_result(results, started)


def _next_result(results, started):
    """The next result; a pool alone waits forever for one of a killed process."""
    while True:
        try:
            return results.next(timeout=1)
        except multiprocessing.TimeoutError:
            if set(multiprocessing.active_children()) != set(started):
                raise InputError(
                    f"--workers={len(started)}: a process was killed, perhaps for lack "
                    "of memory; take fewer"
                ) from None


def check_other_shards(output_prefix: str, num_shards: int):
    """Refuses to write beside the shards of another run.

    Args:
      output_prefix: folder and start of the names.
      num_shards: files to write.

    Raises:
      InputError: when shards of another number lie there.
    """
    present = glob.glob(glob.escape(output_prefix) + "-*-of-*")
    others = sorted(set(present) - set(shard_paths(output_prefix, num_shards)))
    if others:
        raise InputError(
            f"--output_prefix={output_prefix}: {len(others)} files of another run lie "
            f"there, {others[0]} first, and would be read together with the new ones; "
            "move them away"
        )


class _PlainProgress(contextlib.AbstractContextManager):
    """What tqdm does, in a line for every tenth of the images."""

    def __init__(self, total):
        self._total, self._done = total, 0

    def __exit__(self, *unused):
        pass

    def update(self, count):
        tenth = self._done * 10 // self._total
        self._done += count
        if self._done * 10 // self._total > tenth:
            print(f"{self._done} of {self._total} images", file=sys.stderr)


def _progress(entries):
    try:
        import tqdm
    except ImportError:
        return _PlainProgress(max(len(entries), 1))
    return tqdm.tqdm(total=len(entries), unit="image")
