# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of all evaluated steps, in the file history.csv of the folder "eval".

Its columns are the step and coco_metric.METRIC_NAMES, its rows are in the order of the
steps. An evaluation of the same step replaces its row.
"""

import os

from coco_metric import METRIC_NAMES
from console import atomic_file, text_file

_FILE = "history.csv"
_HEADER = ",".join(["step"] + METRIC_NAMES)


def read(folder):
    """Returns a dict from step, ascending, to dict from METRIC_NAMES to float.

    It is empty without the file. folder: str, the folder "eval" of a training.

    Raises:
      ValueError: one line; the file cannot be read, or is not a history.
    """
    path = os.path.join(folder, _FILE)
    if not os.path.exists(path):
        return {}
    with text_file.naming(path):
        header, *lines = text_file.read_text(path).splitlines() or [""]
        if header != _HEADER:
            raise ValueError(f"its first line is not {_HEADER}; move it away")
        return dict(sorted(map(_parse, filter(None, lines))))


def _parse(line):
    step, *figures = line.split(",")
    if len(figures) != len(METRIC_NAMES):
        raise ValueError(f"the row {line!r:.80} does not have 13 numbers; move it away")
    return int(step), dict(zip(METRIC_NAMES, map(float, figures)))


def add(folder, step, figures):
    """Adds a row of figures, see `read`, or replaces the row of that step.

    Raises:
      ValueError: see `read`; or the file cannot be written.
    """
    text = _HEADER + "\n"
    for row_step, row in sorted({**read(folder), step: figures}.items()):
        text += ",".join(str(x) for x in [row_step, *map(row.get, METRIC_NAMES)]) + "\n"
    atomic_file.write_atomically(os.path.join(folder, _FILE), text.encode())
