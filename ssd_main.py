# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Trains and evaluates SSD-ResNet34 on TFRecords of COCO or a similar dataset.

run_npu_1p.sh and run_npu_8p.sh start this command once per rank, through exec_main.sh.
By hand:

  python3 ssd_main.py --mode=train_and_eval --data_dir=DIR --model_dir=result_npu

It writes checkpoints and summaries to --model_dir and logs every 100 steps

  FPS: 4474.27, learning rate: 0.02377195, loss: 7.5989103

The evaluation ends with the line "Eval results: {'COCO/AP': ...}" and writes a report
to the folder "eval" of --model_dir. The same command resumes a training that was
stopped, and only evaluates one that is finished. --help describes all flags.
"""

import contextlib
import functools
import os
import signal
import sys

# Hides TensorFlow's remarks on the processor. TensorFlow reads it while it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

from absl import app, flags

import ssd_model
from console.errors import UserError, as_user_error, check, describe
from devices import selection
from evaluation import during_training, evaluator
from trainer import checkpoints, checks, hyperparameters, inputs, log, train
from trainer import flags as settings
from trainer.flags import FLAGS


def _run_mode():
    """Trains, evaluates, or does both, as --mode says."""
    trains, evaluates = FLAGS.mode != "eval", settings.evaluates()
    with as_user_error():
        device = selection.create(FLAGS.device, settings.device_options())
    if "SSD_CALLED_FROM" in os.environ:
        FLAGS.model_dir = device.folder_of_rank(FLAGS.model_dir)
    inputs.use_data_dir()
    label_map = inputs.read_label_map()
    params = hyperparameters.make_params(device.num_ranks, label_map)
    # All files are checked before the device starts.
    coco_gt = checks.read_annotations(label_map) if evaluates else None
    start = checks.check_training(params, label_map) if trains else None
    with contextlib.ExitStack() as stack:
        with as_user_error():
            stack.enter_context(device)
        model_dir = device.shared_model_dir(FLAGS.model_dir)
        create = functools.partial(
            _create_evaluator, stack, device, params, model_dir, label_map, coco_gt
        )
        during, is_trained = None, True
        if trains and FLAGS.eval_every_epochs:
            during = create()
        if trains:
            is_trained = train.train(
                device, params, model_dir, label_map, start, during
            )
        if evaluates and is_trained:
            _evaluate(during or create(), device, params, model_dir)


def _create_evaluator(stack, device, params, model_dir, label_map, coco_gt):
    """Returns what evaluates, and with --eval_every_epochs keeps the best checkpoint.

    It is closed together with the stack.
    """
    coco_evaluator = evaluator.Evaluator(
        device,
        params,
        model_dir,
        coco_gt,
        FLAGS.validation_file_pattern,
        batch_size=FLAGS.eval_batch_size,
        eval_samples=FLAGS.eval_samples,
        label_map=label_map,
    )
    stack.enter_context(coco_evaluator)
    if FLAGS.mode == "eval" or not FLAGS.eval_every_epochs:
        return coco_evaluator
    return during_training.Evaluations(
        coco_evaluator, hyperparameters.eval_steps(params), FLAGS.stop_after
    )


def _evaluate(coco_evaluator, device, params, model_dir):
    """Evaluates one checkpoint, or with --watch every new one."""
    find_checkpoint = functools.partial(
        train.newest_checkpoint, device, params, model_dir
    )
    if FLAGS.watch:
        last_step = ssd_model.total_steps(params)
        during_training.watch(coco_evaluator, find_checkpoint, last_step)
        return
    if FLAGS.checkpoint_path:
        # Ranks work in folders of their own.
        named = device.ranks.broadcast(os.path.abspath(FLAGS.checkpoint_path).encode())
        with as_user_error("--checkpoint_path:"):
            step, path = checkpoints.find(named.decode())
            checkpoints.check_classes(path, params["num_classes"])
    else:
        step, path = find_checkpoint()
    check(path, "--model_dir=%s does not hold a checkpoint; train first", model_dir)
    coco_evaluator.evaluate(path, step)


def main(argv):
    """Parses the flags and runs the mode.

    Args:
      argv: list of str, the command line.

    Returns:
      int, the exit status: 2 if the user has to change something, 130 after SIGINT.
    """
    # Background jobs of shell scripts start with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        rest = FLAGS(argv)[1:]
        check(not rest, "%s: not a flag; flags look like --name=value", *rest[:1])
        settings.find_paths_from(os.environ.get("SSD_CALLED_FROM", ""))
        log.set_up()
        checks.check_flags()
        _run_mode()
    except (UserError, flags.Error) as error:
        print("ssd_main.py: " + describe(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ssd_main.py: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    # Without this, --help would show only the flags that this file itself defines.
    flags.adopt_module_key_flags(settings)
    app.define_help_flags()
    sys.exit(main(sys.argv))
