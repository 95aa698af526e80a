# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counting records; tests/dataset/test_bad_records.py reads them."""

import records
from dataset import record_files


def test_records_are_counted_by_their_lengths(tmp_path):
    counts = {"a": 3, "empty": 0, "c": 5}
    for name, count in counts.items():
        records.write(tmp_path / name, [b"x" * 90 * i for i in range(count)])
    files = [str(tmp_path / name) for name in counts]
    assert record_files.count_records(files) == 8
    # Cut off within its last record, and not there at all.
    content = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(content[:-1])
    assert record_files.count_records(files + [str(tmp_path / "none")]) == 7
