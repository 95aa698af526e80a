# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every source works with TensorFlow 1.15 and Python 3.7, as far as names can tell.

data/tf115_api.json is the tree of public names of tensorflow.compat.v1 1.15.5. A leaf
is "value" or a signature such as "(input filter name)". In a module or class, "" is its
own leaf, and "*" means that it has further attributes which are not listed.
"""

import ast
import json
import pathlib
import sys

import pytest
import tensorflow.compat.v1 as tf

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_API = json.loads((_ROOT / "tests" / "data" / "tf115_api.json").read_text())

_NPU_PACKAGES = ("npu_bridge", "npu_device", "hccl")
# The only module that may import them; tests import their own stand-in.
_NPU_MODULE = "devices/npu.py"


def find_problems(source, path):
    """Returns the lines that 1.15 or Python 3.7 cannot run: "path:line: what is wrong".

    path is relative to the project.
    """
    # Python 3.7 itself has no feature_version and does not need it.
    version = {} if sys.version_info < (3, 8) else {"feature_version": (3, 7)}
    try:
        tree = ast.parse(source, path, **version)
    except SyntaxError as error:
        return [f"{path}:{error.lineno}: not Python 3.7: {error.msg}"]
    found = []
    for node in ast.walk(tree):
        found += [(node, text) for text in _import_problems(node, path)]
    for node, name in _tensorflow_names(tree):
        if resolve(name) is None:
            found.append((node, f"1.15 has no {name}"))
    for node, name, keyword in _tensorflow_keywords(tree):
        if not _takes(resolve(name), keyword):
            found.append((node, f"1.15's {name} takes no {keyword}="))
    return [f"{path}:{node.lineno}: {text}" for node, text in found]


def _import_problems(node, path):
    names = []
    if isinstance(node, ast.Import):
        names = [(alias.name, alias.asname) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [(f"{node.module}.{alias.name}", None) for alias in node.names]
    for name, alias in names:
        package = name.split(".")[0]
        if package == "tensorflow" and (name, alias) != ("tensorflow.compat.v1", "tf"):
            yield f"{name}: write import tensorflow.compat.v1 as tf"
        is_allowed = path == _NPU_MODULE or path.startswith("tests/")
        if package in _NPU_PACKAGES and not is_allowed:
            yield f"{name}: only {_NPU_MODULE} may import it"


def _chain(node):
    """'tf.a.b' for an attribute chain on the name tf, else None."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if parts and isinstance(node, ast.Name) and node.id == "tf":
        return ".".join(["tf"] + parts[::-1])
    return None


def _tensorflow_names(tree):
    """Yields (node, name) for the longest attribute chains on tf."""
    nodes = list(ast.walk(tree))
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        name = None if id(node) in inner else _chain(node)
        if name:
            yield node, name


def _tensorflow_keywords(tree):
    """Yields (node, function, keyword) for calls and functools.partial on tf."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        is_partial = getattr(node.func, "attr", None) == "partial"
        name = _chain(node.args[0] if is_partial else node.func)
        for keyword in node.keywords:
            if name and keyword.arg:
                yield node, name, keyword.arg


def resolve(name):
    """Returns "value" or the signature of a name in 1.15; None if 1.15 lacks it."""
    node = _API
    for part in name.split(".")[1:]:
        own = node.get("", "") if isinstance(node, dict) else node
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif own == "value" or part.startswith("__"):
            return "value"
        elif isinstance(node, dict) and "*" in node:
            return "(*args **kwargs)"
        else:
            return None
    return node.get("", "value") if isinstance(node, dict) else node


def _takes(signature, keyword):
    """Whether a resolved name takes the keyword; missing names are other problems."""
    if signature is None or not signature.startswith("("):
        return True
    arguments = signature[1:-1].split()
    return keyword in arguments or "**kwargs" in arguments


def _sources():
    for path in sorted(_ROOT.rglob("*.py")):
        name = path.relative_to(_ROOT).as_posix()
        if not name.startswith("."):
            yield name, path.read_text(encoding="utf-8")


def test_the_sources_use_only_what_tensorflow_1_15_has():
    sources = dict(_sources())
    assert {"devices/npu.py", "tools/detection/exporter.py"} <= set(sources)
    problems = [text for path in sources for text in find_problems(sources[path], path)]
    assert not problems, "\n" + "\n".join(problems)


def test_the_sources_use_only_what_the_installed_tensorflow_has():
    missing = []
    for path, source in _sources():
        for node, name in _tensorflow_names(ast.parse(source)):
            value = tf
            for part in name.split(".")[1:]:
                value = getattr(value, part, None)
            if value is None:
                missing.append(f"{path}:{node.lineno}: {name}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize(
    "line, problem",
    [
        ("tf.nn.gelu(x)", "1.15 has no tf.nn.gelu"),
        ("tf.nn.relu.x", "1.15 has no tf.nn.relu.x"),
        ("tf.data.Dataset.random(1).map(f)", "1.15 has no tf.data.Dataset.random"),
        ("tf.data.TFRecordDataset(files, name='x')", "1.15's tf.data.TFRecordDataset "),
        ("functools.partial(tf.nn.relu, slope=1)", "1.15's tf.nn.relu takes no slope="),
        ("import tensorflow as tf", "tensorflow: write import tensorflow.compat.v1 "),
        ("from tensorflow.python.ops import nn_ops", "tensorflow.python.ops.nn_ops: "),
        ("from npu_bridge import npu_ops", "npu_bridge.npu_ops: only devices/npu.py"),
        ("if (n := f()): pass", "not Python 3.7"),
    ],
)
def test_a_bad_line_is_found(line, problem):
    (found,) = find_problems("\n" + line, "tools/example.py")
    assert found.startswith("tools/example.py:2: " + problem)
