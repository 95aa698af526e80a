# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Errors that every command finds, before it reads or makes anything."""

import pytest

import commands


@pytest.mark.parametrize(
    "command, flag",
    [
        ("create_tf_record.py --annotations=x --image_dir=x", "--output_prefix"),
        ("make_sample_dataset.py", "--output_dir"),
        ("rank_table.py make --servers=1.2.3.4 --hccn /none", "--output"),
        ("export_model.py --model=x", "--output_dir"),
        ("detect.py a.jpg", "--model"),
        ("check_dataset.py x", "--sheet"),
    ],
)
def test_remote_paths_are_refused_before_anything_is_made(tmp_path, command, flag):
    name, *arguments = command.split() + [f"{flag}=obs://bucket/x"]
    result = commands.run(name, arguments, tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"{name}: {flag}=obs://bucket/x: must be a local path; copy the data, or "
        "mount that file system as a folder\n"
    )
    assert not list(tmp_path.iterdir())
