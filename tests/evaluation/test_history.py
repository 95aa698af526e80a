# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""history.csv has one row for each evaluated step."""

import pytest

from coco_metric import METRIC_NAMES
from evaluation import history

HEADER = (
    "step,COCO/AP,COCO/AP50,COCO/AP75,COCO/APs,COCO/APm,COCO/APl,COCO/ARmax1,"
    "COCO/ARmax10,COCO/ARmax100,COCO/ARs,COCO/ARm,COCO/ARl\n"
)


def figures(ap):
    """Twelve figures that count up from ap in eighths."""
    return {name: ap + i / 8 for i, name in enumerate(METRIC_NAMES)}


def test_rows_are_added_in_the_order_of_steps_and_replaced(tmp_path):
    assert history.read(str(tmp_path)) == {}
    for step, ap in ((20, 0.5), (100, 0.25), (3, -1), (100, 0.75)):
        history.add(str(tmp_path), step, figures(ap))
    text = (tmp_path / "history.csv").read_text()
    assert text.startswith(HEADER + "3,-1.0,-0.875,")
    row = "20,0.5,0.625,0.75,0.875,1.0,1.125,1.25,1.375,1.5,1.625,1.75,1.875"
    assert text.splitlines()[2] == row
    expected = [(3, figures(-1)), (20, figures(0.5)), (100, figures(0.75))]
    assert list(history.read(str(tmp_path)).items()) == expected


@pytest.mark.parametrize(
    "text, reason",
    [
        ("step;COCO/AP\n", "its first line is not step,COCO/AP,"),
        (HEADER + "3,0.5\n", "the row '3,0.5' does not have 13 numbers; move it away"),
        (HEADER + "3" + ",x" * 12, "could not convert string to float: 'x'"),
    ],
)
def test_another_file_of_that_name_is_named_and_not_changed(tmp_path, text, reason):
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"cannot read {path}: {reason}"):
        history.add(str(tmp_path), 5, figures(0.5))
    assert path.read_text() == text
