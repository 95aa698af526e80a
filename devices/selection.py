# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chooses the device: an NPU where Huawei's adapter is installed, else a GPU or CPU."""

from devices import base, cluster, cpu_gpu, npu


def create(device, options=base.DEFAULT_OPTIONS):
    """Creates the device of this rank.

    Args:
      device: one of base.DEVICES; "auto" is an NPU if the adapter is installed, else
        what TensorFlow finds.
      options: base.Options.

    Returns:
      base.Device, not started.

    Raises:
      UserError: one line; RANK_ID, RANK_SIZE and RANK_TABLE_FILE are wrong.
      ValueError: one line; the device is missing, or an option does not fit it.
    """
    ranks = cluster.from_environment(options.base_port)
    if device == "npu" or (device == "auto" and npu.find_package()):
        return npu.Npu(ranks, options)
    return cpu_gpu.create(device, ranks, options)
