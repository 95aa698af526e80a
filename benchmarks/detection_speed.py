# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares the speed of detection in picture files with that of the network alone.

  python3 benchmarks/detection_speed.py PICTURES... --model=training/D0/result_npu

takes files, folders, glob patterns and models as tools/detect.py does. Use a trained
model: the cost of suppression depends on the detections. It prints images/s of
detection (reading, decoding, resizing, network and suppression, without drawing),
images/s of the network for the same number of batches in memory, their ratio, and the
peak memory in GiB. The two measurements alternate, so that the load of the machine
affects both; the fastest of each counts. 128 photographs take about a minute and a half
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
from console.errors import UserError, check
from detection import model_file, picture_stream
from devices import base

FLAGS = flags.FLAGS


def _define_flags():
    flags.DEFINE_string("model", None, f"Model to run: {model_file.MODELS}.")
    flags.DEFINE_string(
        "label_map",
        None,
        "Json with the model's categories; default: that of the export, else COCO's.",
    )
    flags.DEFINE_integer(
        "batch_size", 8, "Pictures per run of the network.", lower_bound=1
    )
    flags.DEFINE_integer("turns", 3, "Measurements of each kind.", lower_bound=1)
    flags.DEFINE_enum(
        "precision_mode",
        base.PRECISION_MODES[0],
        base.PRECISION_MODES,
        "Whether convolutions may use 16 bits, as for ssd_main.py.",
    )


def measure(network, paths, batch_size, turns):
    """Measures detection and the network in alternation.

    Args:
      network: model_file.Network.
      paths: list of str, pictures that can be read.
      batch_size: int.
      turns: int, measurements of each, at least 1.

    Returns:
      (detection, forward): floats, images/s of each.

    Raises:
      UserError: one of the first batch_size pictures cannot be read.
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
    # TensorFlow prepares its kernels during the first runs.
    network(images)
    network(images)
    for _ in range(turns):
        for function, kept in seconds.items():
            start = time.time()
            count = function()
            kept.append((time.time() - start) / count)
    return 1 / min(seconds[detection]), 1 / min(seconds[forward])


def main(arguments):
    """Prints both speeds, their ratio and the peak memory."""
    model_file.quiet_tensorflow()
    paths = detect_tool.find_pictures(arguments)
    check(FLAGS.model and paths, "give pictures, and --model")
    config = model_file.session_config("cpu", FLAGS.precision_mode)
    network = model_file.open_model(FLAGS.model, FLAGS.label_map, config)
    detection, forward = measure(network, paths, FLAGS.batch_size, FLAGS.turns)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(paths)} pictures, batch {FLAGS.batch_size}, {FLAGS.precision_mode}: "
        f"detection {detection:.2f} images/s, forward pass alone {forward:.2f} "
        f"images/s, ratio {detection / forward:.3f}, peak memory {memory:.1f} GiB"
    )


if __name__ == "__main__":
    run(main, _define_flags, takes_arguments=True)
