# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures detection in picture files against the network's forward pass alone.

  python3 benchmarks/detection_speed.py PICTURES... --model=training/D0/result_npu

takes files, folders, globs and models as tools/detect.py does; best a trained model,
for what suppression costs depends on what is found. Detection is reading, decoding,
resizing, network and suppression, without drawing; the forward pass runs the same
number of batches on pictures in memory. The two take turns, so that both see the same
machine; the fastest turn of each counts. About a minute and a half for 128 photographs
on two cores. Run it on an idle machine.
"""

import os
import resource
import sys
import time

from absl import flags

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [_ROOT, os.path.join(_ROOT, "tools")]

import detect as detect_tool
from console.command import run
from console.errors import UserError
from detection import model_file, picture_stream
from devices import base

FLAGS = flags.FLAGS


def _define_flags():
    flags.DEFINE_string("model", None, "Checkpoint, folder of such, or an export.")
    flags.DEFINE_string("label_map", None, "Json with the model's categories.")
    flags.DEFINE_integer("batch_size", 8, "Pictures a run.", lower_bound=1)
    flags.DEFINE_integer("turns", 3, "Measurements of each.", lower_bound=1)
    flags.DEFINE_enum(
        "precision_mode",
        base.PRECISION_MODES[0],
        base.PRECISION_MODES,
        "Whether products may use 16 bits.",
    )


def measure(network, paths, batch_size, turns):
    """Times detection and forward pass in turns.

    Args:
      network: model_file.Network.
      paths: list of str, pictures that can be read.
      batch_size: int.
      turns: int, at least 1.

    Returns:
      (detection, forward): pictures a second of each, floats.

    Raises:
      UserError: one of the first pictures cannot be read.
    """
    decoder = picture_stream.Decoder()
    pictures = [decoder(path) for path in paths[:batch_size]]
    for picture in pictures:
        if picture.error:
            raise UserError(f"{picture.path}: {picture.error}; leave it out")
    images = picture_stream.to_batch(pictures, batch_size)
    batches = -(-len(paths) // batch_size)

    def forward():
        for _ in range(batches):
            network(images)
        return batches * batch_size

    def detection():
        return sum(
            1 for _ in picture_stream.detect(network, paths, batch_size, decoder)
        )

    seconds = {detection: [], forward: []}
    # TensorFlow prepares its kernels in the first runs.
    network(images)
    network(images)
    for _ in range(turns):
        for function, kept in seconds.items():
            start = time.time()
            count = function()
            kept.append((time.time() - start) / count)
    return 1 / min(seconds[detection]), 1 / min(seconds[forward])


def main(arguments):
    """Prints the two rates, their ratio and the peak memory."""
    model_file.quiet_tensorflow()
    paths = detect_tool.find_pictures(arguments)
    if not FLAGS.model or not paths:
        raise UserError("give pictures, and --model")
    config = model_file.session_config("cpu", FLAGS.precision_mode)
    network = model_file.open_model(FLAGS.model, FLAGS.label_map, config)
    batch_size = network.batch_size or FLAGS.batch_size
    detection, forward = measure(network, paths, batch_size, FLAGS.turns)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(paths)} pictures, batch {batch_size}, {FLAGS.precision_mode}: detection "
        f"{detection:.2f} images/s, forward pass alone {forward:.2f} images/s, ratio "
        f"{detection / forward:.3f}, peak memory {memory:.1f} GiB"
    )


if __name__ == "__main__":
    run(main, _define_flags, takes_arguments=True)
