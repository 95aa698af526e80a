# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scopes that mark operators for the device."""

import contextlib

import standin


@contextlib.contextmanager
def keep_dtype_scope():
    """Marks operators that mixed precision leaves in float32; here it only logs."""
    standin.record("keep_dtype_scope")
    yield
