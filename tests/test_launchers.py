# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""exec_main.sh and run_npu_1p.sh, run by bash with an ssd_main.py that only reports."""

import os
import signal

import pytest

from launching import OWN_DATA, Project


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_1p_gives_the_commands_flags_and_no_checkpoint(project):
    assert project.run(**OWN_DATA).returncode == 0
    (report,) = project.reports()
    assert report["argv"] == [
        "--mode=train_and_eval",
        "--train_batch_size=32",
        "--training_file_pattern=/data/records/train2017*",
        "--validation_file_pattern=/data/records/val2017*",
        "--val_json_file=/data/coco/instances_val2017.json",
        "--eval_batch_size=32",
        "--model_dir=result_npu",
    ]


def test_1p_gives_the_pretrained_checkpoint_where_it_is_set(project):
    assert project.run(path_to_pretrain="/a b", **OWN_DATA).returncode == 0
    (report,) = project.reports()
    assert "--resnet_checkpoint=/a b/model.ckpt-28152" in report["argv"]


def test_paths_and_mode_may_be_edited(project):
    script = project.folder / "exec_main.sh"
    text = script.read_text()
    for old, new in (
        ("path_to_tfrecord=${path_to_tfrecord:-}", "path_to_tfrecord=records"),
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
    assert "--val_json_file=/coco/instances_val2017.json" in report["argv"]


def test_own_flags_come_last(project):
    arguments = ["--num_epochs=1", "--mode=eval", "--model_dir=a b"]
    assert project.run(arguments=arguments, **OWN_DATA).returncode == 0
    (report,) = project.reports()
    assert report["argv"][-3:] == arguments


def test_without_paths_the_sample_is_used_with_a_short_schedule(project):
    result = project.run(arguments=["--num_epochs=2"])
    assert result.returncode == 0
    said = [line for line in result.stdout.splitlines() if "built-in sample" in line]
    assert len(said) == 1 and str(project.folder / "sample_dataset") in said[0]
    (report,) = project.reports()
    sample = project.folder / "sample_dataset"
    assert f"--training_file_pattern={sample}/train2017*" in report["argv"]
    assert f"--val_json_file={sample}/instances_val2017.json" in report["argv"]
    # The last of equal flags counts.
    sizes = [flag for flag in report["argv"] if flag.startswith("--train_batch_size")]
    assert sizes == ["--train_batch_size=32", "--train_batch_size=4"]
    assert report["argv"][-1] == "--num_epochs=2"
    assert sample.is_dir()


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


def test_exec_main_without_its_arguments_is_one_line(project):
    result = project.run("exec_main.sh", ["0", "1"])
    assert result.returncode == 2
    assert result.stderr == (
        "exec_main.sh: usage: exec_main.sh RANK_ID RANK_SIZE CODE_DIR [flags]\n"
    )


def test_1p_sets_the_environment_of_a_single_rank(project):
    # A rank table left over from another run would make a lone rank wait for others.
    variables = dict(OWN_DATA, DEVICE_ID="3", RANK_SIZE="8", RANK_TABLE_FILE="/x.json")
    assert project.run(**variables).returncode == 0
    (report,) = project.reports(device=3)
    assert report["cwd"] == str(project.folder / "training" / "D3")
    environment = report["env"]
    names = ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "DEVICE_INDEX")
    assert [environment[name] for name in names] == ["0", "1", "3", "3"]
    assert environment["JOB_ID"]
    assert "RANK_TABLE_FILE" not in environment
    assert (project.folder / "training" / "D3" / "train_0.log").exists()


@pytest.mark.parametrize("script", ["run_npu_1p.sh", "run_npu_8p.sh"])
def test_paths_in_flags_start_where_the_user_is(project, tmp_path, script):
    result = project.run(script, cwd=tmp_path, RANK_SIZE="1", **OWN_DATA)
    assert result.returncode == 0, result.stderr
    (report,) = project.reports()
    assert report["env"]["SSD_CALLED_FROM"] == str(tmp_path)


def test_1p_passes_the_exit_status_on(project):
    assert project.run(FAKE_ALL="end 7", **OWN_DATA).returncode == 7


def test_1p_shows_the_output_and_adds_it_to_the_log(project):
    first = project.run(**OWN_DATA)
    second = project.run(**OWN_DATA)
    assert first.stdout == second.stdout == "rank 0 speaks\n"
    assert project.log() == "rank 0 speaks\n" * 2


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_1p_ended_by_a_signal_leaves_no_process(project, name):
    process = project.start("run_npu_1p.sh", FAKE_ALL="wait")
    project.wait_for_ranks([0])
    # To the launcher alone, as kill does; Ctrl-C reaches the whole group.
    number = getattr(signal, name)
    (os.killpg if name == "SIGINT" else os.kill)(process.pid, number)
    status, _ = project.end(process)
    # Python 3.7 makes status 1 of an interrupt, later ones pass the signal on.
    assert status in ((-number, 1) if name == "SIGINT" else (-number,))
    project.wait_until_nothing_runs()
    # What Python says at its end is kept, too.
    assert ("KeyboardInterrupt" in project.output()) == (name == "SIGINT")
    assert project.log() == project.output()


def test_1p_keeps_the_log_when_sigterm_reaches_the_whole_group(project):
    process = project.start("run_npu_1p.sh", FAKE_ALL="save")
    project.wait_for_ranks([0])
    os.killpg(process.pid, signal.SIGTERM)
    assert project.end(process)[0] == 0
    project.wait_until_nothing_runs()
    assert project.log() == project.output() == "rank 0 speaks\nrank 0 saved\n"


@pytest.mark.parametrize("device", ["one", "-1", "01", "1 2"])
def test_1p_with_a_device_that_is_no_number_is_one_line(project, device):
    result = project.run(DEVICE_ID=device, **OWN_DATA)
    assert result.returncode == 2
    assert result.stdout + result.stderr == (
        f"run_npu_1p.sh: DEVICE_ID={device}: must be the number of a device, like 0\n"
    )
    assert not (project.folder / "training").exists()
