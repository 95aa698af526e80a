# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Configurations of the device, with arguments of the adapter of 2026."""

import inspect
import json
import os

import standin
import tensorflow.compat.v1 as tf

# Arguments of the superclass with the defaults of the adapter.
_OF_RUN_CONFIG = dict(
    model_dir=None,
    tf_random_seed=None,
    save_summary_steps=0,
    save_checkpoints_steps=None,
    save_checkpoints_secs=None,
    session_config=None,
    keep_checkpoint_max=5,
    keep_checkpoint_every_n_hours=10000,
    log_step_count_steps=100,
    train_distribute=None,
    eval_distribute=None,
)
# Those that this project, its documents or its tests name, of about a hundred.
_OF_THE_DEVICE = dict(
    profiling_config=None,
    precision_mode=None,
    precision_mode_v2=None,
    dump_config=None,
    op_select_implmode=None,
    op_precision_mode=None,
    op_execute_timeout=None,
    aoe_mode=None,
    iterations_per_loop=1,
    enable_data_pre_proc=True,
    hcom_parallel=True,
    deterministic=0,
)
# The real class hands these to native code as text; numbers make it fail.
_TEXTS = (
    "precision_mode precision_mode_v2 aoe_mode op_precision_mode op_select_implmode"
).split()


class ProfilingConfig:
    """Profiling."""

    def __init__(self, enable_profiling=False, profiling_options=None):
        options = json.loads(profiling_options or "{}")
        if enable_profiling and not os.path.isdir(options.get("output", "")):
            raise ValueError("profiling_options: output is not a folder")
        self.values = options if enable_profiling else None


class DumpConfig:
    """Dump of tensors."""

    def __init__(
        self,
        enable_dump=False,
        dump_path=None,
        dump_mode="output",
    ):
        if enable_dump and not os.path.isdir(dump_path or ""):
            raise ValueError(f"dump_path {dump_path!r} is not a folder")
        self.values = {"dump_path": dump_path, "dump_mode": dump_mode}


_CHOICES = {
    "precision_mode": (None, "must_keep_origin_dtype", "allow_mix_precision"),
    "precision_mode_v2": (None, "origin", "mixed_float16"),
    "aoe_mode": (None, "1", "2", "4"),
    "deterministic": (0, 1, 2),
}
_OBJECTS = {"profiling_config": ProfilingConfig, "dump_config": DumpConfig}


class NPURunConfig(tf.estimator.RunConfig):
    """Refuses arguments that the real class does not have, or does not accept."""

    __signature__ = inspect.Signature(
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=value)
        for name, value in dict(_OF_THE_DEVICE, **_OF_RUN_CONFIG).items()
    )

    def __init__(self, **given):
        bound = self.__signature__.bind(**given)
        bound.apply_defaults()
        values = bound.arguments
        _check(values)
        if "cluster" in json.loads(os.environ.get("TF_CONFIG") or "{}"):
            raise ValueError('"cluster" and "distribute" must all be set in ps mode')
        if values["save_checkpoints_secs"] is None:
            if values["save_checkpoints_steps"] is None:
                values["save_checkpoints_steps"] = 100
        elif standin.num_ranks() > 1:
            raise ValueError("save_checkpoints_secs: the ranks' clocks differ")
        self.iterations_per_loop = values["iterations_per_loop"]
        shown = {
            name: getattr(value, "values", value)
            for name, value in values.items()
            if name != "session_config"
        }
        standin.record("NPURunConfig", given=sorted(given), **shown)
        super().__init__(**{name: values[name] for name in _OF_RUN_CONFIG})


def _check(values):
    loop = values["iterations_per_loop"]
    if not isinstance(loop, int) or loop < 1:
        raise ValueError("iterations_per_loop must be a positive integer")
    for name in _TEXTS:
        if not isinstance(values[name], (str, type(None))):
            raise TypeError(f"{name}: expected binary or unicode string")
    for name, kind in _OBJECTS.items():
        if not isinstance(values[name], (kind, type(None))):
            raise ValueError(f"`{name}` must be provided with type `{kind.__name__}`")
    if values["precision_mode"] and values["precision_mode_v2"]:
        raise ValueError("precision_mode and precision_mode_v2 cannot both be set")
    for name, choices in _CHOICES.items():
        if values[name] not in choices:
            raise ValueError(f"{name} should be in {choices}, not {values[name]!r}")
