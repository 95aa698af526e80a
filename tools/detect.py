# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Detects objects in picture files, draws them and lists them in a json.

  python3 tools/detect.py holiday.jpg photos 'more/**/*.png' \
    --model=training/D0/result_npu --output_dir=detections

takes files, folders (the .jpg, .jpeg and .png directly in them) and globs, and a model:
a checkpoint, a folder of checkpoints (its newest), or an export of export_model.py.
Into --output_dir go the pictures with boxes, names and scores, under their own names
(and in their own subfolders, where the pictures come from several), and
detections.json: a list as COCO's results have it, best first for each picture,

  {"file_name": "photos/a.jpg", "category_id": 18, "category": "dog",
   "bbox": [x, y, width, height] in pixels, "score": 0.93}

Boxes are as --mode=eval counts them: they may reach over the picture's edge. Pictures
that EXIF data turns are seen, drawn and measured upright, as viewers show them. What
can't be read is named and passed over; the exit status is then 1. Drawing needs Pillow;
--nodraw or a machine without it leaves the pictures out.
"""

import collections
import glob
import io
import json
import os
import sys
import time

import numpy as np
import tensorflow.compat.v1 as tf
from absl import flags

# The rooms lie in the folder above this one.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import atomic_file
from console.command import run
from console.errors import UserError
from detection import model_file, picture_stream
from devices import base
from evaluation import postprocess

FLAGS = flags.FLAGS

JSON_FILE = "detections.json"
# Of what Pillow then writes, too.
ENDINGS = (".jpg", ".jpeg", ".png")
_JPEG_QUALITY = 92


def _define_flags():
    flags.DEFINE_string("model", None, "Checkpoint, folder of such, or an export.")
    flags.DEFINE_string("output_dir", "detections", "Folder for what is found.")
    flags.DEFINE_string(
        "label_map",
        None,
        "Json with the model's categories; default: the export's own, else COCO's.",
    )
    flags.DEFINE_float(
        "min_score",
        0.3,
        "Leave out what scores less; the evaluation takes 0.05.",
        lower_bound=postprocess.MIN_SCORE,
        upper_bound=1.0,
    )
    flags.DEFINE_integer("batch_size", 8, "Pictures a run.", lower_bound=1)
    flags.DEFINE_boolean("draw", True, "Write the pictures with their boxes.")
    flags.DEFINE_enum("device", "auto", model_file.DEVICES, "What to run on.")
    flags.DEFINE_enum(
        "precision_mode",
        base.PRECISION_MODES[0],
        base.PRECISION_MODES,
        "Whether products may use 16 bits, as for ssd_main.py.",
    )


def find_pictures(arguments):
    """Lists the files that arguments mean.

    Args:
      arguments: list of str: files, folders, globs.

    Returns:
      list of str, in the order of the arguments, each file once.

    Raises:
      UserError: there is no such file, a folder holds no picture, a glob matches none.
    """
    paths = []
    for argument in arguments:
        if os.path.isdir(argument):
            found = _in_folder(argument)
        elif os.path.lexists(argument):
            found = [argument]
        else:
            found = sorted(glob.glob(argument, recursive=True))
            found = [path for path in found if not os.path.isdir(path)]
        if not found:
            what = "there is no such file"
            if os.path.isdir(argument):
                what = f"the folder holds no {', '.join(ENDINGS)}"
            elif glob.has_magic(argument):
                what = "no file matches"
            raise UserError(f"{argument}: {what}")
        paths += found
    firsts = collections.OrderedDict()
    for path in paths:
        firsts.setdefault(os.path.realpath(path), path)
    return list(firsts.values())


def _in_folder(folder):
    try:
        names = sorted(name for name in os.listdir(folder) if _is_picture(name))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error
    paths = [os.path.join(folder, name) for name in names]
    return [path for path in paths if not os.path.isdir(path)]


def _is_picture(name):
    return name.lower().endswith(ENDINGS)


def output_paths(paths, output_dir):
    """Names the drawn pictures.

    Args:
      paths: list of str, the pictures.
      output_dir: str.

    Returns:
      dict from each of paths to a path in output_dir, all different: the part below
      the folder that all pictures have in common, with .png where its ending is none
      of a picture.

    Raises:
      UserError: one of them is one of the pictures, which drawing would overwrite.
    """
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths]
    common = os.path.commonpath(folders)
    targets = {
        path: os.path.join(output_dir, os.path.relpath(os.path.abspath(path), common))
        for path in paths
    }
    taken = set(targets.values())
    for path, target in targets.items():
        while not _is_picture(target) or (target in taken and target != targets[path]):
            target += ".png"
        targets[path] = target
    originals = {os.path.realpath(path) for path in paths}
    for target in targets.values():
        if os.path.realpath(target) in originals:
            raise UserError(
                f"--output_dir={output_dir}: the drawn picture would overwrite "
                f"{target}; name another folder"
            )
    return targets


def to_results(path, detection, label_map, min_score):
    """Makes the entries of detections.json for one picture.

    Args:
      path: str, the picture.
      detection: dict, see postprocess.Detector.
      label_map: categories.LabelMap.
      min_score: float, leave out what scores less.

    Returns:
      list of dict, see the module; best first.
    """
    height, width = (float(side) for side in detection["raw_shape"][:2])
    results = []
    for box, score, number in zip(
        detection["boxes"].astype(np.float64).tolist(),
        detection["scores"].astype(np.float64).tolist(),
        detection["classes"].tolist(),
    ):
        if score < min_score:
            break
        ymin, xmin, ymax, xmax = box
        category_id = label_map.category_of_class(number)
        results.append(
            {
                "file_name": path,
                "category_id": category_id,
                "category": label_map.names[category_id],
                "bbox": [
                    xmin * width,
                    ymin * height,
                    (xmax - xmin) * width,
                    (ymax - ymin) * height,
                ],
                "score": score,
            }
        )
    return results


class JsonList:
    """Writes a list of dicts to a file, one a line, without keeping them."""

    def __init__(self, file):
        self._file = file
        self._separator = b"[\n"

    def add(self, entries):
        """Writes further entries."""
        for entry in entries:
            self._file.write(self._separator + json.dumps(entry).encode())
            self._separator = b",\n"

    def close(self):
        """Ends the list."""
        self._file.write(b"[]\n" if self._separator == b"[\n" else b"\n]\n")


class Painter:
    """Writes pictures with boxes, names and scores."""

    def __init__(self, decoder, targets):
        """Makes sure that Pillow is there.

        Args:
          decoder: picture_stream.Decoder.
          targets: dict, see `output_paths`.

        Raises:
          ImportError: it is not.
        """
        import PIL.Image

        from evaluation import drawing

        self._image, self._drawing = PIL.Image, drawing
        self._decoder, self._targets = decoder, targets

    def paint(self, path, results):
        """Writes one picture.

        Args:
          path: str, the picture.
          results: list of dict, see `to_results`.

        Raises:
          OSError, tf.errors.OpError: the picture cannot be read any more.
          atomic_file.NotWritableError: its drawing cannot be written.
        """
        boxes = []
        for result in results:
            x, y, width, height = result["bbox"]
            boxes.append((y, x, y + height, x + width))
        # The picture as it was detected in, not as Pillow would read it.
        image = self._drawing.draw(
            self._image.fromarray(self._decoder.pixels(path)),
            # The best lie on top.
            boxes[::-1],
            [f"{r['category']} {r['score']:.2f}" for r in results][::-1],
            [self._drawing.color_of(r["category_id"]) for r in results][::-1],
        )
        target = self._targets[path]
        is_png = target.lower().endswith(".png")
        encoded = io.BytesIO()
        image.save(encoded, "png" if is_png else "jpeg", quality=_JPEG_QUALITY)
        atomic_file.write_atomically(target, encoded.getvalue())


def _make_painter(decoder, paths):
    """A Painter, or None where nothing is to be drawn or can be."""
    if not FLAGS.draw:
        return None
    targets = output_paths(paths, FLAGS.output_dir)
    try:
        return Painter(decoder, targets)
    except ImportError as error:
        _complain(
            f"no pictures are drawn, {error}; pip install Pillow, or say --nodraw"
        )
        return None


def _complain(text):
    print("detect.py: " + " ".join(text.split()), file=sys.stderr, flush=True)


def detect_all(network, paths, decoder, painter, entries):
    """Detects in all pictures, and writes down what is found as it comes.

    Args:
      network: model_file.Network.
      paths: list of str.
      decoder: picture_stream.Decoder.
      painter: Painter or None.
      entries: JsonList.

    Returns:
      (objects, broken): ints, how many were found, and how many pictures passed over
      or not drawn.
    """
    objects = broken = 0
    for picture, detection in picture_stream.detect(
        network, paths, FLAGS.batch_size, decoder
    ):
        if detection is None:
            _complain(f"{picture.path} passed over: {picture.error}")
            broken += 1
            continue
        results = to_results(
            picture.path, detection, network.label_map, FLAGS.min_score
        )
        entries.add(results)
        objects += len(results)
        if painter:
            try:
                painter.paint(picture.path, results)
            except (OSError, tf.errors.OpError):
                _complain(f"{picture.path} not drawn: it cannot be read any more")
                broken += 1
        print(f"{picture.path}: {_summary(results)}", flush=True)
    return objects, broken


def _summary(results):
    counts = collections.Counter(result["category"] for result in results)
    return ", ".join(f"{n} {name}" for name, n in counts.most_common()) or "nothing"


def main(arguments):
    """Detects as the flags say; gives the exit status."""
    model_file.quiet_tensorflow()
    if not FLAGS.model:
        raise UserError("--model is missing: a checkpoint, a folder of such, an export")
    if not arguments:
        raise UserError("no pictures are named; give files, folders or globs")
    paths = find_pictures(arguments)
    decoder = picture_stream.Decoder()
    painter = _make_painter(decoder, paths)
    try:
        atomic_file.check_folder(FLAGS.output_dir)
    except atomic_file.NotWritableError as error:
        raise UserError(f"--output_dir={error}") from error
    network = model_file.open_model(
        FLAGS.model,
        FLAGS.label_map,
        model_file.session_config(FLAGS.device, FLAGS.precision_mode),
    )
    json_path = os.path.join(FLAGS.output_dir, JSON_FILE)
    start = time.time()
    try:
        with atomic_file.AtomicFile(json_path) as file:
            entries = JsonList(file)
            objects, broken = detect_all(network, paths, decoder, painter, entries)
            entries.close()
    except atomic_file.NotWritableError as error:
        raise UserError(f"--output_dir: {error}") from error
    done = len(paths) - broken
    speed = done / max(time.time() - start, 1e-9)
    print(f"{objects} objects in {done} pictures, {speed:.1f} a second: {json_path}")
    if broken:
        _complain(f"{broken} of {len(paths)} pictures passed over")
    return 1 if broken else 0


if __name__ == "__main__":
    run(main, _define_flags, takes_arguments=True)
