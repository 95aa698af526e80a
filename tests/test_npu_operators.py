# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every operator of the device graph has a kernel on the AI Cores of the 910 and 910B.

data/npu_ops.json lists TensorFlow operators and, for each card, the types of the first
input that the AI Cores take. The facts were read from the lists in Huawei's operator
library of mid-2022 (CANN 5.1 and 6.0, sources under Apache 2.0), restricted here to
operators of TensorFlow 1.15. Nothing was run on a card.
"""

import functools
import json
import os

import pytest
import tensorflow.compat.v1 as tf

import anchors
import ssd_model
from trainer import initial_weights

_DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
with open(os.path.join(_DATA, "npu_ops.json"), encoding="utf-8") as _file:
    _AI_CORE_TYPES = json.load(_file)
_CARDS = ("910", "910B")
# The list gives no fixed types for some operators: their code chooses at compile time.
_ANY_TYPE = "decided by the operator"

# The graph engine handles these itself, without a kernel.
_SHAPE_OPERATORS = {"Shape", "ShapeN", "Size", "Rank"}
_ENGINE_OPERATORS = _SHAPE_OPERATORS | {
    "Bitcast",
    "ExpandDims",
    "Identity",
    "NoOp",
    "Placeholder",
    "PreventGradient",
    "ReadVariableOp",
    "Reshape",
    "Squeeze",
    "StopGradient",
    "VarHandleOp",
    "VariableV2",
}

# Operators that the list lacks although a card handles them. The published port for
# Ascend has the last two as well.
_EXCEPTIONS = {
    # A fusion pass of Huawei's library replaces it by OneHot and
    # SoftmaxCrossEntropyWithLogits.
    ("SparseSoftmaxCrossEntropyWithLogits", "float32"),
    # Mixed precision casts the input of these to float16.
    ("MaxPool", "float32"),
    ("Conv2DBackpropFilter", "float32"),
}


def refused_operators(graph, fetches):
    """Finds the operators that the AI Cores of a card lack.

    Args:
      graph: tf.Graph with static shapes.
      fetches: list of tf.Tensor and tf.Operation. Only what they depend on counts;
        initializers of variables do not.

    Returns:
      dict from (operator, type of its first input) to the names of its nodes.
    """
    refused = {}
    for op in _dependencies(fetches) - _folded(graph):
        operator, dtype = op.type, _input_type(op)
        types = [_AI_CORE_TYPES.get(operator, {}).get(card, []) for card in _CARDS]
        if operator not in _ENGINE_OPERATORS and not all(
            listed == _ANY_TYPE or dtype in listed for listed in types
        ):
            refused.setdefault((operator, dtype), []).append(op.name)
    return refused


def _dependencies(fetches):
    found = set()
    pending = [getattr(fetch, "op", fetch) for fetch in fetches]
    while pending:
        op = pending.pop()
        if op not in found:
            found.add(op)
            pending += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return found


def _folded(graph):
    """Operations evaluated before the first step: constants and what they determine."""
    folded = set()
    for op in graph.get_operations():  # in the order of creation: inputs come first
        inputs = list(op.inputs)
        has_static_shape = op.type in _SHAPE_OPERATORS and all(
            tensor.shape.is_fully_defined() for tensor in inputs
        )
        # A stateful operation, such as a random one, has a new result in each step.
        has_constant_inputs = bool(inputs) and not op.op_def.is_stateful
        has_constant_inputs &= all(tensor.op in folded for tensor in inputs)
        if op.type == "Const" or has_static_shape or has_constant_inputs:
            folded.add(op)
    return folded


def _input_type(op):
    """The type of the first input, or of the output if there is no input.

    A resource variable as input carries no type; the value after it has the same one.
    """
    types = [tensor.dtype.base_dtype for tensor in [*op.inputs, *op.outputs]]
    return next((dtype.name for dtype in types if dtype != tf.resource), None)


def _inputs(batch_size, color_on="host"):
    boxes = anchors.NUM_DEFAULT_BOXES
    features = {
        "image": tf.placeholder(tf.float32, [batch_size, 300, 300, 3]),
        "source_id": tf.placeholder(tf.int64, [batch_size]),
        "raw_shape": tf.placeholder(tf.int32, [batch_size, 3]),
    }
    if color_on == "device":
        features["image"] = tf.placeholder(tf.uint8, [batch_size, 300, 300, 3])
        features["color_changes"] = tf.placeholder(tf.float32, [batch_size, 4])
    labels = {
        "classes": tf.placeholder(tf.int32, [batch_size, boxes]),
        "boxes": tf.placeholder(tf.float32, [batch_size, boxes, 4]),
        "num_matched_boxes": tf.placeholder(tf.float32, [batch_size]),
    }
    return features, labels


class _ScalingOptimizer(tf.train.Optimizer):
    """Scales as NPULossScaleOptimizer does; its check for overflow is the adapter's."""

    def __init__(self, optimizer):
        super().__init__(use_locking=False, name="scaling")
        self._optimizer = optimizer
        self._scale = tf.get_variable("scale", [], initializer=tf.ones_initializer())

    def compute_gradients(self, loss, *args, **kwargs):
        """Returns the gradients of the unscaled loss. See the base class."""
        pairs = self._optimizer.compute_gradients(loss * self._scale, *args, **kwargs)
        return [
            (grad * tf.reciprocal(self._scale), variable) for grad, variable in pairs
        ]

    def apply_gradients(self, *args, **kwargs):
        """Applies them unchanged. See the base class."""
        return self._optimizer.apply_gradients(*args, **kwargs)


@pytest.mark.parametrize(
    "color_on, freeze, wrap_optimizer",
    [
        ("host", "none", _ScalingOptimizer),
        ("device", "none", None),
        pytest.param("host", "backbone", None, marks=pytest.mark.slow),
        pytest.param("host", "all_but_heads", None, marks=pytest.mark.slow),
    ],
)
def test_training_graph_has_kernels(graph, color_on, freeze, wrap_optimizer):
    features, labels = _inputs(batch_size=32, color_on=color_on)
    model_fn = functools.partial(
        ssd_model.ssd_model_fn,
        wrap_optimizer=wrap_optimizer,
        updates_batch_norm=freeze == "none",
    )
    spec = initial_weights.apply(model_fn, None, freeze)(
        features, labels, tf.estimator.ModeKeys.TRAIN, ssd_model.DEFAULT_PARAMS
    )
    refused = refused_operators(graph, [spec.train_op, spec.loss])
    # Fewer operators than these mean that an exception is not needed any more.
    assert set(refused) == _EXCEPTIONS, refused


def test_prediction_graph_has_kernels(graph):
    features, _ = _inputs(batch_size=32)
    spec = ssd_model.ssd_model_fn(
        features, None, tf.estimator.ModeKeys.PREDICT, ssd_model.DEFAULT_PARAMS
    )
    refused = refused_operators(graph, list(spec.predictions.values()))
    assert set(refused) == {("MaxPool", "float32")}, refused


def test_the_colors_on_the_device_are_kept_in_float32(graph):
    # As the adapter's keep_dtype_scope, which marks the operators for the engine.
    scope = functools.partial(tf.name_scope, "kept")
    features, _ = _inputs(batch_size=2, color_on="device")
    params = ssd_model.DEFAULT_PARAMS
    ssd_model.ssd_model_fn(
        features, None, tf.estimator.ModeKeys.PREDICT, params, keep_float32=scope
    )
    kept = [op for op in graph.get_operations() if op.name.startswith("kept/")]
    assert len(kept) > 50
    cast_to = {op.outputs[0].dtype.name for op in kept if op.type == "Cast"}
    assert cast_to == {"float32"}
    # Nothing of the network is: its convolutions may be lowered.
    assert not any("resnet34" in op.name for op in kept)


def test_hardest_negatives_compares_no_floats(graph):
    # Mixed precision may lower a comparison of floats to float16, which makes ties.
    ssd_model.hardest_negatives(
        tf.placeholder(tf.float32, [2, 8]),
        tf.placeholder(tf.bool, [2, 8]),
        tf.placeholder(tf.int32, [2]),
    )
    on_floats = {
        op.type for op in graph.get_operations() if _input_type(op) == "float32"
    }
    assert on_floats == {"Placeholder", "Bitcast", "Sum", "Cast"}


def _random_variable():
    return tf.get_variable("x", [2], initializer=tf.random_uniform_initializer())


@pytest.mark.parametrize(
    "build, expected",
    [
        (lambda: tf.reduce_sum(tf.placeholder(tf.float32, [2])), []),
        (lambda: tf.reduce_sum(tf.placeholder(tf.int32, [2])), [("Sum", "int32")]),
        # The 910 lacks it, the 910B has it.
        (
            lambda: tf.math.is_finite(tf.placeholder(tf.float32, [2])),
            [("IsFinite", "float32")],
        ),
        # The result of a shape operator is a constant only if the shape is static.
        (lambda: tf.reduce_sum(tf.shape(tf.placeholder(tf.float32, [2]))), []),
        (
            lambda: tf.reduce_sum(tf.shape(tf.placeholder(tf.float32, [None]))),
            [("Sum", "int32")],
        ),
        # Random numbers are not folded, although their shape is a constant.
        (lambda: tf.random.uniform([2]), [("RandomUniform", "int32")]),
        (lambda: _random_variable() + 1.0, []),  # the initializer does not count
    ],
)
def test_operators_without_kernel_are_refused(graph, build, expected):
    assert list(refused_operators(graph, [build()])) == expected
