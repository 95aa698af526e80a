# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command-line flags of ssd_main.py.

absl prints the default of each flag in --help. The defaults of hyperparameters come
from ssd_model.DEFAULT_PARAMS, under the same names (batch_size: --train_batch_size).
"""

import os

from absl import flags

import dataset_parser
import ssd_model
from console import paths
from devices import base

FLAGS = flags.FLAGS

_PARAMS = ssd_model.DEFAULT_PARAMS
_OPTIONS = base.DEFAULT_OPTIONS
_MAX_BATCH = 4096

flags.DEFINE_enum(
    "mode",
    "train_and_eval",
    ["train_and_eval", "train", "eval"],
    "Train and evaluate once at the end, only train, or only evaluate.",
)

# Data.
flags.DEFINE_string(
    "data_dir",
    None,
    "Folder with a whole dataset: TFRecord files train* and val* (or test*) and "
    "instances_val*.json. The next three flags choose other files.",
)
flags.DEFINE_string(
    "training_file_pattern", None, "Glob pattern of the training TFRecord files."
)
flags.DEFINE_string(
    "validation_file_pattern", None, "Glob pattern of the evaluation TFRecord files."
)
flags.DEFINE_string(
    "val_json_file",
    None,
    "JSON file with the COCO annotations of the evaluation images.",
)
flags.DEFINE_string(
    "label_map",
    None,
    'JSON file whose list "categories" holds the categories of the dataset, or '
    "label_map.pbtxt. Default: label_map.json or label_map.pbtxt beside the training "
    "files or in model_dir (evaluation: in model_dir or beside the evaluation files), "
    "else the 80 categories of COCO.",
)
flags.DEFINE_integer(
    "eval_batch_size",
    32,
    "Evaluation images per batch on each device.",
    lower_bound=1,
    upper_bound=_MAX_BATCH,
)
flags.DEFINE_integer(
    "eval_samples",
    0,
    "Number of images to evaluate, the first ones of the files. 0: all images.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "max_bad_records",
    dataset_parser.MAX_BAD_RECORDS,
    "Number of broken training records that each rank may skip. With more of them the "
    "training ends with an error.",
    lower_bound=0,
)
flags.DEFINE_boolean(
    "synthetic_data",
    False,
    "Train on a single batch in memory, to measure the speed of the device without the "
    "input pipeline.",
)

flags.DEFINE_enum(
    "color_on",
    "auto",
    ["auto", "host", "device"],
    "Where the colors of training images are changed: on the host, or at the start of "
    "each step on the device. auto: on the device if it is a GPU, else on the host.",
)

flags.DEFINE_float(
    "zoom_out",
    0.0,
    "Probability of placing a training image at random on a gray canvas, up to 4 times "
    "as high and wide, before it is cropped: for small objects.",
    lower_bound=0.0,
    upper_bound=1.0,
)

# Model and loss.
flags.DEFINE_string(
    "resnet_checkpoint",
    None,
    "Prefix of the pretrained ResNet34 checkpoint, for example DIR/model.ckpt-28152. "
    "Default: the backbone starts from random weights.",
)
flags.DEFINE_string(
    "init_checkpoint",
    None,
    "Checkpoint of this network, or a folder of checkpoints, to start from. It may "
    "have other categories: those of the same name are taken over.",
)
flags.DEFINE_enum(
    "freeze",
    "none",
    ["none", "backbone", "all_but_heads"],
    "Variables to leave as they are, batch norm statistics too: those of the backbone, "
    "or all but those of the class and box predictors.",
)
flags.DEFINE_integer(
    "negatives_per_positive",
    _PARAMS["negatives_per_positive"],
    "Hardest negatives in the class loss per matched default box.",
    lower_bound=1,
    upper_bound=8732,
)
flags.DEFINE_float(
    "huber_delta",
    _PARAMS["huber_delta"],
    "Error, in encoded units, at which the box loss turns from quadratic to linear.",
    lower_bound=1e-6,
)
flags.DEFINE_float(
    "weight_decay",
    _PARAMS["weight_decay"],
    "Factor of the L2 loss of all trainable variables.",
    lower_bound=0.0,
)

# Schedule and optimizer.
flags.DEFINE_integer(
    "train_batch_size",
    _PARAMS["batch_size"],
    "Training images per step on each device.",
    lower_bound=1,
    upper_bound=_MAX_BATCH,
)
flags.DEFINE_integer(
    "num_examples_per_epoch",
    None,
    "Number of training images in an epoch. Default: the number of training records; "
    "for COCO the published 120000.",
    lower_bound=1,
)
flags.DEFINE_float(
    "num_epochs",
    _PARAMS["num_epochs"],
    "Length of the training in epochs.",
    lower_bound=0.0,
)
flags.DEFINE_float(
    "base_learning_rate",
    _PARAMS["base_learning_rate"],
    "Peak learning rate for a global batch of base_batch_size images. It is scaled "
    "linearly with the global batch size.",
    lower_bound=1e-12,
)
flags.DEFINE_integer(
    "base_batch_size",
    _PARAMS["base_batch_size"],
    "Global batch size in images that base_learning_rate refers to.",
    lower_bound=1,
)
flags.DEFINE_float(
    "warmup_epochs",
    None,
    "Length of the linear warm-up of the learning rate in epochs. 0: no warm-up. "
    "Default: 0.8 for 115.2 num_epochs, and in proportion for others.",
    lower_bound=0.0,
)
flags.DEFINE_float(
    "decay_epochs",
    None,
    "Length of the cosine decay of the learning rate in epochs, counted from step 0. "
    "Default: 106 for 115.2 num_epochs, and in proportion for others.",
    lower_bound=0.0,
)
flags.DEFINE_float(
    "decay_alpha",
    _PARAMS["decay_alpha"],
    "Learning rate after the decay, as a fraction of the peak.",
    lower_bound=0.0,
    upper_bound=1.0,
)
flags.DEFINE_float(
    "momentum",
    _PARAMS["momentum"],
    "Momentum of the optimizer.",
    lower_bound=0.0,
    upper_bound=0.9999,
)
flags.DEFINE_integer(
    "seed",
    None,
    "Seed of all random numbers. Default: different numbers in every run.",
    lower_bound=0,
)
flags.DEFINE_boolean(
    "deterministic",
    False,
    "Together with --seed: compute the same losses in every run. Slower.",
)

# Device.
flags.DEFINE_enum(
    "device",
    "auto",
    base.DEVICES,
    "Device to run on. auto: an NPU, else a GPU, else the CPU.",
)
flags.DEFINE_enum(
    "precision_mode",
    _OPTIONS.precision_mode,
    base.PRECISION_MODES,
    "Whether convolutions may use 16-bit numbers: float16 on NPUs and GPUs, bfloat16 "
    "on CPUs.",
)
flags.DEFINE_string(
    "loss_scale",
    _OPTIONS.loss_scale,
    "Scaling of the loss for float16: 0 (none; on a GPU the same as dynamic), a number "
    "of at least 1, or dynamic.",
)
flags.DEFINE_integer(
    "iterations_per_loop",
    _OPTIONS.iterations_per_loop,
    "Training steps per session run on an NPU. 0: the largest divisor of 100 that "
    "divides the steps in all, the steps left, and those between checkpoints and "
    "between evaluations.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "base_port",
    _OPTIONS.base_port,
    "First TCP port of a training with several ranks. Rank r listens on base_port + r; "
    "rank 0 also listens on base_port + number of ranks.",
    lower_bound=1024,
    upper_bound=59000,
)
flags.DEFINE_multi_string(
    "npu_config",
    list(_OPTIONS.npu_config),
    "Further arguments of the NPU adapter's NPURunConfig: key=value,key=value. May be "
    "given several times.",
)

# Output and checkpoints.
flags.DEFINE_string(
    "model_dir",
    None,
    "Folder of the checkpoints and summaries. The launchers' default is "
    "training/D<device>/result_npu. If a launcher gives several NPUs the same folder, "
    "each rank uses a folder in it: rank_0, rank_1, and so on.",
)
flags.DEFINE_integer(
    "save_checkpoints_steps",
    None,
    "Checkpoints are saved at the multiples of this number of steps, and at the last "
    "step. Default: 5000 or a twentieth of the training, whichever is less.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "keep_checkpoint_max",
    32,
    "Number of checkpoints to keep; older ones are deleted.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "log_every_n_steps",
    _PARAMS["log_every_n_steps"],
    "Steps between two log lines of speed, learning rate and loss.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "summary_images_every",
    None,
    "Steps between two pictures of the training batch in TensorBoard, as the network "
    "sees it. The first is also written as train_batches.png. 0: none. Default: a "
    "tenth of the training, but at least 100; 0 on an NPU.",
    lower_bound=0,
)
flags.DEFINE_string(
    "profiling",
    _OPTIONS.profiling,
    "Folder for a profile of the training. Default: no profile.",
)
flags.DEFINE_float(
    "eval_every_epochs",
    0.0,
    "Epochs between evaluations while training. The last step is evaluated too, and "
    "model_dir/best keeps the best checkpoint. 0: evaluate as --mode says.",
    lower_bound=0.0,
)
flags.DEFINE_integer(
    "stop_after",
    0,
    "Number of evaluations in a row without a higher COCO AP that ends the training. "
    "Needs --eval_every_epochs. 0: train to the last step.",
    lower_bound=0,
)
flags.DEFINE_string(
    "checkpoint_path",
    None,
    "For --mode=eval: the checkpoint to evaluate. Default: the newest in model_dir.",
)
flags.DEFINE_boolean(
    "watch",
    False,
    "For --mode=eval: evaluate every new checkpoint of a running training, up to the "
    "last step, which follows from the flags of the schedule.",
)

_PATHS = (
    "data_dir",
    "training_file_pattern",
    "validation_file_pattern",
    "val_json_file",
    "label_map",
    "resnet_checkpoint",
    "init_checkpoint",
    "checkpoint_path",
    "model_dir",
    "profiling",
)


def find_paths_from(folder):
    """Resolves relative paths against a folder: where the user called a launcher.

    The launchers start each rank in a folder of its own.
    """
    for name in _PATHS:
        value = FLAGS[name].value
        if value and not paths.is_remote(value):
            FLAGS[name].value = os.path.join(folder, value)


def evaluates():
    """Returns whether this run evaluates anything."""
    return FLAGS.mode != "train" or FLAGS.eval_every_epochs > 0


def own_flags():
    """Returns the list of absl flags that this file defines."""
    return FLAGS.flags_by_module_dict()[__name__]


def device_options():
    """Returns a base.Options; each field is the flag of the same name."""
    return base.Options(*(FLAGS[name].value for name in base.Options._fields))
