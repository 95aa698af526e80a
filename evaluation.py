# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to COCO's figures: predict, detect, judge, write down."""

import os

import tensorflow.compat.v1 as tf

import checkpoints
import coco_metric
import dataset_parser
import postprocess

_LOG_BATCHES = 20


class Evaluator:
    """Evaluates checkpoints of one model on one set of images."""

    def __init__(self, estimator, params, coco_gt, reader_params, file_pattern):
        """Keeps what to evaluate on.

        Args:
          estimator: of ssd_model.ssd_model_fn.
          params: dict, see ssd_model.DEFAULT_PARAMS.
          coco_gt: pycocotools COCO of the evaluation images.
          reader_params: dict with "batch_size" and "eval_samples", see
            dataset_parser.SSDInputReader.
          file_pattern: str, a glob of TFRecords.
        """
        self._estimator = estimator
        self._params = params
        self._coco_gt = coco_gt
        self._reader_params = dict(reader_params, label_map=params["label_map"])
        self._file_pattern = file_pattern

    def evaluate(self):
        """Evaluates the newest checkpoint, logs COCO's figures, writes summaries.

        Returns:
          dict, see coco_metric.compute_map.
        """
        reader = dataset_parser.SSDInputReader(self._file_pattern, False)
        batches = self._estimator.predict(
            lambda: reader(self._reader_params), yield_single_examples=False
        )
        found = coco_metric.collect(_detections(batches), self._params["label_map"])
        found = self._in_annotations(found)
        results = coco_metric.compute_map(
            found,
            self._coco_gt,
            only_predicted=bool(self._reader_params["eval_samples"]),
        )
        tf.logging.info("Eval results: %s", results)
        model_dir = self._estimator.model_dir
        _write_summary(results, model_dir, checkpoints.newest_step(model_dir))
        return results

    def _in_annotations(self, found):
        """Leaves out what coco_gt does not list, and counts."""
        image_ids = set(self._coco_gt.getImgIds())
        unknown = sorted(set(found) - image_ids)
        if unknown:
            tf.logging.warning(
                "left out %d images that --val_json_file lacks; the first has id %d",
                *(len(unknown), unknown[0]),
            )
        found = {key: rows for key, rows in found.items() if key in image_ids}
        tf.logging.info("evaluated %d of %d images", len(found), len(image_ids))
        return found


def _detections(batches):
    """Detections of single images, with a line in the log every so often."""
    detector = postprocess.Detector()
    done = 0
    for number, batch in enumerate(batches, 1):
        for detection in detector(batch):
            done += 1
            yield detection
        if number % _LOG_BATCHES == 0:
            tf.logging.info("detected in %d images", done)


def _write_summary(results, model_dir, step):
    values = [tf.Summary.Value(tag=k, simple_value=v) for k, v in results.items()]
    # A graph of its own: the writer refuses to work in eager mode.
    with tf.Graph().as_default():
        writer = tf.summary.FileWriter(os.path.join(model_dir, "eval"))
        writer.add_summary(tf.Summary(value=values), step)
        writer.close()
