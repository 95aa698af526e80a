# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The categories of a conversion, and the label map beside its shards.

All shards of one folder share one label map, since training and evaluation on them need
the same ids. The first conversion into a folder writes it, the others must agree.
"""

import collections
import json
import unicodedata

from console.errors import as_user_error, raise_all
from dataset import categories

# The other one of LABEL_MAP_FILES is only read.
FILE_NAME = categories.LABEL_MAP_FILES[0]


def find(folder: str):
    """Reads the label map of a folder of shards.

    Returns:
      (path, categories.LabelMap), or (None, None) if there is none.

    Raises:
      UserError: it cannot be read.
    """
    path = categories.find_label_map(None, folder)
    if not path:
        return None, None
    with as_user_error("--output_prefix:"):
        return path, categories.read_label_map(path)


def check_agreement(names: dict, path, label_map):
    """Checks that a dataset has the ids and names of the label map beside the shards.

    Args:
      names: dict from category id to name, of the dataset.
      path, label_map: as `find` returns them.

    Raises:
      UserError: a category has another name there, or is not there.
    """
    if path is None:
        return
    there = label_map.names
    raise_all(
        [
            f"--output_prefix: category {number} is {name!r}, but "
            + (f"{there[number]!r}" if number in there else "missing")
            + f" in {path}"
            for number, name in sorted(names.items())
            if there.get(number) != name
        ],
        "the shards of one folder share one label map; convert all of them into a new "
        "folder, or give the categories the same ids and names",
    )


def read_coco(dataset: dict) -> dict:
    """Reads and checks the categories of a COCO json, and removes Roboflow's group.

    Roboflow lists the group of all categories as a category of its own, which no box
    has and which may have the name of a real one.

    Args:
      dataset: the json; its "categories" may be replaced.

    Returns:
      dict from category id to name.

    Raises:
      UserError: the categories are not valid, or two have the same name.
    """
    entries, problems = dataset["categories"], []
    for entry in entries:
        try:
            categories.read_names([entry])
        except ValueError as error:
            problems.append(f"--annotations: {error}")
    raise_all(problems, "correct the categories of the json")
    with as_user_error("--annotations:"):
        names = categories.read_names(entries)
    groups = {str(entry.get("supercategory")) for entry in entries}
    unused = [
        entry
        for entry in entries
        if entry.get("supercategory") == "none" and entry["name"] in groups
    ]
    if unused:
        boxes = (a for a in dataset["annotations"] if isinstance(a, dict))
        used = {str(box.get("category_id")) for box in boxes}
        unused = [entry for entry in unused if str(entry["id"]) not in used]
    for entry in unused:
        print(
            f"category {entry['id']}, {entry['name']!r}, is the group of the "
            "others and has no boxes: left out"
        )
        del names[entry["id"]]
    dataset["categories"] = [e for e in entries if e["id"] in names]
    check_alike(
        "--annotations:",
        [(name, f"id {number}") for number, name in sorted(names.items())],
    )
    return names


def check_alike(flag: str, names: list):
    """Checks that no two categories differ only in case or spaces.

    Args:
      flag: start of the error message.
      names: list of (name, place); the place is shown behind the name.

    Raises:
      UserError: names are alike.
    """
    groups = collections.defaultdict(list)
    for name, place in names:
        # NFKC makes composed and decomposed letters the same.
        plain = unicodedata.normalize("NFKC", name).casefold()
        groups["".join(plain.split())].append(f"{name!r} ({place})")
    raise_all(
        [
            f"{flag} categories that differ only in case or spaces, or not at all: "
            + ", ".join(group)
            for group in groups.values()
            if len(group) > 1
        ],
        "give each category one name and one id",
    )


def to_json(names: dict) -> bytes:
    """Returns the contents of a label map."""
    entries = categories.LabelMap(names).entries()
    return json.dumps({"categories": entries}, indent=1).encode()


def check_known(flag: str, image_of: dict, path: str, label_map):
    """Checks that the label map beside the shards lists all names of a VOC folder.

    Args:
      flag: start of the error message.
      image_of: dict from the name of a category to where it occurs.
      path, label_map: as `find` returns them.

    Raises:
      UserError: names are missing there.
    """
    known = set(label_map.names.values())
    raise_all(
        [
            f"{flag} {name!r} in {image_of[name]} is missing in {path}"
            for name in sorted(set(image_of) - known)
        ],
        "the shards of one folder share one label map; convert all of them into a new "
        f"folder, or leave these boxes out with --label_map={path}",
    )
