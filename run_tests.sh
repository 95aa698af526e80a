#!/usr/bin/env bash
# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Checks the style and runs the tests:
#
#   ./run_tests.sh                      all tests, one process per core
#   ./run_tests.sh --fast               only tests that take less than a second each
#   ./run_tests.sh tests/test_x.py ...  other arguments go to pytest, in one process
#
# It installs what it needs like the launchers do (see env.sh).
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail

cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
# shellcheck disable=SC2034 # env.sh reads it
SSD_REQUIREMENTS="tests/requirements.txt tools/requirements-export.txt"
# shellcheck source=env.sh
source ./env.sh

missing="$("${PYTHON}" -c '
from importlib.util import find_spec
names = {"PIL": "Pillow", "xdist": "pytest-xdist"}
names.update((name, name) for name in ("pytest", "hypothesis", "ruff"))
print(*(names[name] for name in names if find_spec(name) is None))
')"
if [[ -n "${missing}" ]]; then
    echo "run_tests.sh: ${PYTHON} lacks: ${missing}; install requirements.txt and" \
        "tests/requirements.txt for it, or name another PYTHON" >&2
    exit 2
fi

status=0
scripts=(./*.sh .ci/run)
check() {
    "$@" || status=1
}

check "${PYTHON}" -m ruff check .
check "${PYTHON}" -m ruff format --check .
for script in "${scripts[@]}"; do
    check bash -n "${script}"
done
if command -v shellcheck >/dev/null; then
    check shellcheck -x "${scripts[@]}"
fi
# Each process takes about 2 GB of memory, with the commands that it starts.
processes=(-n auto --maxprocesses=8 --dist=loadfile)
if (($# == 0)); then
    set -- "${processes[@]}"
elif [[ "$*" == --fast ]]; then
    set -- "${processes[@]}" -m "not slow"
fi
check "${PYTHON}" -m pytest "$@"
exit "${status}"
