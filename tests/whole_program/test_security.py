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
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        keywords = {k.arg: k.value for k in node.keywords}
        allows = getattr(keywords.get("allow_pickle"), "value", False)
        runs_shell = getattr(keywords.get("shell"), "value", False)
        if name in _FORBIDDEN_CALLS or allows or runs_shell:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_source_runs_or_unpickles_what_it_reads(path):
    source = path.read_text(encoding="utf-8")
    if path == _RESTRICTED_UNPICKLER:
        assert source.count("pickle.") == source.count("(pickle.Unpickler)") == 1
        source = source.replace("import pickle\n", "")
    assert problems(source) == []


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
