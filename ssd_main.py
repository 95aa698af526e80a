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
import errno
import logging
import os
import signal
import sys
import time
import warnings

import tensorflow.compat.v1 as tf
from absl import app, flags

import coco_metric
import dataset_parser
import ssd_model
from console.errors import UserError, blaming, check
from dataset import bad_records
from devices import runtime
from evaluation import evaluator
from trainer import checkpoints, checks, stop_signal
from trainer import flags as settings
from trainer.flags import FLAGS, evaluates, trains

_SECONDS_BETWEEN_LOOKS = 10


def _backbone():
    """The pretrained backbone for a fresh start, see checkpoints; None for none.

    Looked at before the device is started: what is wrong with it is said at once.
    """
    path = FLAGS.resnet_checkpoint
    if not path or checkpoints.newest_step(FLAGS.model_dir) is not None:
        return None
    with blaming("--resnet_checkpoint:"):
        return checkpoints.backbone_variables(path)


def _training_model_fn(backbone):
    """The model_fn for a fresh start."""
    if not backbone:
        tf.logging.warning(
            "training starts without --resnet_checkpoint: COCO AP is then lower "
            "(about 0.17 instead of 0.24 to 0.25 is known from others)"
        )
        return ssd_model.ssd_model_fn
    path, (assignment, in_checkpoint) = FLAGS.resnet_checkpoint, backbone
    tf.logging.info(
        "--resnet_checkpoint=%s: %d variables taken, out of %d",
        *(path, len(assignment), in_checkpoint),
    )
    return checkpoints.with_backbone(ssd_model.ssd_model_fn, path, assignment)


def train(device, params, model_dir, backbone=None):
    """Trains to the last step, from the newest checkpoint where there is one.

    Args:
      device: runtime.Runtime, started.
      params: dict, see ssd_model.DEFAULT_PARAMS.
      model_dir: str, folder of the checkpoints.
      backbone: what checkpoints.backbone_variables gives for --resnet_checkpoint.

    Returns:
      bool, whether the last step is done: a signal may have stopped it before.

    Raises:
      UserError: when the training files hold no image with a box, or the loss is not
        a number any more.
    """
    total = ssd_model.total_steps(params)
    step, path = _newest_checkpoint(device, params, model_dir)
    if device.rank == 0 or not device.shares_model_dir:
        checkpoints.select(model_dir, path)
    if (step or 0) >= total:
        tf.logging.info("the training is finished: step %d of %d", step, total)
        return True
    model_fn = ssd_model.ssd_model_fn if path else _training_model_fn(backbone)
    with blaming():
        loop = device.iterations_per_loop(
            total, total - (step or 0), FLAGS.save_checkpoints_steps
        )
    params = dict(
        params, iterations_per_loop=loop, wrap_optimizer=device.optimizer_wrapper()
    )
    with stop_signal.StopOnSignal(device.ranks, loop) as stop:
        _train(device, model_fn, model_dir, params, total, stop)
    if stop.stopped_at is not None:
        tf.logging.info(
            "stopped at step %d of %d; the same command goes on from there",
            *(stop.stopped_at, total),
        )
        return False
    if device.shares_model_dir:
        # Rank 0 may still be saving the last step for all.
        device.ranks.exchange(total)
    check(
        checkpoints.newest_step(model_dir) == total,
        "--training_file_pattern=%s: no usable image has a box of a known category",
        FLAGS.training_file_pattern,
    )
    return True


def _train(device, model_fn, model_dir, params, total, stop):
    left_out = bad_records.BadRecords(FLAGS.max_bad_records)
    reader = dataset_parser.SSDInputReader(
        FLAGS.training_file_pattern, True, params["label_map"], left_out
    )
    reader_params = {
        "batch_size": params["batch_size"],
        "num_ranks": device.num_ranks,
        "rank": device.rank,
        "synthetic_data": FLAGS.synthetic_data,
        "deterministic": FLAGS.deterministic,
    }

    def input_fn():
        if FLAGS.seed is not None:
            # Each rank draws its own windows and colors.
            tf.set_random_seed(FLAGS.seed + device.rank)
        dataset = reader(reader_params)
        if FLAGS.seed is not None:
            tf.set_random_seed(FLAGS.seed)
        return dataset

    try:
        with dataset_parser.explaining_undecodable_images(
            f"--training_file_pattern={FLAGS.training_file_pattern}"
        ):
            device.train(
                model_fn,
                model_dir,
                params,
                input_fn,
                total,
                [ssd_model.FiniteLossHook(), stop],
                save_checkpoints_steps=FLAGS.save_checkpoints_steps,
                keep_checkpoint_max=FLAGS.keep_checkpoint_max,
                tf_random_seed=FLAGS.seed,
            )
    except ssd_model.NotFiniteError as error:
        raise UserError(
            f"{error}; lower --base_learning_rate, try "
            "--precision_mode=must_keep_origin_dtype, and look at the data with "
            "tools/check_dataset.py; the last checkpoint is kept"
        ) from error
    except tf.errors.OpError as error:
        check(
            os.strerror(errno.ENOSPC) not in str(error),
            "--model_dir=%s: no space is left on that disk; free some, and the same "
            "command goes on from the last checkpoint, step %s",
            *(model_dir, checkpoints.newest_usable(model_dir)[0]),
        )
        raise
    if left_out.error:
        raise UserError(
            f"more broken records than --max_bad_records={FLAGS.max_bad_records}, the "
            f"last: {left_out.error}; tools/check_dataset.py lists them all"
        )


def _newest_checkpoint(device, params, model_dir, limit=None):
    """(step, path) of the checkpoint that all ranks have; both None for none."""
    with blaming("--model_dir:"):
        step, path = checkpoints.agree(
            model_dir, device, FLAGS.save_checkpoints_steps, limit
        )
        if path:
            try:
                checkpoints.check_classes(path, params["label_map"].num_classes)
            except ValueError as error:
                raise ValueError(
                    f"{error}, or train into another --model_dir, with "
                    "--resnet_checkpoint to take its backbone over"
                ) from error
    return step, path


def evaluate(device, params, model_dir, coco_gt):
    """Evaluates checkpoints: logs COCO's figures and writes them down.

    Args:
      device: runtime.Runtime, started.
      params: dict, see ssd_model.DEFAULT_PARAMS.
      model_dir: str, folder of the checkpoints.
      coco_gt: pycocotools COCO of the evaluation images.

    Raises:
      UserError: when there is no checkpoint, or one of other classes.
    """
    judge = evaluator.Evaluator(
        device,
        params,
        model_dir,
        coco_gt,
        FLAGS.validation_file_pattern,
        batch_size=FLAGS.eval_batch_size,
        eval_samples=FLAGS.eval_samples,
    )
    if FLAGS.watch:
        _watch(judge, device, params, model_dir)
        return
    if FLAGS.checkpoint_path:
        path = os.path.abspath(FLAGS.checkpoint_path).encode()
        path = device.ranks.broadcast(path).decode()
        with blaming("--checkpoint_path:"):
            step, path = checkpoints.find(path)
            checkpoints.check_classes(path, params["label_map"].num_classes)
    else:
        step, path = _newest_checkpoint(device, params, model_dir)
    check(path, "--model_dir=%s holds no checkpoint; train first", model_dir)
    judge.evaluate(path, step)


def _watch(judge, device, params, model_dir):
    """Evaluates every new checkpoint of a training that another process runs."""
    total, last, tried = ssd_model.total_steps(params), -1, None
    tf.logging.info(
        "--watch: waiting for checkpoints in %s up to step %d, as the flags here say; "
        "Ctrl-C ends it before",
        *(model_dir, total),
    )
    while last < total:
        wanted = _next_to_watch(device, model_dir, last)
        if wanted is None:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        elif _evaluate_after(last, wanted, judge, device, params, model_dir):
            last = wanted
        elif wanted == tried:
            # A damaged one is passed over.
            last = wanted
        else:
            # Other ranks may still be saving it in folders of their own.
            tried = wanted
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _evaluate_after(last, wanted, judge, device, params, model_dir):
    """Evaluates step `wanted`, or the newest after `last` that can be used before it.

    Returns:
      bool, False when there is none.
    """
    try:
        step, path = _newest_checkpoint(device, params, model_dir, limit=wanted)
        if not path or step <= last:
            return False
        judge.evaluate(path, step)
    except (UserError, ValueError, tf.errors.OpError):
        if device.num_ranks > 1 or wanted in checkpoints.steps(model_dir):
            raise
        tf.logging.warning(
            "--watch: the training has deleted step %d before it was evaluated; a "
            "larger --keep_checkpoint_max there keeps more",
            wanted,
        )
    return True


def _next_to_watch(device, model_dir, last):
    """The step to evaluate after step `last`, None as long as there is none.

    What was saved during an evaluation has its turn, but not what was there before the
    first.
    """
    steps = [step for step in checkpoints.steps(model_dir) if step > last]
    # Rank 0 says it for all.
    step = device.ranks.exchange(
        (steps[0] if last >= 0 else steps[-1]) if steps else -1
    )
    return None if step[0] < 0 else step[0]


def _options():
    names = runtime.Options._fields
    return runtime.Options(*(FLAGS[name].value for name in names))


def _run():
    """Does what --mode says."""
    checks.check_flags()
    coco_gt = None
    if evaluates():
        with blaming("--val_json_file:"):
            coco_gt = coco_metric.create_coco(FLAGS.val_json_file)
        checks.check_record_in_json(coco_gt)
    with blaming():
        device = runtime.create(FLAGS.device, _options())
    params = settings.make_params(device.num_ranks)
    if coco_gt:
        _warn_of_annotations(coco_gt, params["label_map"])
    backbone = None
    if trains():
        checks.check_schedule(params)
        if not FLAGS.synthetic_data:
            checks.warn_of_names(params["label_map"])
        backbone = _backbone()
    with contextlib.ExitStack() as stack:
        with blaming():
            stack.enter_context(device)
        model_dir = device.shared_model_dir(FLAGS.model_dir)
        is_finished = not trains() or train(device, params, model_dir, backbone)
        if is_finished and evaluates():
            evaluate(device, params, model_dir, coco_gt)


def _warn_of_annotations(coco_gt, label_map):
    """Says what evaluation would make of the json without a word."""

    def warn(text, *values):
        tf.logging.warning("--val_json_file=%s " + text, FLAGS.val_json_file, *values)

    if 0 in coco_gt.anns:
        warn(
            "has an annotation with id 0: pycocotools counts what finds it as wrong, "
            "and AP is too low; number all annotations from 1"
        )
    ids = [annotation["category_id"] for annotation in coco_gt.anns.values()]
    unknown = [key for key in ids if key not in coco_gt.cats]
    if unknown:
        warn(
            "has %d annotations of categories that it does not list, %d first: they do "
            "not count",
            *(len(unknown), unknown[0]),
        )
    if len(unknown) == len(ids):
        warn("has no annotation that counts: every figure will be -1")
    flag = f"--label_map={FLAGS.label_map or '(COCO)'}"
    wanted = [
        annotation["category_id"]
        for annotation in coco_gt.anns.values()
        if not annotation["iscrowd"] and annotation["image_id"] in coco_gt.imgs
    ]
    missed = [k for k in wanted if k in coco_gt.cats and k not in label_map.names]
    if missed:
        warn(
            "has %d annotations of categories that %s lacks, %d first: they count as "
            "missed",
            *(len(missed), flag, missed[0]),
        )
    others = label_map.other_names(coco_gt.dataset["categories"])
    if others:
        warn(
            "names %d categories otherwise than %s: %s",
            *(len(others), flag, others[0]),
        )


def _set_up_logging():
    tf.logging.set_verbosity(tf.logging.INFO)
    # TensorFlow 2 calls half of TensorFlow 1 deprecated, which no user can mend.
    logging.getLogger("tensorflow").addFilter(
        lambda record: "Instructions for updating" not in record.getMessage()
    )
    warnings.filterwarnings("ignore", category=UserWarning, message="`tf.layers")


def main(argv):
    """Parses the flags, runs, and gives the exit status."""
    try:
        rest = FLAGS(argv)[1:]
        check(not rest, "%s: not a flag; flags look like --name=value", *rest[:1])
        settings.find_inputs_from(os.environ.get("SSD_CALLED_FROM", ""))
        _set_up_logging()
        _run()
    except (UserError, flags.Error) as error:
        print("ssd_main.py: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # Outside of the training, which saves first.
        print("ssd_main.py: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    settings.define_flags()
    # --help shows the flags of this file only.
    flags.adopt_module_key_flags(settings)
    app.define_help_flags()
    sys.exit(main(sys.argv))
