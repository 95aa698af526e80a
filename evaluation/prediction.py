# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predicts with one checkpoint after another, with one graph and one session.

An Estimator builds a graph and creates a session for each call of predict. Here, one
call goes on from checkpoint to checkpoint: the session restores the variables of the
next one, and starts its input again.
"""

import concurrent.futures

import tensorflow.compat.v1 as tf

import dataset_parser
from console import paths


class Prediction:
    """Predicts batches of evaluation images. Use it as a context manager.

    The session stays open beside that of a training. It runs in a separate thread,
    because the default graph of the training's thread must not change.
    """

    def __init__(self, estimator, input_fn):
        """Initializes the object; the first checkpoint creates the session.

        Args:
          estimator: tf.estimator.Estimator, see base.Device.predictor.
          input_fn: function that returns a tf.data.Dataset of dataset_parser.
        """
        self._estimator = estimator
        self._input_fn = input_fn
        self._restart = _Restart()
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._results = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        """Closes the session."""
        if self._results:
            self._thread.submit(self._results.close).result()
        self._thread.shutdown()

    def batches(self, checkpoint_path):
        """Yields the predictions of one batch after another, up to the last image.

        It may be left early; the next call starts with the first image again.

        Args:
          checkpoint_path: str, prefix of the checkpoint's files.
        """
        path = paths.without_wildcards(checkpoint_path)
        if self._results:
            self._restart.path = path
        else:
            self._results = self._estimator.predict(
                lambda: _with_end(self._input_fn()),
                hooks=[self._restart],
                checkpoint_path=path,
                yield_single_examples=False,
            )
        is_last = False
        while not is_last:
            try:
                batch = self._thread.submit(next, self._results).result()
            except Exception:
                # The session is closed after an error.
                self._results = None
                raise
            is_last = (batch["source_id"] == dataset_parser.PADDING_ID).any()
            yield batch


class _Restart(tf.train.SessionRunHook):
    """Restores a checkpoint and starts the input again, before the next session run.

    Attributes:
      path: str, prefix of that checkpoint; None to go on.
    """

    path = None

    def begin(self):
        """Finds the operation that starts the input. See the base class."""
        operations = tf.get_default_graph().get_operations()
        (self._start,) = [op for op in operations if op.type == "MakeIterator"]

    def before_run(self, run_context):
        """Restores and starts. See the base class."""
        path, self.path = self.path, None
        if path:
            session = run_context.session
            (saver,) = session.graph.get_collection(tf.GraphKeys.SAVERS)
            saver.restore(session, path)
            session.run(self._start)


def _with_end(dataset):
    """Appends a batch of padding, so that each input has some behind its last image.

    The end of the dataset itself would close the session. The batch is only predicted
    if the last images fill theirs.
    """
    types = tf.data.get_output_types(dataset)
    shapes = tf.data.get_output_shapes(dataset)

    def padding(unused):
        value = dataset_parser.PADDING_ID
        return {k: tf.fill(shapes[k], tf.cast(value, types[k])) for k in types}

    return dataset.concatenate(tf.data.Dataset.range(1).map(padding))
