# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Devices and ranks: the one place that knows what the training runs on.

Everything else asks a Runtime, which answers for one CPU or GPU, for one of several
ranks on CPUs or GPUs, and, through npu.py, for one of eight NPUs.
"""

import collections
import importlib
import importlib.util
import json
import math
import os

import tensorflow.compat.v1 as tf

from devices import rank_messages as ranks_module

DEVICES = ("auto", "npu", "gpu", "cpu")
PRECISION_MODES = ("allow_mix_precision", "must_keep_origin_dtype")
# Rank r's port is this plus r, and one more serves all. Below what Linux gives away
# by itself (32768 on), and far from HCCL's 60000 to 60015.
DEFAULT_BASE_PORT = 21000

Options = collections.namedtuple(
    "Options", "precision_mode loss_scale iterations_per_loop profiling base_port"
)
Options.__new__.__defaults__ = (PRECISION_MODES[0], "0", 0, None, DEFAULT_BASE_PORT)
Options.__doc__ = """What people tune on their device.

precision_mode: one of PRECISION_MODES.
loss_scale: str, "0" for none, "dynamic", or a number of at least 1.
iterations_per_loop: int, steps of one run of an NPU; 0: as many as fit.
profiling: str, the folder for a profile of some steps; None: no profile.
base_port: int, the first of the TCP ports that several ranks use, one each and one.
"""

DEFAULT_OPTIONS = Options()

SUMMARY_STEPS = 100
_PROFILE_STEPS = 100
_NPU_PACKAGES = ("npu_bridge", "npu_device")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def create(device, options=DEFAULT_OPTIONS):
    """Chooses the device.

    Args:
      device: one of DEVICES; "auto" takes an NPU where the adapter is installed, else
        whatever TensorFlow itself finds.
      options: Options.

    Returns:
      Runtime.

    Raises:
      ValueError: one line; the device is not there, an option does not go with it, or
        RANK_ID, RANK_SIZE and RANK_TABLE_FILE of the environment make no sense.
    """
    rank, num_ranks = ranks_module.from_environment()
    scale = parse_loss_scale(options.loss_scale)
    package = None
    if device in ("auto", "npu"):
        package = next(filter(importlib.util.find_spec, _NPU_PACKAGES), None)
    if package:
        if scale and package == "npu_device":
            raise ValueError(
                f"--loss_scale={options.loss_scale}: npu_device of TensorFlow 2.6.5 "
                "has no loss scaling; use --loss_scale=0"
            )
        return importlib.import_module("devices.npu").NpuRuntime(
            rank, num_ranks, options, package
        )
    if device == "npu":
        raise ValueError(
            "--device=npu: neither npu_bridge nor npu_device is installed for this "
            "Python; source CANN's set_env.sh, or use --device=auto"
        )
    kind = Runtime if num_ranks == 1 else WorkerRuntime
    if num_ranks > 1 and device != "cpu":
        _take_one_gpu(
            os.environ,
            ranks_module.Cluster(rank, num_ranks, options.base_port).local_rank,
        )
    has_gpu = device != "cpu" and _has_gpu()
    if device == "gpu" and not has_gpu:
        raise ValueError("--device=gpu: TensorFlow finds no GPU; use --device=auto")
    if scale and not has_gpu:
        raise ValueError(
            f"--loss_scale={options.loss_scale}: only float16 needs it, on NPUs and "
            "GPUs; use --loss_scale=0 here"
        )
    return kind(rank, num_ranks, options, has_gpu)


def parse_loss_scale(text):
    """Reads --loss_scale.

    Args:
      text: str.

    Returns:
      0.0 for none, "dynamic", or a float of at least 1.

    Raises:
      ValueError: one line; it is nothing of these.
    """
    if text == "dynamic":
        return text
    try:
        scale = float(text)
    except ValueError:
        scale = -1.0
    if scale != 0 and not 1 <= scale < math.inf:
        raise ValueError(
            f"--loss_scale={text}: must be 0 (none), dynamic, or a number from 1 up"
        )
    return scale


def _take_one_gpu(environment, local_rank):
    """Hides all GPUs but one from TensorFlow, before it looks for them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    given = [name for name in visible.split(",") if name]
    name = given[local_rank % len(given)] if given else str(local_rank)
    environment["CUDA_VISIBLE_DEVICES"] = name


def _has_gpu():
    return bool(tf.config.experimental.list_physical_devices("GPU"))


class Runtime:
    """One process on a CPU or GPU; the base of the others."""

    # Whether the ranks have one folder of checkpoints in common.
    shares_model_dir = False

    def __init__(self, rank, num_ranks, options, has_gpu=False):
        """Keeps the choice; see `create`."""
        self.rank = rank
        self.num_ranks = num_ranks
        # To talk to the other ranks with; complete once the device is started.
        self.ranks = ranks_module.Alone()
        self._options = options
        self._has_gpu = has_gpu

    def __enter__(self):
        """Starts the device, and waits for the other ranks.

        Raises:
          ValueError: one line; another rank did not appear.
        """
        if self.num_ranks > 1:
            self.ranks = ranks_module.Ranks(
                self.rank, self.num_ranks, self._cluster().meeting_point
            )
        return self

    def __exit__(self, error_type, *unused):
        """Stops the device, also after an error."""
        # After an error the others shall notice that this rank is gone.
        if error_type is None:
            self.ranks.close()

    def _cluster(self):
        return ranks_module.Cluster(self.rank, self.num_ranks, self._options.base_port)

    def shared_model_dir(self, model_dir):
        """Gives the folder of the checkpoints of this rank: model_dir, mostly."""
        return model_dir

    def iterations_per_loop(self, *step_counts):
        """Gives the steps of one session run.

        Args:
          *step_counts: ints; numbers of steps at which a run has to end.

        Returns:
          int, a divisor of them all; one, except on NPUs.

        Raises:
          ValueError: one line; --iterations_per_loop is no divisor of one of them.
        """
        del step_counts
        if self._options.iterations_per_loop > 1:
            tf.logging.warning("--iterations_per_loop is for NPUs: one step a run here")
        return 1

    def optimizer_wrapper(self):
        """Gives a function from an optimizer to one that fits the device, or None.

        It averages over ranks and scales the loss, as far as that is needed. It is a
        plain function, for Estimator copies what it finds in params.
        """
        if not self._has_gpu or not self._mixes():
            return None
        scale = parse_loss_scale(self._options.loss_scale) or "dynamic"
        return lambda optimizer: tf.train.experimental.MixedPrecisionLossScaleOptimizer(
            optimizer, scale
        )

    def session_config(self):
        """Gives the session's tf.ConfigProto and logs the precision in force."""
        config = tf.ConfigProto(allow_soft_placement=True)
        rewrites = config.graph_options.rewrite_options
        precision = "float32"
        if self._has_gpu:
            if self._mixes():
                rewrites.auto_mixed_precision = rewrites.ON
                precision = "float16 and float32 mixed"
        else:
            config.device_count["GPU"] = 0
            # Each convolution uses all cores by itself; two at once only disturb
            # each other: 4.18 instead of 3.81 s for a step of benchmarks/train_step.py.
            config.inter_op_parallelism_threads = 1
            if self._mixes() and _cpu_has_bfloat16(rewrites):
                rewrites.auto_mixed_precision_onednn_bfloat16 = rewrites.ON
                precision = "bfloat16 and float32 mixed"
        tf.logging.info(
            "device: %s, rank %d of %d, precision: %s (--precision_mode=%s)",
            "GPU" if self._has_gpu else "CPU",
            *(self.rank, self.num_ranks, precision, self._options.precision_mode),
        )
        return config

    def _mixes(self):
        return self._options.precision_mode == "allow_mix_precision"

    def _run_config(self, model_dir, **config):
        return tf.estimator.RunConfig(
            model_dir=model_dir,
            session_config=self.session_config(),
            # The training log gives the speed.
            log_step_count_steps=None,
            **config,
        )

    def train(self, model_fn, model_dir, params, input_fn, max_steps, hooks, **config):
        """Trains to a step, from the newest checkpoint where there is one.

        Args:
          model_fn: function of (features, labels, mode, params).
          model_dir: str.
          params: dict for model_fn, see ssd_model.DEFAULT_PARAMS.
          input_fn: function without arguments that gives a tf.data.Dataset.
          max_steps: int.
          hooks: list of tf.train.SessionRunHook.
          **config: keyword arguments that RunConfig and NPURunConfig share, such as
            save_checkpoints_steps and keep_checkpoint_max.
        """
        if self._options.profiling:
            # Its writer of summaries wants a graph, whichever.
            with tf.Graph().as_default():
                profiler = tf.train.ProfilerHook(
                    save_steps=min(_PROFILE_STEPS, max(max_steps // 2, 1)),
                    output_dir=self._options.profiling,
                )
            hooks = hooks + [profiler]
        # Short trainings shall have a curve as well.
        config["save_summary_steps"] = min(SUMMARY_STEPS, max(max_steps // 50, 1))
        self._train(model_fn, model_dir, params, input_fn, max_steps, hooks, config)

    def _train(self, model_fn, model_dir, params, input_fn, max_steps, hooks, config):
        estimator = tf.estimator.Estimator(
            model_fn, config=self._run_config(model_dir, **config), params=params
        )
        estimator.train(input_fn, hooks=hooks, max_steps=max_steps)

    def predictor(self, model_fn, model_dir, params):
        """Gives a tf.estimator.Estimator to predict with, whatever the other ranks do.

        Args:
          model_fn: function of (features, labels, mode, params).
          model_dir: str.
          params: dict for model_fn.
        """
        return tf.estimator.Estimator(
            model_fn, config=self._run_config(model_dir), params=params
        )


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


class WorkerRuntime(Runtime):
    """One of several ranks on CPUs or GPUs.

    TensorFlow's MultiWorkerMirroredStrategy averages the gradients: a ring over gRPC,
    NCCL on GPUs. Rank 0, the chief, writes the checkpoints, and all restore them.
    """

    shares_model_dir = True

    def session_config(self):
        """See the base class."""
        config = super().session_config()
        rewrites = config.graph_options.rewrite_options
        # Through a server, TensorFlow 2.15 fuses convolution and bias in bfloat16 into
        # an operation that it then doesn't have.
        rewrites.remapping = rewrites.OFF
        return config

    def shared_model_dir(self, model_dir):
        """Gives rank 0's folder, which all servers must see under the same name."""
        return self.ranks.broadcast(os.path.abspath(model_dir).encode()).decode()

    def _train(self, model_fn, model_dir, params, input_fn, max_steps, hooks, config):
        cluster = self._cluster()
        task = {"type": "chief", "index": 0}
        if self.rank:
            task = {"type": "worker", "index": self.rank - 1}
        os.environ["TF_CONFIG"] = json.dumps(
            {
                "cluster": {
                    "chief": cluster.workers[:1],
                    "worker": cluster.workers[1:],
                },
                "task": task,
            }
        )
        try:
            strategy = tf.distribute.experimental.MultiWorkerMirroredStrategy()
            estimator = tf.estimator.Estimator(
                model_fn,
                config=self._run_config(model_dir, train_distribute=strategy, **config),
                params=params,
            )
            # Estimator.train refuses a cluster. Nothing is evaluated here: that is for
            # a task "evaluator", and there is none.
            tf.estimator.train_and_evaluate(
                estimator,
                tf.estimator.TrainSpec(input_fn, max_steps=max_steps, hooks=hooks),
                tf.estimator.EvalSpec(input_fn),
            )
        finally:
            # The evaluation is every rank's own.
            del os.environ["TF_CONFIG"]
