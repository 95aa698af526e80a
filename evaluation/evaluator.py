# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluates checkpoints: prediction, detection, COCO's figures, and the report."""

import collections
import io
import os
import time

import numpy as np
import tensorflow.compat.v1 as tf

import coco_metric
import dataset_parser
import ssd_model
from console import atomic_file
from console.errors import UserError, as_user_error
from console.progress import progress_bar
from dataset import json_match
from dataset.bad_records import BadRecords
from evaluation import analysis, history, postprocess, prediction, report, summaries


class Evaluator:
    """Evaluates checkpoints of one model on one set of images, with all ranks.

    Use it as a context manager; its session stays open until the end.

    Attributes:
      device, model_dir, label_map: as given.
    """

    def __init__(
        self,
        device,
        params,
        model_dir,
        coco_gt,
        file_pattern,
        batch_size,
        eval_samples,
        label_map,
    ):
        """Initializes the evaluator.

        Args:
          device: base.Device, started.
          params: dict, see ssd_model.DEFAULT_PARAMS.
          model_dir: str; the results are written to its folder "eval".
          coco_gt: pycocotools COCO of the evaluation images.
          file_pattern: str, a glob over TFRecord files of the evaluation images.
          batch_size: int, batch size per device.
          eval_samples: int, evaluate only this many images, the first of the records;
            0: all.
          label_map: categories.LabelMap of the model.
        """
        self.device, self.model_dir, self.label_map = device, model_dir, label_map
        self._coco_gt = coco_gt
        self._file_pattern = file_pattern
        num_annotated = len(coco_gt.getImgIds())
        # With --eval_samples, only the images that were predicted are judged. Without
        # it, an image without a record counts as one without detections.
        self._only_predicted = 0 < eval_samples < num_annotated
        # The images of this rank, rounded up; for the progress display and the log.
        self._expected = -(-(eval_samples or num_annotated) // device.num_ranks)
        reader_params = {
            "batch_size": batch_size,
            "eval_samples": eval_samples,
            "num_ranks": device.num_ranks,
            "rank": device.rank,
        }
        self._bad_records = BadRecords(limit=0)
        reader = dataset_parser.SSDInputReader(
            file_pattern, False, label_map, self._bad_records
        )
        # Created here, because TF_CONFIG must not describe the ranks of a training.
        estimator = device.predictor(ssd_model.ssd_model_fn, model_dir, params)
        self._prediction = prediction.Prediction(
            estimator, lambda: reader(reader_params)
        )
        self._detector = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Closes the session."""
        self._prediction.__exit__(*error)

    def evaluate(self, checkpoint_path, step):
        """Evaluates a checkpoint; each rank detects in a part of the images.

        A signal that stops the training also ends an evaluation during it.

        Args:
          checkpoint_path: str, prefix of the checkpoint's files.
          step: int, training step of the checkpoint.

        Returns:
          dict from coco_metric.METRIC_NAMES to float; None on ranks other than 0, or
          after a signal.

        Raises:
          UserError: a record is broken, the json is of other images, or the results
            cannot be written.
        """
        ranks, folder = self.device.ranks, os.path.join(self.model_dir, "eval")
        if self.device.rank == 0:
            with as_user_error("--model_dir:", atomic_file.NotWritableError):
                atomic_file.check_folder(folder)
        detections = self._detect(checkpoint_path)
        shares = ranks.gather(b"" if ranks.is_stop_wanted else _pack(detections))
        if shares is None:
            tf.logging.info(
                "%d images detected; rank 0 has the result", len(detections)
            )
            return None
        if not all(shares):
            tf.logging.info("the evaluation of step %d is left out", step)
            return None
        found, repeated_ids = self._merge(shares)
        judgement = coco_metric.judge(found, self._coco_gt, self._only_predicted)
        results = analysis.Results(
            step,
            self.model_dir,
            self._file_pattern,
            judgement,
            analysis.analyze(judgement),
            repeated_ids,
        )
        summaries.write(results)
        try:
            with as_user_error("--model_dir:"):
                # The report shows the history.
                history.add(folder, step, judgement.figures)
            with as_user_error("--model_dir:", atomic_file.NotWritableError):
                report.write(results)
        finally:
            # Logged last, even if the report fails.
            tf.logging.info("Eval results: %s", judgement.figures)
        return judgement.figures

    def _detect(self, checkpoint_path):
        """Returns a list with the coco_metric.Detections of each image of this rank."""
        # Not before the training's session, which determines the number of threads.
        self._detector = self._detector or postprocess.Detector()
        detections = []
        start = time.time()
        flag = f"--validation_file_pattern={self._file_pattern}"
        explaining = dataset_parser.explaining_undecodable_images(flag)
        with explaining, progress_bar(self._expected) as bar:
            for batch in self._prediction.batches(checkpoint_path):
                if self.device.ranks.is_stop_wanted:
                    break
                predictions = self._detector(batch)
                detections += [
                    coco_metric.to_detections(p, self.label_map) for p in predictions
                ]
                bar.update(len(predictions))
        speed = len(detections) / max(time.time() - start, 1e-9)
        tf.logging.info(
            "detected in %d of %d images, %.1f images/s",
            len(detections),
            self._expected,
            speed,
        )
        if self._bad_records.error:
            raise UserError(f"--validation_file_pattern: {self._bad_records.error}")
        return detections

    def _merge(self, shares):
        """Joins the detections of all ranks; logs how they differ from coco_gt.

        Returns (dict from image id to coco_metric.Detections, those of the image's
        last record; frozenset of the image ids that several records have).

        Raises:
          UserError: coco_gt contradicts more than half of the images.
        """
        detections = [d for share in shares for d in _unpack(share)]
        found = {d.image_id: d for d in detections}
        counts = collections.Counter(d.image_id for d in detections)
        repeated_ids = [image_id for image_id, count in counts.items() if count > 1]
        if repeated_ids:
            tf.logging.warning(
                "%d records have the image id of another one, and only the last of "
                "each counts; the first such id is %d",
                len(detections) - len(counts),
                repeated_ids[0],
            )
        images = self._coco_gt.imgs
        identities = sorted((d.image_id, d.height_width) for d in detections)
        json_match.check_all(
            [
                json_match.contradiction_of_size(image_id, size, images.get(image_id))
                for image_id, size in identities
            ]
        )
        missing = sorted(set(images) - set(found))
        if missing and not self._only_predicted:
            tf.logging.warning(
                "no record holds %d images of --val_json_file, which count as nothing "
                "detected; the first has id %d",
                len(missing),
                missing[0],
            )
        found = {i: d for i, d in found.items() if i in images}
        tf.logging.info("evaluated %d of %d images", len(found), len(images))
        return found, frozenset(repeated_ids)


def _pack(detections):
    """Returns a list of coco_metric.Detections as bytes, for `_unpack`."""
    file, flat = io.BytesIO(), coco_metric.concatenate(detections)
    heads = [(d.image_id, *d.height_width, len(d.scores)) for d in detections]
    heads = np.array(heads, np.int64).reshape(-1, 4)
    np.savez(file, heads, flat.boxes_xywh, flat.scores, flat.category_ids)
    return file.getvalue()


def _unpack(payload):
    """Returns the list that was given to `_pack`."""
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        heads, *columns = (arrays[name] for name in arrays.files)
    ends = np.cumsum(heads[:, 3])[:-1]
    rows = zip(heads.tolist(), *(np.split(column, ends) for column in columns))
    return [
        coco_metric.Detections(image_id, *row, (height, width))
        for (image_id, height, width, _), *row in rows
    ]
