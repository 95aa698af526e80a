# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""env.sh, sourced by bash: which Python it chooses, and how it creates .venv.

The packages in these tests are empty wheels in a local folder, so that pip really
installs and nothing is downloaded.
"""

import os
import pathlib
import platform
import shutil
import subprocess
import sys
import zipfile

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PYTHONS = ("python3", "python3.11", "python3.10", "python3.9", "python3.7")
_PACKAGES = {
    "tensorflow_cpu-2.15.1": "tensorflow",
    "tensorflow_estimator-2.15.0": "tensorflow_estimator",
    "numpy-1.26.4": "numpy",
    "absl_py-2.1.0": "absl",
    "pycocotools-2.0.7": "pycocotools",
}
_TELL = 'source "$0/env.sh" && echo "$PYTHON"'


@pytest.fixture
def project(tmp_path):
    """A folder with env.sh and requirements, next to the folder of their wheels."""
    folder = tmp_path / "the project"
    folder.mkdir()
    shutil.copy(str(_ROOT / "env.sh"), str(folder))
    (tmp_path / "wheels").mkdir()
    for distribution, module in dict(_PACKAGES, **{"extra-1.0": "extra"}).items():
        _write_wheel(tmp_path / "wheels", distribution, module)
    names = [name.split("-")[0] for name in _PACKAGES]
    (folder / "requirements.txt").write_text("\n".join(names) + "\n")
    (folder / "extra.txt").write_text("extra\n")
    return folder


def _write_wheel(folder, distribution, module):
    name, version = distribution.split("-")
    info = f"{distribution}.dist-info"
    files = {
        f"{module}/__init__.py": "",
        f"{module}/mask.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\n"
        f"Version: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in files)
    path = folder / f"{distribution}-py3-none-any.whl"
    with zipfile.ZipFile(str(path), "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


def _write_script(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/bash\n" + text)
    path.chmod(0o755)


def _path_with(tmp_path, script):
    """A PATH on which every Python is this bash script."""
    for name in _PYTHONS:
        _write_script(tmp_path / "bin" / name, script)
    return f"{tmp_path / 'bin'}:{os.environ['PATH']}"


@pytest.fixture(scope="module")
def bare_path(tmp_path_factory):
    """A PATH whose Pythons see no packages, but can create environments."""
    # The interpreter that the tests' own environment was created with.
    version = "python{}.{}".format(*sys.version_info[:2])
    python = os.path.join(sys.base_exec_prefix, "bin", version)
    if not os.path.exists(python):
        pytest.skip(f"no {python}")
    # -S: without site-packages.
    return _path_with(tmp_path_factory.mktemp("bare"), f'exec "{python}" -S "$@"\n')


def _start(project, command=_TELL, **variables):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHON"}
    wheels = str(project.parent / "wheels")
    environment.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=wheels, **variables)
    return subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", command, str(project)],
        cwd="/",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def _source(project, command=_TELL, **variables):
    """Sources env.sh; returns (status, standard output, standard error)."""
    process = _start(project, command, **variables)
    output, errors = process.communicate(timeout=600)
    return process.returncode, output, errors


def test_the_given_python_wins_and_becomes_a_whole_path(project, tmp_path):
    _write_script(tmp_path / "bin" / "my python", f'exec "{sys.executable}" "$@"\n')
    tell = f'cd "{tmp_path}" && ' + _TELL
    expected = (0, f"{tmp_path}/./bin/my python\n", "")
    assert _source(project, tell, PYTHON="./bin/my python") == expected
    assert not (project / ".venv").exists()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only on x86-64")
def test_onednn_is_on_unless_it_is_turned_off(project):
    tell = """export TF_ENABLE_ONEDNN_OPTS
        for TF_ENABLE_ONEDNN_OPTS in "" 0; do
            source "$0/env.sh" && printenv TF_ENABLE_ONEDNN_OPTS
        done"""
    assert _source(project, tell, PYTHON=sys.executable)[1] == "1\n0\n"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only with glibc")
def test_the_memory_of_large_tensors_is_kept_for_the_next(project):
    allocate = """if True:
        import resource
        for _ in range(11):
            last = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            b"x" * 35000000  # a batch of 32 images, 8500 pages
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - last)
    """
    tell = 'source "$0/env.sh" && "$PYTHON" -c "$ALLOCATE"'
    names = "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"
    variables = dict.fromkeys(names, "")  # those of the tests' own launcher
    variables.update(PYTHON=sys.executable, ALLOCATE=allocate)
    assert int(_source(project, tell, **variables)[1]) < 1000


@pytest.mark.parametrize(
    "script, variables, expected",
    [
        ("", {"PYTHON": "/nowhere/py"}, "PYTHON=/nowhere/py does not run; name a"),
        # Without a version that works, or without the module venv.
        ("exit 1", {}, "no Python 3.7, 3.9, 3.10 or 3.11 with the module venv is"),
    ],
)
def test_a_python_that_does_not_work_is_one_line(project, script, variables, expected):
    path = _path_with(project.parent, script)
    status, output, errors = _source(project, PATH=path, **variables)
    assert (status, output) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("env.sh: " + expected)
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    "tensorflow, problem",
    [
        ("tensorflow-1.15.0", None),
        (None, "lacks the packages tensorflow; name a Python"),
        # Without Estimator.
        ("tensorflow-2.16.1", "has TensorFlow 2.16; it must be 1.15, or 2.0 to 2.15"),
    ],
)
def test_a_python3_with_the_packages_of_a_training_is_taken_as_it_is(
    project, tmp_path, bare_path, tensorflow, problem
):
    # Neither Pillow nor matplotlib.
    packages = {k: v for k, v in _PACKAGES.items() if v != "tensorflow"}
    if tensorflow:
        packages[tensorflow] = "tensorflow"
    for distribution, module in packages.items():
        _write_wheel(tmp_path, distribution, module)
        with zipfile.ZipFile(
            str(tmp_path / f"{distribution}-py3-none-any.whl")
        ) as file:
            file.extractall(str(tmp_path / "site"))
    variables = {"PATH": bare_path, "PYTHONPATH": str(tmp_path / "site")}
    if problem:
        status, _, errors = _source(project, PYTHON="python3", **variables)
        (line,) = errors.splitlines()
        assert status == 2 and f"PYTHON=python3 {problem}" in line
    else:
        python = bare_path.split(":")[0] + "/python3"
        assert _source(project, **variables) == (0, python + "\n", "")
    assert not (project / ".venv").exists()


@pytest.mark.slow
def test_two_launchers_at_once_create_one_venv_that_is_completed_and_kept(
    project, bare_path
):
    launchers = [_start(project, PATH=bare_path) for _ in range(2)]
    results = [launcher.communicate(timeout=600) for launcher in launchers]
    python = f"{project}/.venv/bin/python\n"
    assert [output for output, _ in results] == [python, python]
    assert "".join(errors for _, errors in results).count("installing req") == 1
    # The next launcher finds everything installed.
    assert _source(project, PATH=bare_path) == (0, python, "")
    # run_tests.sh has more requirements; the launchers then find theirs installed.
    assert _source(project, PATH=bare_path, SSD_REQUIREMENTS="extra.txt")[0] == 0
    assert list((project / ".venv").rglob("extra/__init__.py"))
    assert _source(project, PATH=bare_path)[2] == ""
    with (project / "requirements.txt").open("a") as file:
        file.write("not_there\n")
    status, _, errors = _source(project, PATH=bare_path)
    assert status == 2
    told, failed = errors.splitlines()
    assert "installing requirements.txt" in told
    assert str(project / ".venv.log") in failed and "not_there" in failed
    # The Python that it was created with is gone.
    (project / ".venv" / "bin" / "python").unlink()
    (project / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    status, _, errors = _source(project, PATH=bare_path)
    assert status == 2
    assert f"if {project}/.venv is damaged, remove it" in errors.splitlines()[-1]
