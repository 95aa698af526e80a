# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""No source executes or unpickles the data that it reads."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SOURCES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if path.relative_to(ROOT).parts[0] not in ("tests", ".venv")
)
# A connection of multiprocessing unpickles what recv() receives.
_FORBIDDEN_CALLS = {"eval", "exec", "system", "popen", "literal_eval", "recv"}
_FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill"}
# Its unpickler only knows dictionaries of tensors: tests/tools/test_import_backbone.py.
_RESTRICTED_UNPICKLER = ROOT / "tools" / "weights" / "torch_file.py"


def problems(source):
    """Lines of a source that run or unpickle what they are given."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            names.append(getattr(node, "module", None) or "")
            if _FORBIDDEN_IMPORTS & {name.split(".")[0] for name in names}:
                found.append(node.lineno)
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            values = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            is_on = values.get("allow_pickle") or values.get("shell")
            if name in _FORBIDDEN_CALLS or is_on:
                found.append(node.lineno)
    return found


def test_no_source_runs_or_unpickles_what_it_reads():
    sources = {path: path.read_text(encoding="utf-8") for path in SOURCES}
    text = sources[_RESTRICTED_UNPICKLER]
    assert text.count("pickle.") == text.count("(pickle.Unpickler)") == 1
    sources[_RESTRICTED_UNPICKLER] = text.replace("import pickle\n", "")
    found = {str(path): problems(source) for path, source in sources.items()}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "os.system(name)",
        "subprocess.run(name, shell=True)",
        "np.load(path, allow_pickle=True)",
        "connection.recv()",
        "eval(text)",
    ],
)
def test_a_forbidden_line_is_found(line):
    assert problems(line) == [1]
