# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""One rank that trains a model of one weight and predicts with it.

  python3 one_weight_rank.py DEVICE MODEL_DIR OPTIONS [fail]

OPTIONS are fields of base.Options as JSON. There are four steps, and a checkpoint after
every second. The data of rank r is y = (3 + r) x with x = 1 and 2, so the gradient of
the squared error is 5 (w - 3 - r). The weight starts at 0; the learning rate is 0.1 and
the momentum 0.5. With "fail" the first step fails.
"""

import json
import os
import sys

import tensorflow.compat.v1 as tf

sys.path.insert(
    0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
)

import ssd_model
from devices import base, selection

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


def main(device, model_dir, options, fail=None):
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
        x = tf.constant([1.0, 2.0]) / (0.0 if fail else 1.0)
        x = tf.debugging.check_numerics(x, "made to fail")
        return tf.data.Dataset.from_tensors((x, (3.0 + device.rank) * x)).repeat()

    with device:
        params["iterations_per_loop"] = device.iterations_per_loop(_STEPS, _SAVE_STEPS)
        params["wrap_optimizer"] = device.optimizer_wrapper()
        model_dir = device.shared_model_dir(model_dir)
        device.train(
            model_fn,
            model_dir,
            params,
            input_fn,
            _STEPS,
            [],
            save_checkpoints_steps=_SAVE_STEPS,
        )
        device.ranks.exchange("trained")
        estimator = device.predictor(model_fn, model_dir, params)
        rows = estimator.predict(lambda: tf.data.Dataset.from_tensors([1.0, 2.0]))
        outputs = json.dumps([float(row["output"]) for row in rows])
        print(device.ranks.gather(outputs.encode()))


if __name__ == "__main__":
    main(*sys.argv[1:])
