# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of the categories of a conversion.

All shards of one folder share one label map, since training and evaluation on them need
the same ids. The first conversion into a folder writes it, the others must agree.
"""

import collections
import unicodedata

from console.errors import as_user_error, raise_all
from dataset import categories


def check_agreement(names: dict, path: str):
    """Checks that a dataset's names, by id, are those of the label map at a path.

    Raises:
      UserError: the label map cannot be read; or a category has another name there,
        or is not there.
    """
    with as_user_error("--output_prefix:"):
        there = categories.read_label_map(path).names
    found = {n: repr(there[n]) if n in there else "missing" for n in names}
    raise_all(
        [
            f"--output_prefix: category {n} is {name!r}, but {found[n]} in {path}"
            for n, name in sorted(names.items())
            if there.get(n) != name
        ],
        "the shards of one folder share one label map: convert all of them into a new "
        "folder, give the categories the same ids and names, or leave boxes of a VOC "
        f"folder out with --label_map={path}",
    )


def check_coco(dataset: dict):
    """Checks the categories of a COCO json, and removes Roboflow's group from them.

    Roboflow lists the group of all categories as a category of its own, which no box
    has and which may have the name of a real one.

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
    groups = {str(entry.get("supercategory")) for entry in entries}
    used_ids = {str(box.get("category_id")) for box in dataset["annotations"]}
    dataset["categories"] = []
    for entry in entries:
        is_group = entry.get("supercategory") == "none" and entry["name"] in groups
        if is_group and str(entry["id"]) not in used_ids:
            print(
                f"category {entry['id']}, {entry['name']!r}, is the group of the "
                "others and has no boxes: left out"
            )
        else:
            dataset["categories"].append(entry)
    places = [(e["name"], f"id {e['id']}") for e in dataset["categories"]]
    check_alike("--annotations:", places)


def check_alike(flag: str, names: list):
    """Raises a UserError if categories differ only in case or spaces.

    Args:
      flag: start of the error message.
      names: list of (name, place); the place is shown behind the name.
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
