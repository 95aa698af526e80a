# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""RunConfig of the device."""

import json
import os

import tensorflow.compat.v1 as tf

import npu_bridge


class NPURunConfig(tf.estimator.RunConfig):
    """Takes the arguments that SSD uses; others are errors, as misspelled ones are."""

    def __init__(
        self,
        iterations_per_loop=1,
        enable_data_pre_proc=True,
        precision_mode=None,
        hcom_parallel=False,
        **run_config,
    ):
        if not isinstance(iterations_per_loop, int) or iterations_per_loop < 1:
            raise ValueError("iterations_per_loop must be a positive integer")
        if "cluster" in json.loads(os.environ.get("TF_CONFIG") or "{}"):
            raise ValueError('"cluster" and "distribute" must all be set in ps mode')
        if precision_mode not in ("allow_mix_precision", "must_keep_origin_dtype"):
            raise ValueError(f"precision_mode {precision_mode!r} is unknown")
        self.iterations_per_loop = iterations_per_loop
        npu_bridge.record(
            "NPURunConfig",
            iterations_per_loop=iterations_per_loop,
            enable_data_pre_proc=enable_data_pre_proc,
            precision_mode=precision_mode,
            hcom_parallel=hcom_parallel,
            **{k: v for k, v in run_config.items() if k != "session_config"},
        )
        super().__init__(**run_config)
