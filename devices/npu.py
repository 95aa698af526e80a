# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""One rank on an Ascend NPU.

Only this module imports Huawei's TensorFlow adapter, and only when an NPU is wanted:
the import alone loads a native library and registers an exit handler.

The adapter is npu_bridge with TensorFlow 1.15. With TensorFlow 2.6.5 it is
npu_device.compat.v1, the same modules under another name.
"""

import importlib
import importlib.util
import json
import math
import os

import tensorflow.compat.v1 as tf

from console import paths
from console.errors import UserError
from devices import base, npu_arguments
from devices.cluster import job_id

_PACKAGES = ("npu_bridge", "npu_device")
# Training steps per session run: this number or a divisor of it.
_LARGEST_LOOP = 100
# NPUEstimator starts from the checkpoint that these name.
_WARM_STARTS = ("LOCAL_CHECKPOINT_DIR", "RESTORE_FROM")
# Another way to describe the ranks, which excludes RANK_SIZE and RANK_TABLE_FILE.
_WITHOUT_TABLE = ("CM_CHIEF_", "CM_WORKER_")


def find_package():
    """Returns the name of the installed adapter without importing it; None if none."""
    return next(filter(importlib.util.find_spec, _PACKAGES), None)


def _check_environment(num_ranks):
    """Refuses or removes variables that the adapter would obey silently."""
    for name in _WARM_STARTS:
        if os.environ.get(name):
            raise ValueError(
                f"{name}={os.environ[name]} in the environment: the adapter would "
                f"start the training from it; unset {name}, because --model_dir and "
                "--resnet_checkpoint say where to start"
            )
    for name, ours, expected in (
        ("CM_WORKER_SIZE", "RANK_SIZE", str(num_ranks)),
        # The adapter prefers it to DEVICE_ID.
        ("ASCEND_DEVICE_ID", "DEVICE_ID", os.environ.get("DEVICE_ID")),
    ):
        given = os.environ.get(name)
        if given and expected and given != expected:
            raise ValueError(
                f"{name}={given} in the environment, but {ours} is {expected}; unset "
                f"{name}, because {ours} counts"
            )
    ignored = sorted(name for name in os.environ if name.startswith(_WITHOUT_TABLE))
    if num_ranks == 1 and "RANK_TABLE_FILE" in os.environ:
        # HCCL would wait for the other ranks of the table.
        ignored.append("RANK_TABLE_FILE")
    for name in ignored:
        del os.environ[name]
    if ignored:
        tf.logging.warning(
            "ignored in the environment: %s; this is rank %s of %d",
            ", ".join(ignored),
            os.environ.get("RANK_ID") or 0,
            num_ranks,
        )


class Npu(base.Device):
    """One rank on an Ascend NPU."""

    draws_batches = False

    def __init__(self, cluster, options):
        """Initializes the device without importing the adapter."""
        super().__init__(cluster, options)
        self._package = find_package()
        if not self._package:
            raise ValueError(
                "--device=npu: neither npu_bridge nor npu_device is installed for this "
                "Python; source CANN's set_env.sh, or use --device=auto"
            )
        self._scale = base.parse_loss_scale(options.loss_scale)
        if self._scale and self._package == "npu_device":
            raise ValueError(
                f"--loss_scale={options.loss_scale}: npu_device of TensorFlow 2.6.5 "
                "has no loss scaling; use --loss_scale=0"
            )
        self._given = npu_arguments.parse(options.npu_config)
        self._session = None

    def _module(self, name):
        """Imports a module of the adapter by its name below "estimator"."""
        package = self._package
        if package == "npu_device":
            # The adapter of TensorFlow 2.6.5 keeps its modules one level deeper.
            package = "npu_device.compat.v1"
        return importlib.import_module(f"{package}.estimator.{name}")

    def __enter__(self):
        """Starts the device. Nothing in this process may use the device before."""
        _check_environment(self.num_ranks)
        os.environ["JOB_ID"] = job_id()
        if self._package == "npu_device":
            importlib.import_module("npu_device").compat.enable_v1()
        self._arguments = npu_arguments.build(
            self._given, self._options, self._module("npu.npu_config")
        )
        super().__enter__()
        with tf.Graph().as_default() as graph:
            npu_ops = self._module("npu_ops")
            start = npu_ops.initialize_system()
            self._stop = npu_ops.shutdown_system()
        self._session = tf.Session(graph=graph, config=self._system_config())
        self._session.run(start)
        return self

    def __exit__(self, *error):
        """Stops the device. Nothing in this process may use the device afterwards."""
        try:
            self._session.run(self._stop)
            self._session.close()
        finally:
            super().__exit__(*error)

    def _system_config(self):
        config = tf.ConfigProto()
        rewrites = config.graph_options.rewrite_options
        rewrites.remapping = rewrites.OFF
        optimizer = rewrites.custom_optimizers.add()
        optimizer.name = "NpuOptimizer"
        optimizer.parameter_map["use_off_line"].b = True
        name, mode = npu_arguments.precision(self._arguments)
        optimizer.parameter_map[name].s = str(mode).encode()
        return config

    def iterations_per_loop(self, *step_counts):
        """Returns the number of training steps per session run.

        Without the flag it is the largest divisor of 100 and of all step counts; 1 with
        loss scaling, which must see every step's overflow.
        """
        wanted = self._options.iterations_per_loop
        if wanted > 1 and self._scale:
            raise ValueError(
                f"--iterations_per_loop={wanted}: with --loss_scale every step must "
                "be a run of its own; use 0 or 1"
            )
        loop = wanted or (1 if self._scale else _LARGEST_LOOP)
        for count in step_counts:
            if wanted and count % wanted:
                raise ValueError(
                    f"--iterations_per_loop={wanted} does not divide {count}; the "
                    "total steps, the remaining steps, --save_checkpoints_steps and "
                    "those between evaluations are "
                    f"{', '.join(map(str, step_counts))}; 0 chooses a common divisor"
                )
            loop = math.gcd(loop, count)
        return loop

    def session_config(self):
        """Returns the session configuration of the host; NPURunConfig adds the NPU."""
        tf.logging.info(
            "device: NPU, rank %d of %d, --loss_scale=%s, %s",
            self.rank,
            self.num_ranks,
            self._options.loss_scale,
            ", ".join(f"{name}={value}" for name, value in self._arguments.items()),
        )
        return tf.ConfigProto(allow_soft_placement=True)

    def optimizer_wrapper(self):
        distributed = self._module("npu.npu_optimizer").NPUDistributedOptimizer
        if not self._scale:
            return distributed
        scaling = self._module("npu.npu_loss_scale_optimizer").NPULossScaleOptimizer

        def wrap(optimizer):
            # A manager per graph: the scale is a variable.
            manager = self._loss_scale_manager()
            if self.num_ranks == 1:
                return scaling(optimizer, manager)
            return scaling(distributed(optimizer), manager, is_distributed=True)

        return wrap

    def keep_float32(self):
        return self._module("npu.npu_scope").keep_dtype_scope()

    def _loss_scale_manager(self):
        managers = self._module("npu.npu_loss_scale_manager")
        if self._scale != "dynamic":
            return managers.FixedLossScaleManager(
                self._scale, enable_overflow_check=True
            )
        # The values of Huawei's guide to mixed precision.
        return managers.ExponentialUpdateLossScaleManager(
            init_loss_scale=2.0**32,
            incr_every_n_steps=1000,
            decr_every_n_nan_or_inf=2,
            decr_ratio=0.5,
        )

    def train(self, model_fn, model_dir, params, input_fn, max_steps, hooks, **config):
        # params holds iterations_per_loop.
        if self._options.profiling:
            config["profiling_config"] = self._profiling_config()
        estimator = self._estimator(
            model_fn, model_dir, params, params["iterations_per_loop"], **config
        )
        estimator.train(input_fn, hooks=hooks, max_steps=max_steps)

    def _profiling_config(self):
        os.makedirs(self._options.profiling, exist_ok=True)
        # The profiler of CANN takes paths of few characters only.
        folder = os.path.abspath(paths.without_wildcards(self._options.profiling))
        options = {"output": folder, "training_trace": "on", "task_trace": "on"}
        # Empty: the device finds the ends of the forward and backward pass itself.
        options.update(fp_point="", bp_point="")
        return self._module("npu.npu_config").ProfilingConfig(
            enable_profiling=True, profiling_options=json.dumps(options)
        )

    def predictor(self, model_fn, model_dir, params):
        return self._estimator(model_fn, model_dir, params, iterations_per_loop=1)

    def _estimator(self, model_fn, model_dir, params, iterations_per_loop, **config):
        arguments = dict(
            config,
            model_dir=model_dir,
            session_config=self.session_config(),
            save_summary_steps=base.SUMMARY_STEPS,
            # The training log reports the speed.
            log_step_count_steps=None,
            iterations_per_loop=iterations_per_loop,
        )
        arguments.update(self._arguments)
        try:
            run_config = self._module("npu.npu_config").NPURunConfig(**arguments)
            return self._module("npu.npu_estimator").NPUEstimator(
                model_fn=model_fn, model_dir=model_dir, config=run_config, params=params
            )
        except (TypeError, ValueError) as error:
            if not self._given:
                raise
            raise UserError(
                f"--npu_config={','.join(self._options.npu_config)}: the adapter "
                f"refuses: {error}; quotes keep a number as text: aoe_mode='2'"
            ) from error
