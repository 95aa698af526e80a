# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every device has in common: its options and its contract.

The rest of the project asks a Device and never checks what it runs on. The devices are
in cpu_gpu.py and npu.py; selection.py creates one of them.
"""

import abc
import collections
import contextlib
import json
import math
import os

import tensorflow.compat.v1 as tf

from devices import rank_messages

DEVICES = ("auto", "npu", "gpu", "cpu")
PRECISION_MODES = ("allow_mix_precision", "must_keep_origin_dtype")
# Below Linux's own range (from 32768), and far from HCCL's ports 60000 to 60015.
DEFAULT_BASE_PORT = 21000
SUMMARY_STEPS = 100

Options = collections.namedtuple(
    "Options",
    "precision_mode loss_scale iterations_per_loop profiling base_port deterministic "
    "npu_config",
    defaults=(PRECISION_MODES[0], "0", 0, None, DEFAULT_BASE_PORT, False, ()),
)
Options.__doc__ = "Values of the flags of these names, see ssd_main.py --help."

DEFAULT_OPTIONS = Options()


def parse_loss_scale(text):
    """Parses --loss_scale.

    Args:
      text: str.

    Returns:
      0.0 for none, "dynamic", or a float of at least 1.

    Raises:
      ValueError: one line; it is none of these.
    """
    if text == "dynamic":
        return text
    with contextlib.suppress(ValueError):
        scale = float(text)
        if scale == 0 or 1 <= scale < math.inf:
            return scale
    raise ValueError(
        f"--loss_scale={text}: must be 0 (none), dynamic, or a number of at least 1"
    )


class Device(abc.ABC):
    """One rank on one device. Use it as a context manager around the training.

    Attributes:
      rank: int, in 0..num_ranks - 1.
      num_ranks: int, at least 1.
      ranks: rank_messages.Ranks, connected while the device is started.
      shares_model_dir: bool, whether all ranks use one folder of checkpoints.
      color_on: "host" or "device", where --color_on=auto changes the colors of training
        images.
      draws_batches: bool, whether a training draws some of its batches by default.
    """

    shares_model_dir = False
    color_on = "host"
    draws_batches = True

    def __init__(self, cluster, options):
        """Initializes the device; cluster: cluster.Cluster; options: Options."""
        self.rank = cluster.rank
        self.num_ranks = cluster.num_ranks
        self.ranks = rank_messages.Ranks()
        self._cluster = cluster
        self._options = options

    def __enter__(self):
        """Starts the device and waits for the other ranks.

        Raises:
          ValueError: one line; another rank did not appear, or the environment asks
            for something else than the flags.
        """
        _ignore_tf_config(self.num_ranks)
        if self.num_ranks > 1:
            self.ranks = rank_messages.connect(
                self.rank, self.num_ranks, self._cluster.meeting_point
            )
        return self

    def __exit__(self, error_type, *unused):
        """Stops the device, also after an error."""
        # After an error the other ranks must notice that this one is gone.
        if error_type is None:
            self.ranks.close()

    def folder_of_rank(self, folder):
        """Returns the folder of this rank's checkpoints for a launcher's --model_dir.

        A launcher gives all ranks the same flags. Ranks that do not share their
        checkpoints need folders of their own, as those in their working folders are.
        """
        own = os.path.join(os.path.realpath(os.getcwd()), "")
        is_own = os.path.realpath(folder).startswith(own)
        if self.shares_model_dir or self.num_ranks == 1 or is_own:
            return folder
        return os.path.join(folder, f"rank_{self.rank}")

    def shared_model_dir(self, model_dir):
        """Returns the --model_dir of rank 0 if all ranks share it, else the own one."""
        if not self.shares_model_dir:
            return model_dir
        return self.ranks.broadcast(os.path.abspath(model_dir).encode()).decode()

    def saving_folder(self, model_dir):
        """Returns the folder to which this rank saves checkpoints in a training."""
        return model_dir

    @abc.abstractmethod
    def iterations_per_loop(self, *step_counts):
        """Returns the number of training steps per session run.

        Args:
          *step_counts: ints; numbers of steps at which a session run has to end.

        Returns:
          int, a divisor of all step_counts; 1 except on NPUs.

        Raises:
          ValueError: one line; --iterations_per_loop does not divide one of them.
        """

    @abc.abstractmethod
    def optimizer_wrapper(self):
        """Returns a function from a tf.train.Optimizer to one that fits the device.

        The new optimizer averages over ranks and scales the loss. None: neither is
        needed.
        """

    def keep_float32(self):
        """Returns a context manager that exempts operators from mixed precision.

        CPUs and GPUs need none: their mixed precision starts at the first convolution.
        """
        return contextlib.nullcontext()

    @abc.abstractmethod
    def session_config(self):
        """Returns the session's tf.ConfigProto; logs the device and its precision."""

    @abc.abstractmethod
    def train(self, model_fn, model_dir, params, input_fn, max_steps, hooks, **config):
        """Trains up to a step, from the newest checkpoint if there is one.

        Args:
          model_fn: function of (features, labels, mode, params).
          model_dir: str, see shared_model_dir.
          params: dict for model_fn, see ssd_model.DEFAULT_PARAMS.
          input_fn: function without arguments that returns a tf.data.Dataset.
          max_steps: int.
          hooks: list of tf.train.SessionRunHook.
          **config: arguments that RunConfig and NPURunConfig share, for example
            save_checkpoints_steps and keep_checkpoint_max.
        """

    @abc.abstractmethod
    def predictor(self, model_fn, model_dir, params):
        """Returns a tf.estimator.Estimator to predict with, independent of other ranks.

        The arguments are those of `train`.
        """


def _ignore_tf_config(num_ranks):
    """Removes TF_CONFIG from the environment, because every Estimator obeys it.

    Raises:
      ValueError: one line; it describes several tasks that are not our ranks.
    """
    text = os.environ.get("TF_CONFIG")
    if text is None:
        return
    try:
        addresses = json.loads(text).get("cluster", {}).values()
        num_tasks = sum(map(len, addresses))
    except (ValueError, AttributeError, TypeError):
        # Nobody can obey it.
        num_tasks = 0
    if num_tasks > 1 and num_tasks != num_ranks:
        raise ValueError(
            f"TF_CONFIG in the environment has {num_tasks} tasks, but RANK_SIZE is "
            f"{num_ranks}; set RANK_ID and RANK_SIZE for every task, or unset TF_CONFIG"
        )
    tf.logging.warning(
        "TF_CONFIG in the environment is ignored; RANK_ID and RANK_SIZE count"
    )
    del os.environ["TF_CONFIG"]
