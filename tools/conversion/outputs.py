# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files beside the shards: json, label map, and the lists of a split.

  train-00000-of-00016.tfrecord   shards of --output_prefix=data/train
  instances_train.json            COCO json of their images, for evaluation
  label_map.json                  categories, for all shards of the folder
  train.txt                       names of the images; only with --val_fraction

A json or list that this tool wrote before is replaced, and no other file is.
"""

import filecmp
import json
import os

from console.errors import UserError
from conversion import label_map, shards

_MARK = "converted by create_tf_record.py"
# The mark is that near to the start of the file, or to its end in older versions.
_MARK_BYTES = 200
_NOT_OWN = "exists and was not written by this tool"
_TRAIN, _VAL = "train", "val"


def json_path(output_prefix: str) -> str:
    """Returns the path of the json of some shards."""
    folder, name = os.path.split(output_prefix)
    return os.path.join(folder, f"instances_{name}.json")


def prefix_of_validation(output_prefix: str) -> str:
    """Returns data/val for data/train, data/val2017 for data/train2017.

    Raises:
      UserError: the name does not start with "train".
    """
    folder, name = os.path.split(output_prefix)
    if not name.startswith(_TRAIN):
        raise UserError(
            f"--output_prefix={output_prefix}: with --val_fraction the name must start "
            "with 'train', as in data/train; the validation set is called data/val then"
        )
    return os.path.join(folder, _VAL + name[len(_TRAIN) :])


class Outputs:
    """The files of one conversion.

    Attributes:
      prefixes: list of str, one for each set.
      label_map_path, label_map: the label map that is beside the shards already, see
        label_map.find.
    """

    def __init__(self, prefixes, num_shards, annotations, has_lists):
        """Checks that no file of the user or of another run is in the way.

        Args:
          prefixes: list of str, in one folder.
          num_shards: int.
          annotations: path of the json that is converted, or None.
          has_lists: bool, whether lists are written.

        Raises:
          UserError: one line that names the file.
        """
        self.prefixes, self._has_lists = prefixes, has_lists
        self._folder = os.path.dirname(prefixes[0])
        # Prefixes whose json is the very one that is converted.
        self._kept = set()
        for prefix in prefixes:
            shards.check_other_shards(prefix, num_shards)
            path = json_path(prefix)
            is_source = annotations and _is_same(path, annotations)
            if is_source and not has_lists:
                self._kept.add(prefix)
            elif is_source or os.path.lexists(path) and not _is_own(path):
                reason = "is --annotations" if is_source else _NOT_OWN
                raise UserError(
                    f"--output_prefix={prefix}: {path} {reason}; move it away"
                )
            if has_lists:
                _check_list(prefix)
        self.label_map_path, self.label_map = label_map.find(self._folder)

    def contents(self, sets: dict, names: dict) -> dict:
        """Creates the contents of the files.

        Args:
          sets: dict from output prefix to list of shards.Entry.
          names: dict from category id to name.

        Returns:
          dict from file name to bytes.
        """
        files = {}
        for prefix, entries in sets.items():
            if prefix not in self._kept:
                dataset = _to_json(entries, names)
                files[os.path.basename(json_path(prefix))] = dataset.encode()
            if self._has_lists:
                files[os.path.basename(prefix) + ".txt"] = _to_list(entries)
        if self.label_map_path is None:
            files[label_map.FILE_NAME] = label_map.to_json(names)
        return files

    def print_paths(self):
        """Prints which files were written, and what they are for."""
        for prefix in self.prefixes:
            path = json_path(prefix)
            if prefix in self._kept:
                print(f"{path}: left as it is, because it is --annotations")
            else:
                print(f"{path}: for --val_json_file")
            if self._has_lists:
                print(f"{prefix}.txt: the images of this set")
        path = self.label_map_path or os.path.join(self._folder, label_map.FILE_NAME)
        print(f"{path}: for --label_map")


def _is_own(path):
    """Whether this tool wrote a json; the whole file may be large."""
    try:
        with open(path, "rb") as file:
            start = file.read(_MARK_BYTES)
            file.seek(-min(_MARK_BYTES, os.path.getsize(path)), os.SEEK_END)
            return _MARK.encode() in start + file.read()
    except OSError:
        return False


def _is_same(path, annotations):
    try:
        return filecmp.cmp(path, annotations, shallow=False)
    except OSError:
        return False


def _check_list(prefix):
    """Checks that a list is missing, or is the one of the json beside it."""
    path = prefix + ".txt"
    if not os.path.lexists(path):
        return
    try:
        with open(json_path(prefix), encoding="utf-8") as file:
            names = [image["file_name"] for image in json.load(file)["images"]]
        with open(path, "rb") as file:
            if file.read() == _lines(names):
                return
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise UserError(f"--output_prefix={prefix}: {path} {_NOT_OWN}; move it away")


def _to_list(entries):
    return _lines([entry.file_name for entry in entries])


def _lines(file_names):
    """Returns the contents of a list, in the format of VOC's ImageSets."""
    text = "".join(os.path.splitext(name)[0] + "\n" for name in file_names)
    return os.fsencode(text)


def _to_json(entries, names):
    """Returns a COCO json of the images as they are in the shards."""
    images, annotations = [], []
    for entry in entries:
        width, height = entry.size
        images.append(
            {
                "id": entry.image_id,
                "file_name": entry.file_name,
                "width": width,
                "height": height,
            }
        )
        for item in entry.objects:
            annotation = {
                # pycocotools takes a box with the id 0 for one that was not found.
                "id": len(annotations) + 1,
                "image_id": entry.image_id,
                "category_id": item.category_id,
                "bbox": item.bbox,
                "area": item.area,
                "iscrowd": item.is_crowd,
            }
            if item.difficult is not None:
                annotation["difficult"] = item.difficult
            annotations.append(annotation)
    return json.dumps(
        {
            "info": {"description": _MARK},
            "images": images,
            "annotations": annotations,
            "categories": [
                {"id": n, "name": name} for n, name in sorted(names.items())
            ],
        }
    )
