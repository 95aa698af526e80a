# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""One rank on a CPU or GPU, alone or together with other ranks."""

import contextlib
import json
import os

import tensorflow.compat.v1 as tf

from devices import base, npu_arguments

_PROFILE_STEPS = 100
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def create(device, cluster, options):
    """Creates the device of this rank for selection.create, unless it is an NPU."""
    scale = base.parse_loss_scale(options.loss_scale)
    if npu_arguments.parse(options.npu_config):
        tf.logging.warning("--npu_config is ignored: it is for NPUs")
    if cluster.num_ranks > 1 and device != "cpu":
        _hide_other_gpus(os.environ, cluster.local_rank)
    has_gpu = device != "cpu" and bool(
        tf.config.experimental.list_physical_devices("GPU")
    )
    if device == "gpu" and not has_gpu:
        raise ValueError("--device=gpu: TensorFlow finds no GPU; use --device=auto")
    if scale and not has_gpu:
        raise ValueError(
            f"--loss_scale={options.loss_scale}: only float16 needs it, on NPUs and "
            "GPUs; use --loss_scale=0 here"
        )
    device_class = WorkerDevice if cluster.num_ranks > 1 else SingleDevice
    return device_class(cluster, options, has_gpu)


def _hide_other_gpus(environment, local_rank):
    """Shows TensorFlow one GPU per rank, before it looks for them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    given = [name for name in visible.split(",") if name]
    name = given[local_rank % len(given)] if given else str(local_rank)
    environment["CUDA_VISIBLE_DEVICES"] = name


class SingleDevice(base.Device):
    """The only rank, on a CPU or GPU."""

    def __init__(self, cluster, options, has_gpu=False):
        super().__init__(cluster, options)
        self._has_gpu = has_gpu
        self.color_on = "device" if has_gpu else "host"

    def iterations_per_loop(self, *step_counts):
        del step_counts
        if self._options.iterations_per_loop > 1:
            tf.logging.warning(
                "--iterations_per_loop is for NPUs: one step per session run here"
            )
        return 1

    def optimizer_wrapper(self):
        if not self._has_gpu or not self._mixes_precision():
            return None
        scale = base.parse_loss_scale(self._options.loss_scale) or "dynamic"
        return lambda optimizer: tf.train.experimental.MixedPrecisionLossScaleOptimizer(
            optimizer, scale
        )

    def session_config(self):
        config = tf.ConfigProto(allow_soft_placement=True)
        rewrites = config.graph_options.rewrite_options
        precision = "float32"
        if self._has_gpu:
            if self._mixes_precision():
                rewrites.auto_mixed_precision = rewrites.ON
                precision = "float16 and float32 mixed"
        else:
            config.device_count["GPU"] = 0
            # Each convolution uses all cores; two at a time slow each other down: 4.18
            # instead of 3.81 s per step of benchmarks/train_step.py.
            config.inter_op_parallelism_threads = 1
            if self._options.deterministic:
                # Several threads may add up gradients in any order.
                config.intra_op_parallelism_threads = 1
            # TensorFlow 1.15 lacks it.
            has_rewrite = hasattr(rewrites, "auto_mixed_precision_onednn_bfloat16")
            is_bfloat16 = has_rewrite and _BFLOAT16_FLAGS & _cpu_flags()
            if self._mixes_precision() and is_bfloat16:
                rewrites.auto_mixed_precision_onednn_bfloat16 = rewrites.ON
                precision = "bfloat16 and float32 mixed"
        tf.logging.info(
            "device: %s, rank %d of %d, precision: %s (--precision_mode=%s)",
            "GPU" if self._has_gpu else "CPU",
            self.rank,
            self.num_ranks,
            precision,
            self._options.precision_mode,
        )
        return config

    def _mixes_precision(self):
        return self._options.precision_mode == "allow_mix_precision"

    def train(self, model_fn, model_dir, params, input_fn, max_steps, hooks, **config):
        if self._options.profiling:
            folder = self._options.profiling
            if self.num_ranks > 1:
                # All ranks have the same flags, and would write the same files.
                folder = os.path.join(folder, f"rank_{self.rank}")
            hooks = hooks + [_profiler_hook(folder, max_steps)]
        # At least 50 points on the curves of a short training.
        config["save_summary_steps"] = min(base.SUMMARY_STEPS, max(max_steps // 50, 1))
        config["model_dir"] = model_dir
        self._train(model_fn, params, input_fn, max_steps, hooks, config)

    def _train(self, model_fn, params, input_fn, max_steps, hooks, config):
        estimator = self._estimator(model_fn, params, **config)
        estimator.train(input_fn, hooks=hooks, max_steps=max_steps)

    def predictor(self, model_fn, model_dir, params):
        return self._estimator(model_fn, params, model_dir=model_dir)

    def _estimator(self, model_fn, params, **config):
        run_config = tf.estimator.RunConfig(
            session_config=self.session_config(),
            # The training log reports the speed.
            log_step_count_steps=None,
            **config,
        )
        return tf.estimator.Estimator(model_fn, config=run_config, params=params)


def _bypass_proxy(environment, workers):
    """Excludes the ranks from the proxy of gRPC, which cannot reach them."""
    # TensorFlow 1.15 calls this rank's own server localhost.
    hosts = dict.fromkeys(["localhost"] + [w.rpartition(":")[0] for w in workers])
    # The gRPC of TensorFlow 1.15 reads the first variable only. That of TensorFlow 2
    # prefers the second, where it is set.
    for name in ("no_proxy", "no_grpc_proxy"):
        excluded = environment.get(name)
        if excluded or name == "no_proxy":
            environment[name] = ",".join(filter(None, [excluded, *hosts]))


def _profiler_hook(folder, max_steps):
    # The hook's summary writer needs a default graph, any one.
    with tf.Graph().as_default():
        return tf.train.ProfilerHook(
            save_steps=min(_PROFILE_STEPS, max(max_steps // 2, 1)), output_dir=folder
        )


def _cpu_flags():
    """Names of this CPU's instruction sets; empty where Linux does not list them."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        return set(file.read().split())
    return set()


class WorkerDevice(SingleDevice):
    """One of several ranks on CPUs or GPUs.

    TensorFlow's MultiWorkerMirroredStrategy averages the gradients: a ring over gRPC,
    NCCL on GPUs. Rank 0, the chief, writes the checkpoints; all ranks restore them.
    """

    shares_model_dir = True

    def saving_folder(self, model_dir):
        # All ranks save at the same time, because saving averages the statistics of
        # batch norm. TensorFlow gives the other ranks this folder, which nobody reads.
        if self.rank:
            return os.path.join(model_dir, f"tmp_worker_{self.rank - 1}")
        return model_dir

    def session_config(self):
        config = super().session_config()
        rewrites = config.graph_options.rewrite_options
        # Through a server, TensorFlow 2.15 fuses convolution and bias in bfloat16 into
        # an operation that it does not have.
        rewrites.remapping = rewrites.OFF
        return config

    def _train(self, model_fn, params, input_fn, max_steps, hooks, config):
        workers = self._cluster.workers
        task = {"type": "chief", "index": 0}
        if self.rank:
            task = {"type": "worker", "index": self.rank - 1}
        cluster = {"chief": workers[:1], "worker": workers[1:]}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        _bypass_proxy(os.environ, workers)
        try:
            strategy = tf.distribute.experimental.MultiWorkerMirroredStrategy()
            estimator = self._estimator(
                model_fn, params, train_distribute=strategy, **config
            )
            # Estimator.train does not accept a cluster. Nothing is evaluated here: only
            # a task of type "evaluator" does that, and there is none.
            tf.estimator.train_and_evaluate(
                estimator,
                tf.estimator.TrainSpec(input_fn, max_steps=max_steps, hooks=hooks),
                tf.estimator.EvalSpec(input_fn),
            )
        finally:
            # Each rank evaluates alone.
            del os.environ["TF_CONFIG"]
