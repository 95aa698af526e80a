# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The hyperparameters of a training, and the steps at which it saves and evaluates.

Its length follows from the data by default. ssd_model.py has the learning rate.
"""

import tensorflow.compat.v1 as tf

import ssd_model
from console import paths
from console.errors import check
from dataset import categories, record_files
from trainer import inputs
from trainer.flags import FLAGS

_PUBLISHED = ssd_model.DEFAULT_PARAMS
# Numbers of training records that COCO's converters write: 118,287 images, or those
# 117,266 that have boxes. The published schedule counts 120,000.
_COCO_RECORDS = range(117000, 120001)

_LONGEST_SAVE_STEPS = 5000
# Checkpoints of a training, at least.
_CHECKPOINTS = 20


def make_params(num_ranks, label_map):
    """Returns the values of the flags, with defaults that follow from the data.

    Args:
      num_ranks: int.
      label_map: categories.LabelMap of the dataset.

    Returns:
      dict like ssd_model.DEFAULT_PARAMS.

    Raises:
      UserError: there are no training files.
    """
    params = {name: FLAGS[name].value for name in _PUBLISHED if name in FLAGS}
    params.update(
        batch_size=FLAGS.train_batch_size,
        num_ranks=num_ranks,
        num_classes=label_map.num_classes,
    )
    if params["num_examples_per_epoch"] is None:
        params["num_examples_per_epoch"] = _examples_per_epoch(label_map)
    share = params["num_epochs"] / _PUBLISHED["num_epochs"]
    for name in ("decay_epochs", "warmup_epochs"):
        if params[name] is None:
            params[name] = _PUBLISHED[name] * share
    return params


def _examples_per_epoch(label_map):
    """Returns the number of training records, or the published one of COCO."""
    published = _PUBLISHED["num_examples_per_epoch"]
    pattern = FLAGS.training_file_pattern
    if FLAGS.mode == "eval" and not FLAGS.watch:
        # There is no schedule.
        return published
    if FLAGS.synthetic_data or not pattern or paths.is_remote(pattern):
        number, reason = published, "the published number; no local file has records"
    else:
        number = record_files.count_records(inputs.find_files("training_file_pattern"))
        reason = f"the number of records in {pattern}"
        if label_map.names == categories.COCO.names and number in _COCO_RECORDS:
            reason = f"the published number for COCO; the files have {number} records"
            number = published
    tf.logging.info("--num_examples_per_epoch=%d: %s", number, reason)
    return number


def check_steps(params):
    """Raises a UserError unless an epoch, the training and the decay have steps."""
    epoch = ssd_model.steps_per_epoch(params)
    decay = int(params["decay_epochs"] * epoch)
    check(
        min(epoch, ssd_model.total_steps(params), decay) >= 1,
        "--num_examples_per_epoch=%d --num_epochs=%g --decay_epochs=%g "
        "--train_batch_size=%d on %d devices: an epoch, the training or the decay is "
        "less than one step; a smaller --train_batch_size gives more steps",
        params["num_examples_per_epoch"],
        params["num_epochs"],
        params["decay_epochs"],
        params["batch_size"],
        params["num_ranks"],
    )


def plan(params, label_map):
    """Returns one line on what the training will do."""
    steps = eval_steps(params)
    return (
        f"training: {ssd_model.total_steps(params)} steps of {params['num_ranks']} x "
        f"{params['batch_size']} images are {params['num_epochs']:g} epochs of "
        f"{params['num_examples_per_epoch']} images; {label_map.num_classes - 1} "
        f"categories of {FLAGS.label_map or 'COCO'}"
        f"{f'; an evaluation every {steps} steps' if steps else ''}"
    )


def save_steps(params):
    """Returns the number of steps between two checkpoints.

    The default is a round number, so that an NPU can run many steps per session run,
    or that of `eval_steps` if it is less.
    """
    if FLAGS.save_checkpoints_steps:
        return FLAGS.save_checkpoints_steps
    steps = max(ssd_model.total_steps(params) // _CHECKPOINTS, 1)
    unit = 100 if steps >= 100 else 10 if steps >= 10 else 1
    steps = min(steps - steps % unit, _LONGEST_SAVE_STEPS)
    return min(steps, eval_steps(params) or steps)


def eval_steps(params):
    """Returns the number of steps between two evaluations; 0 without them.

    It is that of --eval_every_epochs, rounded to a multiple of --iterations_per_loop,
    or else to two digits, so that an NPU can run many steps per session run.
    """
    if not FLAGS.eval_every_epochs:
        return 0
    steps = FLAGS.eval_every_epochs * ssd_model.steps_per_epoch(params)
    unit = FLAGS.iterations_per_loop or 10 ** max(len(str(int(steps))) - 2, 0)
    return max(round(steps / unit), 1) * unit
