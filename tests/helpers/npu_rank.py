# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""One rank of test_npu.py: trains a model of one weight on the stand-in of the NPU.

  python3 npu_rank.py MODEL_DIR OPTIONS

OPTIONS are fields of base.Options as JSON. Trains four steps with a checkpoint after
every two, and predicts two values. With the third argument "fail" the training fails.
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
    """Fits a weight that starts at 0; the data has 3."""
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


def training_input():
    """Pairs of x and 3 x."""
    return tf.data.Dataset.from_tensors(([1.0, 2.0], [3.0, 6.0])).repeat()


def failing_input():
    """Ends the training with an error in its first step."""
    return training_input().map(
        lambda x, y: (tf.debugging.check_numerics(x / 0, ""), y)
    )


def main(model_dir, options, input_name="train"):
    """Trains and predicts."""
    tf.logging.set_verbosity(tf.logging.INFO)
    device = selection.create("npu", base.Options(**json.loads(options)))
    params = dict(
        ssd_model.DEFAULT_PARAMS,
        batch_size=1,
        num_ranks=device.num_ranks,
        num_examples_per_epoch=_STEPS * device.num_ranks,
        num_epochs=1,
        log_every_n_steps=1,
    )
    with device:
        params["iterations_per_loop"] = device.iterations_per_loop(_STEPS, _SAVE_STEPS)
        params["wrap_optimizer"] = device.optimizer_wrapper()
        device.train(
            model_fn,
            model_dir,
            params,
            failing_input if input_name == "fail" else training_input,
            _STEPS,
            [],
            save_checkpoints_steps=_SAVE_STEPS,
        )
        estimator = device.predictor(model_fn, model_dir, params)
        rows = estimator.predict(lambda: tf.data.Dataset.from_tensors([1.0, 2.0]))
        outputs = [float(row["output"]) for row in rows]
        device.ranks.gather(json.dumps(outputs).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
