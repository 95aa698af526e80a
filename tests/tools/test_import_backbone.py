# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of torchvision and timm become a backbone; files with anything else do not."""

import collections
import contextlib
import io
import json
import os
import pickle
import struct
import sys
import types
import zipfile
from unittest import mock

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import commands
import resnet
from trainer import initial_weights
from weights import safetensors_file, torch_file

# Groups of torchvision's ResNet34 that SSD uses: blocks, input and output channels.
GROUPS = ((3, 64, 64), (4, 64, 128), (6, 128, 256))


# Stand-ins for what pickles of tensors name; torch need not be installed.
TORCH = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}
for _module, _name in (
    ("torch", "FloatStorage"),
    ("torch", "BFloat16Storage"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
):
    setattr(TORCH[_module], _name, type(_name, (), {"__module__": _module}))


class Storage:
    def __init__(self, key, values, kind="FloatStorage"):
        self.key, self.values, self.kind = key, values, kind


class Tensor:
    """A tensor as torch pickles it; strides in numbers."""

    def __init__(self, storage, shape, strides, offset=0):
        self.state = (storage, offset, tuple(shape), tuple(strides), False)

    def __reduce__(self):
        hooks = collections.OrderedDict()
        return TORCH["torch._utils"]._rebuild_tensor_v2, self.state + (hooks,)


class Pickler(pickle.Pickler):
    extra = ()

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        kind = getattr(TORCH["torch"], obj.kind)
        return ("storage", kind, obj.key, "cpu", len(obj.values)) + self.extra


def pickled(value, extra=()):
    file = io.BytesIO()
    pickler = Pickler(file, 2)
    pickler.extra = extra
    with mock.patch.dict(sys.modules, TORCH):
        pickler.dump(value)
    return file.getvalue()


def tensors_of(arrays):
    """A state dict with a storage for each array."""
    state = collections.OrderedDict()
    for number, (name, array) in enumerate(arrays.items()):
        strides = [step // array.itemsize for step in array.strides]
        state[name] = Tensor(Storage(str(number), array.ravel()), array.shape, strides)
    # As torch's state dicts have.
    state._metadata = {"": {"version": 1}}
    return state


def write_zip(path, state, compression=zipfile.ZIP_STORED, byteorder=b"little"):
    with zipfile.ZipFile(str(path), "w", compression) as archive:
        archive.writestr("resnet34/data.pkl", pickled(state))
        archive.writestr("resnet34/byteorder", byteorder)
        tensors = getattr(state, "values", list)()
        storages = {getattr(tensor, "state", [None])[0] for tensor in tensors}
        for storage in storages:
            if isinstance(storage, Storage):
                content = storage.values.tobytes()
                archive.writestr(f"resnet34/data/{storage.key}", content)


def write_legacy(path, state):
    storages = [tensor.state[0] for tensor in state.values()]
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    with open(str(path), "wb") as file:
        for value in (0x1950A86A20F9469CFC6C, 1001, system):
            file.write(pickled(value))
        file.write(pickled(state, extra=(None,)))
        file.write(pickled([storage.key for storage in storages]))
        for storage in storages:
            file.write(struct.pack("<q", len(storage.values)))
            file.write(storage.values.tobytes())


def write_safetensors(path, arrays, **changes):
    header, content = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        begin, content = len(content), content + array.tobytes()
        offsets = [begin, len(content)]
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": offsets}
        header[name].update(changes)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def resnet34():
    """Random tensors by the names that torchvision and timm use."""
    random = np.random.RandomState(3)
    arrays = {}

    def layer(convolution, batch_norm, inputs, outputs, size):
        kernel = random.standard_normal([outputs, inputs, size, size])
        arrays[convolution + ".weight"] = np.float32(kernel * (2 / size**2 / inputs))
        for name in ("weight", "bias", "running_mean", "running_var"):
            values = random.uniform(0.5, 1.5, [outputs])
            arrays[f"{batch_norm}.{name}"] = np.float32(values)

    layer("conv1", "bn1", 3, 64, 7)
    for group, (blocks, inputs, outputs) in enumerate(GROUPS, 1):
        for block in range(blocks):
            start = f"layer{group}.{block}."
            layer(start + "conv1", start + "bn1", inputs, outputs, 3)
            layer(start + "conv2", start + "bn2", outputs, outputs, 3)
            if inputs != outputs:
                down = start + "downsample."
                layer(down + "0", down + "1", inputs, outputs, 1)
            inputs = outputs
    arrays["fc.bias"] = np.zeros(1000, np.float32)
    return arrays


@pytest.fixture(scope="module")
def arrays():
    return resnet34()


@pytest.mark.slow
@pytest.mark.parametrize(
    "write",
    [
        lambda path, arrays: write_zip(path, tensors_of(arrays)),
        lambda path, arrays: write_legacy(path, tensors_of(arrays)),
        write_safetensors,
    ],
)
def test_weights_land_where_they_belong(tmp_path, arrays, write):
    write(tmp_path / "weights", arrays)
    arguments = ["--weights=weights", "--output_dir=new/backbone"]
    result = commands.run("import_backbone.py", arguments, tmp_path)
    assert result.returncode == 0, result.stderr
    path = str(tmp_path / "new" / "backbone" / "model.ckpt-28152")
    assert "145 variables written; use --resnet_checkpoint=new/backb" in result.stdout
    assert len(initial_weights.of_backbone(path).variables) == 145
    read = tf.train.load_checkpoint(path).get_tensor
    # The third group's projection comes after 1 + 6 + 9 convolutions.
    for number, name in (("", "conv1"), ("_7", "layer2.0.downsample.0")):
        kernel = arrays[name + ".weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(read(f"conv2d{number}/kernel"), kernel)
    for ours, theirs in (
        ("gamma", "weight"),
        ("beta", "bias"),
        ("moving_mean", "running_mean"),
        ("moving_variance", "running_var"),
    ):
        np.testing.assert_array_equal(
            read("batch_normalization_28/" + ours), arrays["layer3.5.bn2." + theirs]
        )
    # It is never overwritten.
    again = commands.fail("import_backbone.py", arguments, tmp_path)
    assert "--output_dir=new/backbone is not empty" in again


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


class AttackInside(Tensor):
    """A build instruction with code in the state of a tensor."""

    def __reduce__(self):
        return super().__reduce__() + ({"x": Attack()},)


SIX = Storage("0", np.zeros(6, np.float32))
BFLOAT16 = Storage("0", np.zeros(6, np.float16), "BFloat16Storage")


@pytest.mark.parametrize(
    "state, message",
    [
        ({"x": Tensor(SIX, [6], [1]), "y": Attack()}, "it contains .*mkdir, which is"),
        ({"x": AttackInside(SIX, (2, 3), (3, 1))}, "it contains .*mkdir, which"),
        ([Tensor(SIX, [6], [1])], "not a dictionary of tensors"),
        ({"x": 7}, "x is not a tensor"),
        ({"x": Tensor(BFLOAT16, [6], [1])}, "torch.BFloat16Storage"),
        ({"x": Tensor(SIX, [3], [3])}, "out of its storage"),
        ({"x": Tensor(SIX, [3], [-1], offset=5)}, "out of its storage"),
        ({"x": Tensor(SIX, [2], [1], offset=-1)}, "out of its storage"),
        ({"x": Tensor(SIX, [9**9, 9**9], [0, 0])}, "out of its storage"),
        ({"x": Tensor(SIX, [6], [])}, "out of its storage"),
        ({"x": Tensor(SIX, ["a"], [1])}, "damaged: TypeError"),
    ],
)
def test_a_pickle_with_anything_but_tensors_is_refused(
    tmp_path, monkeypatch, state, message
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    write_zip(path, state)
    with pytest.raises(ValueError, match=message):
        torch_file.read(str(path), ["x"])
    path.write_bytes(pickled(state))
    with pytest.raises(ValueError):
        torch_file.read(str(path), ["x"])
    assert not (tmp_path / "attacked").exists()


class Parameter(Tensor):
    """A tensor as torch pickles a parameter."""

    def __reduce__(self):
        hooks = collections.OrderedDict()
        return TORCH["torch._utils"]._rebuild_parameter, (self.tensor, True, hooks)


class OldParameter(Parameter):
    """Like Parameter, as PyTorch 0.1 pickled it: an empty object, then its state."""

    __module__, __qualname__ = "torch.nn.parameter", "Parameter"
    __reduce__ = object.__reduce__

    def __getstate__(self):
        return self.tensor, None, None, False, False


TORCH["torch.nn.parameter"] = types.ModuleType("torch.nn.parameter")
TORCH["torch.nn.parameter"].Parameter = OldParameter


def test_tensors_and_parameters_may_share_a_storage_with_other_strides(tmp_path):
    path, storage = tmp_path / "weights.pth", Storage("0", np.float32(np.arange(10)))
    state = {"x": Tensor(storage, (3, 2), (1, 3), 2)}
    for name, kind in (("new", Parameter), ("old", OldParameter)):
        state[name] = kind(storage, (10,), (1,))
        state[name].tensor = Tensor(storage, (10,), (1,))
    write_zip(path, state)
    found = torch_file.read(str(path), ["x", "new", "old", "none"])
    np.testing.assert_array_equal(found.pop("x"), [[2, 5], [3, 6], [4, 7]])
    for values in (found.pop("new"), found.pop("old")):
        np.testing.assert_array_equal(values, storage.values)
    assert not found


def test_compressed_or_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    state = {"x": Tensor(SIX, [6], [1])}
    for options, message in (
        ({"compression": zipfile.ZIP_DEFLATED}, "is compressed"),
        ({"byteorder": b"big"}, "big-endian"),
    ):
        write_zip(path, state, **options)
        with pytest.raises(ValueError, match=message):
            torch_file.read(str(path), ["x"])
    write_zip(path, state)
    content = path.read_bytes()
    # Cuts, and changed bytes all over the file.
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 85
        for bad in (content[:place], bytes(changed)):
            path.write_bytes(bad)
            with contextlib.suppress(ValueError):
                torch_file.read(str(path), ["x"])


SMALL = {"x": np.zeros([2, 3], np.float32)}


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda path: write_safetensors(path, SMALL, dtype="BF16"), "x is .*KeyError"),
        (
            lambda path: write_safetensors(path, SMALL, shape=[2, 4]),
            "place is not vali",
        ),
        (lambda path: write_safetensors(path, SMALL, shape=[-2, -3]), "place is not"),
        (lambda path: write_safetensors(path, SMALL, shape=6), "TypeError"),
        (lambda path: write_safetensors(path, SMALL, data_offsets=[4, 28]), "place is"),
        (
            lambda path: write_safetensors(path, SMALL, data_offsets=[-24, 0]),
            "place is",
        ),
        (lambda path: path.write_bytes(b"\1"), "cut short"),
        (lambda path: path.write_bytes(struct.pack("<Q", 2**40) + b"{}"), "cut short"),
        (lambda path: path.write_bytes(b"\5" + bytes(7) + b'["x"]'), "is not valid"),
    ],
)
def test_safetensors_that_lie_about_their_places_are_refused(tmp_path, write, message):
    path = tmp_path / "model.safetensors"
    write(path)
    with pytest.raises(ValueError, match=message):
        safetensors_file.read(str(path), ["x"])


def test_what_is_not_a_resnet34_is_one_line_with_status_2(tmp_path, arrays):
    write_safetensors(tmp_path / "x", {"conv1.weight": np.zeros([64, 3, 7, 7], "f4")})
    for name, message in (
        ("none", "--weights=none: none: No such file"),
        ("x", "is not a ResNet34: batch_normalization/gamma needs bn1.weight of shape"),
    ):
        arguments = [f"--weights={name}", "--output_dir=new"]
        assert message in commands.fail("import_backbone.py", arguments, tmp_path)
        assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_torch_computes_the_same_features(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    network = torch_resnet34(torch).eval()
    with torch.no_grad():
        for parameter in [*network.parameters(), *network.buffers()]:
            # Batch norm with its own mean, variance, scale and offset.
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5)
    torch.save(network.state_dict(), str(tmp_path / "resnet34.pth"))
    arguments = ["--weights=resnet34.pth", "--output_dir=backbone"]
    result = commands.run("import_backbone.py", arguments, tmp_path)
    assert result.returncode == 0, result.stderr

    images = np.random.RandomState(1).standard_normal([1, 300, 300, 3])
    images = images.astype(np.float32)
    with torch.no_grad():
        theirs = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    theirs = theirs.numpy().transpose(0, 2, 3, 1)
    with tf.Graph().as_default(), tf.Session() as session:
        features = resnet.resnet34(tf.constant(images), is_training=False)
        weights = initial_weights.of_backbone(
            str(tmp_path / "backbone/model.ckpt-28152")
        )
        tf.train.init_from_checkpoint(weights.path, weights.variables)
        session.run(tf.global_variables_initializer())
        ours = session.run(features)
    assert ours.shape == theirs.shape == (1, 38, 38, 256)
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


def torch_resnet34(torch):
    """torchvision's ResNet34 up to the third group, with our padding and stride.

    Two things differ from torchvision by design, and are as ours here: max pooling pads
    the lower and right border only, and the third group has stride 1.
    """
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.downsample = nn.Sequential()
            if inputs != outputs:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                    nn.BatchNorm2d(outputs),
                )

        def forward(self, x):
            y = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))

    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(3, 64, 7, 2, padding=3, bias=False))
    network.add_module("bn1", nn.BatchNorm2d(64))
    network.add_module("relu", nn.ReLU())
    network.add_module("pad", nn.ConstantPad2d((0, 1, 0, 1), float("-inf")))
    network.add_module("maxpool", nn.MaxPool2d(3, 2))
    for group, (blocks, inputs, outputs) in enumerate(GROUPS, 1):
        layer = nn.Sequential()
        for block in range(blocks):
            stride = 2 if (group, block) == (2, 0) else 1
            layer.add_module(str(block), Block(inputs, outputs, stride))
            inputs = outputs
        network.add_module(f"layer{group}", layer)
    return network
