#!/usr/bin/env bash
# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Checks style and runs the tests, as many files at once as there are cores;
# arguments go to pytest, one test at a time:
#
#   ./run_tests.sh [-k name] [tests/test_x.py]
#
# Sets up what it needs like the launchers do (see env.sh).
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
# shellcheck disable=SC2034 # env.sh reads it
SSD_REQUIREMENTS=tests/requirements.txt
# shellcheck source=env.sh
source ./env.sh

missing="$("${PYTHON}" -c '
from importlib.util import find_spec
names = {"PIL": "Pillow", "xdist": "pytest-xdist"}
names.update((name, name) for name in ("pytest", "hypothesis", "ruff"))
print(*(names[name] for name in names if find_spec(name) is None))
')"
if [[ -n "${missing}" ]]; then
    echo "run_tests.sh: ${PYTHON} lacks: ${missing}; install tests/requirements.txt" \
        "for it, or name another PYTHON" >&2
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
# Each takes about 2 GB of memory, with the commands that it starts.
(($#)) || set -- -n auto --maxprocesses=8 --dist=loadfile
check "${PYTHON}" -m pytest "$@"
exit "${status}"
