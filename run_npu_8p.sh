#!/usr/bin/env bash
# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Trains and evaluates on all devices of this server, one process a rank:
#
#   ./run_npu_8p.sh [flags of ssd_main.py]
#
# The ranks stand in npu_config/8p.json, or in the rank table that RANK_TABLE_FILE names
# ("python3 tools/rank_table.py --help" tells of making and checking one). Of a table with
# several servers, each runs this script, and SERVER_ID says which one it is where its
# addresses don't. RANK_SIZE takes only the first ranks of the table.
#
# A rank on device d works in training/D<d>, with the log train_<rank>.log there; the
# log of the lowest rank is shown. When a rank fails, it is named, and the others are
# ended. Ctrl-C and SIGTERM let the ranks save a checkpoint, for at most
# SSD_SECONDS_TO_SAVE (default 60); a second one ends them at once. The status is then 0
# if every rank ended well, else 128 and the number of the signal.
set -euo pipefail

# For the ranks that are left when one has failed.
readonly SECONDS_TO_END=10
# A rank that leaves because another is gone (see ranks.py) may do so earlier than that
# other one, which tidies up first.
readonly STATUS_OF_THE_LEFT=75 SECONDS_FOR_THE_CAUSE=5
# Becomes the command in its arguments 2.., in a session of its own, so that Ctrl-C at
# the terminal reaches the launcher alone, and is killed when the launcher, process $1,
# dies of whatever: signals that bash cannot catch leave no process behind.
readonly IN_SESSION='
import ctypes, os, signal, sys

os.setsid()
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the launcher has died")
# bash ignores the first two for it, Python the third.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
'

say() {
    echo "run_npu_8p.sh: $*" >&2
}

fail() {
    say "$@"
    exit 2
}

seconds_to_save="${SSD_SECONDS_TO_SAVE:-60}"
[[ "${seconds_to_save}" =~ ^(0|[1-9][0-9]{0,4})$ ]] ||
    fail "SSD_SECONDS_TO_SAVE=${seconds_to_save}: must be whole seconds, like 60"

# Where paths in flags start, see settings.py.
export SSD_CALLED_FROM="${PWD}"
code_dir="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null && pwd)"
# shellcheck source=env.sh
source "${code_dir}/env.sh"

rank_table() {
    "${PYTHON}" "${code_dir}/tools/rank_table.py" "$@"
}

# Finds the ranks of this server: devices[rank], RANK_SIZE, RANK_TABLE_FILE.
read_rank_table() {
    local table="${RANK_TABLE_FILE:-${code_dir}/npu_config/8p.json}" ranks rank device size
    [[ "${table}" == /* ]] || table="${PWD}/${table}"
    if [[ -n "${RANK_SIZE:-}" ]]; then
        # HCCL waits for every rank of the table: it gets one without the others.
        table="$(rank_table first "${table}" "${RANK_SIZE}" \
            "${code_dir}/training/rank_table_${RANK_SIZE}.json")" || exit 2
    fi
    ranks="$(rank_table local "${table}")" || exit 2
    while read -r rank device size; do
        devices[rank]="${device}"
        RANK_SIZE="${size}"
    done <<<"${ranks}"
    RANK_TABLE_FILE="${table}"
}

log_of() {
    echo "${code_dir}/training/D${devices[$1]}/train_$1.log"
}

make_logs() {
    local rank log
    for rank in "${!devices[@]}"; do
        log="$(log_of "${rank}")"
        { mkdir -p -- "${log%/*}" && : >>"${log}"; } 2>/dev/null ||
            fail "${log} cannot be written; mend its rights, or move it away"
    done
}

# Becomes rank $1; the rest are flags of ssd_main.py.
run_rank() {
    local rank="$1" log
    shift
    log="$(log_of "${rank}")"
    export RANK_ID="${rank}" DEVICE_ID="${devices[rank]}" DEVICE_INDEX="${devices[rank]}"
    cd -- "${log%/*}"
    exec "${PYTHON}" -c "${IN_SESSION}" "$$" "${code_dir}/exec_main.sh" \
        "${rank}" "${RANK_SIZE}" "${code_dir}" "$@" >>"${log}" 2>&1
}

# Becomes the display of file $1 from byte $2 on, while process $3 lives.
show_log() {
    exec "${PYTHON}" -c "${IN_SESSION}" "$$" \
        tail -s 0.2 -f --pid="$3" -c "+$2" -- "$1" 2>/dev/null
}

# These two are silent: bash would say "Killed" and a line of this script for a rank.
pause() {
    sleep 0.2 || true
} 2>/dev/null

# Notes the ranks that have ended: they leave pids, and failed[rank] is the status of
# those that did not end well.
reap_ranks() {
    local rank status
    for rank in "${!pids[@]}"; do
        # No $(jobs) for this: Ctrl-C would end it, and so seem to end all ranks.
        ! kill -0 "${pids[rank]}" || continue
        status=0
        wait "${pids[rank]}" || status=$?
        # What the rank has started goes with it.
        kill -KILL -- "-${pids[rank]}" || true
        unset "pids[rank]"
        ((status == 0)) || failed[rank]="${status}"
    done
} 2>/dev/null

kill_ranks() {
    local rank
    for rank in "${!pids[@]}"; do
        # A rank that starts right now does not lead a session yet.
        kill -KILL -- "${pids[rank]}" "-${pids[rank]}" 2>/dev/null || true
    done
}

# Ends the ranks that still run: politely for $1 seconds or until a further signal. Says
# the rest of its arguments first.
end_ranks() {
    deadline=$((SECONDS + $1))
    trap 'deadline=0' INT TERM HUP
    shift
    say "$@"
    ((${#pids[@]} == 0)) || kill -TERM "${pids[@]}" 2>/dev/null || true
    while reap_ranks && ((${#pids[@]} > 0 && SECONDS < deadline)); do
        pause
    done
    ((${#pids[@]} == 0)) || say "rank ${!pids[*]} did not end by itself; killing it"
    while ((${#pids[@]} > 0)); do
        kill_ranks
        pause
        reap_ranks
    done
    # What is left to say takes no time.
    trap '' INT TERM HUP
    wait "${display}" || true
}

# Says how a rank ended that had the status $1.
cause() {
    local name
    if (($1 > 128)) && name="$(kill -l "$1" 2>/dev/null)"; then
        echo "was killed by SIG${name}"
    else
        echo "failed with status $1"
    fi
}

# Sets first to the failed ranks that the others left for; all failed, if that one is on
# another server.
find_cause() {
    local rank
    deadline=$((SECONDS + SECONDS_FOR_THE_CAUSE))
    while first=() && reap_ranks; do
        for rank in "${!failed[@]}"; do
            ((failed[rank] == STATUS_OF_THE_LEFT)) || first+=("${rank}")
        done
        ((${#first[@]} == 0)) || return 0
        ((${#pids[@]} > 0 && SECONDS < deadline && signal == 0)) || break
        pause
    done
    first=("${!failed[@]}")
}

# Ends the job because of the ranks in failed.
leave_after_failure() {
    local rank first=() status
    find_cause
    status="${failed[first[0]]}"
    for rank in "${first[@]}"; do
        say "rank ${rank} $(cause "${failed[rank]}")"
    done
    end_ranks "${SECONDS_TO_END}" "ending the other ranks"
    for rank in "${first[@]}"; do
        say "rank ${rank} $(cause "${failed[rank]}"); the end of $(log_of "${rank}"):"
        tail -n 20 -- "$(log_of "${rank}")" >&2
    done
    exit "${status}"
}

# Ends the job because of signal $1.
leave_after_signal() {
    local rank
    end_ranks "${seconds_to_save}" "SIG$(kill -l "$1"): the ranks save a checkpoint" \
        "and end, within ${seconds_to_save} s; once more ends them at once"
    ((${#failed[@]} > 0)) || exit 0
    for rank in "${!failed[@]}"; do
        # Ended before it could catch the SIGTERM: as it was asked to.
        [[ "$(cause "${failed[rank]}")" == *SIGTERM ]] ||
            say "rank ${rank} $(cause "${failed[rank]}"), see $(log_of "${rank}")"
    done
    exit $((128 + $1))
}

devices=() pids=() failed=() signal=0 deadline=0
read_rank_table
make_logs
export RANK_TABLE_FILE RANK_SIZE JOB_ID="${JOB_ID:-10087}"
# Seconds that a rank waits for the others: the slowest may still be compiling.
export HCCL_CONNECT_TIMEOUT="${HCCL_CONNECT_TIMEOUT:-600}"
export FUSION_TENSOR_SIZE="${FUSION_TENSOR_SIZE:-1000000000}"

trap kill_ranks EXIT
for name in HUP INT TERM; do
    # shellcheck disable=SC2064 # the signal of this round
    trap "signal=$(kill -l "${name}")" "${name}"
done

local_ranks=("${!devices[@]}")
shown="$(log_of "${local_ranks[0]}")"
shown_from=$(($(wc -c <"${shown}") + 1))
for rank in "${local_ranks[@]}"; do
    run_rank "${rank}" "$@" &
    pids[rank]=$!
done
show_log "${shown}" "${shown_from}" "${pids[local_ranks[0]]}" &
display=$!

while ((${#pids[@]} > 0 && ${#failed[@]} == 0 && signal == 0)); do
    pause
    reap_ranks
done
((signal == 0)) || leave_after_signal "${signal}"
((${#failed[@]} == 0)) || leave_after_failure
wait "${display}" || true
