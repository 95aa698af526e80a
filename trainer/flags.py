# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The flags of ssd_main.py, and the error that names what a user can mend."""

import os

from absl import flags

import dataset_parser
import ssd_model
from console.errors import blaming
from dataset import categories
from devices import base

FLAGS = flags.FLAGS
_DEFAULTS = ssd_model.DEFAULT_PARAMS

# What is larger is a slip of the hand.
_MAX_BATCH = 4096
_MAX_COUNT = 10**9

_INPUT_PATHS = (
    "training_file_pattern",
    "validation_file_pattern",
    "val_json_file",
    "label_map",
    "resnet_checkpoint",
    "checkpoint_path",
)


def find_inputs_from(folder):
    """Makes relative paths of what is read start at a folder.

    The launchers go to a folder of each rank's own, for its log and its model.

    Args:
      folder: str, where the user was.
    """
    for name in _INPUT_PATHS:
        value = FLAGS[name].value
        if value and "://" not in value:
            FLAGS[name].value = os.path.join(folder, value)


def trains():
    """Whether --mode includes training."""
    return FLAGS.mode != "eval"


def evaluates():
    """Whether --mode includes evaluation."""
    return FLAGS.mode != "train"


def define_flags():
    """Defines all flags."""
    _define_data_flags()
    _define_schedule_flags()
    _define_run_flags()


def _define_data_flags():
    flags.DEFINE_enum(
        "mode",
        "train_and_eval",
        ["train_and_eval", "train", "eval"],
        "Train and evaluate once at the end, only train, or only evaluate.",
    )
    flags.DEFINE_string("model_dir", None, "Folder of checkpoints and summaries.")
    flags.DEFINE_string("training_file_pattern", None, "Glob of training TFRecords.")
    flags.DEFINE_string(
        "validation_file_pattern", None, "Glob of evaluation TFRecords."
    )
    flags.DEFINE_string("val_json_file", None, "COCO json of the evaluation images.")
    flags.DEFINE_string(
        "label_map",
        None,
        "Json with the list categories of the dataset's own classes; default: COCO's.",
    )
    flags.DEFINE_string(
        "resnet_checkpoint", None, "Prefix of the pretrained ResNet34 checkpoint."
    )
    _define_integers(
        ("eval_batch_size", 32, "Images a batch of one device.", 1, _MAX_BATCH),
        ("eval_samples", 0, "Evaluate only the first N images; 0: all.", 0, _MAX_COUNT),
        (
            "max_bad_records",
            dataset_parser.MAX_BAD_RECORDS,
            "Broken training records of a rank that may be left out.",
            *(0, _MAX_COUNT),
        ),
    )
    flags.DEFINE_boolean(
        "synthetic_data", False, "Train on one batch in memory: the device's ceiling."
    )


def _define_integers(*rows):
    """Each row: name, default, help, smallest and largest value."""
    for name, default, text, lowest, highest in rows:
        flags.DEFINE_integer(
            name, default, text, lower_bound=lowest, upper_bound=highest
        )


def _define_schedule_flags():
    """Hyperparameters; each named as in ssd_model.DEFAULT_PARAMS but the batch."""
    _define_integers(
        *[
            (name, _DEFAULTS.get(name, _DEFAULTS["batch_size"]), text, 1, highest)
            for name, text, highest in (
                ("train_batch_size", "Images a step of one device.", _MAX_BATCH),
                ("num_examples_per_epoch", "Images of one epoch.", _MAX_COUNT),
                ("base_batch_size", "Batch of base_learning_rate.", _MAX_COUNT),
                ("negatives_per_positive", "Hardest, per matched default box.", 8732),
            )
        ]
    )
    for name, text, lowest, highest in (
        ("num_epochs", "Length of the training.", 0.0, 1e6),
        (
            "base_learning_rate",
            "Peak, times global batch / base_batch_size.",
            1e-12,
            1e9,
        ),
        ("warmup_epochs", "Epochs of linear warm-up.", 0.0, 1e6),
        ("decay_epochs", "Epochs of cosine decay, from the start.", 0.0, 1e6),
        ("decay_alpha", "Last learning rate, as a part of the peak.", 0.0, 1.0),
        ("momentum", "Of the momentum optimizer.", 0.0, 0.9999),
        ("weight_decay", "Factor of the L2 loss of all variables.", 0.0, 1e3),
        ("huber_delta", "Where the box loss turns linear.", 1e-6, 1e6),
    ):
        flags.DEFINE_float(
            name, _DEFAULTS[name], text, lower_bound=lowest, upper_bound=highest
        )


def _define_run_flags():
    _define_integers(
        ("save_checkpoints_steps", 5000, "Steps between checkpoints.", 1, _MAX_COUNT),
        ("keep_checkpoint_max", 32, "Newest checkpoints that are kept.", 1, 100000),
        ("log_every_n_steps", 100, "Steps between lines of the log.", 1, _MAX_COUNT),
        ("seed", None, "Of all random numbers; default: another each time.", 0, 2**31),
    )
    flags.DEFINE_boolean(
        "deterministic", False, "With --seed: the same losses in every run; slower."
    )
    flags.DEFINE_string(
        "checkpoint_path", None, "For --mode=eval: a checkpoint; default: the newest."
    )
    flags.DEFINE_boolean(
        "watch",
        False,
        "For --mode=eval: evaluate each new checkpoint of a training, up to the last "
        "step as the flags here say.",
    )
    _define_device_flags()


def _define_device_flags():
    """Each but the first named as in base.Options."""
    defaults = base.DEFAULT_OPTIONS
    flags.DEFINE_enum("device", "auto", base.DEVICES, "What to run on.")
    flags.DEFINE_enum(
        "precision_mode",
        defaults.precision_mode,
        base.PRECISION_MODES,
        "Whether products may use 16 bits: float16 on NPU and GPU, bfloat16 on a CPU.",
    )
    flags.DEFINE_string(
        "loss_scale",
        defaults.loss_scale,
        "For float16: 0 (none; a GPU takes dynamic), a number from 1 up, or dynamic.",
    )
    flags.DEFINE_string(
        "profiling", defaults.profiling, "Folder for a profile of the training."
    )
    flags.DEFINE_multi_string(
        "npu_config",
        list(defaults.npu_config),
        "Further arguments of the NPU adapter's NPURunConfig: key=value,key=value.",
    )
    _define_integers(
        (
            "iterations_per_loop",
            defaults.iterations_per_loop,
            "Steps of one run of an NPU; 0: as many as fit.",
            *(0, 100000),
        ),
        (
            "base_port",
            defaults.base_port,
            "First TCP port of several ranks: one each, and one.",
            *(1024, 59000),
        ),
    )


def make_params(num_ranks):
    """Collects the hyperparameters from the flags.

    Args:
      num_ranks: int, at least 1.

    Returns:
      dict, see ssd_model.DEFAULT_PARAMS.

    Raises:
      UserError: when --label_map cannot be read.
    """
    names = [n for n in _DEFAULTS if n in FLAGS and n != "label_map"]
    params = dict(_DEFAULTS, **{name: FLAGS[name].value for name in names})
    params.update(batch_size=FLAGS.train_batch_size, num_ranks=num_ranks)
    params["label_map"] = categories.COCO
    if FLAGS.label_map:
        with blaming("--label_map:"):
            params["label_map"] = categories.read_label_map(FLAGS.label_map)
    return params
