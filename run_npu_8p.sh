#!/usr/bin/env bash
# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Trains and evaluates on all devices of this server, one process per rank:
#
#   ./run_npu_8p.sh [--max_restarts=N] [--hang_seconds=N] [flags of ssd_main.py]
#
# The ranks are those of npu_config/8p.json, or of the rank table that RANK_TABLE_FILE
# names ("python3 tools/rank_table.py --help" tells how to create and check one). If a
# table has several servers, run this script on each of them; SERVER_ID says which one
# it is if its addresses do not. RANK_SIZE takes only the first ranks of the table.
#
# The rank on device d works in training/D<d> and writes its log train_<rank>.log there;
# the log of the lowest rank is displayed. When a rank fails, the launcher names it and
# ends the others, or starts all of them again (--max_restarts). Ctrl-C and SIGTERM let
# the ranks save a checkpoint first, for at most SSD_SECONDS_TO_SAVE seconds (default
# 60); a second signal ends them at once. After a signal the exit status is 0 if every
# rank ended well, else 128 plus the number of the signal.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail

# Relative paths in flags start here, see trainer/flags.py.
export SSD_CALLED_FROM="${PWD}"
code_dir="$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
# shellcheck source=env.sh
source "${code_dir}/env.sh"
cd -- "${code_dir}"
exec "${PYTHON}" -m devices.launch run_npu_8p.sh "$@"
