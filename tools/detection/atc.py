# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Converts raw.pb to an offline model with ATC, the converter of Ascend's CANN."""

import os
import subprocess
import sys
import tempfile

import anchors
from console.errors import UserError
from detection import exporter, model_file

# ATC adds ".om".
OUTPUT = "ssd_resnet34"
# Lines of ATC's output that are shown if it fails.
_SHOWN_LINES = 10


def command(folder, batch_size, soc_version):
    """Returns the command, a list of str, that converts the raw.pb of an export.

    Args:
      folder: str, folder of the export.
      batch_size: int, that of raw.pb.
      soc_version: str, the name of the processor, such as Ascend310P3.
    """
    size = anchors.IMAGE_SIZE
    outputs = ";".join(name + ":0" for name in model_file.RAW_OUTPUTS)
    return [
        "atc",
        "--framework=3",
        "--model=" + os.path.join(folder, exporter.RAW_FILE),
        "--output=" + os.path.join(folder, OUTPUT),
        "--input_format=NHWC",
        f"--input_shape={model_file.INPUT}:{batch_size},{size},{size},3",
        f"--out_nodes={outputs}",
        f"--soc_version={soc_version}",
    ]


def convert(folder, batch_size, soc_version):
    """Runs `command`, and removes everything that ATC leaves but the offline model.

    Raises:
      UserError: ATC fails; the last lines of its output are on the standard error.
    """
    with tempfile.TemporaryDirectory(dir=folder) as work:
        # ATC writes its own files into the current folder, and does not take every
        # character in a path; this one always fits.
        result = subprocess.run(
            command("..", batch_size, soc_version),
            cwd=work,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if result.returncode or not os.path.isfile(os.path.join(folder, OUTPUT + ".om")):
        lines = result.stdout.decode(errors="replace").splitlines()
        print("\n".join(lines[-_SHOWN_LINES:]), file=sys.stderr)
        raise UserError(
            f"--soc_version={soc_version}: atc failed with status {result.returncode}; "
            "its last lines are above; nothing was exported"
        )
