# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The model_fn: losses, learning rate, optimizer and training log.

Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2; schedule and
constants as in MLPerf v0.6's SSD-ResNet34.

Glossary: B images per batch on one device, N = 8732 default boxes, C classes with
background as class 0 (COCO: 81). `params` is a dict of numbers with the keys of
DEFAULT_PARAMS. A step is one weight update of all ranks together.
"""

import contextlib
import time

import numpy as np
import tensorflow.compat.v1 as tf

import ssd_architecture
from dataset import categories, color

# Mean and standard deviation of ImageNet, RGB, for pixel values in 0..1. The pretrained
# backbone was trained with them.
MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)

# The graph collection that holds the parts of the loss for FiniteLossHook.
_LOSS_PARTS = "loss_parts"
_PART_NAMES = ("class", "box", "decay")

_RUNS_BEFORE_AN_ESTIMATE = 10

# The hyperparameters that ssd_model_fn and the functions of the schedule read.
DEFAULT_PARAMS = {
    "num_classes": categories.COCO.num_classes,  # with background
    "batch_size": 32,  # per device
    "num_ranks": 1,
    "num_examples_per_epoch": 120000,
    "num_epochs": 115.2,
    "base_learning_rate": 0.003,  # for a global batch of base_batch_size
    "base_batch_size": 32,
    "warmup_epochs": 0.8,
    "decay_epochs": 106.0,
    "decay_alpha": 0.01,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "negatives_per_positive": 3,
    "huber_delta": 1.0,
    "log_every_n_steps": 100,
    "iterations_per_loop": 1,  # training steps per session run
}


def steps_per_epoch(params):
    """Returns the number of whole steps per epoch: 468 on eight devices."""
    per_device = params["num_examples_per_epoch"] / params["batch_size"]
    return int(per_device // params["num_ranks"])


def total_steps(params):
    """Returns the steps of a whole training: 432000 on one device, 54000 on eight."""
    examples = params["num_epochs"] * params["num_examples_per_epoch"]
    return int(examples / params["batch_size"] / params["num_ranks"])


def learning_rate_schedule(params, global_step):
    """Computes the learning rate: linear warm-up, then cosine decay from step 0.

    On eight devices with batch size 32, the peak is 0.003 x 8 = 0.024, the warm-up
    takes int(0.8 x 468) = 374 steps, and the rate of step 3099 is 0.02377195.

    Args:
      params: dict, see DEFAULT_PARAMS.
      global_step: integer scalar tensor, the number of finished steps.

    Returns:
      float32 scalar tensor.
    """
    global_batch = params["batch_size"] * params["num_ranks"]
    peak = params["base_learning_rate"] * global_batch / params["base_batch_size"]
    warmup_steps = int(params["warmup_epochs"] * steps_per_epoch(params))
    decay_steps = int(params["decay_epochs"] * steps_per_epoch(params))
    decayed = tf.train.cosine_decay(
        peak, global_step, decay_steps, alpha=params["decay_alpha"]
    )
    if not warmup_steps:
        return decayed
    step = tf.cast(global_step, tf.float32)
    return tf.where(step < warmup_steps, peak * step / warmup_steps, decayed)


def hardest_negatives(losses, is_negative, count):
    """Selects exactly the `count` negatives with the largest losses in each row.

    A bisection over the bits of the floats finds the count-th largest value.
    Non-negative floats have the same order as their bits, so 31 rounds of comparing
    and counting are exact. Sorting is not needed: top_k is slow on an NPU if k is in
    the thousands. Among negatives with exactly that value, the first in the row are
    selected.

    All values are compared as int32, because mixed precision on an NPU may lower a
    comparison of floats to float16, but never one of integers.

    Args:
      losses: float32 [B, N]; a loss below 0 counts as 0.
      is_negative: bool [B, N].
      count: int32 [B]; a row with fewer negatives has all of them selected.

    Returns:
      bool [B, N].
    """
    bits = tf.maximum(tf.bitcast(losses, tf.int32), 0)
    bits = tf.where(is_negative, bits, -tf.ones_like(bits))
    count = tf.expand_dims(count, 1)  # [B, 1]
    threshold = tf.zeros_like(count)
    for bit in reversed(range(31)):
        candidate = threshold + (1 << bit)
        enough = _count(bits >= candidate) >= count
        threshold = tf.where(enough, candidate, threshold)
    above = bits > threshold
    ties = tf.equal(bits, threshold)
    place = tf.cumsum(tf.cast(ties, tf.int32), axis=1)
    return above | (ties & (place <= count - _count(above)))


def _count(mask):
    """Counts the true values of each row of a bool [B, N], as int32 [B, 1].

    The sum is in float32 because Ascend NPUs have no kernel that sums int32. It is
    exact: N = 8732 is below 2^24, and mixed precision never lowers a sum to float16.
    """
    total = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1, keepdims=True)
    return tf.cast(total, tf.int32)


def detection_loss(
    class_outputs, box_outputs, labels, negatives_per_positive=3, huber_delta=1.0
):
    """Computes class and box loss, divided per image by its number of matches.

    Args:
      class_outputs: dict by level of float32 [B, f, f, C * k], logits.
      box_outputs: dict by level of float32 [B, f, f, 4 * k], offsets.
      labels: dict with "classes", int32 [B, N]; "boxes", float32 [B, N, 4], offsets;
        "num_matched_boxes", float32 [B] or [B, 1].
      negatives_per_positive: int, hardest negatives per matched default box.
      huber_delta: float, error at which the box loss turns from quadratic to linear.

    Returns:
      (total, class, box): float32 scalars. The total is class + box, without weight
      decay.
    """
    num_matched = tf.reshape(labels["num_matched_boxes"], [-1])  # [B]
    is_positive = labels["classes"] > 0
    class_logits = ssd_architecture.flatten_levels(class_outputs)
    offsets = ssd_architecture.flatten_levels(box_outputs)

    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels["classes"], logits=class_logits
    )
    is_hard = hardest_negatives(
        tf.stop_gradient(cross_entropy),
        tf.logical_not(is_positive),
        # A product of int32, because mixed precision may lower floats to float16.
        negatives_per_positive * tf.cast(num_matched, tf.int32),
    )
    selected = tf.cast(is_positive | is_hard, tf.float32)
    class_loss = tf.reduce_sum(cross_entropy * selected, axis=1)

    huber = tf.losses.huber_loss(
        labels["boxes"],
        offsets,
        delta=huber_delta,
        reduction=tf.losses.Reduction.NONE,
        loss_collection=None,
    )
    positive = tf.cast(is_positive, tf.float32)
    box_loss = tf.reduce_sum(tf.reduce_sum(huber, axis=2) * positive, axis=1)

    # An image without a match has no positives and no negatives: its loss is 0 / 1.
    divisor = tf.maximum(num_matched, 1.0)
    class_loss = tf.reduce_mean(class_loss / divisor)
    box_loss = tf.reduce_mean(box_loss / divisor)
    return class_loss + box_loss, class_loss, box_loss


def ssd_model_fn(
    features,
    labels,
    mode,
    params,
    *,
    wrap_optimizer=None,
    keep_float32=contextlib.nullcontext,
    updates_batch_norm=True,
):
    """Model function of an Estimator.

    Args:
      features: dict with "image", float32 [B, 300, 300, 3] in 0..1, RGB; for PREDICT
        also "source_id", int64 [B], and "raw_shape", int32 [B, 3]. With
        "color_changes", float32 [B, 4], the image is uint8 in 0..255, and its colors
        are changed here, see color.adjust_color.
      labels: dict, see `detection_loss`, for TRAIN; otherwise None.
      mode: tf.estimator.ModeKeys.TRAIN or PREDICT.
      params: dict, see DEFAULT_PARAMS. With "summary_dir", the training log writes the
        speed to the event file in that folder.
      wrap_optimizer: function that takes an optimizer and returns the one to use, for
        example one that averages gradients over ranks; None uses it as it is. An
        Estimator does not pass this argument: bind it with functools.partial.
      keep_float32: function that returns a context manager; mixed precision leaves
        operators that are created within it in float32. Bind it likewise.
      updates_batch_norm: bool, whether training uses the statistics of the batch and
        updates the moving averages; only the backbone has batch norm.

    Returns:
      tf.estimator.EstimatorSpec. Its predictions are the raw outputs "class_logits",
      float32 [B, N, C], and "box_offsets", float32 [B, N, 4], and the features
      source_id and raw_shape. Non-maximum suppression is left to the host.

    Raises:
      ValueError: for mode EVAL, because COCO's metrics need all predictions at once.
    """
    if mode == tf.estimator.ModeKeys.EVAL:
        raise ValueError("mode EVAL is not supported: predict, then use coco_metric")
    images = features["image"]
    if "color_changes" in features:
        with keep_float32():
            pixels = tf.cast(images, tf.float32)
            images = color.adjust_color(pixels, features["color_changes"])
    images = (images - MEAN_RGB) / STD_RGB
    class_outputs, box_outputs = ssd_architecture.ssd(
        images,
        is_training=mode == tf.estimator.ModeKeys.TRAIN and updates_batch_norm,
        num_classes=params["num_classes"],
    )
    if mode == tf.estimator.ModeKeys.PREDICT:
        return _predict_spec(features, class_outputs, box_outputs)
    return _train_spec(class_outputs, box_outputs, labels, params, wrap_optimizer)


def _predict_spec(features, class_outputs, box_outputs):
    predictions = {
        "class_logits": ssd_architecture.flatten_levels(class_outputs),
        "box_offsets": ssd_architecture.flatten_levels(box_outputs),
        "source_id": features["source_id"],
        "raw_shape": features["raw_shape"],
    }
    return tf.estimator.EstimatorSpec(
        tf.estimator.ModeKeys.PREDICT, predictions=predictions
    )


def _train_spec(class_outputs, box_outputs, labels, params, wrap_optimizer):
    loss, class_loss, box_loss = detection_loss(
        class_outputs,
        box_outputs,
        labels,
        params["negatives_per_positive"],
        params["huber_delta"],
    )
    # As in the published code, with the parameters of batch norm and the biases.
    squares = [tf.nn.l2_loss(variable) for variable in tf.trainable_variables()]
    decay_loss = params["weight_decay"] * tf.add_n(squares)
    loss += decay_loss

    global_step = tf.train.get_or_create_global_step()
    learning_rate = learning_rate_schedule(params, global_step)
    tf.summary.scalar("learning_rate", learning_rate)
    # One group of TensorBoard. The Estimator adds their sum, "loss".
    tf.summary.scalar("losses/class", class_loss)
    tf.summary.scalar("losses/box", box_loss)
    tf.summary.scalar("losses/weight_decay", decay_loss)
    for part in (class_loss, box_loss, decay_loss):
        tf.add_to_collection(_LOSS_PARTS, part)
    optimizer = tf.train.MomentumOptimizer(learning_rate, params["momentum"])
    if wrap_optimizer:
        optimizer = wrap_optimizer(optimizer)
    # UPDATE_OPS holds the updates of batch norm's moving averages.
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train_op = optimizer.minimize(loss, global_step=global_step)
    return tf.estimator.EstimatorSpec(
        tf.estimator.ModeKeys.TRAIN,
        loss=loss,
        train_op=train_op,
        training_hooks=[TrainingLogHook(learning_rate, loss, params)],
    )


class NotFiniteError(Exception):
    """A loss is infinite or NaN; the text names the step and the part of the loss."""


class FiniteLossHook(tf.train.SessionRunHook):
    """Ends a training whose loss is infinite or NaN, before a checkpoint is saved."""

    def begin(self):
        """Looks up the parts of the loss. See the base class."""
        self._parts = tf.get_collection(_LOSS_PARTS)

    def before_run(self, run_context):
        """Requests the parts of the loss. See the base class."""
        del run_context
        return tf.train.SessionRunArgs(self._parts)

    def after_run(self, run_context, run_values):
        """Checks the parts of the loss. See the base class.

        Raises:
          NotFiniteError: one of them is infinite or NaN.
        """
        values = dict(zip(_PART_NAMES, run_values.results))
        bad = [name for name in _PART_NAMES if not np.isfinite(values[name])]
        if bad:
            raise NotFiniteError(
                f"step {_step(run_context.session)}: the {' and '.join(bad)} loss is "
                + " and ".join(str(values[name]) for name in bad)
            )


class TrainingLogHook(tf.train.SessionRunHook):
    """Logs speed, learning rate, loss and progress every log_every_n_steps steps.

    The progress is also logged after the first ten session runs, to tell soon how long
    the training takes.

    If a session run takes several steps (iterations_per_loop), it logs after the first
    run that reaches or passes a multiple of log_every_n_steps. It always logs the last
    step. Speed and time left leave out what `paused` covers.
    """

    _seconds_paused = 0.0

    def __init__(self, learning_rate, loss, params):
        """Initializes the hook.

        Args:
          learning_rate: float32 scalar tensor.
          loss: float32 scalar tensor.
          params: dict, see ssd_model_fn.
        """
        self._tensors = {"learning_rate": learning_rate, "loss": loss}
        self._every = params["log_every_n_steps"]
        self._steps_per_run = params["iterations_per_loop"]
        self._global_batch = params["batch_size"] * params["num_ranks"]
        self._total = total_steps(params)
        self._summary_dir = params.get("summary_dir")

    def after_create_session(self, session, coord):
        """Reads the step at which the training starts. See the base class."""
        del coord
        self._last_step = self._first_step = self._run_step = _step(session)
        self._runs = 0
        self._last_time = self._clock()
        self._measured_from = self._first_step, self._last_time
        if self._first_step:
            tf.logging.info("resumed at step %d", self._first_step)

    def before_run(self, run_context):
        """Requests the tensors if this run will be logged. See the base class."""
        del run_context
        self._runs += 1
        self._run_step += self._steps_per_run
        self._is_due = (
            self._run_step // self._every > self._last_step // self._every
            or self._run_step >= self._total
        )
        return tf.train.SessionRunArgs(self._tensors) if self._is_due else None

    def after_run(self, run_context, run_values):
        """Logs the run. See the base class."""
        if self._is_due:
            self._log(run_context, run_values)
        elif self._runs == _RUNS_BEFORE_AN_ESTIMATE:
            self._log_progress(_step(run_context.session), self._clock())
        if self._runs == 1:
            # The first run also prepares the device.
            self._measured_from = self._run_step, self._clock()

    @classmethod
    @contextlib.contextmanager
    def paused(cls):
        """Stops the clock of all hooks during a block, such as an evaluation."""
        start = time.time()
        yield
        cls._seconds_paused += time.time() - start

    def _clock(self):
        return time.time() - self._seconds_paused

    def _log(self, run_context, run_values):
        # Read from the session, because loss scaling skips a step whose gradients
        # overflow in float16.
        step = self._run_step = _step(run_context.session)
        now = self._clock()
        images = (step - self._last_step) * self._global_batch
        images_per_second = images / max(now - self._last_time, 1e-9)
        tf.logging.info(
            "FPS: %.2f, learning rate: %.8f, loss: %s",
            images_per_second,
            run_values.results["learning_rate"],
            run_values.results["loss"],
        )
        self._log_progress(step, now)
        if self._summary_dir:
            value = tf.Summary.Value(tag="FPS", simple_value=images_per_second)
            writer = tf.summary.FileWriterCache.get(self._summary_dir)
            writer.add_summary(tf.Summary(value=[value]), step)
        self._last_step, self._last_time = step, now

    def _log_progress(self, step, now):
        first_step, first_time = self._measured_from
        seconds_per_step = (now - first_time) / max(step - first_step, 1)
        left = int(seconds_per_step * max(self._total - step, 0))
        skipped = self._first_step + self._runs * self._steps_per_run - step
        tf.logging.info(
            "step %d of %d (%.1f %%), %d:%02d:%02d left%s",
            step,
            self._total,
            100.0 * step / self._total,
            left // 3600,
            left // 60 % 60,
            left % 60,
            f", {skipped} steps skipped for overflow" if skipped else "",
        )


def _step(session):
    return int(session.run(tf.train.get_global_step(session.graph)))
