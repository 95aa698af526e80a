# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training records that contradict the label map are refused before the start."""

import pytest
from absl.testing import flagsaver

import records
from console.errors import UserError
from dataset import categories
from trainer import checks
from trainer.flags import FLAGS

CELLS = categories.LabelMap({1: "red cell", 2: "white cell"})


def record(*objects):
    """A record with objects, pairs of category id and name; None: without names."""

    def add_names(feature):
        names = [name for _, name in objects if name is not None]
        feature["image/object/class/text"].bytes_list.value.extend(names)

    ids = [number for number, _ in objects]
    return records.record(1, b"", [[0, 0, 1, 1]] * len(ids), ids, add_names)


@pytest.mark.parametrize(
    "objects, contradiction",
    [
        ([(1, b"Red-Cell"), (2, b"white cell")], None),
        ([(1, None), (2, None)], None),
        ([(1, b"red cell"), (2, b"platelet")], "category 2 is 'platelet' there, 'wh"),
        ([(1, None), (3, None)], "category 3 is not in the label map"),
        ([(0, b"red cell")], "category 0 is not in the label map"),
    ],
)
def test_records_that_contradict_the_label_map_are_refused(
    tmp_path, objects, contradiction
):
    # Any of many files may have the contradiction; the last is always looked at.
    # Broken records are left to the training.
    for number in range(40):
        content = record(*objects) if number == 39 else record((1, b"red cell"))
        records.write(tmp_path / f"train-{number:02}", [b"\xff", content])
        with open(str(tmp_path / f"train-{number:02}"), "ab") as file:
            file.write(b"cut off")
    records.write(tmp_path / "train-40", [])
    if not FLAGS.is_parsed():
        FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(training_file_pattern=f"{tmp_path}/train-*"):
        chosen = checks.read_some("training_file_pattern")
        if contradiction is None:
            checks.check_categories(chosen, CELLS)
            return
        line = f"^--training_file_pattern: in {tmp_path}/train-39 {contradiction}"
        with pytest.raises(UserError, match=line + ".*; give the --label_map of the"):
            checks.check_categories(chosen, CELLS)
