# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training from the newest checkpoint, or from step 0, to the last step."""

import contextlib
import errno
import functools
import os

import tensorflow.compat.v1 as tf

import dataset_parser
import ssd_model
from console import paths
from console.errors import UserError, as_user_error, check
from dataset.bad_records import BadRecords
from trainer import (
    batch_pictures,
    checkpoints,
    heartbeat,
    hyperparameters,
    initial_weights,
    inputs,
    saving,
    stop_signal,
)
from trainer.flags import FLAGS


def train(device, params, model_dir, label_map, start=None, evaluations=None):
    """Trains to the last step, starting from the newest checkpoint if there is one.

    Args:
      device: base.Device, started.
      params: dict, see ssd_model.DEFAULT_PARAMS.
      model_dir: str, folder of the checkpoints.
      label_map: categories.LabelMap of the dataset.
      start: initial_weights.InitialWeights to start from, or None.
      evaluations: during_training.Evaluations, or None.

    Returns:
      bool, whether the newest checkpoint is to be evaluated. True if the last step is
      reached, or the training was already over at the start; False if a signal or an
      evaluation of this run ended it.

    Raises:
      UserError: the ranks have different schedules, the training files have no usable
        image, too many of their records are broken, the loss is not finite, or the disk
        is full.
    """
    total = ssd_model.total_steps(params)
    _check_same_schedule(device, total)
    step, path = newest_checkpoint(device, params, model_dir)
    first_step = step or 0
    if device.rank == 0 or not device.shares_model_dir:
        checkpoints.select(model_dir, path)
    if first_step >= total:
        tf.logging.info("the training is finished: step %d of %d", step, total)
        return True
    inputs.save_label_map(label_map)
    if evaluations:
        evaluations.start(first_step)
    if _is_over(evaluations, total):
        return True
    model_fn = _model_fn(device, label_map, path, start)
    stopped_at = _run(
        device, model_fn, params, model_dir, label_map, first_step, evaluations
    )
    if _is_over(evaluations, total):
        return False
    return _check_end(device, stopped_at, total, model_dir)


def _run(device, model_fn, params, model_dir, label_map, first_step, evaluations):
    """Runs the steps; returns the one at which a signal stopped them, or None."""
    total = ssd_model.total_steps(params)
    save_steps = {
        hyperparameters.save_steps(params),
        hyperparameters.eval_steps(params),
    } - {0}
    with as_user_error():
        loop = device.iterations_per_loop(
            total, total - first_step, *sorted(save_steps)
        )
    folder = paths.without_wildcards(model_dir)
    if folder != model_dir:
        tf.logging.info("TensorFlow's messages name %s as %s", model_dir, folder)
    params = dict(params, iterations_per_loop=loop)
    if device.rank == 0:
        params["summary_dir"] = folder
    saver = saving.SaveAtMultiples(
        device.saving_folder(folder),
        save_steps,
        total,
        steps_per_run=loop,
        max_kept=FLAGS.keep_checkpoint_max,
        plan=hyperparameters.plan(params, label_map),
        listener=evaluations,
    )
    stop = stop_signal.StopOnSignal(device.ranks, loop)
    pictures = batch_pictures.BatchPictures(
        _picture_steps(device, total), first_step + 1, total, label_map, folder
    )
    bad_records = BadRecords(FLAGS.max_bad_records)
    with stop, _errors_explained(model_dir, bad_records):
        device.train(
            model_fn,
            folder,
            params,
            lambda: pictures.watch(_dataset(device, params, label_map, bad_records)),
            total,
            [ssd_model.FiniteLossHook(), stop, *heartbeat.hooks(model_dir), saver],
            # trainer/saving.py saves the checkpoints between the first and last step.
            save_checkpoints_steps=total,
            keep_checkpoint_max=FLAGS.keep_checkpoint_max,
            tf_random_seed=FLAGS.seed,
        )
    bad_records.log_boxes()
    return stop.stopped_at


def _picture_steps(device, total):
    """Returns the number of steps between two pictures of a batch; 0 for none."""
    if device.rank or FLAGS.synthetic_data:
        return 0
    if FLAGS.summary_images_every is not None:
        return FLAGS.summary_images_every
    return max(total // 10, 100) if device.draws_batches else 0


def _check_same_schedule(device, total):
    """Checks that all ranks train for the same number of steps.

    Ranks with different totals would wait forever.

    Args:
      device: base.Device, started.
      total: int, the last step of this rank.

    Raises:
      UserError: the totals differ.
    """
    totals = device.ranks.exchange(total)
    check(
        len(set(totals)) == 1,
        "--training_file_pattern: the ranks would train for %s steps; give all servers "
        "the same files, or --num_examples_per_epoch",
        ", ".join(map(str, sorted(set(totals)))),
    )


def newest_checkpoint(device, params, model_dir, limit=None):
    """Finds the newest checkpoint that all ranks have, and checks its classes.

    Args:
      device: base.Device, started.
      params: dict, see ssd_model.DEFAULT_PARAMS.
      model_dir: str, folder of the checkpoints.
      limit: int, the largest step to consider, or None.

    Returns:
      (step, path): int and str, its prefix; (None, None) if there is none.

    Raises:
      UserError: a rank has lost its checkpoints, or the checkpoint has another number
        of classes than params.
    """
    with as_user_error("--model_dir:"):
        step, path = checkpoints.newest_common(
            model_dir, device, hyperparameters.save_steps(params), limit
        )
        if path:
            checkpoints.check_classes(path, params["num_classes"])
    return step, path


def _model_fn(device, label_map, resumed_path, start):
    """Returns ssd_model_fn with the optimizer of the device and the start weights."""
    if resumed_path:
        start = None
        with as_user_error("--model_dir:"):
            initial_weights.check_resumable(resumed_path, FLAGS.freeze)
        if FLAGS.init_checkpoint:
            tf.logging.info("--init_checkpoint is ignored: the training resumes")
    else:
        # check_training reads no weights if model_dir has checkpoints; if none of them
        # is usable, the weights are read here.
        start = start or initial_weights.from_flags(label_map)
        if not start:
            tf.logging.warning(
                "training starts without --resnet_checkpoint: COCO AP is then lower "
                "(others report about 0.17 instead of 0.24 to 0.25)"
            )
    model_fn = functools.partial(
        ssd_model.ssd_model_fn,
        wrap_optimizer=device.optimizer_wrapper(),
        # Estimator copies model_fn. A lambda is not copied; a bound method is copied
        # with its device, whose connections to other ranks cannot be.
        keep_float32=lambda: device.keep_float32(),
        updates_batch_norm=FLAGS.freeze == "none",
    )
    return initial_weights.apply(model_fn, start, FLAGS.freeze)


def _dataset(device, params, label_map, bad_records):
    """Returns the dataset of this rank."""
    reader = dataset_parser.SSDInputReader(
        FLAGS.training_file_pattern, True, label_map, bad_records
    )
    if FLAGS.seed is not None:
        # Ranks draw different crops and colors, but the same initial weights.
        tf.set_random_seed(FLAGS.seed + device.rank)
    dataset = reader(
        {
            "batch_size": params["batch_size"],
            "num_ranks": device.num_ranks,
            "rank": device.rank,
            "synthetic_data": FLAGS.synthetic_data,
            "color_on": (
                device.color_on if FLAGS.color_on == "auto" else FLAGS.color_on
            ),
            "zoom_out": FLAGS.zoom_out,
            "deterministic": FLAGS.deterministic,
        }
    )
    tf.set_random_seed(FLAGS.seed)
    return dataset


@contextlib.contextmanager
def _errors_explained(model_dir, bad_records):
    """Turns errors of the training that the user can fix into UserError."""
    pattern = f"--training_file_pattern={FLAGS.training_file_pattern}"
    try:
        with dataset_parser.explaining_undecodable_images(pattern):
            yield
    except ssd_model.NotFiniteError as error:
        raise UserError(
            f"{error}; lower --base_learning_rate, try "
            "--precision_mode=must_keep_origin_dtype, or check the data with "
            "tools/check_dataset.py; the last checkpoint is kept"
        ) from error
    except tf.errors.OpError as error:
        check(
            os.strerror(errno.ENOSPC) not in str(error),
            "--model_dir=%s: no space is left on its disk; free some, and the same "
            "command continues from the last checkpoint, step %s",
            model_dir,
            checkpoints.newest_usable(model_dir)[0],
        )
        raise
    if bad_records.error:
        raise UserError(
            f"more broken records than --max_bad_records={FLAGS.max_bad_records}; the "
            f"last: {bad_records.error}; tools/check_dataset.py lists them all"
        )


def _is_over(evaluations, total):
    """Returns whether evaluations without gain have ended the training; logs it."""
    if not evaluations or not evaluations.is_over:
        return False
    tf.logging.info(
        "the training has ended before step %d, because of --stop_after=%d",
        total,
        FLAGS.stop_after,
    )
    return True


def _check_end(device, stopped_at, total, model_dir):
    """Returns whether the last step was reached; if not, a signal stopped the training.

    Raises:
      UserError: the training ended early without a signal: no usable image has a box
        that counts.
    """
    if stopped_at is not None:
        tf.logging.info(
            "stopped at step %d of %d; the same command continues from there",
            stopped_at,
            total,
        )
        return False
    if device.shares_model_dir:
        # Wait until rank 0 has saved the last step for all ranks.
        device.ranks.exchange(total)
    check(
        total in checkpoints.steps(model_dir),
        "--training_file_pattern=%s: no box counts: no usable image has one that has a "
        "size and a category of the label map; tools/check_dataset.py tells why",
        FLAGS.training_file_pattern,
    )
    return True
