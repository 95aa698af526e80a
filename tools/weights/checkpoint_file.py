# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes checkpoints."""

import os

import tensorflow.compat.v1 as tf

from console import paths


def write(prefix, values):
    """Writes a checkpoint without a graph.

    Args:
      prefix: str, such as DIR/model.ckpt-12. The folder must exist.
      values: dict from the name of a variable to its value, a NumPy array.

    Raises:
      OSError: it cannot be written.
    """
    folder, name = os.path.split(prefix)
    prefix = os.path.join(paths.without_wildcards(folder), name)
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in values.items():
            tf.get_variable(name, value.shape, value.dtype).load(value, session)
        try:
            tf.train.Saver().save(
                session, prefix, write_meta_graph=False, write_state=False
            )
        except tf.errors.OpError as error:
            raise OSError(error.message.splitlines()[0]) from error
