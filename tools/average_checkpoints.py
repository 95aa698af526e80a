# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Averages checkpoints of one training, variable by variable.

  python3 tools/average_checkpoints.py training/D0/result_npu --output_dir=averaged
  python3 tools/average_checkpoints.py run1 --last=3 --output_dir=averaged
  python3 tools/average_checkpoints.py run1/model.ckpt-900 run1/model.ckpt-1000 ...

An argument is a checkpoint, or a folder whose last --last checkpoints are taken. The
new folder gets a checkpoint model.ckpt-STEP and the label map. All variables that are
not integers are averaged, the statistics of batch norm too. The others, such as the
step, are those of the newest checkpoint. Evaluation (--checkpoint_path), export and
--init_checkpoint take the folder like any other.
"""

import os
import sys

import numpy as np
import tensorflow.compat.v1 as tf
from absl import flags

# The folder above this one has the imported modules.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import atomic_file, new_folder
from console.command import run
from console.errors import as_user_error, check
from console.paths import without_wildcards
from dataset import categories
from detection import model_file
from trainer import checkpoints

FLAGS = flags.FLAGS


def _define_flags():
    flags.DEFINE_integer(
        "last", 5, "Checkpoints to take of a folder, its newest ones.", lower_bound=2
    )
    flags.DEFINE_string("output_dir", None, "New folder for the average.")


def main(arguments):
    """Averages the checkpoints that the arguments name."""
    model_file.quiet_tensorflow()
    check(FLAGS.output_dir, "--output_dir is missing")
    found = {path: step for name in arguments for step, path in _find(name)}
    check(
        len(found) > 1,
        "give at least two checkpoints, or a folder of checkpoints: there is %d",
        len(found),
    )
    paths = sorted(found, key=found.get)
    label_map = _label_map(paths)
    with new_folder.create("output_dir", FLAGS.output_dir) as partial:
        prefix = os.path.join(partial, f"model.ckpt-{found[paths[-1]]}")
        model_file.write_checkpoint(prefix, _average(paths))
        if label_map:
            target = os.path.join(partial, model_file.LABEL_MAP_FILE)
            atomic_file.write_atomically(target, label_map)
    print(f"the mean of {len(paths)} checkpoints is in {FLAGS.output_dir}:")
    for path in paths:
        print(f"  {path}")
    if not label_map:
        print("no label_map.json is beside them: give --label_map where you use it")


def _find(name):
    """Lists (step, prefix) of the checkpoints that an argument names."""
    if not tf.gfile.IsDirectory(name):
        with as_user_error():
            return [checkpoints.find(name)]
    found, limit = [], None
    while len(found) < FLAGS.last:
        step, path = checkpoints.newest_usable(name, limit)
        check(
            path,
            "--last=%d: %s holds only %d usable checkpoints",
            FLAGS.last,
            name,
            len(found),
        )
        found.append((step, path))
        limit = step - 1
    return found


def _label_map(checkpoint_paths):
    """Returns the content of the label map beside the checkpoints, or None."""
    folders = {os.path.dirname(path): None for path in checkpoint_paths}
    files = [categories.find_label_map(None, folder) for folder in folders]
    files = [file for file in files if file]
    with as_user_error():
        label_maps = [categories.read_label_map(file) for file in files]
    for file, label_map in zip(files, label_maps):
        check(
            label_map.names == label_maps[0].names,
            "%s and %s have different categories",
            files[0],
            file,
        )
    return label_maps[0].to_json() if files else None


def _average(paths):
    """Returns a dict from name to mean, or to the value in the last of the paths."""
    readers = [tf.train.load_checkpoint(without_wildcards(path)) for path in paths]
    shapes = readers[0].get_variable_to_shape_map()
    for path, reader in zip(paths, readers):
        check(
            reader.get_variable_to_shape_map() == shapes,
            "%s and %s have different variables or categories",
            paths[0],
            path,
        )
    values = {}
    for name in shapes:
        value = readers[-1].get_tensor(name)
        if value.dtype.kind == "f":
            total = sum(np.float64(reader.get_tensor(name)) for reader in readers)
            value = np.asarray(total / len(readers), value.dtype)
        values[name] = np.asarray(value)
    return values


if __name__ == "__main__":
    run(main, _define_flags, takes_arguments=True)
