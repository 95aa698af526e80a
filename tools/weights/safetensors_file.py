# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads .safetensors files: a header in JSON, and raw bytes behind it."""

import json
import os

import numpy as np

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}
# The format allows no larger header.
_LARGEST_HEADER = 100 * 10**6


def read(path, names):
    """Reads some tensors of a file, see torch_file.read.

    Raises:
      ValueError: one line; the file is damaged or has tensors of another type.
      OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        size = os.path.getsize(path)
        if not 8 < start <= min(size, _LARGEST_HEADER):
            raise ValueError("it is not a .safetensors file or is cut short")
        try:
            header = json.loads(file.read(start - 8).decode())
            entries = {name: header.get(name) for name in names if name in header}
        except (ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"its header is not valid: {error}") from error
        return {
            name: _read_tensor(file, name, entry, start, size)
            for name, entry in entries.items()
        }


def _read_tensor(file, name, entry, start, size):
    try:
        dtype, shape = np.dtype(_TYPES[entry["dtype"]]), entry["shape"]
        begin, end = entry["data_offsets"]
        count = 1
        for side in shape:
            count *= side
        is_valid = all(type(x) is int and x >= 0 for x in [*shape, begin, end])
        if not is_valid or end - begin != count * dtype.itemsize or start + end > size:
            raise ValueError("its place is not valid")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"tensor {name} is {entry}: {error!r}") from error
    file.seek(start + begin)
    return np.frombuffer(file.read(end - begin), dtype).reshape(shape)
