# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""One rank that trains a model of one weight and predicts with it.

  python3 one_weight_rank.py DEVICE MODEL_DIR OPTIONS [SIGNAL]

OPTIONS are fields of base.Options as JSON. There are four steps, and a checkpoint after
every second. The data of rank r is y = (3 + r) x with x = 1 and 2, so the gradient of
the squared error is 5 (w - 3 - r). The weight starts at 0; the learning rate is 0.1 and
the momentum 0.5. With SIGNAL, for example SIGTERM, the last rank sends it to itself
after the first step.
"""

import json
import os
import signal
import sys

import tensorflow.compat.v1 as tf

sys.path.insert(
    0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
)

import ssd_model
from devices import base, selection
from trainer import stop_signal

_STEPS, _SAVE_STEPS = 4, 2


def model_fn(features, labels, mode, params):
    """Fits y = w x."""
    weight = tf.get_variable("weight", initializer=[0.0])
    outputs = features * weight
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode, predictions={"output": outputs})
    loss = tf.reduce_mean(tf.square(outputs - labels))
    optimizer = tf.train.MomentumOptimizer(0.1, 0.5)
    if params["wrap_optimizer"]:
        optimizer = params["wrap_optimizer"](optimizer)
    train_op = optimizer.minimize(loss, tf.train.get_or_create_global_step())
    hook = ssd_model.TrainingLogHook(tf.constant(0.1), loss, params)
    return tf.estimator.EstimatorSpec(
        mode, loss=loss, train_op=train_op, training_hooks=[hook]
    )


class SendSignal(tf.train.SessionRunHook):
    """Sends a signal to this process after the first step."""

    def __init__(self, name):
        self._name = name

    def after_run(self, run_context, run_values):
        """Sends it once. See the base class."""
        if self._name:
            os.kill(os.getpid(), getattr(signal, self._name))
            self._name = None


def main(device, model_dir, options, signal_name=None):
    """Trains and predicts; prints the outputs of all ranks for x = 1 and 2."""
    tf.logging.set_verbosity(tf.logging.INFO)
    device = selection.create(device, base.Options(**json.loads(options)))
    params = dict(
        ssd_model.DEFAULT_PARAMS,
        batch_size=1,
        num_ranks=device.num_ranks,
        num_examples_per_epoch=_STEPS * device.num_ranks,
        num_epochs=1,
        log_every_n_steps=1,
    )

    def input_fn():
        x = tf.constant([1.0, 2.0])
        return tf.data.Dataset.from_tensors((x, (3.0 + device.rank) * x)).repeat()

    with device:
        loop = device.iterations_per_loop(_STEPS, _SAVE_STEPS)
        params["iterations_per_loop"] = loop
        params["wrap_optimizer"] = device.optimizer_wrapper()
        model_dir = device.shared_model_dir(model_dir)
        with stop_signal.StopOnSignal(device.ranks, loop) as stop:
            hooks = [stop]
            if signal_name and device.rank == device.num_ranks - 1:
                hooks.append(SendSignal(signal_name))
            device.train(
                model_fn,
                model_dir,
                params,
                input_fn,
                _STEPS,
                hooks,
                save_checkpoints_steps=_SAVE_STEPS,
            )
        device.ranks.exchange("trained")
        if stop.stopped_at is not None:
            print(f"stopped at {stop.stopped_at}")
            return
        estimator = device.predictor(model_fn, model_dir, params)
        rows = estimator.predict(lambda: tf.data.Dataset.from_tensors([1.0, 2.0]))
        outputs = json.dumps([float(row["output"]) for row in rows])
        print(device.ranks.gather(outputs.encode()))


if __name__ == "__main__":
    main(*sys.argv[1:])
