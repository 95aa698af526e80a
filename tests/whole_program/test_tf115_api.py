# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every source uses only what TensorFlow 1.15 has, whatever version is installed.

data/tf115_api.json is the tree of public names of tensorflow.compat.v1 1.15.5. A leaf
is "value" or a signature such as "(input filter name)"; in a module or class, "" is its
own leaf, and "*" says that further attributes exist which are not listed.
"""

import ast
import json
import pathlib
import sys

import pytest
import tensorflow.compat.v1 as tf

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_API = json.loads((_ROOT / "tests" / "data" / "tf115_api.json").read_text())

# (file, name) pairs that 1.15 lacks and that stand behind a check of the version. The
# one place for such differences.
_TOLERATED = frozenset()

_NPU_PACKAGES = ("npu_bridge", "npu_device", "hccl")
# The only module that may import them; tests bring a stand-in of their own.
_NPU_MODULE = "devices/npu.py"


def find_problems(source, path, tolerated=_TOLERATED):
    """Finds what TensorFlow 1.15 on Python 3.7 would stop at.

    Args:
      source: str, Python code.
      path: str, the file relative to the project.
      tolerated: set of (path, name) that may pass.

    Returns:
      list of str, "path:line: what is wrong".
    """
    # Python 3.7 itself has no feature_version, and needs none.
    version = {} if sys.version_info < (3, 8) else {"feature_version": (3, 7)}
    try:
        tree = ast.parse(source, path, **version)
    except SyntaxError as error:
        return [f"{path}:{error.lineno}: not Python 3.7: {error.msg}"]
    problems = []
    for node in ast.walk(tree):
        for text in _import_problems(node, path):
            problems.append(f"{path}:{node.lineno}: {text}")
    for node, name in _tensorflow_names(tree):
        if resolve(name) is None and (path, name) not in tolerated:
            problems.append(f"{path}:{node.lineno}: 1.15 has no {name}")
    for node, name, keyword in _tensorflow_keywords(tree):
        if not _takes(resolve(name), keyword):
            problems.append(f"{path}:{node.lineno}: 1.15's {name} takes no {keyword}=")
    return problems


def _import_problems(node, path):
    for name, alias in _imports(node):
        package = name.split(".")[0]
        if package == "tensorflow" and (name, alias) != ("tensorflow.compat.v1", "tf"):
            yield f"{name}: write import tensorflow.compat.v1 as tf"
        is_test = path.startswith("tests/")
        if package in _NPU_PACKAGES and path != _NPU_MODULE and not is_test:
            yield f"{name}: only {_NPU_MODULE} may import it"


def _imports(node):
    """(module, alias) pairs that the node imports, in whatever way."""
    if isinstance(node, ast.Import):
        return [(alias.name, alias.asname) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [(f"{node.module}.{alias.name}", None) for alias in node.names]
    if isinstance(node, ast.Call) and _last_name(node.func) in (
        "import_module",
        "__import__",
    ):
        constants = [child for child in ast.walk(node) if hasattr(child, "s")]
        return [(child.s, None) for child in constants if isinstance(child.s, str)]
    return []


def _last_name(node):
    return getattr(node, "attr", getattr(node, "id", None))


def _chain(node):
    """'tf.a.b' of an attribute chain on the name tf; None for all else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if parts and isinstance(node, ast.Name) and node.id == "tf":
        return ".".join(["tf"] + parts[::-1])
    return None


def _tensorflow_names(tree):
    """Yields (node, name) of the longest attribute chains on tf."""
    nodes = list(ast.walk(tree))
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        name = None if id(node) in inner else _chain(node)
        if name:
            yield node, name


def _tensorflow_keywords(tree):
    """Yields (node, function, keyword) of calls and functools.partial on tf."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if _last_name(function) == "partial" and node.args:
            function = node.args[0]
        name = _chain(function)
        for keyword in node.keywords:
            if name and keyword.arg:
                yield node, name, keyword.arg


def resolve(name):
    """Looks a name up in 1.15.

    Args:
      name: str such as "tf.nn.relu".

    Returns:
      str, "value" or a signature; None when 1.15 lacks the name.
    """
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
    """Whether a resolved name takes the keyword; a missing name is told elsewhere."""
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
    problems = []
    for path, source in _sources():
        problems += find_problems(source, path)
    assert not problems, "\n" + "\n".join(problems)


def test_every_folder_of_sources_is_read():
    paths = [path for path, _ in _sources()]
    assert {"ssd_main.py", "devices/base.py", "tools/detect.py"} <= set(paths)
    assert "tests/whole_program/test_tf115_api.py" in paths


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


_BAD = {
    "name_of_2_x": ("tf.nn.gelu(x)", "1.15 has no tf.nn.gelu"),
    "module_of_2_x": ("tf.numpy.abs(x)", "1.15 has no tf.numpy.abs"),
    "contrib": ("tf.contrib.layers.conv2d(x)", "1.15 has no tf.contrib.layers.conv2d"),
    "attribute_of_function": ("tf.nn.relu.x", "1.15 has no tf.nn.relu.x"),
    "method_of_2_x": (
        "tf.data.Dataset.random",
        "1.15 has no tf.data.Dataset.random",
    ),
    "inside_a_chain_on_a_call": (
        "tf.data.Dataset.random(seed=1).map(f)",
        "1.15 has no tf.data.Dataset.random",
    ),
    "keyword_of_2_x": (
        "tf.data.TFRecordDataset(files, name='x')",
        "1.15's tf.data.TFRecordDataset takes no name=",
    ),
    "keyword_in_partial": (
        "functools.partial(tf.nn.relu, slope=1)",
        "1.15's tf.nn.relu takes no slope=",
    ),
    "plain_import": (
        "import tensorflow as tf",
        "tensorflow: write import tensorflow.compat.v1 as tf",
    ),
    "import_of_a_part": (
        "from tensorflow.compat import v1",
        "tensorflow.compat.v1: write import tensorflow.compat.v1 as tf",
    ),
    "private_import": (
        "from tensorflow.python.ops import nn_ops",
        "tensorflow.python.ops.nn_ops: write import tensorflow.compat.v1 as tf",
    ),
    "npu_import": (
        "from npu_bridge.estimator import npu_ops",
        "npu_bridge.estimator.npu_ops: only devices/npu.py may import it",
    ),
    "npu_import_by_name": (
        "importlib.import_module('npu_device.compat')",
        "npu_device.compat: only devices/npu.py may import it",
    ),
    "walrus": ("if (n := f()): pass", "not Python 3.7"),
    "positional_only": ("def f(a, /): pass", "not Python 3.7"),
}


@pytest.mark.parametrize("case", sorted(_BAD))
def test_a_bad_line_is_found(case):
    line, problem = _BAD[case]
    problems = find_problems("\n" + line, "tools/example.py")
    assert len(problems) == 1
    assert problems[0].startswith("tools/example.py:2: " + problem)


@pytest.mark.parametrize(
    "line",
    [
        "import tensorflow.compat.v1 as tf",
        "tf.nn.conv2d(x, filters=f, strides=s, padding='SAME')",
        "tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))",
        "tf.train.Example.FromString(record)",
        "tf.float32.as_numpy_dtype",
        "tf.layers.Conv2D.call",
        "tf.nn.relu.__name__",
        "tf.data.TFRecordDataset(files).map(f, deterministic=True).ragged_batch(2)",
        "tf.nn.relu(x, **options)",
        "other.tf.nn.gelu(x, slope=1)",
    ],
)
def test_a_good_line_passes(line):
    assert find_problems(line, "tools/example.py") == []


def test_the_npu_module_and_tests_may_import_npu_packages():
    line = "import npu_bridge"
    assert find_problems(line, "devices/npu.py") == []
    assert find_problems(line, "tests/test_example.py") == []
    assert len(find_problems(line, "ssd_main.py")) == 1


def test_a_tolerated_name_passes_in_its_own_file_only():
    tolerated = {("base.py", "tf.numpy.abs")}
    assert find_problems("tf.numpy.abs(x)", "base.py", tolerated) == []
    assert len(find_problems("tf.numpy.abs(x)", "resnet.py", tolerated)) == 1
