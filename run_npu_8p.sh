#!/usr/bin/env bash
# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Trains and evaluates on the eight NPUs of one server:
#
#   ./run_npu_8p.sh [flags of ssd_main.py]
#
# Needs the server's addresses in npu_config/8p.json, or another rank table in
# RANK_TABLE_FILE; RANK_SIZE is the number of its ranks (default 8). Rank r runs on
# device r in training/D<r>, with the log train_<r>.log there; rank 0's is shown. When
# one rank fails, the others are ended.
set -euo pipefail

readonly SECONDS_TO_END=10

code_dir="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null && pwd)"
# shellcheck source=env.sh
source "${code_dir}/env.sh"

fail() {
    echo "run_npu_8p.sh: $*" >&2
    exit 2
}

table="${RANK_TABLE_FILE:-${code_dir}/npu_config/8p.json}"
[[ -f "${table}" && -r "${table}" ]] ||
    fail "RANK_TABLE_FILE=${table} cannot be read; name a rank table of this server"
RANK_TABLE_FILE="$(cd -- "$(dirname -- "${table}")" >/dev/null && pwd)/${table##*/}"
RANK_SIZE="${RANK_SIZE:-8}"
[[ "${RANK_SIZE}" =~ ^[1-9][0-9]?$ ]] ||
    fail "RANK_SIZE=${RANK_SIZE}: must be the number of ranks in ${RANK_TABLE_FILE}"
export RANK_TABLE_FILE RANK_SIZE JOB_ID="${JOB_ID:-10087}"
# Seconds that a rank waits for the others: the slowest may still be compiling.
export HCCL_CONNECT_TIMEOUT="${HCCL_CONNECT_TIMEOUT:-600}"
export FUSION_TENSOR_SIZE="${FUSION_TENSOR_SIZE:-1000000000}"

# Becomes rank $1; the rest are its flags.
run_rank() {
    export RANK_ID="$1" DEVICE_ID="$1" DEVICE_INDEX="$1"
    shift
    mkdir -p "${code_dir}/training/D${DEVICE_ID}"
    cd "${code_dir}/training/D${DEVICE_ID}"
    if ((RANK_ID == 0)); then
        exec > >(exec tee -ia train_0.log) 2>&1
    else
        exec >>"train_${RANK_ID}.log" 2>&1
    fi
    exec "${code_dir}/exec_main.sh" "${RANK_ID}" "${RANK_SIZE}" "${code_dir}" "$@"
}

# Ends what still runs: politely, then not.
end_ranks() {
    trap '' INT TERM HUP
    local deadline=$((SECONDS + SECONDS_TO_END))
    ((${#pids[@]})) || return 0
    kill -TERM "${pids[@]}" 2>/dev/null || true
    while [[ -n "$(jobs -pr)" ]] && ((SECONDS < deadline)); do
        sleep 0.2
    done
    kill -KILL "${pids[@]}" 2>/dev/null || true
    wait
}

# Leaves with the status of a rank that failed; forgets those that ended well.
check_ranks() {
    local rank log status running
    running=" $(jobs -pr | tr '\n' ' ')"
    for rank in "${!pids[@]}"; do
        [[ "${running}" != *" ${pids[rank]} "* ]] || continue
        status=0
        wait "${pids[rank]}" || status=$?
        unset "pids[rank]"
        ((status)) || continue
        log="${code_dir}/training/D${rank}/train_${rank}.log"
        echo "run_npu_8p.sh: rank ${rank} failed with status ${status};" \
            "ending the others; the end of ${log}:" >&2
        tail -n 20 -- "${log}" >&2
        exit "${status}"
    done
}

pids=()
trap end_ranks EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
for ((rank = 0; rank < RANK_SIZE; rank++)); do
    run_rank "${rank}" "$@" &
    pids[rank]=$!
done
while ((${#pids[@]})); do
    sleep 0.5
    check_ranks
done
