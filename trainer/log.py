# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The log: TensorFlow's logger, without the lines that only describe TensorFlow."""

import logging
import warnings

import tensorflow.compat.v1 as tf

# Starts of lines that the Estimator and its hooks log around ours.
_HIDDEN_STARTS = (
    "Using config:",
    "Initializing RunConfig",
    "Calling model_fn",
    "Done calling model_fn",
    "Create CheckpointSaverHook",
    "Graph was finalized",
    "Running local_init_op",
    "Done running local_init_op",
    "Calling checkpoint listeners",
    # Speed and loss, which our own lines have.
    "global_step/sec",
    "loss = ",
    "Loss for final step",
)
# TensorFlow 2.15 reports half of TensorFlow 1 as deprecated.
_HIDDEN_PART = "Instructions for updating"


def set_up():
    """Lets TensorFlow's logger print what concerns the user, and our own lines."""
    tf.logging.set_verbosity(tf.logging.INFO)
    logging.getLogger("tensorflow").addFilter(_is_shown)
    warnings.filterwarnings("ignore", category=UserWarning, message="`tf.layers")


def _is_shown(record):
    text = record.getMessage()
    return not text.startswith(_HIDDEN_STARTS) and _HIDDEN_PART not in text
