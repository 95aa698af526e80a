# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Converts a COCO json and its folder of images to sharded TFRecords.

  python3 tools/create_tf_record.py --annotations=instances_train2017.json \
    --image_dir=train2017 --output_prefix=tfrecord/train2017 --num_shards=256

writes tfrecord/train2017-00000-of-00256.tfrecord and so on, with all cores, and counts
what went in and what was left out. Images are stored as they are (JPEG or PNG). The
same input and number of shards give the same bytes. Shards are written under other
names and renamed when all are whole: a run that fails changes no shard.
"""

import collections
import contextlib
import glob
import json
import multiprocessing
import os
import sys

from absl import app, flags

FLAGS = flags.FLAGS

_NO_SIZE = "boxes of no size or outside their image"
_UNKNOWN_IMAGE = "boxes of an image that the json does not list"
_UNKNOWN_CATEGORY = "boxes of a category that the json does not list"
_CLIPPED = "boxes clipped to their image"
_WITHOUT_BOX = "images without a box (evaluated, not trained on)"


class InputError(Exception):
    """What the user can mend; one line that names the file or flag."""


def _define_flags():
    flags.DEFINE_string("annotations", None, "COCO instances json.")
    flags.DEFINE_string("image_dir", None, "Folder of the images.")
    flags.DEFINE_string(
        "output_prefix", None, "Folder and start of the shards' names: DIR/train2017."
    )
    flags.DEFINE_integer("num_shards", 16, "Files to write.", lower_bound=1)
    flags.DEFINE_integer("workers", os.cpu_count(), "Processes.", lower_bound=1)
    flags.DEFINE_integer("max_images", 0, "First N by id; 0: all.", lower_bound=0)


def read_annotations(path: str) -> dict:
    """Reads a COCO instances json.

    Args:
      path: the json.

    Returns:
      its dict, with lists of images, annotations and categories.

    Raises:
      InputError: when it cannot be read or is no such json.
    """
    try:
        with open(path, encoding="utf-8") as file:
            dataset = json.load(file)
    except (OSError, ValueError) as error:
        raise InputError(f"--annotations: cannot read {path}: {error}") from error
    for section in ("images", "annotations", "categories"):
        if not isinstance(dataset, dict) or not isinstance(dataset.get(section), list):
            raise InputError(
                f"--annotations: {path} is no COCO instances json: no list of {section}"
            )
    return dataset


def plan(dataset: dict, image_dir: str, max_images: int = 0):
    """Brings images and boxes together and checks that every image is there.

    Args:
      dataset: what `read_annotations` gives.
      image_dir: folder of the images.
      max_images: keep the first so many by id; 0 for all.

    Returns:
      (entries, counts): a list of dicts (path, id, width, height, file_name, objects),
      in the order of the ids; and a collections.Counter of what was found.

    Raises:
      InputError: for an entry that is broken, a file name that leaves image_dir, or an
        image that is missing; it names the first.
    """
    names = {c["id"]: str(c["name"]) for c in dataset["categories"]}
    images = sorted(dataset["images"], key=lambda image: image["id"])
    known = {image["id"] for image in images}
    if len(known) < len(images):
        raise InputError("--annotations: an image id occurs twice")
    images = images[: max_images or None]
    kept = {image["id"] for image in images}
    counts = collections.Counter()
    objects = collections.defaultdict(list)
    for annotation in dataset["annotations"]:
        if annotation["image_id"] not in known:
            counts[_UNKNOWN_IMAGE] += 1
        elif annotation["image_id"] not in kept:
            continue
        elif annotation["category_id"] not in names:
            counts[_UNKNOWN_CATEGORY] += 1
        else:
            objects[annotation["image_id"]].append(annotation)
    root = os.path.realpath(image_dir)
    entries = [_entry(image, root) for image in images]
    for entry in entries:
        entry["objects"] = _clean(entry, objects[entry["id"]], names, counts)
    counts["images"] = len(entries)
    return entries, counts


def _entry(image, root):
    file_name, size = image["file_name"], (image.get("width"), image.get("height"))
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise InputError(
            f"--annotations: image {file_name} has width and height {size}; "
            "both must be whole numbers above 0"
        )
    # The name must stay in the folder; a link in the folder may lead anywhere.
    path = os.path.abspath(os.path.join(root, file_name))
    if os.path.commonpath([root, path]) != root:
        raise InputError(f"--annotations: file name {file_name} leaves {root}")
    if not os.path.isfile(path):
        raise InputError(
            f"--image_dir: {path} is missing; it is image {image['id']} of the json"
        )
    entry = {"path": path, "file_name": file_name, "id": image["id"]}
    entry["width"], entry["height"] = size
    return entry


def _clean(entry, annotations, names, counts):
    """The image's objects with boxes [ymin, xmin, ymax, xmax] in 0..1."""
    objects = []
    width, height = entry["width"], entry["height"]
    for annotation in annotations:
        x, y, w, h = (float(number) for number in annotation["bbox"])
        left, right = max(x, 0.0), min(x + w, width)
        top, bottom = max(y, 0.0), min(y + h, height)
        # Written so that a NaN counts as no size.
        if not (left < right and top < bottom):
            counts[_NO_SIZE] += 1
            continue
        # COCO's own boxes end up to a rounding of 0.01 pixels past the border.
        counts[_CLIPPED] += max(left - x, top - y, x + w - right, y + h - bottom) > 0.02
        objects.append(
            {
                "box": (top / height, left / width, bottom / height, right / width),
                "category_id": int(annotation["category_id"]),
                "name": names[annotation["category_id"]],
                "is_crowd": int(annotation.get("iscrowd", 0)),
                "area": float(annotation.get("area", w * h)),
            }
        )
    counts["boxes"] += len(objects)
    counts["crowd"] += sum(item["is_crowd"] for item in objects)
    counts[_WITHOUT_BOX] += not objects
    return objects


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
    _check_other_shards(output_prefix, num_shards)
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


def _check_other_shards(output_prefix, num_shards):
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


def print_counts(counts: collections.Counter, output_prefix: str):
    """Prints what went into the shards and what was left out, and why."""
    print(
        f"{output_prefix}: {counts['images']} images, {counts['boxes']} boxes, "
        f"{counts['crowd']} of them crowd"
    )
    for reason in (_WITHOUT_BOX, _CLIPPED):
        print(f"  {counts[reason]} {reason}")
    for reason in (_NO_SIZE, _UNKNOWN_IMAGE, _UNKNOWN_CATEGORY):
        print(f"  left out: {counts[reason]} {reason}")


def main(_):
    """Converts as the flags say."""
    for name in ("annotations", "image_dir", "output_prefix"):
        if not FLAGS[name].value:
            raise InputError(f"--{name} is missing")
    # COCO's json takes long to read, so what can be checked before is.
    _check_other_shards(FLAGS.output_prefix, FLAGS.num_shards)
    dataset = read_annotations(FLAGS.annotations)
    try:
        entries, counts = plan(dataset, FLAGS.image_dir, FLAGS.max_images)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"--annotations: an entry of {FLAGS.annotations} is wrong: {error!r}"
        ) from error
    convert(entries, FLAGS.output_prefix, FLAGS.num_shards, FLAGS.workers)
    print_counts(counts, FLAGS.output_prefix)


def run(main_function, define_flags):
    """Runs a tool: what the user can mend becomes one line and status 2.

    Args:
      main_function: takes the arguments that are no flags.
      define_flags: defines the tool's flags.
    """
    define_flags()
    app.define_help_flags()
    name = os.path.basename(sys.argv[0])
    try:
        rest = FLAGS(sys.argv)
        if rest[1:]:
            raise InputError(f"{rest[1]}: not a flag; flags look like --name=value")
        main_function(rest)
    except (InputError, flags.Error) as error:
        print(f"{name}: " + " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run(main, _define_flags)
