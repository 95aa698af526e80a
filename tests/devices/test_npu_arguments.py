# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""--npu_config: its text, and the check against the installed adapter's signature."""

import types

import pytest

from devices import base, npu_arguments


class DumpConfig:
    def __init__(self, enable_dump=False, dump_path=None):
        if enable_dump and not dump_path:
            raise ValueError("dump_path is missing")
        self.dump_path = dump_path


def new_run_config(
    model_dir=None,
    precision_mode=None,
    precision_mode_v2=None,
    dump_config=None,
    deterministic=0,
    enable_data_pre_proc=True,
    hcom_parallel=True,
):
    """The signature of an adapter of today, in short."""


def old_run_config(precision_mode=None, enable_data_pre_proc=False):
    """The signature of an old adapter, in short."""


def build(*texts, run_config=new_run_config, **options):
    module = types.SimpleNamespace(NPURunConfig=run_config, DumpConfig=DumpConfig)
    given = npu_arguments.parse(texts)
    return npu_arguments.build(given, base.Options(**options), module)


@pytest.mark.parametrize(
    "texts, expected",
    [
        ([], {}),
        (["a=1,b=-2.5,c=1e3"], {"a": 1, "b": -2.5, "c": 1000.0}),
        (["a=True", "b=false"], {"a": True, "b": False}),
        (["a=26*1024*1024,b=0,1"], {"a": "26*1024*1024", "b": "0,1"}),
        # Only a comma before "name=" starts a new pair.
        (["a=Pooling,SoftmaxV2,b=x"], {"a": "Pooling,SoftmaxV2", "b": "x"}),
        (["a='2'", 'b="true"', "c="], {"a": "2", "b": "true", "c": ""}),
        (["dump_config.dump_path=/tmp"], {"dump_config.dump_path": "/tmp"}),
    ],
)
def test_values_are_numbers_truth_values_or_text(texts, expected):
    parsed = npu_arguments.parse(texts)
    assert parsed == expected
    assert list(map(type, parsed.values())) == list(map(type, expected.values()))


def test_the_adapter_gets_what_it_knows_and_does_not_have_as_default():
    assert build() == {"precision_mode": "allow_mix_precision"}
    assert build(deterministic=True)["deterministic"] == 1
    assert build(run_config=old_run_config, deterministic=True) == {
        "enable_data_pre_proc": True,
        "precision_mode": "allow_mix_precision",
    }


def test_what_the_user_gives_wins_and_the_precision_modes_exclude_each_other():
    assert build("precision_mode_v2=origin") == {"precision_mode_v2": "origin"}
    assert build("precision_mode=force_fp32") == {"precision_mode": "force_fp32"}
    assert build("deterministic=2", deterministic=True)["deterministic"] == 2
    dump = build("dump_config.enable_dump=true,dump_config.dump_path=/tmp")
    assert dump["dump_config"].dump_path == "/tmp"


@pytest.mark.parametrize(
    "text, message",
    [
        ("aoe_mode", "--npu_config=aoe_mode: 'aoe_mode' is not of the form"),
        ("a.b.c=1", "'a.b.c=1' is not of the form key=value"),
        ("a=1,a=2", "a is given twice"),
        ("tf_random_seed=1", "instead of tf_random_seed use --seed$"),
        ("session_config.a=1", "instead of session_config.a use the other flags$"),
        ("precision_mode=x,precision_mode_v2=y", "exclude each other"),
        (
            "aoe=2",
            "--npu_config=aoe: the installed adapter does not know aoe; it knows "
            "deterministic, dump_config, enable_data_pre_proc, hcom_parallel, "
            "precision_mode, precision_mode_v2$",
        ),
        ("dump_config.a=1", "does not know a; it knows dump_path, enable_dump$"),
        ("dump_config.enable_dump=true", "DumpConfig refuses: dump_path is missing"),
        ("deterministic.a=1", "deterministic has no parts; give deterministic=value"),
    ],
)
def test_what_the_adapter_cannot_take_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        build(text)
