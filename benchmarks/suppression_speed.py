# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures postprocessing on one core, on what a trained model predicts.

  python3 benchmarks/suppression_speed.py --predictions=predictions.npz \
    --checkpoint_path=result_npu/model.ckpt-432000 --records='DIR/val2017*'

The first time it predicts the first 32 images with the checkpoint (COCO's classes) and
saves that in predictions.npz (3 MB an image); afterwards --predictions is enough. It
prints the milliseconds an image, from the network's raw outputs to detections; takes
some seconds. Use a trained model: an untrained one scores nothing above 0.05, and there
is nothing to do then.
"""

import io
import os
import sys
import time

import numpy as np
import tensorflow.compat.v1 as tf
from absl import app, flags

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# First, for this file has the name of the module that it measures.
sys.path.insert(0, ROOT)

import dataset_parser
import ssd_model
from console import atomic_file
from evaluation import postprocess

FLAGS = flags.FLAGS
flags.DEFINE_string("predictions", None, "The .npz of predictions.", required=True)
flags.DEFINE_string("checkpoint_path", None, "Predict with this checkpoint.")
flags.DEFINE_string("records", None, "Glob of the TFRecords to predict.")
flags.DEFINE_integer("images", 32, "How many images to predict.", lower_bound=1)
flags.DEFINE_integer("batch_size", 8, "Images a batch.", lower_bound=1)
flags.DEFINE_integer("rounds", 5, "How often all are detected.", lower_bound=1)


def predict():
    """Predicts images with the checkpoint.

    Returns:
      dict of arrays, see ssd_model.ssd_model_fn, of --images images at the most.
    """
    reader = dataset_parser.SSDInputReader(FLAGS.records, False)
    params = {"batch_size": 1, "eval_samples": FLAGS.images}
    with tf.Graph().as_default():
        features = tf.data.make_one_shot_iterator(reader(params)).get_next()
        predictions = ssd_model.ssd_model_fn(
            features, None, tf.estimator.ModeKeys.PREDICT, ssd_model.DEFAULT_PARAMS
        ).predictions
        with tf.Session() as session:
            tf.train.Saver().restore(session, FLAGS.checkpoint_path)
            batches = []
            while True:
                try:
                    batches.append(session.run(predictions))
                except tf.errors.OutOfRangeError:
                    break
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


def measure_in_new_process():
    """Starts this program anew on the saved predictions; does not return.

    The threads that predicting has started would go on using all cores.
    """
    arguments = [
        f"--{name}={FLAGS[name].value}"
        for name in ("predictions", "batch_size", "rounds")
    ]
    command = [sys.executable, os.path.abspath(__file__)] + arguments
    os.execv(command[0], command)


def read_predictions():
    """Gives the saved predictions, a dict of arrays."""
    try:
        with np.load(FLAGS.predictions, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        sys.exit(
            f"postprocess.py: --predictions={FLAGS.predictions}: {error}; "
            "--checkpoint_path and --records make it"
        )


def milliseconds_an_image(detector, batches):
    """Detects in all batches --rounds times.

    Returns:
      list of float, one a round.
    """
    num_images = sum(len(batch["source_id"]) for batch in batches)
    milliseconds = []
    for _ in range(FLAGS.rounds):
        start = time.perf_counter()
        for batch in batches:
            detector(batch)
        milliseconds.append(1000 * (time.perf_counter() - start) / num_images)
    return milliseconds


def main(_):
    """Measures, and prints one line."""
    if FLAGS.checkpoint_path:
        if not FLAGS.records:
            sys.exit("postprocess.py: --checkpoint_path needs --records to predict")
        arrays = io.BytesIO()
        np.savez(arrays, **predict())
        atomic_file.write_atomically(FLAGS.predictions, arrays.getvalue())
        measure_in_new_process()
    predictions = read_predictions()
    num_images = len(predictions["source_id"])
    batches = [
        {name: x[i : i + FLAGS.batch_size] for name, x in predictions.items()}
        for i in range(0, num_images, FLAGS.batch_size)
    ]
    # Before there is any thread of TensorFlow's, which would keep all cores.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    detector = postprocess.Detector(
        tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    )
    # The first runs also set the session up.
    found = [detection for batch in batches for detection in detector(batch)]
    milliseconds = milliseconds_an_image(detector, batches)
    print(
        f"postprocessing: {min(milliseconds):.2f} ms an image at best, "
        f"{sorted(milliseconds)[len(milliseconds) // 2]:.2f} in the median of "
        f"{FLAGS.rounds} rounds; one core, {num_images} images in batches of "
        f"{FLAGS.batch_size}, {sum(len(f['scores']) for f in found) / num_images:.0f} "
        "detections an image"
    )


if __name__ == "__main__":
    tf.disable_eager_execution()
    app.run(main)
