# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures postprocessing on one core, on the predictions of a trained model.

  python3 benchmarks/suppression_speed.py \
    --checkpoint_path=result_npu/model.ckpt-432000 --records='DIR/val2017*'

predicts the first 32 images with the checkpoint (COCO's classes), which takes about a
minute on one core, and prints the milliseconds per image from the network's raw outputs
to detections. Use a trained model: an untrained one has no scores above 0.05, so that
there is nothing to suppress.
"""

import contextlib
import os
import sys
import time

import tensorflow.compat.v1 as tf
from absl import app, flags

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The project's folders are above this one.
sys.path.insert(1, ROOT)

import dataset_parser
import ssd_model
from evaluation import postprocess

FLAGS = flags.FLAGS
flags.DEFINE_string("checkpoint_path", None, "Checkpoint to use.", required=True)
flags.DEFINE_string("records", None, "Glob of TFRecord files.", required=True)
flags.DEFINE_integer("images", 32, "Number of images to predict.", lower_bound=1)
flags.DEFINE_integer("batch_size", 8, "Batch size.", lower_bound=1)
flags.DEFINE_integer("rounds", 5, "Number of measurements.", lower_bound=1)


def predict():
    """Returns a list of batches, see ssd_model.ssd_model_fn, of --images images."""
    reader = dataset_parser.SSDInputReader(FLAGS.records, False)
    params = {"batch_size": FLAGS.batch_size, "eval_samples": FLAGS.images}
    batches = []
    with tf.Graph().as_default():
        features = tf.data.make_one_shot_iterator(reader(params)).get_next()
        predictions = ssd_model.ssd_model_fn(
            features, None, tf.estimator.ModeKeys.PREDICT, ssd_model.DEFAULT_PARAMS
        ).predictions
        with tf.Session() as session, contextlib.suppress(tf.errors.OutOfRangeError):
            tf.train.Saver().restore(session, FLAGS.checkpoint_path)
            while True:
                batches.append(session.run(predictions))
    return batches


def main(_):
    """Measures, and prints one line."""
    # Before TensorFlow starts its threads, which would keep all cores.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    batches = predict()
    detector = postprocess.Detector()
    # The first runs also include the set-up of the session.
    found = [detection for batch in batches for detection in detector(batch)]
    milliseconds = []
    for _ in range(FLAGS.rounds):
        start = time.perf_counter()
        for batch in batches:
            detector(batch)
        milliseconds.append(1000 * (time.perf_counter() - start) / len(found))
    print(
        f"postprocessing: {min(milliseconds):.2f} ms per image at best, "
        f"{sorted(milliseconds)[len(milliseconds) // 2]:.2f} in the median of "
        f"{FLAGS.rounds} rounds; one core, {len(found)} images in batches of "
        f"{FLAGS.batch_size}, {sum(len(f['scores']) for f in found) / len(found):.0f} "
        "detections per image"
    )


if __name__ == "__main__":
    tf.disable_eager_execution()
    app.run(main)
