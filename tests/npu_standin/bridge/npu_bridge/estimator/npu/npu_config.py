# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""RunConfig of the device."""

import json
import os

import standin
import tensorflow.compat.v1 as tf

_PRECISION_MODES = (
    "allow_fp32_to_fp16",
    "force_fp16",
    "must_keep_origin_dtype",
    "allow_mix_precision",
)


class ProfilingConfig:
    """What to profile."""

    def __init__(self, enable_profiling=False, profiling_options=None):
        options = json.loads(profiling_options or "{}")
        if enable_profiling and not os.path.isdir(options.get("output", "")):
            raise ValueError("profiling_options: output is no folder")
        self.options = options if enable_profiling else None


class NPURunConfig(tf.estimator.RunConfig):
    """Takes the real one's arguments; others are errors, as misspelled ones are."""

    def __init__(
        self,
        iterations_per_loop=1,
        profiling_config=None,
        model_dir=None,
        tf_random_seed=None,
        save_summary_steps=0,
        save_checkpoints_steps=None,
        save_checkpoints_secs=None,
        session_config=None,
        keep_checkpoint_max=5,
        keep_checkpoint_every_n_hours=10000,
        log_step_count_steps=100,
        enable_data_pre_proc=True,
        precision_mode=None,
        hcom_parallel=False,
    ):
        if not isinstance(iterations_per_loop, int) or iterations_per_loop < 1:
            raise ValueError("iterations_per_loop must be a positive integer")
        if "cluster" in json.loads(os.environ.get("TF_CONFIG") or "{}"):
            raise ValueError('"cluster" and "distribute" must all be set in ps mode')
        if precision_mode not in _PRECISION_MODES:
            raise ValueError(f"precision_mode {precision_mode!r} is unknown")
        if standin.num_ranks() > 1 and save_checkpoints_secs is not None:
            raise ValueError("save_checkpoints_secs: the ranks' clocks differ")
        if save_checkpoints_steps is None and save_checkpoints_secs is None:
            save_checkpoints_steps = 100
        self.iterations_per_loop = iterations_per_loop
        standin.record(
            "NPURunConfig",
            iterations_per_loop=iterations_per_loop,
            enable_data_pre_proc=enable_data_pre_proc,
            precision_mode=precision_mode,
            hcom_parallel=hcom_parallel,
            save_checkpoints_steps=save_checkpoints_steps,
            save_summary_steps=save_summary_steps,
            keep_checkpoint_max=keep_checkpoint_max,
            profiling=profiling_config and profiling_config.options,
        )
        super().__init__(
            model_dir=model_dir,
            tf_random_seed=tf_random_seed,
            save_summary_steps=save_summary_steps,
            save_checkpoints_steps=save_checkpoints_steps,
            save_checkpoints_secs=save_checkpoints_secs,
            session_config=session_config,
            keep_checkpoint_max=keep_checkpoint_max,
            keep_checkpoint_every_n_hours=keep_checkpoint_every_n_hours,
            log_step_count_steps=log_step_count_steps,
        )
