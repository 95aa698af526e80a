# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""exec_main.sh and run_npu_1p.sh with an ssd_main.py that only reports."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from launching import OWN_DATA, Project

_ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_1p_gives_the_commands_flags_and_then_the_own_ones(project):
    arguments = ["--num_epochs=1", "--mode=eval", "--model_dir=a b", "", "--", "x"]
    # The launcher's own flags do not reach ssd_main.py.
    given = arguments[:1] + ["--max_restarts", "0", "--hang_seconds=9"] + arguments[1:]
    assert project.run(arguments=given, **OWN_DATA).returncode == 0
    (report,) = project.reports()
    assert report["argv"] == [
        "--mode=train_and_eval",
        "--train_batch_size=32",
        "--training_file_pattern=/data/records/train2017*",
        "--validation_file_pattern=/data/records/val2017*",
        "--val_json_file=/data/coco/instances_val2017.json",
        "--eval_batch_size=32",
        "--model_dir=result_npu",
        *arguments,
    ]


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
    assert project.run().returncode == 0
    (report,) = project.reports()
    assert report["argv"][0] == "--mode=eval"
    pattern = f"{project.folder}/records/train2017*"
    assert f"--training_file_pattern={pattern}" in report["argv"]
    assert "--resnet_checkpoint=/a b/model.ckpt-28152" in report["argv"]
    assert "--val_json_file=/coco/instances_val2017.json" in report["argv"]


def test_without_paths_the_sample_is_used_with_a_short_schedule(project):
    result = project.run(arguments=["--num_epochs=2"])
    assert result.returncode == 0
    sample = project.folder / "sample_dataset"
    (line,) = [line for line in result.stdout.splitlines() if "built-in sample" in line]
    assert str(sample) in line and sample.is_dir()
    (report,) = project.reports()
    assert f"--training_file_pattern={sample}/train2017*" in report["argv"]
    assert f"--val_json_file={sample}/instances_val2017.json" in report["argv"]
    # The last of several equal flags counts.
    sizes = [flag for flag in report["argv"] if flag.startswith("--train_batch_size")]
    assert sizes == ["--train_batch_size=32", "--train_batch_size=4"]
    assert report["argv"][-1] == "--num_epochs=2"


@pytest.mark.parametrize(
    "name", ["path_to_tfrecord", "path_to_annotations", "path_to_pretrain"]
)
def test_one_path_alone_is_one_line(project, name):
    result = project.run(**{name: "/data"})
    assert result.returncode == 2
    (line,) = (result.stdout + result.stderr).splitlines()
    assert line.startswith("exec_main.sh: path_to_tfrecord='")
    assert "path_to_annotations='" in line
    assert not project.reports()


def test_exec_main_runs_a_rank_without_a_launcher(project):
    arguments = ["0", "1", str(project.folder), "--num_epochs=3"]
    result = project.run("exec_main.sh", arguments, cwd=project.folder, **OWN_DATA)
    assert (result.returncode, result.stdout) == (0, "rank 0 speaks\n")
    result = project.run("exec_main.sh", ["0", "1"])
    assert result.returncode == 2
    assert result.stderr == (
        "exec_main.sh: usage: exec_main.sh RANK_ID RANK_SIZE CODE_DIR [flags]\n"
    )


def test_1p_sets_the_environment_of_a_single_rank(project, tmp_path):
    # A rank table left over from another run would make a lone rank wait for others.
    variables = dict(OWN_DATA, DEVICE_ID="3", RANK_SIZE="8", RANK_TABLE_FILE="/x.json")
    assert project.run(cwd=tmp_path, **variables).returncode == 0
    (report,) = project.reports(device=3)
    assert report["cwd"] == str(project.folder / "training" / "D3")
    environment = report["env"]
    names = ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "DEVICE_INDEX")
    assert [environment[name] for name in names] == ["0", "1", "3", "3"]
    assert "RANK_TABLE_FILE" not in environment
    # Paths in flags start where the user is.
    assert environment["SSD_CALLED_FROM"] == str(tmp_path)
    assert project.log(3, rank=0) == "rank 0 speaks\n"


def test_1p_shows_the_output_adds_it_to_the_log_and_passes_the_status_on(project):
    for status in (0, 7):
        result = project.run(FAKE_ALL=f"end {status}", **OWN_DATA)
        assert result.returncode == status
        assert (result.stdout, result.stderr) == ("rank 0 speaks\n", "")
    assert project.log() == "rank 0 speaks\n" * 2


def test_1p_prints_the_flags_of_the_launcher_and_of_ssd_main(project):
    result = project.run(arguments=["--help"])
    assert result.returncode == 0
    assert "--max_restarts N" in result.stdout
    assert "--hang_seconds SECONDS" in result.stdout
    assert result.stdout.endswith("the flags of ssd_main.py\n")
    assert not (project.folder / "training").exists()


@pytest.mark.parametrize(
    "name, status", [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -signal.SIGKILL)]
)
def test_1p_ended_by_a_signal_leaves_no_process(project, name, status):
    process = project.start("run_npu_1p.sh", FAKE_ALL="wait")
    project.wait_for_ranks([0])
    # Ctrl-C reaches the whole group of the launcher, kill the launcher alone.
    number = getattr(signal, name)
    (os.killpg if name == "SIGINT" else os.kill)(process.pid, number)
    assert project.end(process)[0] == status
    project.wait_until_nothing_runs()


@pytest.mark.parametrize("disposition", [signal.SIG_DFL, signal.SIG_IGN])
def test_1p_saves_when_a_signal_reaches_the_whole_group(project, disposition):
    process = project.start("run_npu_1p.sh", FAKE_ALL="save", disposition=disposition)
    project.wait_for_ranks([0])
    os.killpg(process.pid, signal.SIGINT)
    status, output = project.end(process)
    assert status == 0
    assert project.log() == "rank 0 speaks\nrank 0 saved\n"
    assert "SIGINT: the training saves a checkpoint" in output
    assert "rank 0 saved\n" in output


@pytest.mark.parametrize("device", ["one", "-1", "01", "1 2"])
def test_1p_with_a_device_that_is_not_a_number_is_one_line(project, device):
    result = project.run(DEVICE_ID=device, **OWN_DATA)
    assert result.returncode == 2
    assert result.stdout + result.stderr == (
        f"run_npu_1p.sh: DEVICE_ID={device}: must be the number of a device, for "
        "example 0\n"
    )
    assert not (project.folder / "training").exists()


@pytest.mark.parametrize("shell", ["sh", "bash --posix"])
def test_launchers_run_in_other_shells_and_through_links(project, shell, tmp_path):
    link = tmp_path / "link.sh"
    link.symlink_to(project.folder / "run_npu_1p.sh")
    result = subprocess.run(
        [*shell.split(), str(link), "--num_epochs=5"],
        env=project.environment(**OWN_DATA),
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert project.reports()[0]["argv"][-1] == "--num_epochs=5"


def test_a_checkout_that_converts_line_ends_keeps_those_of_scripts(tmp_path):
    names = [".gitattributes", "run_npu_1p.sh"]
    for name in names:
        shutil.copy(str(_ROOT / name), str(tmp_path))
    git = ["git", "-C", str(tmp_path), "-c", "core.autocrlf=true"]
    subprocess.run(git + ["init", "-q"], check=True)
    subprocess.run(git + ["add", *names], check=True)
    (tmp_path / "run_npu_1p.sh").unlink()
    subprocess.run(git + ["checkout", "-q", "run_npu_1p.sh"], check=True)
    assert b"\r" not in (tmp_path / "run_npu_1p.sh").read_bytes()
