# shellcheck shell=bash
# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Sourced by the launchers and run_tests.sh: picks the Python and exports PYTHON.
#
#   1. $PYTHON, where it is set.
#   2. python3, where it already has a TensorFlow with Estimator and the other
#      packages, as on an Ascend machine. Nothing is installed or changed there.
#   3. .venv beside this file, made once from requirements.txt.
#
# SSD_REQUIREMENTS names more requirement files for .venv, relative to this file and
# parted by spaces. What goes wrong is one line; the status is then 2.

_ssd_root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null && pwd)"
_ssd_venv="${_ssd_root}/.venv"
_ssd_log="${_ssd_root}/.venv.log"
_ssd_versions="3.7, 3.9, 3.10 and 3.11"

# Looks at files only: importing TensorFlow takes seconds, and loads the driver's
# libraries on an Ascend machine.
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
print("fit")
'

_ssd_say() {
    echo "env.sh: $*" >&2
}

# Says "fit", or what $1 lacks.
_ssd_check() {
    "$1" -c "${_ssd_probe}" 2>&1 | tail -n 1
}

# Says the version of $1 if the requirements can be installed for it.
_ssd_version() {
    local version
    version="$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"
    echo "${version}"
    case "${version}" in
        3.7 | 3.9 | 3.10 | 3.11) return 0 ;;
        *) return 1 ;;
    esac
}

_ssd_use_given() {
    local found state
    if ! found="$(command -v -- "${PYTHON}")" || ! "${found}" -c '' 2>/dev/null; then
        _ssd_say "PYTHON=${PYTHON} does not run; name a Python interpreter, or unset it"
        return 2
    fi
    [[ "${found}" == /* ]] || found="${PWD}/${found}"
    state="$(_ssd_check "${found}")" || true
    if [[ "${state}" != fit ]]; then
        _ssd_say "PYTHON=${PYTHON} ${state}; install requirements.txt, or unset PYTHON"
        return 2
    fi
    PYTHON="${found}"
}

_ssd_use_system() {
    local found
    found="$(command -v python3)" || return 1
    [[ "$(_ssd_check "${found}")" == fit ]] || return 1
    PYTHON="${found}"
}

# Says which Python .venv is to be made with.
_ssd_base() {
    local name version seen="" without_venv=""
    for name in python3 python3.11 python3.10 python3.9 python3.7; do
        if ! version="$(_ssd_version "${name}")"; then
            seen="${seen:-${version}}"
        elif "${name}" -c 'import ensurepip, venv' 2>/dev/null; then
            command -v "${name}"
            return 0
        else
            without_venv="${without_venv:-${version}}"
        fi
    done
    if [[ -n "${without_venv}" ]]; then
        _ssd_say "Python ${without_venv} lacks the module venv: apt-get install" \
            "python${without_venv}-venv, or set PYTHON"
    else
        _ssd_say "Python ${_ssd_versions} work, and none is on the PATH" \
            "(python3: ${seen:-none}); install one, or set PYTHON"
    fi
    return 2
}

_ssd_stamp() {
    echo "${_ssd_venv}/.installed-${1//\//-}"
}

_ssd_is_installed() {
    local file
    [[ ! -e "${_ssd_venv}/.unfinished" ]] || return 1
    for file in "$@"; do
        [[ "$(cat "$(_ssd_stamp "${file}")" 2>/dev/null)" \
            == "$(cksum <"${_ssd_root}/${file}")" ]] || return 1
    done
    # The Python that it was made with may be gone, or be another one by now.
    _ssd_version "${_ssd_venv}/bin/python" >/dev/null
}

_ssd_make_venv() {
    local base
    base="$(_ssd_base)" || return 2
    # Only a folder that was not there before is ours to throw away when the making
    # is interrupted: half of pip cannot repair itself.
    if mkdir "${_ssd_venv}" 2>/dev/null; then
        : >"${_ssd_venv}/.unfinished"
    fi
    if ! "${base}" -m venv "${_ssd_venv}" >"${_ssd_log}" 2>&1; then
        _ssd_say "cannot make ${_ssd_venv}; ${_ssd_log} says why"
        return 2
    fi
}

_ssd_install() {
    local python="${_ssd_venv}/bin/python" file version arguments=()
    _ssd_is_installed "$@" && return 0
    if [[ -e "${_ssd_venv}/.unfinished" ]]; then
        rm -rf -- "${_ssd_venv}"
    fi
    if [[ ! -e "${python}" && ! -L "${python}" ]]; then
        _ssd_make_venv || return 2
    fi
    if ! version="$(_ssd_version "${python}")"; then
        _ssd_say "${python} is Python ${version:-(does not run)}; Python" \
            "${_ssd_versions} work: move ${_ssd_venv} away"
        return 2
    fi
    _ssd_say "installing $* into ${_ssd_venv}, once; this takes minutes"
    for file in "$@"; do
        arguments+=(-r "${_ssd_root}/${file}")
    done
    if ! PIP_USER=0 "${python}" -m pip install "${arguments[@]}" >"${_ssd_log}" 2>&1 ||
        ! "${python}" -c 'import absl, numpy, pycocotools.mask, tensorflow, tqdm' \
            >>"${_ssd_log}" 2>&1; then
        _ssd_say "cannot install $*; ${_ssd_log} says why: $(tail -n 1 "${_ssd_log}")"
        return 2
    fi
    for file in "$@"; do
        cksum <"${_ssd_root}/${file}" >"$(_ssd_stamp "${file}")"
    done
    rm -f -- "${_ssd_venv}/.unfinished"
}

_ssd_use_venv() {
    local files
    read -ra files <<<"requirements.txt ${SSD_REQUIREMENTS:-}"
    if ! _ssd_is_installed "${files[@]}"; then
        # Of two launchers at once, the second waits and then finds it done.
        (
            if command -v flock >/dev/null && ! flock -n 9; then
                _ssd_say "waiting for another launcher, which installs packages"
                flock 9
            fi
            _ssd_install "${files[@]}"
        ) 9>"${_ssd_root}/.venv.lock" || return 2
    fi
    PYTHON="${_ssd_venv}/bin/python"
}

if [[ -n "${PYTHON:-}" ]]; then
    _ssd_use_given || return 2
else
    _ssd_use_system || _ssd_use_venv || return 2
fi
export PYTHON

# What TensorFlow and Python read at their start.
export PYTHONUNBUFFERED=1
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-1}"
# glibc gives the memory of each large tensor back to the system, which then clears it
# anew, page by page, for TensorFlow 1.15's every image. Keeping it costs address space.
export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_:-0}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-1073741824}"
export MALLOC_TOP_PAD_="${MALLOC_TOP_PAD_:-134217728}"
# oneDNN's kernels, which TensorFlow takes by itself on the newest processors only.
if [[ "$(uname -m)" == x86_64 ]]; then
    export TF_ENABLE_ONEDNN_OPTS="${TF_ENABLE_ONEDNN_OPTS:-1}"
fi
