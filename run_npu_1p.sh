#!/usr/bin/env bash
# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Trains and evaluates on one device:
#
#   ./run_npu_1p.sh [--max_restarts=N] [--hang_seconds=N] [flags of ssd_main.py]
#
# DEVICE_ID chooses the NPU (default 0); without an NPU the CPU is used. Paths and flags
# are set in exec_main.sh. The log is training/D<device>/train_0.log, the model
# training/D<device>/result_npu. The same command again resumes the training. Signals
# and failures are handled as in run_npu_8p.sh.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail

# Relative paths in flags start here, see trainer/flags.py.
export SSD_CALLED_FROM="${PWD}"
code_dir="$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
# shellcheck source=env.sh
source "${code_dir}/env.sh"
cd -- "${code_dir}"
exec "${PYTHON}" -m devices.launch run_npu_1p.sh "$@"
