# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the tensors of PyTorch's .pth files without PyTorch, and runs no code in them.

Such a file is a pickle, which can call any function. Here it can call only what builds
a dictionary of tensors, and even these calls return plain tuples: where the numbers of
each tensor are. The numbers are then read as raw bytes.

Since PyTorch 1.6 the file is a zip archive with the pickle and a file for each storage.
Before, pickles and storages followed each other.
"""

import collections
import io
import pickle
import zipfile

import numpy as np

_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}
# The first objects of a file before PyTorch 1.6: magic number and protocol.
_LEGACY_START = (0x1950A86A20F9469CFC6C, 1001)

_Storage = collections.namedtuple("_Storage", "key dtype size")
# Arguments of torch._utils._rebuild_tensor; _rebuild_tensor_v2 has all of them.
_Tensor = collections.namedtuple(
    "_Tensor",
    "storage offset shape strides requires_grad hooks metadata",
    defaults=[None] * 3,
)
# Arguments of torch._utils._rebuild_parameter.
_RebuiltParameter = collections.namedtuple(
    "_RebuiltParameter", "tensor requires_grad hooks"
)


class _Parameter:
    """Stands for torch.nn.parameter.Parameter in files of PyTorch 0.1 to 0.3."""

    __slots__ = ("tensor",)

    def __setstate__(self, state):
        self.tensor = state[0]


class _Unpickler(pickle.Unpickler):
    """Unpickles dictionaries of tensors, and refuses everything else."""

    _ALLOWED = {
        "collections.OrderedDict": collections.OrderedDict,
        "torch._utils._rebuild_tensor": _Tensor,
        "torch._utils._rebuild_tensor_v2": _Tensor,
        "torch._utils._rebuild_parameter": _RebuiltParameter,
        "torch.nn.parameter.Parameter": _Parameter,
        **{f"torch.{name}": dtype for name, dtype in _TYPES.items()},
    }

    def find_class(self, module, name):
        """Returns what stands for a class or function. See the base class."""
        full_name = f"{module}.{name}"
        if full_name not in self._ALLOWED:
            raise ValueError(
                f"it contains {full_name}, which is not part of a file of weights; "
                "nothing of it was run"
            )
        return self._ALLOWED[full_name]

    def persistent_load(self, pid):
        """Returns what stands for a storage. See the base class."""
        kind, dtype, key, _, size = pid[:5]
        if kind != "storage" or dtype not in _TYPES.values() or any(pid[5:]):
            raise ValueError(f"it contains {kind!r} of {dtype!r}")
        return _Storage(key, np.dtype(dtype), size)


def is_torch_file(path):
    """Returns whether a file starts like a .pth file of any version."""
    with open(path, "rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"\x80\x02\x8a\n")


def read(path, names):
    """Reads some tensors of a file.

    Args:
      path: str.
      names: collection of str, the tensors to read.

    Returns:
      dict from name to NumPy array; without those that the file does not have.

    Raises:
      ValueError: one line; the file is damaged, or holds something else than tensors.
    """
    try:
        if not zipfile.is_zipfile(path):
            return _read_legacy(path, names)
        with zipfile.ZipFile(path) as archive:
            return _read_zip(archive, names)
    except ValueError:
        raise
    # A damaged file raises errors of many classes.
    except Exception as error:
        raise ValueError(f"it is damaged: {error!r}") from error


def _read_zip(archive, names):
    (pickled,) = [n for n in archive.namelist() if n.split("/")[1:] == ["data.pkl"]]
    folder = pickled[: -len("data.pkl")]
    if folder + "byteorder" in archive.namelist():
        if _member(archive, folder + "byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
    content = _member(archive, pickled)
    tensors = _tensors(_Unpickler(io.BytesIO(content)).load(), names)
    return {
        name: _array(tensor, _member(archive, f"{folder}data/{tensor.storage.key}"))
        for name, tensor in tensors.items()
    }


def _member(archive, name):
    info = archive.getinfo(name)
    # PyTorch compresses nothing; a compressed file could fill the memory.
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(info)


def _read_legacy(path, names):
    with open(path, "rb") as file:
        *start, system, state, keys = (_Unpickler(file).load() for _ in range(5))
        if tuple(start) != _LEGACY_START:
            raise ValueError("it is not a .pth file")
        if not system["little_endian"]:
            raise ValueError("its numbers are big-endian")
        every = _tensors(state, state)
        storages = {tensor.storage.key: tensor.storage for tensor in every.values()}
        raw = {}
        for key in keys:
            size = int.from_bytes(file.read(8), "little")
            if size != storages[key].size:
                raise ValueError("it is damaged: a storage has another size")
            raw[key] = file.read(size * storages[key].dtype.itemsize)
    tensors = {name: every[name] for name in names if name in every}
    return {name: _array(x, raw[x.storage.key]) for name, x in tensors.items()}


def _tensors(state, names):
    """Returns those of a state dict's values that have one of the names."""
    if not isinstance(state, dict):
        raise ValueError("it is not a dictionary of tensors")
    found = {name: state[name] for name in names if name in state}
    found = {k: getattr(value, "tensor", value) for k, value in found.items()}
    for name, value in found.items():
        if not isinstance(value, _Tensor):
            raise ValueError(f"{name} is not a tensor")
    return found


def _array(tensor, content):
    """Returns the NumPy array of a tensor whose storage has this content."""
    storage, offset, shape, strides = tensor[:4]
    flat = np.frombuffer(content, storage.dtype)
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides))
    is_inside = min([offset, *shape, *strides]) >= 0 and last < len(flat)
    # With strides of 0, a few numbers could fill the memory. Floats do not overflow.
    is_inside = is_inside and np.prod(np.float64(shape)) <= len(flat)
    if len(flat) != storage.size or len(shape) != len(strides) or not is_inside:
        raise ValueError("it is damaged: a tensor reaches out of its storage")
    steps = [step * flat.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps).copy()
