# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Devices and ranks: the one place that knows what the training runs on.

Everything else asks a Runtime, which answers for one CPU or GPU as for one of eight
NPUs. Only this module imports Huawei's TensorFlow adapter, and only when an NPU is
wanted: the import alone loads a native library and registers an exit handler.

The adapter is npu_bridge with TensorFlow 1.15, and npu_device.compat.v1, the same
modules under another name, with TensorFlow 2.6.5.
"""

import importlib
import importlib.util
import math
import os

import tensorflow.compat.v1 as tf

DEVICES = ("auto", "npu", "gpu", "cpu")
PRECISION_MODES = ("allow_mix_precision", "must_keep_origin_dtype")

# NPUEstimator takes this many steps in one run of the device, or a divisor of it.
_LARGEST_LOOP = 100
_SUMMARY_STEPS = 100
_NPU_PACKAGES = ("npu_bridge", "npu_device")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def create(device: str, precision_mode: str):
    """Chooses the device.

    Args:
      device: one of DEVICES; "auto" takes an NPU where the adapter is installed, else
        whatever TensorFlow itself finds.
      precision_mode: one of PRECISION_MODES.

    Returns:
      Runtime.

    Raises:
      ValueError: one line; the device is not there, or RANK_ID and RANK_SIZE of the
        environment make no sense.
    """
    rank, num_ranks = _ranks(os.environ)
    package = None
    if device in ("auto", "npu"):
        package = next(filter(importlib.util.find_spec, _NPU_PACKAGES), None)
    if package:
        return NpuRuntime(rank, num_ranks, precision_mode, package)
    if device == "npu":
        raise ValueError(
            "--device=npu: neither npu_bridge nor npu_device is installed for this "
            "Python; source CANN's set_env.sh, or use --device=auto"
        )
    if num_ranks > 1:
        raise ValueError(
            f"RANK_SIZE={num_ranks}: several ranks need Ascend NPUs, and npu_bridge is "
            "not installed for this Python; use run_npu_1p.sh"
        )
    has_gpu = device != "cpu" and _has_gpu()
    if device == "gpu" and not has_gpu:
        raise ValueError("--device=gpu: TensorFlow finds no GPU; use --device=auto")
    return Runtime(has_gpu, precision_mode)


def _ranks(environment):
    """(rank, number of ranks) of this process, as the launchers set them."""
    rank = environment.get("RANK_ID") or "0"
    num_ranks = environment.get("RANK_SIZE") or "1"
    given = f"RANK_ID={rank} RANK_SIZE={num_ranks}"
    try:
        rank, num_ranks = int(rank), int(num_ranks)
    except ValueError as error:
        raise ValueError(f"{given}: not whole numbers") from error
    if not 0 <= rank < num_ranks:
        raise ValueError(f"{given}: the rank must lie in 0..RANK_SIZE - 1")
    return rank, num_ranks


def _has_gpu():
    return bool(tf.config.experimental.list_physical_devices("GPU"))


class Runtime:
    """One process on a CPU or GPU; the base of the other."""

    rank = 0
    num_ranks = 1

    def __init__(self, has_gpu: bool, precision_mode: str):
        """Keeps the choice; see `create`."""
        self._has_gpu = has_gpu
        self._precision_mode = precision_mode

    def __enter__(self):
        """Starts the device."""
        return self

    def __exit__(self, *unused):
        """Stops the device, also after an error."""

    def iterations_per_loop(self, *step_counts: int) -> int:
        """Steps of one session run: always one, here."""
        del step_counts
        return 1

    def optimizer_wrapper(self):
        """Gives a function from an optimizer to one that averages over ranks, or None.

        It is a plain function, for Estimator copies what it finds in params.
        """
        return None

    def session_config(self) -> tf.ConfigProto:
        """Gives the session's configuration and logs the precision in force."""
        config = tf.ConfigProto(allow_soft_placement=True)
        if not self._has_gpu:
            config.device_count["GPU"] = 0
            # Each convolution uses all cores by itself; two at once only disturb
            # each other: 4.18 instead of 3.81 s for a step of benchmarks/train_step.py.
            config.inter_op_parallelism_threads = 1
        rewrites = config.graph_options.rewrite_options
        uses_bfloat16 = self._allows_mixing() and _cpu_has_bfloat16(rewrites)
        if uses_bfloat16:
            rewrites.auto_mixed_precision_onednn_bfloat16 = rewrites.ON
        tf.logging.info(
            "device: %s, precision: %s (--precision_mode=%s)",
            "GPU" if self._has_gpu else "CPU",
            "bfloat16 and float32 mixed" if uses_bfloat16 else "float32",
            self._precision_mode,
        )
        return config

    def _allows_mixing(self):
        return self._precision_mode == "allow_mix_precision" and not self._has_gpu

    def estimator(self, model_fn, model_dir, params, **config):
        """Makes the Estimator.

        Args:
          model_fn: function of (features, labels, mode, params).
          model_dir: str.
          params: dict for model_fn.
          **config: keyword arguments that RunConfig and NPURunConfig share, such as
            save_checkpoints_steps and keep_checkpoint_max.

        Returns:
          tf.estimator.Estimator.
        """
        run_config = tf.estimator.RunConfig(
            model_dir=model_dir,
            session_config=self.session_config(),
            save_summary_steps=_SUMMARY_STEPS,
            # The training log gives the speed.
            log_step_count_steps=None,
            **config,
        )
        return tf.estimator.Estimator(model_fn, config=run_config, params=params)


def _cpu_has_bfloat16(rewrites):
    """Whether this CPU and this TensorFlow can both mix bfloat16 in."""
    has_rewrite = hasattr(rewrites, "auto_mixed_precision_onednn_bfloat16")
    return has_rewrite and bool(_BFLOAT16_FLAGS & _cpu_flags())


def _cpu_flags():
    """Names of the instruction sets of this CPU; empty where Linux doesn't tell."""
    try:
        with open("/proc/cpuinfo") as file:
            return set(next(line for line in file if "flags" in line).split())
    except (OSError, StopIteration):
        return set()


class NpuRuntime(Runtime):
    """One rank on an Ascend NPU."""

    def __init__(self, rank, num_ranks, precision_mode, package):
        """Keeps the choice; see `create`. package is one of _NPU_PACKAGES."""
        # NPUEstimator refuses to start without; any text does.
        os.environ.setdefault("JOB_ID", "10087")
        super().__init__(has_gpu=False, precision_mode=precision_mode)
        self.rank = rank
        self.num_ranks = num_ranks
        # The adapter of TensorFlow 2.6.5 keeps its modules one level deeper.
        self._package = package
        self._session = None

    def _module(self, name):
        if self._package == "npu_device":
            return importlib.import_module("npu_device.compat.v1.estimator" + name)
        return importlib.import_module("npu_bridge.estimator" + name)

    def __enter__(self):
        """Starts the device: the first thing that a process does on it."""
        if self._package == "npu_device":
            importlib.import_module("npu_device").compat.enable_v1()
        with tf.Graph().as_default() as graph:
            npu_ops = self._module(".npu_ops")
            start = npu_ops.initialize_system()
            self._stop = npu_ops.shutdown_system()
        self._session = tf.Session(graph=graph, config=self._system_config())
        self._session.run(start)
        return self

    def __exit__(self, *unused):
        """Stops the device: the last thing that a process does on it."""
        self._session.run(self._stop)
        self._session.close()

    def _system_config(self):
        config = tf.ConfigProto()
        rewrites = config.graph_options.rewrite_options
        rewrites.remapping = rewrites.OFF
        optimizer = rewrites.custom_optimizers.add()
        optimizer.name = "NpuOptimizer"
        optimizer.parameter_map["use_off_line"].b = True
        precision_mode = self._precision_mode.encode()
        optimizer.parameter_map["precision_mode"].s = precision_mode
        return config

    def iterations_per_loop(self, *step_counts: int) -> int:
        """Steps of one session run: the largest divisor of 100 and all step counts."""
        loop = _LARGEST_LOOP
        for count in step_counts:
            loop = math.gcd(loop, count)
        return loop

    def session_config(self) -> tf.ConfigProto:
        """Gives the host's session configuration; NPURunConfig adds the device's."""
        tf.logging.info(
            "device: NPU, rank %d of %d, --precision_mode=%s",
            *(self.rank, self.num_ranks, self._precision_mode),
        )
        return tf.ConfigProto(allow_soft_placement=True)

    def optimizer_wrapper(self):
        """Gives the optimizer that averages over ranks; see the base class."""
        return self._module(".npu.npu_optimizer").NPUDistributedOptimizer

    def estimator(self, model_fn, model_dir, params, **config):
        """Makes an NPUEstimator; see the base class."""
        npu_config = self._module(".npu.npu_config")
        npu_estimator = self._module(".npu.npu_estimator")
        run_config = npu_config.NPURunConfig(
            model_dir=model_dir,
            session_config=self.session_config(),
            save_summary_steps=_SUMMARY_STEPS,
            iterations_per_loop=params["iterations_per_loop"],
            enable_data_pre_proc=True,
            precision_mode=self._precision_mode,
            hcom_parallel=True,
            **config,
        )
        return npu_estimator.NPUEstimator(
            model_fn=model_fn, model_dir=model_dir, config=run_config, params=params
        )
