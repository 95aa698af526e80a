#!/usr/bin/env bash
# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Trains and evaluates on one device, in the foreground:
#
#   ./run_npu_1p.sh [flags of ssd_main.py]
#
# DEVICE_ID chooses the NPU (default 0); without an NPU the CPU does it. Paths and flags
# stand in exec_main.sh. The log is training/D<device>/train_0.log, the model
# training/D<device>/result_npu. The same command again resumes the training.
set -euo pipefail

export DEVICE_ID="${DEVICE_ID:-0}"
if [[ ! "${DEVICE_ID}" =~ ^(0|[1-9][0-9]{0,5})$ ]]; then
    echo "run_npu_1p.sh: DEVICE_ID=${DEVICE_ID}: must be the number of a device, like 0" >&2
    exit 2
fi

code_dir="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null && pwd)"
# shellcheck source=env.sh
source "${code_dir}/env.sh"

export DEVICE_INDEX="${DEVICE_ID}" RANK_ID=0 RANK_SIZE=1 JOB_ID="${JOB_ID:-10087}"
# With a rank table, one rank would wait for the others.
unset RANK_TABLE_FILE

# Where paths in flags start, see settings.py.
export SSD_CALLED_FROM="${PWD}"
mkdir -p "${code_dir}/training/D${DEVICE_ID}"
cd "${code_dir}/training/D${DEVICE_ID}"
# The training takes this process's place: signals and exit status are its own. The log
# outlasts a signal to the whole group, for what the training says when it ends.
exec > >(trap '' INT TERM HUP && exec tee -a train_0.log) 2>&1
exec "${code_dir}/exec_main.sh" 0 1 "${code_dir}" "$@"
