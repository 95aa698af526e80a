# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of console/paths.py."""

import os

import pytest

from console import paths
from console.errors import UserError


def _create(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


@pytest.mark.parametrize("folder", ["run [1]", "a*b", "back\\slash"])
def test_a_folder_that_exists_is_not_taken_as_a_pattern(tmp_path, folder):
    _create(tmp_path, f"{folder}/train-1", f"{folder}/train-0", f"{folder}/val")
    _create(tmp_path, "run 1/train-9", "axb/train-9")
    found = paths.expand(f"{tmp_path}/{folder}/train*")
    assert found == [f"{tmp_path}/{folder}/train-0", f"{tmp_path}/{folder}/train-1"]


def test_wildcards_match_in_every_part_of_a_path(tmp_path):
    _create(tmp_path, "a1/x[2]/t-0", "a2/x[2]/t-1", "b/x[2]/t-2")
    expected = [f"{tmp_path}/a1/x[2]/t-0", f"{tmp_path}/a2/x[2]/t-1"]
    assert paths.expand(f"{tmp_path}/a[12]/x[2]/t-?") == expected


def test_relative_patterns_stay_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _create(tmp_path, "data/train-0")
    assert paths.expand("data/train*") == [os.path.join("data", "train-0")]
    assert paths.expand("data//train-0") == [os.path.join("data", "train-0")]
    assert paths.expand("absent*") == []
    assert paths.expand("") == []


def test_remote_paths_are_refused_with_the_flag_that_named_them():
    paths.check_local("model_dir", "a/b")
    with pytest.raises(UserError, match=r"^--model_dir=obs://b/m: must be a local"):
        paths.check_local("model_dir", "obs://b/m")
