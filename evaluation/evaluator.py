# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to COCO's figures: predict, detect, judge, write down."""

import importlib
import importlib.util
import io
import os
import sys
import time

import numpy as np
import tensorflow.compat.v1 as tf

import coco_metric
import dataset_parser
import ssd_model
from console import atomic_file
from console.errors import UserError, blaming
from dataset.bad_records import BadRecords
from evaluation import postprocess, report

_LOG_BATCHES = 20


class Evaluator:
    """Evaluates checkpoints of one model on one set of images, with all ranks."""

    def __init__(
        self, device, params, model_dir, coco_gt, file_pattern, batch_size, eval_samples
    ):
        """Keeps what to evaluate on.

        Args:
          device: runtime.Runtime, started.
          params: dict, see ssd_model.DEFAULT_PARAMS.
          model_dir: str; figures go to its folder "eval".
          coco_gt: pycocotools COCO of the evaluation images.
          file_pattern: str, a glob over TFRecord files of the evaluation images.
          batch_size: int, images a batch of one device.
          eval_samples: int, so many images, the first of the records; 0: all.
        """
        self._device = device
        self._params = params
        self._model_dir = model_dir
        self._folder = os.path.join(model_dir, "eval")
        self._coco_gt = coco_gt
        self._file_pattern = file_pattern
        # Some of the annotated images, on purpose; else what no record holds counts.
        self._only_predicted = 0 < eval_samples < len(coco_gt.getImgIds())
        self._reader_params = {
            "batch_size": batch_size,
            "eval_samples": eval_samples,
            "num_ranks": device.num_ranks,
            "rank": device.rank,
        }

    def evaluate(self, checkpoint_path, step):
        """Evaluates a checkpoint: each rank its images, then rank 0 the detections.

        Args:
          checkpoint_path: str, prefix of its files.
          step: int, its step.

        Returns:
          dict, see coco_metric.compute_map; None on the others than rank 0.

        Raises:
          UserError: a record is broken, or the results cannot be written.
        """
        if self._device.rank == 0:
            with blaming("--model_dir:", atomic_file.NotWritableError):
                atomic_file.check_folder(self._folder)
        estimator = self._device.predictor(
            ssd_model.ssd_model_fn, self._model_dir, self._params
        )
        left_out = BadRecords(limit=0)
        reader = dataset_parser.SSDInputReader(
            self._file_pattern, is_training=False, bad_records=left_out
        )
        batches = estimator.predict(
            lambda: reader(self._reader_params),
            checkpoint_path=checkpoint_path,
            yield_single_examples=False,
        )
        # Of all ranks together, so many at most.
        expected = self._reader_params["eval_samples"] or len(self._coco_gt.getImgIds())
        expected = -(-expected // self._device.num_ranks)
        repeated = []
        with dataset_parser.explaining_undecodable_images(
            f"--validation_file_pattern={self._file_pattern}"
        ):
            found = coco_metric.collect(
                _note_repeated(_detections(batches, expected), repeated),
                self._params["label_map"],
            )
        if left_out.error:
            raise UserError(f"--validation_file_pattern: {left_out.error}")
        shares = self._device.ranks.gather(_pack(found, repeated))
        if shares is None:
            tf.logging.info("%d images detected; rank 0 has the result", len(found))
            return None
        found, repeated = _merge(shares)
        found = self._in_annotations(found)
        judgement = coco_metric.judge(
            found, self._coco_gt, only_predicted=self._only_predicted
        )
        _write_summary(judgement.figures, self._folder, step)
        try:
            self._write_report(step, found, judgement, repeated)
        finally:
            # The last line, and there whatever becomes of the report.
            tf.logging.info("Eval results: %s", judgement.figures)
        return judgement.figures

    def _write_report(self, step, found, judgement, repeated):
        def find_images(image_ids):
            # Of several images of one id, who knows which one was judged.
            clear = [key for key in image_ids if key not in repeated]
            return report.encoded_images(self._file_pattern, clear)

        with blaming("--model_dir:", atomic_file.NotWritableError):
            report.write(
                self._folder,
                step,
                self._coco_gt,
                found,
                judgement,
                find_images,
                self._model_dir,
            )

    def _in_annotations(self, found):
        """Leaves out what coco_gt does not list, and says what is missing."""
        image_ids = set(self._coco_gt.getImgIds())
        unknown = sorted(set(found) - image_ids)
        if unknown:
            tf.logging.warning(
                "left out %d images that --val_json_file lacks; the first has id %d",
                *(len(unknown), unknown[0]),
            )
        missing = sorted(image_ids - set(found))
        if missing and not self._only_predicted:
            tf.logging.warning(
                "no record holds %d images of --val_json_file, which count as nothing "
                "detected; the first has id %d",
                *(len(missing), missing[0]),
            )
        found = {key: rows for key, rows in found.items() if key in image_ids}
        tf.logging.info("evaluated %d of %d images", len(found), len(image_ids))
        return found


def _note_repeated(detections, repeated):
    """Passes detections on, and adds each id that came before to a list."""
    seen = set()
    for detection in detections:
        image_id = int(detection["source_id"])
        if image_id in seen:
            repeated.append(image_id)
        seen.add(image_id)
        yield detection


def _merge(shares):
    """(what coco_metric.collect would give for all ranks together, repeated ids)."""
    found, repeated = {}, []
    for share, again in map(_unpack, shares):
        repeated += again + [image_id for image_id in share if image_id in found]
        found.update(share)
    if repeated:
        tf.logging.warning(
            "%d records have the image id of another one, and only the last of each "
            "counts; the first such id is %d",
            *(len(repeated), repeated[0]),
        )
    return found, set(repeated)


def _pack(found, repeated):
    """Bytes of what coco_metric.collect gives: ids, counts and all rows (float64)."""
    ids = np.array(list(found), np.int64)
    counts = np.array([len(rows) for rows in found.values()], np.int64)
    rows = np.concatenate([np.zeros([0, 7])] + list(found.values()))
    file = io.BytesIO()
    again = np.array(repeated, np.int64)
    np.savez(file, ids=ids, counts=counts, rows=rows, repeated=again)
    return file.getvalue()


def _unpack(payload):
    """The inverse of `_pack`: dict and list."""
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        ends = np.cumsum(arrays["counts"])[:-1]
        found = dict(zip(arrays["ids"].tolist(), np.split(arrays["rows"], ends)))
        return found, arrays["repeated"].tolist()


def _detections(batches, expected):
    """Detections of single images, with a progress bar, or a line every so often."""
    detector = postprocess.Detector()
    progress = _Progress(expected)
    for number, batch in enumerate(batches, 1):
        detections = detector(batch)
        yield from detections
        progress.update(len(detections), is_due=number % _LOG_BATCHES == 0)
    progress.close()


class _Progress:
    """A bar on a terminal where tqdm is installed; lines in the log elsewhere."""

    def __init__(self, expected):
        self._expected, self._done, self._bar = expected, 0, None
        self._start = time.time()
        if sys.stderr.isatty() and importlib.util.find_spec("tqdm"):
            tqdm = importlib.import_module("tqdm")
            self._bar = tqdm.tqdm(total=expected, unit="image")

    def update(self, count, is_due):
        self._done += count
        if self._bar:
            self._bar.update(count)
        elif is_due:
            self._log()

    def close(self):
        if self._bar:
            self._bar.close()
        else:
            self._log()

    def _log(self):
        speed = self._done / max(time.time() - self._start, 1e-9)
        tf.logging.info(
            "detected in %d of %d images, %.1f images/s",
            *(self._done, self._expected, speed),
        )


def _write_summary(results, folder, step):
    values = [tf.Summary.Value(tag=k, simple_value=v) for k, v in results.items()]
    # A graph of its own: the writer refuses to work in eager mode.
    with tf.Graph().as_default():
        writer = tf.summary.FileWriter(folder)
        writer.add_summary(tf.Summary(value=values), step)
        writer.close()
