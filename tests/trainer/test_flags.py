# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every flag with values outside its range: one line that names it, status 2."""

import time

import pytest

import command_line
import ssd_model
from trainer import flags as settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flags")
    command_line.write_inputs(folder)
    return folder


@pytest.fixture
def error_of(folder, capfd, monkeypatch):
    """Function of flags that runs ssd_main.py and returns the line it ends with."""
    monkeypatch.chdir(folder)
    for name in ("RANK_ID", "RANK_SIZE", "RANK_TABLE_FILE"):
        monkeypatch.delenv(name, raising=False)
    start = time.monotonic()
    yield lambda **flags: command_line.error_of(capfd, **flags)
    assert time.monotonic() - start < 10


def names(*kinds):
    return sorted(
        flag.name for flag in settings.own_flags() if flag.flag_type() in kinds
    )


def test_flags_are_of_known_types_and_have_the_published_defaults():
    defaults = {flag.name: flag.default for flag in settings.own_flags()}
    assert defaults["train_batch_size"] == 32
    same = set(defaults) & set(ssd_model.DEFAULT_PARAMS) - {"iterations_per_loop"}
    # The default of these follows from the data, see test_hyperparameters.py.
    same -= {"num_examples_per_epoch", "decay_epochs", "warmup_epochs"}
    assert {n: defaults[n] for n in same} == {
        n: ssd_model.DEFAULT_PARAMS[n] for n in same
    }
    assert len(same) == 9
    kinds = {flag.flag_type() for flag in settings.own_flags()}
    assert kinds == {"string"} | set(VALUES)


VALUES = {
    "int": ["much", "", "-1", "1e99", "nan", "1.5", str(10**30)],
    "float": ["much", "", "-1", "1e+99", "nan", "inf", "-inf"],
    "string enum": ["", "often", "-1"],
    "bool": ["", "often", "-1"],
    "multi string": ["", "aoe_mode", "=1", "a.b.c=1"],
}
# Folders may have the last two names.
NOWHERE = ["/dev/null/x", "x" * 5000, "/proc/1/mem/x", "a\nb", "["]


@pytest.mark.parametrize("name", names(*VALUES))
def test_a_value_outside_the_range_is_named(error_of, name):
    for value in VALUES[settings.FLAGS[name].flag_type()]:
        assert f"--{name}={value}" in error_of(**{name: value})


@pytest.mark.parametrize("name", names("string"))
def test_a_text_that_is_empty_or_names_no_file_is_named(error_of, name):
    mode = "eval" if name == "checkpoint_path" else "train_and_eval"
    is_folder = name in ("model_dir", "profiling")
    for value in [""] + (NOWHERE[:3] if is_folder else NOWHERE):
        assert f"--{name}" in error_of(mode=mode, **{name: value})
