# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The log: our own lines, and only those of TensorFlow's that users need."""

import logging
import re
import warnings

import tensorflow.compat.v1 as tf

_TENSORFLOW_FILE = re.compile(r"-packages[/\\](tensorflow|keras)")
_SHOWN_STARTS = (
    "Saving checkpoints for",
    "Restoring parameters from",
    "An error was raised",
)


def set_up():
    """Configures TensorFlow's logger, which our own lines use, and Python's warnings.

    Warnings and errors are shown, and of TensorFlow's information those about
    checkpoints. Its dumps of the configuration, notes on the progress of the Estimator
    and speeds would stand between our own lines. TensorFlow 2.15 also reports half of
    TensorFlow 1 as deprecated.
    """
    tf.logging.set_verbosity(tf.logging.INFO)
    logging.getLogger("tensorflow").addFilter(_is_shown)
    for message in ("`tf.layers", "To make it possible to preserve tf.data options"):
        warnings.filterwarnings("ignore", category=UserWarning, message=message)


def _is_shown(record):
    text = record.getMessage()
    if "Instructions for updating" in text:
        return False
    is_ours = not _TENSORFLOW_FILE.search(record.pathname)
    return is_ours or record.levelno > logging.INFO or text.startswith(_SHOWN_STARTS)
