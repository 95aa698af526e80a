# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes a pretrained backbone of a ResNet34 file of torchvision or timm.

  python3 tools/import_backbone.py --weights=resnet34-b627a593.pth --output_dir=backbone

writes the checkpoint backbone/model.ckpt-28152, for --resnet_checkpoint. The name is
that of the published checkpoint: with path_to_pretrain=.../backbone in exec_main.sh the
launchers find it. Files of torchvision (resnet34-*.pth) and of timm (model.safetensors)
name their tensors alike:

  conv1.weight            conv2d/kernel (height, width, input, output)
  bn1.weight, .bias       batch_normalization/gamma, .../beta
  bn1.running_mean, _var  batch_normalization/moving_mean, .../moving_variance

and so on for layer1 to layer3, where `downsample` comes before the block's own
convolutions. layer4 and the classifier are not part of SSD. Two things differ from
torchvision's network by design, as in the published checkpoint's use: max pooling pads
the lower and right border only, and the third group has stride 1.
"""

import os
import sys

import numpy as np
from absl import flags

# The folder above this one has the imported modules.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import resnet
from console import new_folder
from console.command import run
from console.errors import UserError, as_user_error, check
from detection import model_file
from trainer import initial_weights
from weights import safetensors_file, torch_file

FLAGS = flags.FLAGS

_NAME = "model.ckpt-28152"
_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _define_flags():
    flags.DEFINE_string(
        "weights", None, "File of a ResNet34: resnet34-*.pth or model.safetensors."
    )
    flags.DEFINE_string("output_dir", None, "New folder for the checkpoint.")


def main(_):
    """Converts the file that the flags name."""
    model_file.quiet_tensorflow()
    for name in ("weights", "output_dir"):
        check(FLAGS[name].value, "--%s is missing", name)
    with as_user_error(f"--weights={FLAGS.weights}:", (ValueError, OSError)):
        values = _read(FLAGS.weights)
    with new_folder.create("output_dir", FLAGS.output_dir) as partial:
        model_file.write_checkpoint(os.path.join(partial, _NAME), values)
    path = os.path.join(FLAGS.output_dir, _NAME)
    print(f"{len(values)} variables written; use --resnet_checkpoint={path}")


def _read(path):
    """Returns the values of the backbone's variables by their published names."""
    names = _torch_names()
    reader = torch_file if torch_file.is_torch_file(path) else safetensors_file
    tensors = reader.read(path, names.values())
    values = {}
    for name, shape in initial_weights.backbone_shapes().items():
        name = name[len(initial_weights.BACKBONE_SCOPE) :]
        value = tensors.get(names[name])
        if value is not None and value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        found = "none" if value is None else list(value.shape)
        if found != shape or not np.isfinite(value).all():
            raise UserError(
                f"--weights={path} is not a ResNet34: {name} needs {names[name]} of "
                f"shape {shape} and finite numbers, but it has {found}"
            )
        values[name] = np.ascontiguousarray(value, np.float32)
    return values


def _torch_names():
    """Returns a dict from the name of a variable to that of torchvision's tensor."""
    names = {}
    for number, (convolution, batch_norm) in enumerate(_layers()):
        suffix = f"_{number}" if number else ""
        names[f"conv2d{suffix}/kernel"] = convolution + ".weight"
        for ours, theirs in _BATCH_NORM.items():
            names[f"batch_normalization{suffix}/{ours}"] = f"{batch_norm}.{theirs}"
    return names


def _layers():
    """Yields torchvision's names of convolution and batch norm in the order of ours."""
    yield "conv1", "bn1"
    for group, (blocks, _, _, projects) in enumerate(resnet.GROUPS, 1):
        for block in range(blocks):
            start = f"layer{group}.{block}."
            if projects and not block:
                yield start + "downsample.0", start + "downsample.1"
            yield start + "conv1", start + "bn1"
            yield start + "conv2", start + "bn2"


if __name__ == "__main__":
    run(main, _define_flags)
