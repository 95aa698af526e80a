# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stands in for Ascend's ais_bench, which runs offline models.

It takes only positions and types that the manual has, and runs the frozen graph that
tests/helpers/standin_atc.py leaves in the place of an offline model.
"""

import numpy as np
import tensorflow.compat.v1 as tf


class InferSession:
    """A session on one device; its outputs are in the order of atc's --out_nodes."""

    def __init__(self, device_id, model_path):
        assert type(device_id) is int and model_path.endswith(".om")
        with open(model_path, "rb") as file:
            graph_def = tf.GraphDef.FromString(file.read())
        self._graph = tf.Graph()
        with self._graph.as_default():
            tf.import_graph_def(graph_def, name="")
        self._input = self._graph.get_tensor_by_name("input:0")

    def infer(self, feeds):
        """Returns a list of arrays."""
        assert type(feeds) is list and len(feeds) == 1
        (array,) = feeds
        assert isinstance(array, np.ndarray) and array.flags.c_contiguous
        assert array.dtype == self._input.dtype.as_numpy_dtype
        assert list(array.shape) == self._input.shape.as_list()
        with tf.Session(graph=self._graph) as session:
            names = ["class_logits:0", "box_offsets:0"]
            return session.run(names, {self._input: array})
