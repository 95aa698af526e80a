# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Detects objects in picture files, draws them, and lists them in a json.

  python3 tools/detect.py holiday.jpg photos 'more/**/*.png' \
    --model=training/D0/result_npu --output_dir=detections

takes picture files (every format that create_tf_record.py takes, such as JPEG, PNG,
WebP, TIFF, and a GIF's first picture), folders (the pictures directly in them, known
by their endings) and glob patterns, and a model: a checkpoint, a folder of checkpoints
(its newest), or the folder of an export of export_model.py. It writes to --output_dir

- the pictures with boxes, category names and scores, under their own names, with .png
  added unless they end with .jpg, .jpeg or .png, and in their own subfolders if the
  pictures come from several folders (--nodraw for none);
- detections.json, a list of all detections in the order of the pictures, for each
  picture by descending score, with the fields of COCO's results format:

  {"file_name": "photos/a.jpg", "category_id": 18, "category": "dog",
   "bbox": [x, y, width, height], "score": 0.93}

A bbox is in pixels, from the upper left corner of the picture. As in --mode=eval, it
may reach over the picture's edge. Pictures with an EXIF orientation are turned upright
before anything else, as viewers show them.

Pictures that cannot be read are named on the standard error and skipped; the exit
status is then 1.
"""

import collections
import io
import json
import os
import sys
import time

from absl import flags
from PIL import Image

# The folder above this one has the imported modules.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import coco_metric
from console import atomic_file, command
from console.errors import UserError, as_user_error, check
from console.paths import expand
from dataset import drawing
from detection import model_file, picture_stream
from devices import base
from evaluation import postprocess

FLAGS = flags.FLAGS

JSON_FILE = "detections.json"
# Endings of the drawn pictures, and of pictures in a folder.
_DRAWN = (".jpg", ".jpeg", ".png")
_ENDINGS = _DRAWN + (".bmp", ".gif", ".tif", ".tiff", ".webp")
_JPEG_QUALITY = 92
_BEST = "best"
_NOT_FOUND = (
    f"neither a file, a folder with {', '.join(_ENDINGS)} files, nor a pattern that "
    "matches a file"
)


class _ScoreParser(flags.FloatParser):
    """Parser of --min_score."""

    def parse(self, argument):
        """Returns a float within the bounds, or _BEST."""
        return argument if argument == _BEST else super().parse(argument)


def _define_flags():
    flags.DEFINE_string("model", None, f"Model to run: {model_file.MODELS}.")
    flags.DEFINE_string("output_dir", "detections", "Folder for the results.")
    flags.DEFINE_string(
        "label_map",
        None,
        "Json or pbtxt with the model's categories; default: the label map beside the "
        "checkpoint or in the export, else COCO's.",
    )
    flags.DEFINE(
        _ScoreParser(postprocess.MIN_SCORE, 1.0),
        "min_score",
        _BEST,
        "Lowest score to report; 'best': the one with the highest F1 in the "
        f"evaluation of the model, or {postprocess.DEFAULT_SCORE} without evaluation.",
    )
    flags.DEFINE_integer(
        "batch_size", 8, "Pictures per run of the network.", lower_bound=1
    )
    flags.DEFINE_boolean("draw", True, "Write the pictures with their boxes.")
    flags.DEFINE_enum(
        "device", "auto", model_file.DEVICES, "Device; auto: a GPU if there is one."
    )
    flags.DEFINE_enum(
        "precision_mode",
        base.PRECISION_MODES[0],
        base.PRECISION_MODES,
        "Whether convolutions may use 16 bits, as for ssd_main.py.",
    )


def main(arguments):
    """Detects objects in the pictures that the arguments name; returns the status."""
    model_file.quiet_tensorflow()
    check(FLAGS.model, "--model is missing; give %s", model_file.MODELS)
    check(arguments, "no pictures are named; give files, folders or glob patterns")
    paths = find_pictures(arguments)
    targets = output_paths(paths, FLAGS.output_dir) if FLAGS.draw else {}
    with as_user_error("--output_dir:", atomic_file.NotWritableError):
        atomic_file.check_folder(FLAGS.output_dir)
    config = model_file.session_config(FLAGS.device, FLAGS.precision_mode)
    network = model_file.open_model(FLAGS.model, FLAGS.label_map, config)
    min_score = _min_score(network)
    start = time.time()
    with as_user_error("--output_dir:", atomic_file.NotWritableError):
        results, skipped = _detect_all(network, paths, targets, min_score)
        json_path = os.path.join(FLAGS.output_dir, JSON_FILE)
        lines = ",\n".join(map(json.dumps, results))
        atomic_file.write_atomically(json_path, f"[\n{lines}\n]\n".encode())
    done = len(paths) - skipped
    speed = done / max(time.time() - start, 1e-9)
    print(f"{len(results)} objects in {done} pictures, {speed:.1f}/s: {json_path}")
    if skipped:
        _warn(f"{skipped} of {len(paths)} pictures skipped")
    return 1 if skipped else 0


def _min_score(network):
    """Returns the value of --min_score; prints it if it is not given as a number."""
    if FLAGS.min_score != _BEST:
        return FLAGS.min_score
    score = network.best_score or postprocess.DEFAULT_SCORE
    reason = "has the best F1 in" if network.best_score else "is the default without"
    print(f"--min_score={score:g} {reason} an evaluation of this model", flush=True)
    return score


def find_pictures(arguments):
    """Lists the picture files that the arguments name, in their order, each once.

    Args:
      arguments: list of str: files, folders, glob patterns.

    Raises:
      UserError: an argument names no picture.
    """
    paths = {}
    for argument in arguments:
        if os.path.isdir(argument):
            found = _pictures_in(argument)
        elif os.path.lexists(argument):
            found = [argument]
        else:
            found = [path for path in expand(argument) if not os.path.isdir(path)]
        check(found, "%s: %s", argument, _NOT_FOUND)
        for path in found:
            paths.setdefault(os.path.realpath(path), path)
    return list(paths.values())


def _pictures_in(folder):
    """Lists the pictures directly in a folder; warns of files of other formats."""
    with as_user_error(f"{folder}:", OSError):
        names = sorted(n for n in os.listdir(folder) if not n.startswith("."))
    names = [name for name in names if not os.path.isdir(os.path.join(folder, name))]
    pictures = [name for name in names if name.lower().endswith(_ENDINGS)]
    others = sorted(set(names) - set(pictures))
    if others:
        _warn(
            f"{folder}: passed over {len(others)} files of other formats, for example "
            f"{others[0]}"
        )
    return [os.path.join(folder, name) for name in pictures]


def output_paths(paths, output_dir):
    """Chooses the paths of the drawn pictures.

    Returns:
      dict from each path to a different path in output_dir: the part of the path below
      the folder that all pictures have in common, with .png added until it has an
      ending of _DRAWN and is unique.

    Raises:
      UserError: a drawn picture would overwrite one of the pictures.
    """
    absolute = [os.path.abspath(path) for path in paths]
    common = os.path.commonpath([os.path.dirname(path) for path in absolute])
    originals = {os.path.realpath(path) for path in paths}
    targets, taken = {}, set()
    for path, full in zip(paths, absolute):
        target = os.path.join(output_dir, os.path.relpath(full, common))
        while not target.lower().endswith(_DRAWN) or target in taken:
            target += ".png"
        if os.path.realpath(target) in originals:
            raise UserError(
                f"--output_dir={output_dir}: the drawn picture would overwrite "
                f"{target}; name another folder"
            )
        targets[path] = target
        taken.add(target)
    return targets


def _detect_all(network, paths, targets, min_score):
    """Detects objects in all pictures, and draws and prints them one by one.

    Returns:
      (results, skipped): list of dict, see `_to_results`, and the number of pictures
      that could not be read.
    """
    decoder = picture_stream.Decoder()
    all_results, skipped = [], 0
    for picture, detection in picture_stream.detect(
        network, paths, FLAGS.batch_size, decoder
    ):
        path, error = picture.path, picture.error
        if not error:
            results = _to_results(path, detection, network.label_map, min_score)
            if targets:
                error = _draw(decoder, path, results, targets[path])
        if error:
            _warn(f"{path} skipped: {error}")
            skipped += 1
            continue
        all_results += results
        counts = collections.Counter(result["category"] for result in results)
        summary = ", ".join(f"{n} {name}" for name, n in counts.most_common())
        print(f"{path}: {summary or 'nothing'}", flush=True)
    return all_results, skipped


def _to_results(path, detection, label_map, min_score):
    """Returns the entries of detections.json for the detections of one picture.

    For the detections see postprocess.Detector.
    """
    found = coco_metric.to_detections(detection, label_map)
    columns = (found.category_ids, found.boxes_xywh, found.scores)
    return [
        {
            "file_name": path,
            "category_id": category_id,
            "category": label_map.names[category_id],
            "bbox": bbox,
            "score": score,
        }
        for category_id, bbox, score in zip(*(column.tolist() for column in columns))
        if score >= min_score
    ]


def _draw(decoder, path, results, target):
    """Writes a picture with its results; returns why it cannot be read, or None."""
    try:
        # The pixels that the network saw; Pillow's decoder may differ.
        image = Image.fromarray(decoder.pixels(path))
    except (OSError, ValueError) as error:
        return str(error)
    # Results with higher scores are drawn later, over the others.
    results = results[::-1]
    corners = [(y, x, y + h, x + w) for x, y, w, h in (r["bbox"] for r in results)]
    image = drawing.draw(
        image,
        corners,
        [f"{result['category']} {result['score']:.2f}" for result in results],
        [drawing.color_of(result["category_id"]) for result in results],
    )
    encoded = io.BytesIO()
    kind = "png" if target.lower().endswith(".png") else "jpeg"
    image.save(encoded, kind, quality=_JPEG_QUALITY)
    atomic_file.write_atomically(target, encoded.getvalue())
    return None


def _warn(text):
    print("detect.py: " + " ".join(text.split()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    command.run(main, _define_flags, takes_arguments=True)
