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

import logging
import sys
import warnings

import tensorflow.compat.v1 as tf
from absl import app, flags

import checkpoints
import checks
import coco_metric
import dataset_parser
import evaluation
import runtime
import settings
import ssd_model
from settings import FLAGS, UserError, blaming, check, evaluates, trains


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
    with blaming("--resnet_checkpoint:"):
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
    check(
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
    reader_params = {
        "batch_size": FLAGS.eval_batch_size,
        "eval_samples": FLAGS.eval_samples,
    }
    estimator = _estimator(device, ssd_model.ssd_model_fn, params)
    evaluation.Evaluator(
        estimator, params, coco_gt, reader_params, FLAGS.validation_file_pattern
    ).evaluate()


def _run():
    """Does what --mode says."""
    checks.check_flags()
    coco_gt = None
    if evaluates():
        with blaming("--val_json_file:"):
            coco_gt = coco_metric.create_coco(FLAGS.val_json_file)
        checks.check_record_in_json(coco_gt)
    with blaming():
        device = runtime.create(FLAGS.device, FLAGS.precision_mode)
    params = settings.make_params(device.num_ranks)
    newest = tf.train.latest_checkpoint(FLAGS.model_dir)
    if newest:
        with blaming("--model_dir:"):
            checkpoints.check_classes(newest, params["label_map"].num_classes)
    model_fn = None
    if trains():
        checks.check_schedule(params)
        model_fn = _training_model_fn()
    with device:
        if trains():
            train(device, model_fn, params)
        if evaluates():
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
    settings.define_flags()
    app.define_help_flags()
    try:
        rest = FLAGS(sys.argv)[1:]
        check(not rest, "%s: not a flag; flags look like --name=value", *rest[:1])
        _set_up_logging()
        _run()
    except (UserError, flags.Error) as error:
        print("ssd_main.py: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
