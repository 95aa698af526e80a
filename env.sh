# shellcheck shell=bash
# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The launchers and run_tests.sh source this file. It chooses the Python interpreter and
# exports its path as PYTHON:
#
#   1. $PYTHON, if it is set.
#   2. python3, if TensorFlow with Estimator and the other packages that training needs
#      are installed there, as on an Ascend machine. Nothing is installed or changed.
#   3. .venv next to this file, created once from requirements.txt and the files that
#      SSD_REQUIREMENTS lists (separated by spaces, relative to this file).
#
# Every failure is one line on the standard error and status 2.

_ssd_root="$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
_ssd_venv="${_ssd_root}/.venv"

# Prints what a Python lacks. It looks at files only, because importing TensorFlow takes
# seconds and loads the driver's libraries on an Ascend machine.
_ssd_probe='
import importlib.util, os, re, sys

names = ("tensorflow", "tensorflow_estimator", "numpy", "absl", "pycocotools")
missing = [name for name in names if importlib.util.find_spec(name) is None]
if missing:
    sys.exit("lacks the packages " + ", ".join(missing))
tensorflow = importlib.util.find_spec("tensorflow")
packages = os.path.dirname(list(tensorflow.submodule_search_locations)[0])
pattern = re.compile(
    r"tensorflow(?:_(?:cpu|gpu|intel|macos|rocm|aarch64))?-(\d+)\.(\d+).*-info$"
)
for match in filter(None, map(pattern.match, os.listdir(packages))):
    version = tuple(map(int, match.groups()))
    if version != (1, 15) and not (2, 0) <= version < (2, 16):
        sys.exit("has TensorFlow %d.%d; it must be 1.15, or 2.0 to 2.15" % version)
'

_ssd_say() {
    echo "env.sh: $*" >&2
}

_ssd_use_given() {
    local problem=""
    if ! PYTHON="$(command -v -- "${PYTHON}")" ||
        ! problem="$("${PYTHON}" -c "${_ssd_probe}" 2>&1)"; then
        problem="${problem##*$'\n'}"
        _ssd_say "PYTHON=$1 ${problem:-does not run}; name a Python that has the" \
            "packages of requirements.txt, or unset PYTHON"
        return 2
    fi
}

# Creates .venv with the first Python that can do so.
_ssd_create_venv() {
    local name
    for name in python3 python3.11 python3.10 python3.9 python3.7; do
        "${name}" -c 'import ensurepip, sys, venv; sys.exit(
            sys.version_info[:2] not in {(3, 7), (3, 9), (3, 10), (3, 11)})' 2>/dev/null ||
            continue
        "${name}" -m venv "${_ssd_venv}"
        return
    done
    echo "no Python 3.7, 3.9, 3.10 or 3.11 with the module venv is on the PATH; install" \
        "one (Debian and Ubuntu: also the package python3-venv), or set PYTHON"
    return 1
}

# Prints what .venv/.installed keeps: checksums of requirement files, and .venv's Python.
_ssd_record() {
    # Redirected one by one, so that the trace of `bash -x` is not part of the output.
    (cd -- "${_ssd_root}" && cksum -- "$@" 2>&1 && .venv/bin/python --version 2>&1)
}

_ssd_is_installed() {
    local others
    [[ -s "${_ssd_venv}/.installed" ]] || return 1
    others="$(_ssd_record "$@" | grep -vxFf "${_ssd_venv}/.installed")" || true
    [[ -z "${others}" ]]
}

_ssd_install() {
    local python="${_ssd_venv}/bin/python" log="${_ssd_root}/.venv.log"
    _ssd_is_installed "$@" && return
    if { [[ -e "${_ssd_venv}" ]] || _ssd_create_venv; } >"${log}" 2>&1 &&
        _ssd_say "installing $* into ${_ssd_venv}, once; this takes minutes" &&
        PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 \
            "${python}" -m pip install "${@/#/-r${_ssd_root}/}" >>"${log}" 2>&1 &&
        "${python}" -c 'import absl, pycocotools.mask, tensorflow' >>"${log}" 2>&1; then
        _ssd_record "$@" >"${_ssd_venv}/.installed"
    else
        _ssd_say "$(tail -n 1 -- "${log}"); ${log} has the details, and if ${_ssd_venv}" \
            "is damaged, remove it: it is created again"
        return 2
    fi
}

_ssd_use_venv() {
    local files
    read -ra files <<<"requirements.txt ${SSD_REQUIREMENTS:-}"
    _ssd_is_installed "${files[@]}" || (
        # The second of two launchers waits, and then finds everything installed. Status
        # 1: another launcher has the lock. Any other status: locks do not work here.
        flock -n 9 2>/dev/null
        if (($? == 1)); then
            _ssd_say "waiting for another launcher, which installs packages"
            flock 9
        fi
        _ssd_install "${files[@]}"
    ) 9>"${_ssd_root}/.venv.lock" || return 2
    PYTHON="${_ssd_venv}/bin/python"
}

if [[ -n "${PYTHON:-}" ]]; then
    _ssd_use_given "${PYTHON}" || return 2
elif ! PYTHON="$(command -v python3)" ||
    ! "${PYTHON}" -c "${_ssd_probe}" >/dev/null 2>&1; then
    _ssd_use_venv || return 2
fi
# A PATH with an empty or relative entry gives a relative path.
[[ "${PYTHON}" == /* ]] || PYTHON="${PWD}/${PYTHON}"
export PYTHON

# Read by Python and TensorFlow when they start.
export PYTHONUNBUFFERED=1
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-1}"
# By default glibc returns the memory of each large tensor to the system, which clears it
# page by page when it is allocated again: for every image with TensorFlow 1.15. Keeping
# the memory only costs address space.
export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_:-0}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-1073741824}"
export MALLOC_TOP_PAD_="${MALLOC_TOP_PAD_:-134217728}"
# oneDNN's kernels, which TensorFlow enables by itself only on the newest processors.
if [[ "$(uname -m)" == x86_64 ]]; then
    export TF_ENABLE_ONEDNN_OPTS="${TF_ENABLE_ONEDNN_OPTS:-1}"
fi
