# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""env.sh, sourced by bash: which Python it picks, and how it makes .venv.

The packages of these tests are empty wheels in a local folder, so that pip really
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
    "tqdm-4.66.0": "tqdm",
    "extra-1.0": "extra",
}
_TELL = 'source "$0/env.sh" && echo "$PYTHON"'


@pytest.fixture
def project(tmp_path):
    """A folder with env.sh and requirements that a folder of wheels beside it has."""
    folder = tmp_path / "the project"
    folder.mkdir()
    shutil.copy(str(_ROOT / "env.sh"), str(folder))
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for distribution, module in _PACKAGES.items():
        _write_wheel(wheels, distribution, module)
    names = [name.split("-")[0] for name in _PACKAGES if name != "extra-1.0"]
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
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(
        str(folder / f"{distribution}-py3-none-any.whl"), "w"
    ) as wheel:
        for path, text in dict(files, **{f"{info}/RECORD": record}).items():
            wheel.writestr(path, text)


def _write_script(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/bash\n" + text)
    path.chmod(0o755)


def _bare_python():
    """The interpreter that the tests' own environment was made from."""
    version = "python{}.{}".format(*sys.version_info[:2])
    return os.path.join(sys.base_exec_prefix, "bin", version)


@pytest.fixture
def bare_path(tmp_path):
    """A PATH whose python3 has no packages at all, even where the system's has."""
    if not os.path.exists(_bare_python()):
        pytest.skip("no Python beside the tests' own one")
    for name in _PYTHONS:
        _write_script(tmp_path / "bin" / name, f'exec "{_bare_python()}" "$@"\n')
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    lacks = subprocess.run(
        ["python3", "-c", "import tensorflow"],
        env=dict(os.environ, PATH=path),
        stderr=subprocess.DEVNULL,
    )
    if lacks.returncode == 0:
        pytest.skip("the system's Python has TensorFlow")
    return path


def _environment(project, **variables):
    environment = dict(os.environ)
    environment.pop("PYTHON", None)
    wheels = str(project.parent / "wheels")
    environment.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=wheels, **variables)
    return environment


def _source(project, command=_TELL, **variables):
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command, str(project)],
        cwd="/",
        env=_environment(project, **variables),
        capture_output=True,
        text=True,
        timeout=120,
    )


def _has(project, module):
    python = project / ".venv" / "bin" / "python"
    command = [str(python), "-c", f"import {module}"]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def test_the_given_python_wins(project):
    result = _source(project, PYTHON=sys.executable)
    assert (result.stdout, result.stderr) == (sys.executable + "\n", "")
    assert not (project / ".venv").exists()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of x86-64 alone")
@pytest.mark.parametrize("given, taken", [("", "1"), ("0", "0"), ("1", "1")])
def test_onednn_is_on_unless_it_is_turned_off(project, given, taken):
    tell = 'source "$0/env.sh" && printenv TF_ENABLE_ONEDNN_OPTS'
    variables = {"PYTHON": sys.executable, "TF_ENABLE_ONEDNN_OPTS": given}
    assert _source(project, tell, **variables).stdout == taken + "\n"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
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
    assert int(_source(project, tell, **variables).stdout) < 1000


def test_a_given_python_that_does_not_run_is_one_line(project):
    result = _source(project, PYTHON="/nowhere/python3")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("env.sh: PYTHON=/nowhere/python3 does not run")


def test_a_given_python_without_packages_is_told_which(project, bare_path):
    result = _source(project, PYTHON="python3", PATH=bare_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("env.sh: PYTHON=python3 lacks the packages tensorflow")


def test_a_given_name_becomes_a_whole_path(project, tmp_path):
    _write_script(tmp_path / "bin" / "my python", f'exec "{sys.executable}" "$@"\n')
    result = _source(project, f'cd "{tmp_path}" && ' + _TELL, PYTHON="./bin/my python")
    assert result.stdout == f"{tmp_path}/./bin/my python\n"


def test_a_python3_with_tensorflow_is_taken_as_it_is(project, tmp_path):
    _write_script(tmp_path / "bin" / "python3", f'exec "{sys.executable}" "$@"\n')
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    result = _source(project, PATH=path)
    assert (result.stdout, result.stderr) == (f"{tmp_path}/bin/python3\n", "")
    assert not (project / ".venv").exists()


def test_a_tensorflow_without_estimator_is_not_taken(project, tmp_path, bare_path):
    site = tmp_path / "site"
    names = [name for name in _PACKAGES if not name.startswith("tensorflow_cpu")]
    _write_wheel(tmp_path / "wheels", "tensorflow-2.16.1", "tensorflow")
    for name in [*names, "tensorflow-2.16.1"]:
        with zipfile.ZipFile(str(tmp_path / f"wheels/{name}-py3-none-any.whl")) as file:
            file.extractall(str(site))
    variables = {"PATH": bare_path, "PYTHONPATH": str(site)}
    result = _source(project, PYTHON="python3", **variables)
    assert result.returncode == 2
    assert "has TensorFlow 2.16; it must be 1.15, or 2.0 to 2.15" in result.stderr


def test_only_unfit_pythons_are_one_line_with_the_fit_versions(project, tmp_path):
    for name in _PYTHONS:
        _write_script(tmp_path / "bin" / name, "echo 3.12\n")
    result = _source(project, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "env.sh: Python 3.7, 3.9, 3.10 and 3.11 work, and none is on the PATH "
        "(python3: 3.12); install one, or set PYTHON\n"
    )
    assert not (project / ".venv").exists()


def test_a_python_without_venv_is_one_line_with_the_remedy(project, tmp_path):
    for name in _PYTHONS:
        # As Debian's python3 without python3-venv.
        _write_script(
            tmp_path / "bin" / name,
            'case "$2" in *version_info*) echo 3.11 ;; *) exit 1 ;; esac\n',
        )
    result = _source(project, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "apt-get install python3.11-venv" in line


def test_two_launchers_at_once_make_one_venv(project, bare_path):
    processes = [
        subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", _TELL, str(project)],
            env=_environment(project, PATH=bare_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=120) for process in processes]
    python = f"{project}/.venv/bin/python\n"
    assert [output for output, _ in results] == [python, python]
    said = [line for _, errors in results for line in errors.splitlines()]
    assert len([line for line in said if "installing requirements.txt" in line]) == 1
    # The next one finds it done.
    result = _source(project, PATH=bare_path)
    assert (result.stdout, result.stderr) == (python, "")


def test_a_broken_off_venv_is_made_anew(project, bare_path):
    # What is left when the first launcher is killed between venv and pip's end.
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / ".unfinished").touch()
    _write_script(project / ".venv" / "bin" / "python", "exit 1\n")
    assert _source(project, PATH=bare_path).returncode == 0
    assert _has(project, "tensorflow")


def test_a_venv_whose_python_is_gone_is_one_line(project):
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    _write_script(project.parent / "bin" / "python3", "exit 1\n")
    path = f"{project.parent / 'bin'}:{os.environ['PATH']}"
    result = _source(project, PATH=path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "does not run" in line and f"move {project}/.venv away" in line


def test_a_venv_of_the_user_is_completed_and_kept(project, bare_path):
    venv = project / ".venv"
    subprocess.run([_bare_python(), "-m", "venv", str(venv)], check=True)
    (venv / "mine.txt").write_text("mine")
    assert _source(project, PATH=bare_path).returncode == 0
    assert _has(project, "tensorflow")
    assert (venv / "mine.txt").read_text() == "mine"
    # More requirements, and then changed ones, are installed on top.
    assert (
        _source(project, PATH=bare_path, SSD_REQUIREMENTS="extra.txt").returncode == 0
    )
    assert _has(project, "extra")
    with (project / "requirements.txt").open("a") as file:
        file.write("not_there\n")
    result = _source(project, PATH=bare_path)
    assert result.returncode == 2
    told, failed = result.stderr.splitlines()
    assert "installing requirements.txt" in told
    assert str(project / ".venv.log") in failed and "not_there" in failed
    assert (venv / "mine.txt").exists()
