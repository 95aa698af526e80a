# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The scripts: exec_main.sh's flags and paths, shells, links and line ends.

tests/devices/test_launch.py has what the launchers do with the ranks.
"""

import glob
import os
import shutil
import subprocess
import sys

import pytest

from launching import ROOT, Project

LAUNCHER = "run_npu_1p.sh"
NO_DATA = {"path_to_tfrecord": "", "path_to_annotations": ""}


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.mark.parametrize("shell", ["sh", "bash --posix"])
def test_any_shell_gives_the_commands_flags_and_then_the_own_ones(project, shell):
    link = project.folder.parent / "link.sh"
    link.symlink_to(project.folder / LAUNCHER)
    arguments = ["--num_epochs=1", "--mode=eval", "--model_dir=a b", "", "--", "x"]
    # The launcher's own flags do not reach ssd_main.py.
    given = arguments[:1] + ["--max_restarts", "0", "--hang_seconds=9"] + arguments[1:]
    result = project.run(link, *given, shell=shell.split())
    assert (result.returncode, result.stderr) == (0, "")
    (report,) = project.reports()
    assert report["argv"] == [
        "--mode=train_and_eval",
        "--train_batch_size=32",
        "--training_file_pattern=/data/records/train2017*",
        "--validation_file_pattern=/data/records/val2017*",
        "--val_json_file=/data/coco/instances_val2017.json",
        "--eval_batch_size=32",
        f"--model_dir={project.folder}/training/D0/result_npu",
        *arguments,
    ]


def write_command(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_traces_search_paths_and_edits_on_windows_do_not_matter(project):
    script = project.folder / "exec_main.sh"
    script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))
    folder = project.folder.parent
    # The empty entry of PATH is the current folder.
    write_command(folder / "python3", f'exec "{sys.executable}" "$@"')
    variables = {"PYTHON": "", "PATH": ":" + os.environ["PATH"]}
    variables.update(CDPATH=f"{folder}:/", LC_ALL="C")
    result = project.run(
        LAUNCHER, "--model_dir=é", shell=["bash", "-x"], cwd=folder, **variables
    )
    assert result.returncode == 0, result.stderr
    (report,) = project.reports()
    assert report["argv"][-2:] == [
        f"--model_dir={project.folder}/training/D0/result_npu",
        "--model_dir=é",
    ]
    assert report["env"]["PYTHON"] == f"{folder}/./python3"
    assert report["env"]["path_to_tfrecord"] == "/data/records"


def test_help_has_the_flags_of_the_launcher_and_of_ssd_main(project):
    output = project.run(LAUNCHER, "--help").stdout
    assert "--max_restarts N" in output and "--hang_seconds SECONDS" in output
    assert output.endswith("the flags of ssd_main.py\n")
    assert not (project.folder / "training").exists()


def test_paths_and_mode_may_be_edited(project):
    script = project.folder / "exec_main.sh"
    text = script.read_text()
    for old, new in (
        ("path_to_tfrecord=${path_to_tfrecord:-}", "path_to_tfrecord=records"),
        ("path_to_pretrain=${path_to_pretrain:-}", "path_to_pretrain='/a b'"),
        ("path_to_annotations=${path_to_annotations:-}", "path_to_annotations=/coco"),
        ("--mode=train_and_eval", "--mode=eval"),
    ):
        assert old in text
        text = text.replace(old, new)
    script.write_text(text)
    assert project.run(LAUNCHER).returncode == 0
    (report,) = project.reports()
    assert report["argv"][0] == "--mode=eval"
    # ssd_main.py resolves it against the folder where the launcher was called.
    assert "--training_file_pattern=records/train2017*" in report["argv"]
    assert report["env"]["SSD_CALLED_FROM"] == "/"
    assert "--resnet_checkpoint=/a b/model.ckpt-28152" in report["argv"]
    assert "--val_json_file=/coco/instances_val2017.json" in report["argv"]


@pytest.mark.parametrize("grep_status, images, epochs", [(0, 4, "3"), (1, 2, "1.5")])
def test_without_paths_the_sample_is_used_with_a_short_schedule(
    project, grep_status, images, epochs
):
    if images == 2 and (glob.glob("/dev/davinci*") or glob.glob("/dev/nvidia*")):
        pytest.skip("an NPU or GPU computes steps of 4 images")
    # exec_main.sh also runs a rank without a launcher.
    arguments = ["0", "1", str(project.folder), "--num_epochs=2"]
    folder = project.folder / "training" / "D0"
    folder.mkdir(parents=True)
    # A file system without locks.
    write_command(folder / "flock", "exit 71")
    # Whether the processor has bfloat16 instructions.
    write_command(folder / "grep", f"exit {grep_status}")
    path = f"{folder}:{os.environ['PATH']}"
    result = project.run("exec_main.sh", *arguments, cwd=folder, PATH=path, **NO_DATA)
    assert result.returncode == 0
    sample = project.folder / "sample_dataset"
    (line,) = [line for line in result.stdout.splitlines() if "built-in sample" in line]
    assert f"300 steps of {images} images" in line
    assert str(sample) in line and sample.is_dir()
    (report,) = project.reports()
    assert f"--data_dir={sample}" in report["argv"]
    # The last of several equal flags counts.
    sizes = [flag for flag in report["argv"] if flag.startswith("--train_batch_size")]
    assert sizes == ["--train_batch_size=32", f"--train_batch_size={images}"]
    assert f"--num_epochs={epochs}" in report["argv"]
    assert report["argv"][-1] == "--num_epochs=2"


@pytest.mark.parametrize(
    "variables, arguments, named",
    [
        # The folder of a dataset as tools/create_tf_record.py writes it.
        ({"path_to_annotations": ""}, [], ["--data_dir=/data/records"]),
        (NO_DATA, ["--data_dir=own"], ["--data_dir=own"]),
        # A flag wins over the paths.
        ({}, ["-data_dir", "own"], ["-data_dir", "own"]),
        (NO_DATA, ["--val_json_file", "x.json"], ["--val_json_file", "x.json"]),
        (
            dict(NO_DATA, path_to_pretrain="/p"),
            ["--data_dir=own"],
            ["--resnet_checkpoint=/p/model.ckpt-28152", "--data_dir=own"],
        ),
    ],
)
def test_the_data_may_be_named_by_a_flag_or_a_folder(
    project, variables, arguments, named
):
    result = project.run(LAUNCHER, *arguments, **variables)
    assert result.returncode == 0
    assert "built-in sample" not in result.stdout
    (report,) = project.reports()
    own = ("--mode", "--train_batch_size", "--eval_batch_size", "--model_dir")
    assert [flag for flag in report["argv"] if not flag.startswith(own)] == named


@pytest.mark.parametrize(
    "arguments, variables, expected",
    [
        (["0", "1"], {}, "usage: exec_main.sh RANK_ID RANK_SIZE CODE_DIR [flags]"),
        (
            ["0", "1", "."],
            {"path_to_tfrecord": ""},
            "path_to_annotations='/data/coco': set path_to_tfrecord as well",
        ),
        (
            ["0", "1", "."],
            dict(NO_DATA, path_to_pretrain="/data"),
            "path_to_pretrain='/data': set path_to_tfrecord as well, or give",
        ),
    ],
)
def test_an_incomplete_command_is_one_line(project, arguments, variables, expected):
    result = project.run("exec_main.sh", *arguments, cwd=project.folder, **variables)
    (line,) = (result.stdout + result.stderr).splitlines()
    assert result.returncode == 2
    assert line.startswith("exec_main.sh: ") and expected in line


def test_a_checkout_that_converts_line_ends_keeps_those_of_scripts(tmp_path):
    for name in (".gitattributes", LAUNCHER):
        shutil.copy(str(ROOT / name), str(tmp_path))
    git = ["git", "-C", str(tmp_path), "-c", "core.autocrlf=true"]
    subprocess.run(git + ["init", "-q"], check=True)
    subprocess.run(git + ["add", "."], check=True)
    (tmp_path / LAUNCHER).unlink()
    subprocess.run(git + ["checkout", "-q", LAUNCHER], check=True)
    assert b"\r" not in (tmp_path / LAUNCHER).read_bytes()
