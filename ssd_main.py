# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains and evaluates SSD-ResNet34 on COCO-like TFRecords.

Usually started by run_npu_1p.sh or run_npu_8p.sh through exec_main.sh; by hand:

  python3 ssd_main.py --mode=train_and_eval \
    --training_file_pattern='DIR/train2017*' \
    --validation_file_pattern='DIR/val2017*' \
    --val_json_file=DIR/instances_val2017.json --model_dir=result_npu

The same command again resumes, and only evaluates what is finished. Ends with a line
"Eval results: {'COCO/AP': ...}"; figures and losses go to TensorBoard, too.
"""

import contextlib
import logging
import os
import sys
import tempfile
import warnings

import tensorflow.compat.v1 as tf
from absl import app, flags
from google.protobuf import message

import checkpoints
import coco_metric
import dataset_parser
import postprocess
import runtime
import ssd_model

FLAGS = flags.FLAGS
_DEFAULTS = ssd_model.DEFAULT_PARAMS
_EVAL_LOG_BATCHES = 20


def _define_flags():
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
        "resnet_checkpoint", None, "Prefix of the pretrained ResNet34 checkpoint."
    )
    flags.DEFINE_integer(
        "eval_batch_size", 32, "Images a batch of one device.", lower_bound=1
    )
    flags.DEFINE_integer(
        "eval_samples", 0, "Evaluate the first N images; 0: all.", lower_bound=0
    )


def _define_schedule_flags():
    """Hyperparameters; each named as in ssd_model.DEFAULT_PARAMS but the batch."""
    flags.DEFINE_integer(
        "train_batch_size",
        _DEFAULTS["batch_size"],
        "Images a step of one device.",
        lower_bound=1,
    )
    for name, text in (
        ("num_examples_per_epoch", "Training images of one epoch."),
        ("base_batch_size", "Global batch that base_learning_rate is meant for."),
        ("negatives_per_positive", "Hardest negatives per matched default box."),
    ):
        flags.DEFINE_integer(name, _DEFAULTS[name], text, lower_bound=1)
    for name, text in (
        ("num_epochs", "Length of the training."),
        ("base_learning_rate", "Peak, scaled by global batch over base_batch_size."),
        ("warmup_epochs", "Epochs of linear warm-up."),
        ("decay_epochs", "Epochs of cosine decay, counted from the start."),
        ("decay_alpha", "Learning rate after the decay, as a part of the peak."),
        ("momentum", "Of the momentum optimizer."),
        ("weight_decay", "Factor of the L2 loss of all variables."),
        ("huber_delta", "Where the box loss turns from square to linear."),
    ):
        flags.DEFINE_float(name, _DEFAULTS[name], text, lower_bound=0.0)


def _define_run_flags():
    flags.DEFINE_integer(
        "save_checkpoints_steps", 5000, "Steps between checkpoints.", lower_bound=1
    )
    flags.DEFINE_integer(
        "keep_checkpoint_max", 32, "Newest checkpoints that are kept.", lower_bound=1
    )
    flags.DEFINE_integer(
        "log_every_n_steps",
        _DEFAULTS["log_every_n_steps"],
        "Steps between lines of the training log.",
        lower_bound=1,
    )
    flags.DEFINE_enum("device", "auto", runtime.DEVICES, "What to run on.")
    flags.DEFINE_enum(
        "precision_mode",
        runtime.PRECISION_MODES[0],
        runtime.PRECISION_MODES,
        "Whether products may use 16 bits: float16 on an NPU, bfloat16 on a CPU.",
    )


class UserError(Exception):
    """What the user can mend; shown as one line, without a traceback."""


def _check(ok, message, *values):
    if not ok:
        raise UserError(message % values)


@contextlib.contextmanager
def _blaming(flag=""):
    """Makes a ValueError of another module a UserError that names the flag first."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{flag} {error}") from error


def _trains():
    return FLAGS.mode != "eval"


def _evaluates():
    return FLAGS.mode != "train"


def check_flags():
    """Finds what is wrong before TensorFlow builds anything.

    Raises:
      UserError: one line that names the flag or file.
    """
    _check(FLAGS.model_dir, "--model_dir is missing: where should checkpoints go?")
    if _trains():
        _first_record("training_file_pattern")
        _check_writable(FLAGS.model_dir)
    if _evaluates():
        _first_record("validation_file_pattern")
        _check(FLAGS.val_json_file, "--val_json_file is missing: a COCO json")
    if FLAGS.mode == "eval":
        _check(
            tf.train.latest_checkpoint(FLAGS.model_dir),
            "--mode=eval: --model_dir=%s holds no checkpoint; train first",
            FLAGS.model_dir,
        )


def _first_record(flag):
    """The first record of the files that a flag's pattern matches.

    Files without any record may be among them: more shards than images.
    """
    pattern = FLAGS[flag].value
    _check(pattern, "--%s is missing: a glob of TFRecord files", flag)
    files = sorted(tf.gfile.Glob(pattern))
    _check(files, "--%s=%s matches no file", flag, pattern)
    filled = [path for path in files if tf.gfile.Stat(path).length]
    _check(filled, "--%s=%s: every file is empty, %s too", flag, pattern, files[0])
    try:
        return next(tf.python_io.tf_record_iterator(filled[0]))
    except (tf.errors.OpError, StopIteration) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"--{flag}: {filled[0]} is no TFRecord file: {reason}"
        ) from error


def _check_record_in_json(coco_gt):
    """Catches records and annotations that do not belong together, for one image."""
    flag = "validation_file_pattern"
    try:
        example = tf.train.Example.FromString(_first_record(flag))
    except message.DecodeError as error:
        raise UserError(
            f"--{flag}={FLAGS[flag].value}: the first record is no tf.train.Example"
        ) from error
    source_ids = example.features.feature["image/source_id"].bytes_list.value
    source_id = b"".join(source_ids).decode(errors="replace")
    _check(
        source_id.isdigit() and int(source_id) in coco_gt.imgs,
        "--val_json_file=%s has no image %r, the first of --%s=%s; "
        "do they belong together?",
        *(FLAGS.val_json_file, source_id, flag, FLAGS[flag].value),
    )


def _check_schedule(params):
    for name in ("steps_per_epoch", "total_steps"):
        _check(
            getattr(ssd_model, name)(params) >= 1,
            "--num_examples_per_epoch=%d --num_epochs=%g --train_batch_size=%d on %d "
            "devices: that is less than one step",
            *(FLAGS.num_examples_per_epoch, FLAGS.num_epochs),
            *(FLAGS.train_batch_size, params["num_ranks"]),
        )
    _check(
        int(FLAGS.decay_epochs * ssd_model.steps_per_epoch(params)) >= 1,
        "--decay_epochs=%g is less than one step",
        FLAGS.decay_epochs,
    )


def _check_writable(folder):
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        _check(False, "--model_dir=%s cannot be written: %s", folder, error.strerror)


def make_params(num_ranks):
    """Collects the hyperparameters from the flags.

    Args:
      num_ranks: int, at least 1.

    Returns:
      dict, see ssd_model.DEFAULT_PARAMS.
    """
    names = [name for name in _DEFAULTS if name in FLAGS]
    params = dict(_DEFAULTS, **{name: FLAGS[name].value for name in names})
    params.update(batch_size=FLAGS.train_batch_size, num_ranks=num_ranks)
    return params


def _training_model_fn():
    """The model_fn, with the pretrained backbone for a fresh start."""
    path = FLAGS.resnet_checkpoint
    if checkpoints.newest_step(FLAGS.model_dir) is not None:
        return ssd_model.ssd_model_fn
    if not path:
        tf.logging.warning(
            "training starts without --resnet_checkpoint: COCO AP is then lower "
            "(about 0.17 instead of 0.24 to 0.25 is known from others)"
        )
        return ssd_model.ssd_model_fn
    with _blaming("--resnet_checkpoint:"):
        assignment, in_checkpoint = checkpoints.backbone_variables(path)
    tf.logging.info(
        "--resnet_checkpoint=%s: %d variables taken, out of %d",
        *(path, len(assignment), in_checkpoint),
    )
    return checkpoints.with_backbone(ssd_model.ssd_model_fn, path, assignment)


def _estimator(device, model_fn, params):
    return device.estimator(
        model_fn,
        FLAGS.model_dir,
        params,
        save_checkpoints_steps=FLAGS.save_checkpoints_steps,
        keep_checkpoint_max=FLAGS.keep_checkpoint_max,
    )


def train(device, model_fn, params):
    """Trains to the last step, from the newest checkpoint where there is one.

    Args:
      device: runtime.Runtime, started.
      model_fn: function of (features, labels, mode, params).
      params: dict, see ssd_model.DEFAULT_PARAMS.

    Raises:
      UserError: when the training files hold no image with a box, or the loss is not
        a number any more.
    """
    total = ssd_model.total_steps(params)
    step = checkpoints.newest_step(FLAGS.model_dir) or 0
    if step >= total:
        tf.logging.info("the training is finished: step %d of %d", step, total)
        return
    params = dict(
        params,
        iterations_per_loop=device.iterations_per_loop(
            total, total - step, FLAGS.save_checkpoints_steps
        ),
        wrap_optimizer=device.optimizer_wrapper(),
    )
    estimator = _estimator(device, model_fn, params)
    reader = dataset_parser.SSDInputReader(FLAGS.training_file_pattern, True)
    reader_params = dict(params, rank=device.rank)
    try:
        estimator.train(lambda: reader(reader_params), max_steps=total)
    except tf.train.NanLossDuringTrainingError as error:
        raise UserError(
            "the loss is not a number any more: lower --base_learning_rate, or try "
            "--precision_mode=must_keep_origin_dtype"
        ) from error
    _check(
        checkpoints.newest_step(FLAGS.model_dir) == total,
        "--training_file_pattern=%s holds no image with a box of a known category",
        FLAGS.training_file_pattern,
    )


def evaluate(device, params, coco_gt):
    """Evaluates the newest checkpoint, logs COCO's figures and writes summaries.

    Args:
      device: runtime.Runtime, started.
      params: dict, see ssd_model.DEFAULT_PARAMS.
      coco_gt: pycocotools COCO of the evaluation images.
    """
    reader = dataset_parser.SSDInputReader(FLAGS.validation_file_pattern, False)
    reader_params = {
        "batch_size": FLAGS.eval_batch_size,
        "eval_samples": FLAGS.eval_samples,
    }
    estimator = _estimator(device, ssd_model.ssd_model_fn, params)
    batches = estimator.predict(
        lambda: reader(reader_params), yield_single_examples=False
    )
    found = coco_metric.collect(_detections(batches))
    image_ids = set(coco_gt.getImgIds())
    unknown = sorted(set(found) - image_ids)
    if unknown:
        tf.logging.warning(
            "left out %d images that --val_json_file=%s lacks; the first has id %d",
            *(len(unknown), FLAGS.val_json_file, unknown[0]),
        )
    found = {key: rows for key, rows in found.items() if key in image_ids}
    tf.logging.info("evaluated %d of %d images", len(found), len(image_ids))
    results = coco_metric.compute_map(
        found, coco_gt, only_predicted=bool(FLAGS.eval_samples)
    )
    tf.logging.info("Eval results: %s", results)
    _write_summary(results, checkpoints.newest_step(FLAGS.model_dir))


def _detections(batches):
    """Detections of single images, with a line in the log every so often."""
    detector = postprocess.Detector()
    done = 0
    for number, batch in enumerate(batches, 1):
        for detection in detector(batch):
            done += 1
            yield detection
        if number % _EVAL_LOG_BATCHES == 0:
            tf.logging.info("detected in %d images", done)


def _write_summary(results, step):
    values = [tf.Summary.Value(tag=k, simple_value=v) for k, v in results.items()]
    # A graph of its own: the writer refuses to work in eager mode.
    with tf.Graph().as_default():
        writer = tf.summary.FileWriter(os.path.join(FLAGS.model_dir, "eval"))
        writer.add_summary(tf.Summary(value=values), step)
        writer.close()


def _run():
    """Does what --mode says."""
    check_flags()
    coco_gt = None
    if _evaluates():
        with _blaming("--val_json_file:"):
            coco_gt = coco_metric.create_coco(FLAGS.val_json_file)
        _check_record_in_json(coco_gt)
    with _blaming():
        device = runtime.create(FLAGS.device, FLAGS.precision_mode)
    params = make_params(device.num_ranks)
    model_fn = None
    if _trains():
        _check_schedule(params)
        model_fn = _training_model_fn()
    with device:
        if _trains():
            train(device, model_fn, params)
        if _evaluates():
            evaluate(device, params, coco_gt)


def _set_up_logging():
    tf.logging.set_verbosity(tf.logging.INFO)
    # TensorFlow 2 calls half of TensorFlow 1 deprecated, which no user can mend.
    logging.getLogger("tensorflow").addFilter(
        lambda record: "Instructions for updating" not in record.getMessage()
    )
    warnings.filterwarnings("ignore", category=UserWarning, message="`tf.layers")


def main():
    """Parses the flags, runs, and gives the exit status."""
    _define_flags()
    app.define_help_flags()
    try:
        rest = FLAGS(sys.argv)[1:]
        _check(not rest, "%s: not a flag; flags look like --name=value", *rest[:1])
        _set_up_logging()
        _run()
    except (UserError, flags.Error) as error:
        print("ssd_main.py: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
