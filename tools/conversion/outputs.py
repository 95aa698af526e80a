# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of a conversion: shards, json, label map, and the lists of a split.

  train-00000-of-00016.tfrecord   shards of --output_prefix=data/train
  instances_train.json            COCO json of their images, for evaluation
  label_map.json                  categories, for all shards of the folder
  train.txt                       names of the images; only with --val_fraction

Shards of the same names are replaced, and so are a json and a list that this tool wrote
before. No other file is.

All files are written to a hidden folder beside their final place, and renamed when all
of them are complete. A run that fails or is killed before that changes no file. A run
that is killed while renaming may leave some new files beside some old ones, each of
them complete.
"""

import collections
import contextlib
import glob
import json
import os
import random
import tempfile

from console.errors import UserError, as_user_error, raise_all
from conversion import shards
from dataset import categories, coco_json

_MARK = "converted by create_tf_record.py"
_MARK_OF_SPLIT = _MARK + " with --val_fraction"
# The mark is within the first 200 bytes of the file, which may be large.
_MARK_BYTES = 200


def prefix_of_validation(output_prefix: str) -> str:
    """Returns data/val for data/train, data/val2017 for data/train2017.

    Raises:
      UserError: the name does not start with "train".
    """
    folder, name = os.path.split(output_prefix)
    if not name.startswith("train"):
        raise UserError(
            f"--output_prefix={output_prefix}: with --val_fraction the name must start "
            "with 'train', as in data/train; the validation set is called data/val then"
        )
    return os.path.join(folder, name.replace("train", "val", 1))


def check_free(output_prefix, num_shards, annotations, is_split):
    """Checks that no file of the user or of another run is in the way.

    Args:
      output_prefix: str, folder of the shards to be written and start of their names.
      num_shards: int, number of these shards.
      annotations: str, path of the json that is converted, or None.
      is_split: bool, whether the shards are one part of a split, and have a list.

    Raises:
      UserError: such files exist; they are listed, see raise_all. Or one of them
        cannot be read, or the shards there are part of a split and the new ones are
        not.
    """
    json_path = _json_path(output_prefix)
    is_source = _is_source(json_path, annotations)
    if not is_split and not is_source and _has_mark(json_path, _MARK_OF_SPLIT):
        raise UserError(
            f"--output_prefix={output_prefix}: the shards there were made with "
            "--val_fraction, and this run would train on the validation images as "
            "well; repeat --val_fraction, or move the files of both sets away"
        )
    reasons = {}
    present = set(glob.glob(glob.escape(output_prefix) + "-*-of-*"))
    own = shards.shard_paths(output_prefix, num_shards)
    for path in sorted(present.difference(own)):
        reasons[path] = "is of another run, and would be read with the new shards"
    if is_source and is_split:
        reasons[json_path] = "is --annotations"
    elif not is_source and os.path.lexists(json_path) and not _has_mark(json_path):
        reasons[json_path] = "exists and was not written by this tool"
    elif is_split and os.path.basename(output_prefix).startswith("val"):
        if _has_mark(json_path) and not _has_mark(json_path, _MARK_OF_SPLIT):
            reasons[json_path] = "is of a set that was made without --val_fraction"
    path = output_prefix + ".txt"
    if is_split and os.path.lexists(path) and not _is_own_list(output_prefix):
        reasons[path] = "exists and was not written by this tool"
    raise_all(
        [f"--output_prefix={output_prefix}: {p} {reasons[p]}" for p in reasons],
        "move it away",
    )


def _json_path(output_prefix):
    folder, name = os.path.split(output_prefix)
    return os.path.join(folder, f"instances_{name}.json")


def _is_source(path, annotations):
    """Returns whether the json beside the shards is the one that is converted."""
    return os.path.realpath(path) == os.path.realpath(annotations or "")


def _has_mark(path, mark=_MARK):
    """Returns whether this tool wrote a json, in a run with --val_fraction or not."""
    if not os.path.isfile(path):
        return False
    with as_user_error("--output_prefix:", OSError), open(path, "rb") as file:
        return mark.encode() in file.read(_MARK_BYTES)


def _is_own_list(output_prefix):
    """Returns whether the list matches the images of the json that this tool wrote."""
    path = _json_path(output_prefix)
    if not _has_mark(path, _MARK_OF_SPLIT):
        return False
    with as_user_error("--output_prefix:", (OSError, ValueError)):
        with open(output_prefix + ".txt", "rb") as file:
            lines = file.read()
        images = coco_json.load(path)["images"]
    return lines == _to_list([image.get("file_name", "") for image in images])


def split(entries: list, fraction: float, seed: int):
    """Splits images into a training and a validation set.

    The images are grouped by the rarest category they show, which is the one that the
    fewest images show, and the same fraction of every group is chosen at random. So
    both sets show rare categories. One image of every group stays in the training set.

    Args:
      entries: list of shards.Entry, in the order of their ids.
      fraction: share of the images that become the validation set, between 0 and 1.
      seed: the same images and seed give the same sets, whatever the Python version.

    Returns:
      (training, validation): lists of shards.Entry, each in the order of the ids.

    Raises:
      UserError: there are too few images for two sets.
    """
    shown = {
        entry.image_id: {box["category_id"] for box in entry.boxes} for entry in entries
    }
    num_images = collections.Counter(n for numbers in shown.values() for n in numbers)
    groups = collections.defaultdict(list)
    for image_id, numbers in shown.items():
        # (0, -1) for images without a box.
        rarest = min(((num_images[n], n) for n in numbers), default=(0, -1))
        groups[rarest].append(image_id)
    generator, chosen, due = random.Random(seed), set(), 0.0
    for _, image_ids in sorted(groups.items()):
        generator.shuffle(image_ids)
        # The rounding error of a group is carried to the next one.
        due += fraction * len(image_ids)
        count = min(int(due + 0.5), len(image_ids) - 1)
        due -= count
        chosen.update(image_ids[:count])
    if not chosen:
        raise UserError(
            f"--val_fraction={fraction:g}: the {len(entries)} images are too few to "
            "choose a validation set from; give a larger fraction or more images"
        )
    training = [entry for entry in entries if entry.image_id not in chosen]
    return training, [entry for entry in entries if entry.image_id in chosen]


@contextlib.contextmanager
def all_or_none(output_prefix):
    """Yields a hidden folder; moves its files if the block ends without error.

    Args:
      output_prefix: str; its folder is the final folder of the files, and its base
        name becomes part of the hidden folder's name.

    Yields:
      str, path of the hidden folder.

    Raises:
      UserError: a file cannot be written.
    """
    folder, name = os.path.split(output_prefix)
    folder = path = folder or "."
    new_folders = []
    while not os.path.exists(path):
        new_folders.append(path)
        path = os.path.dirname(path) or "."
    with as_user_error("--output_prefix: cannot write", OSError):
        os.makedirs(folder, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(
                prefix=f".partial-{name}-", dir=folder
            ) as partial:
                yield partial
                for name in sorted(os.listdir(partial)):
                    os.replace(os.path.join(partial, name), os.path.join(folder, name))
        finally:
            for path in new_folders:
                # Only empty folders are removed: those of a run that failed.
                with contextlib.suppress(OSError):
                    os.rmdir(path)


def write_others(folder, sets, names, annotations):
    """Writes the files beside the shards: json, label map, and the lists of a split.

    Args:
      folder: str, where to write, see `all_or_none`.
      sets: dict from output prefix to list of shards.Entry that were written.
      names: dict from category id to name.
      annotations: str, path of the json that is converted, or None.

    Returns:
      list of str, the final paths of the files that were written.
    """
    files = {}
    for prefix, entries in sets.items():
        if not _is_source(_json_path(prefix), annotations):
            mark = _MARK_OF_SPLIT if len(sets) > 1 else _MARK
            files[_json_path(prefix)] = _to_json(entries, names, mark)
        if len(sets) > 1:
            files[prefix + ".txt"] = _to_list([entry.file_name for entry in entries])
    final_folder = os.path.dirname(prefix)
    if not categories.find_label_map(None, final_folder):
        path = os.path.join(final_folder, categories.LABEL_MAP_FILES[0])
        files[path] = categories.LabelMap(names).to_json()
    for path, content in files.items():
        with open(os.path.join(folder, os.path.basename(path)), "wb") as file:
            file.write(content)
    return list(files)


def _to_list(file_names):
    """Returns the contents of a list, in the format of VOC's ImageSets."""
    text = "".join(os.path.splitext(name)[0] + "\n" for name in file_names)
    return os.fsencode(text)


def _to_json(entries, names, mark):
    """Returns the contents of a COCO json of the images as they are in the shards."""
    images, annotations = [], []
    for entry in entries:
        width, height = entry.size
        image = {"id": entry.image_id, "file_name": entry.file_name}
        images.append({**image, "width": width, "height": height})
        for box in entry.boxes:
            # pycocotools treats a match with id 0 as no match, so ids start at 1.
            ids = {"id": len(annotations) + 1, "image_id": entry.image_id}
            annotations.append({**ids, **box})
    dataset = {
        "info": {"description": mark},
        "images": images,
        "annotations": annotations,
        "categories": categories.LabelMap(names).entries(),
    }
    return json.dumps(dataset).encode()
