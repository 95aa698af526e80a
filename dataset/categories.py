# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Object categories, of COCO or of another dataset, and the classes of the network.

A category id is the number that the dataset uses (COCO: 1..90, with gaps). A class is
the number that the network uses: 0 is background, and 1..C-1 stand for the category ids
in ascending order.
"""

import json
import os

from console import paths, text_file
from dataset import label_map_text

_COCO_80 = """
1 person|2 bicycle|3 car|4 motorcycle|5 airplane|6 bus|7 train|8 truck|9 boat
10 traffic light|11 fire hydrant|13 stop sign|14 parking meter|15 bench|16 bird
17 cat|18 dog|19 horse|20 sheep|21 cow|22 elephant|23 bear|24 zebra|25 giraffe
27 backpack|28 umbrella|31 handbag|32 tie|33 suitcase|34 frisbee|35 skis
36 snowboard|37 sports ball|38 kite|39 baseball bat|40 baseball glove
41 skateboard|42 surfboard|43 tennis racket|44 bottle|46 wine glass|47 cup|48 fork
49 knife|50 spoon|51 bowl|52 banana|53 apple|54 sandwich|55 orange|56 broccoli
57 carrot|58 hot dog|59 pizza|60 donut|61 cake|62 chair|63 couch|64 potted plant
65 bed|67 dining table|70 toilet|72 tv|73 laptop|74 mouse|75 remote|76 keyboard
77 cell phone|78 microwave|79 oven|80 toaster|81 sink|82 refrigerator|84 book
85 clock|86 vase|87 scissors|88 teddy bear|89 hair drier|90 toothbrush
"""
# Bounds that only a typo exceeds.
LARGEST_ID = 100000
# Names of a label map in a folder; the first is the one that this project writes.
LABEL_MAP_FILES = ("label_map.json", "label_map.pbtxt")


def _parse(table):
    entries = table.strip().replace("\n", "|").split("|")
    return {int(number): name for number, name in (e.split(" ", 1) for e in entries)}


class LabelMap:
    """The categories of a dataset: ids, names and classes.

    Attributes:
      names: dict from category id, int, to name, in ascending order of the ids.
      num_classes: int, C, with background.
    """

    def __init__(self, names):
        """Numbers the classes; names are a dict from category id to name."""
        self.names = dict(sorted(names.items()))
        self.num_classes = len(self.names) + 1
        self._ids = list(self.names)
        self._classes = {key: index + 1 for index, key in enumerate(self._ids)}

    def class_of_category(self, category_id):
        """Returns the class of a category, 1..C-1; 0 if it is not in the label map."""
        return self._classes.get(category_id, 0)

    def category_of_class(self, class_number):
        """Returns the category id of a class; the inverse of `class_of_category`.

        Raises:
          ValueError: the number is not one of 1..C-1.
        """
        if not 1 <= class_number < self.num_classes:
            raise ValueError(
                f"class {class_number} is not one of 1..{self.num_classes - 1}"
            )
        return self._ids[class_number - 1]

    def other_names(self, entries):
        """Lists a line for each category that has another name in a COCO json.

        Args:
          entries: list of dict, the json's "categories".
        """
        return [
            f"category {entry['id']} is {str(entry['name'])!r} there, "
            f"{self.names[entry['id']]!r} in the label map"
            for entry in entries
            if entry.get("id") in self.names
            and _plain(entry.get("name", ""))
            not in ("", _plain(self.names[entry["id"]]))
        ]

    def contradictions(self, entries):
        """Lists a line for each category that is missing here or has another name.

        Args:
          entries: list of dict with "id" and maybe "name", of records or a label map.
        """
        ids = sorted({entry["id"] for entry in entries} - set(self.names))
        missing = [f"category {number} is not in the label map" for number in ids]
        return missing + self.other_names(entries)

    def entries(self):
        """Returns the categories as a COCO json's list "categories"."""
        return [{"id": number, "name": name} for number, name in self.names.items()]

    def to_json(self):
        """Returns the content of a label_map.json, bytes."""
        return json.dumps({"categories": self.entries()}, indent=1).encode()


def _plain(name):
    """The name in lower case, without spaces and punctuation."""
    return "".join(c for c in str(name).lower() if c.isalnum())


COCO = LabelMap(_parse(_COCO_80))


def find_label_map(flag_value, *folders):
    """Finds the label map of a dataset or of a model.

    Args:
      flag_value: str, the file that the user names, or None.
      *folders: str, where to look without it, in this order; they need not exist.

    Returns:
      str, flag_value or else the first of LABEL_MAP_FILES in the first folder that has
      one; None if there is none, which stands for COCO's categories.
    """
    if flag_value:
        return flag_value
    candidates = [
        os.path.join(folder, name)
        for folder in folders
        if not paths.is_remote(folder)
        for name in LABEL_MAP_FILES
    ]
    return next(filter(os.path.isfile, candidates), None)


def read_label_map(path):
    """Reads the categories of a dataset.

    Args:
      path: str, a json with a list "categories" of {"id": int, "name": str}, as every
        COCO json has one; or a label_map.pbtxt of TensorFlow's Object Detection API;
        None or "" for COCO's categories.

    Returns:
      LabelMap.

    Raises:
      ValueError: one line; the file cannot be read, or its categories are not valid.
    """
    if not path:
        return COCO
    entries = _read_entries(path)
    try:
        return LabelMap(read_names(entries))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_entries(path):
    """Returns the list of dict with "id" and "name" in a label map."""
    if path.endswith(".pbtxt"):
        with text_file.naming(path):
            return label_map_text.parse(text_file.read_text(path))
    dataset = text_file.read_json(path)
    entries = dataset.get("categories") if isinstance(dataset, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f'{path} has no list "categories" of {{"id", "name"}}')
    return entries


def read_names(entries):
    """Reads a COCO json's "categories"; returns a dict from category id to name.

    Raises:
      ValueError: one line; they are not valid.
    """
    names, problems = {}, []
    for entry in entries:
        try:
            category_id, name = _read_entry(entry)
        except ValueError as error:
            problems.append(str(error))
            continue
        if category_id in names:
            problems.append(f"category id {category_id} occurs twice")
        names[category_id] = name
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise ValueError(problems[0] + more)
    return names


def _read_entry(entry):
    is_dict = isinstance(entry, dict)
    category_id, name = (entry.get("id"), entry.get("name")) if is_dict else (0, 0)
    # isinstance would accept a bool as an int.
    if type(category_id) is not int or not isinstance(name, str) or not name:
        raise ValueError(
            f"category {entry!r:.200} needs a whole number as id and a text as name"
        )
    if not 0 <= category_id <= LARGEST_ID:
        raise ValueError(f"category id {category_id} is not within 0..{LARGEST_ID}")
    return category_id, name
