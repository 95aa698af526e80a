# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures postprocessing on one core, on the predictions of a trained model.

  python3 benchmarks/suppression_speed.py --predictions=predictions.npz \
    --checkpoint_path=result_npu/model.ckpt-432000 --records='DIR/val2017*'

The first run predicts the first 32 images with the checkpoint (COCO's classes) and
saves the predictions in predictions.npz (3 MB per image); later runs need only
--predictions. Each run prints the milliseconds per image, from the network's raw
outputs to detections, within some seconds. Use a trained model: an untrained one has no
scores above 0.05, so that there is nothing to suppress.
"""

import io
import os
import sys
import time

import numpy as np
import tensorflow.compat.v1 as tf
from absl import app, flags

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The project's folders are above this one.
sys.path.insert(1, ROOT)

import dataset_parser
import ssd_model
from console import atomic_file
from evaluation import postprocess

FLAGS = flags.FLAGS
flags.DEFINE_string("predictions", None, "The predictions, .npz.", required=True)
flags.DEFINE_string("checkpoint_path", None, "Predict with this checkpoint.")
flags.DEFINE_string("records", None, "Glob of TFRecord files with images to predict.")
flags.DEFINE_integer("images", 32, "Number of images to predict.", lower_bound=1)
flags.DEFINE_integer("batch_size", 8, "Batch size.", lower_bound=1)
flags.DEFINE_integer("rounds", 5, "Number of measurements.", lower_bound=1)


def predict():
    """Predicts images with the checkpoint.

    Returns:
      dict of arrays, see ssd_model.ssd_model_fn, of at most --images images.
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
    """Replaces this process by one that measures with the saved predictions.

    In this process, TensorFlow's threads from predicting would keep using all cores.
    """
    arguments = [
        f"--{name}={FLAGS[name].value}"
        for name in ("predictions", "batch_size", "rounds")
    ]
    command = [sys.executable, os.path.abspath(__file__)] + arguments
    os.execv(command[0], command)


def read_predictions():
    """Returns the saved predictions, a dict of arrays."""
    try:
        with np.load(FLAGS.predictions, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        sys.exit(
            f"suppression_speed.py: --predictions={FLAGS.predictions}: {error}; "
            "--checkpoint_path and --records create it"
        )


def milliseconds_per_image(detector, batches):
    """Detects in all batches --rounds times.

    Returns:
      list of float, one per round.
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
            sys.exit("suppression_speed.py: --checkpoint_path needs --records")
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
    # Now, because threads that TensorFlow has already started would keep all cores.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    detector = postprocess.Detector(
        tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    )
    # The first runs also include the set-up of the session.
    found = [detection for batch in batches for detection in detector(batch)]
    milliseconds = milliseconds_per_image(detector, batches)
    print(
        f"postprocessing: {min(milliseconds):.2f} ms per image at best, "
        f"{sorted(milliseconds)[len(milliseconds) // 2]:.2f} in the median of "
        f"{FLAGS.rounds} rounds; one core, {num_images} images in batches of "
        f"{FLAGS.batch_size}, {sum(len(f['scores']) for f in found) / num_images:.0f} "
        "detections per image"
    )


if __name__ == "__main__":
    tf.disable_eager_execution()
    app.run(main)
