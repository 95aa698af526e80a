# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The launchers, run by bash in a copy of the project whose ssd_main.py only reports.

That ssd_main.py appends a line of JSON with its arguments, environment and folder to
report.jsonl in its working folder, and then does what FAKE_* in the environment say.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_SCRIPTS = ("env.sh", "exec_main.sh", "run_npu_1p.sh", "run_npu_8p.sh")
_LAUNCHER_VARIABLES = (
    "DEVICE_ID",
    "JOB_ID",
    "RANK_ID",
    "RANK_SIZE",
    "RANK_TABLE_FILE",
    "path_to_annotations",
    "path_to_pretrain",
    "path_to_tfrecord",
)

_FAKE_MAIN = """
import json, os, signal, sys, time

report = {"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}
report["pid"] = os.getpid()
with open("report.jsonl", "a") as file:
    file.write(json.dumps(report) + "\\n")
print("rank %s speaks" % os.environ["RANK_ID"])
if os.environ["RANK_ID"] == os.environ.get("FAKE_FAILING_RANK"):
    time.sleep(1)
    sys.exit("rank fails, as it was told")
if os.environ.get("FAKE_STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
sys.exit(int(os.environ.get("FAKE_STATUS", "0")))
"""

_FAKE_SAMPLE = """
import os, sys

os.makedirs(sys.argv[sys.argv.index("--output_dir") + 1], exist_ok=True)
print("sample made")
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the launchers in a folder with a space in its name."""
    folder = tmp_path / "the project"
    (folder / "tools").mkdir(parents=True)
    for script in _SCRIPTS:
        shutil.copy(str(_ROOT / script), str(folder))
    shutil.copytree(str(_ROOT / "npu_config"), str(folder / "npu_config"))
    (folder / "ssd_main.py").write_text(_FAKE_MAIN)
    (folder / "tools" / "make_sample_dataset.py").write_text(_FAKE_SAMPLE)
    return folder


def _environment(**variables):
    environment = dict(os.environ, PYTHON=sys.executable)
    for name in _LAUNCHER_VARIABLES:
        environment.pop(name, None)
    environment.update(variables)
    return environment


def _run(project, script="run_npu_1p.sh", arguments=(), **variables):
    return subprocess.run(
        [str(project / script), *arguments],
        cwd="/",
        env=_environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def _start(project, script, **variables):
    """Starts a launcher as a terminal does: as the leader of a process group."""
    return subprocess.Popen(
        [str(project / script)],
        cwd="/",
        env=_environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Started in the background, this process ignores Ctrl-C, and so would bash.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _reports(project, device=0):
    path = project / "training" / f"D{device}" / "report.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _wait_for_ranks(project, ranks):
    deadline = time.monotonic() + 30
    while not all(_reports(project, rank) for rank in ranks):
        assert time.monotonic() < deadline, "the ranks did not start"
        time.sleep(0.1)
    return [_reports(project, rank)[0]["pid"] for rank in ranks]


def _group_is_gone(process):
    """Whether no process of the group is left; zombies of others take a moment."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def _log(project, device=0):
    path = project / "training" / f"D{device}" / f"train_{device}.log"
    return path.read_text()


_OWN_DATA = {"path_to_tfrecord": "/data/records", "path_to_annotations": "/data/coco"}


def test_1p_gives_the_commands_flags_and_no_checkpoint(project):
    assert _run(project, **_OWN_DATA).returncode == 0
    (report,) = _reports(project)
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
    assert _run(project, path_to_pretrain="/a b", **_OWN_DATA).returncode == 0
    (report,) = _reports(project)
    assert "--resnet_checkpoint=/a b/model.ckpt-28152" in report["argv"]


def test_paths_and_mode_may_be_edited(project):
    script = project / "exec_main.sh"
    text = script.read_text()
    for old, new in (
        ("path_to_tfrecord=${path_to_tfrecord:-}", "path_to_tfrecord=records"),
        ("path_to_annotations=${path_to_annotations:-}", "path_to_annotations=/coco"),
        ("--mode=train_and_eval", "--mode=eval"),
    ):
        assert old in text
        text = text.replace(old, new)
    script.write_text(text)
    assert _run(project).returncode == 0
    (report,) = _reports(project)
    assert report["argv"][0] == "--mode=eval"
    assert f"--training_file_pattern={project}/records/train2017*" in report["argv"]
    assert "--val_json_file=/coco/instances_val2017.json" in report["argv"]


def test_own_flags_come_last(project):
    arguments = ["--num_epochs=1", "--mode=eval", "--model_dir=a b"]
    assert _run(project, arguments=arguments, **_OWN_DATA).returncode == 0
    (report,) = _reports(project)
    assert report["argv"][-3:] == arguments


def test_without_paths_the_sample_is_used_with_a_short_schedule(project):
    result = _run(project, arguments=["--num_epochs=2"])
    assert result.returncode == 0
    said = [line for line in result.stdout.splitlines() if "built-in sample" in line]
    assert len(said) == 1 and str(project / "sample_dataset") in said[0]
    (report,) = _reports(project)
    sample = project / "sample_dataset"
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
    result = _run(project, **{name: "/data"})
    assert result.returncode == 2
    (line,) = (result.stdout + result.stderr).splitlines()
    assert line.startswith("exec_main.sh: path_to_tfrecord='")
    assert "path_to_annotations='" in line
    assert not _reports(project)


def test_exec_main_without_its_arguments_is_one_line(project):
    result = _run(project, "exec_main.sh", ["0", "1"])
    assert result.returncode == 2
    assert result.stderr == (
        "exec_main.sh: usage: exec_main.sh RANK_ID RANK_SIZE CODE_DIR [flags]\n"
    )


def test_1p_sets_the_environment_of_a_single_rank(project):
    # A rank table left over from another run would make a lone rank wait for others.
    variables = dict(_OWN_DATA, DEVICE_ID="3", RANK_SIZE="8", RANK_TABLE_FILE="/x.json")
    assert _run(project, **variables).returncode == 0
    (report,) = _reports(project, device=3)
    assert report["cwd"] == str(project / "training" / "D3")
    environment = report["env"]
    names = ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "DEVICE_INDEX")
    assert [environment[name] for name in names] == ["0", "1", "3", "3"]
    assert environment["JOB_ID"]
    assert "RANK_TABLE_FILE" not in environment
    assert (project / "training" / "D3" / "train_0.log").exists()


def test_1p_passes_the_exit_status_on(project):
    assert _run(project, FAKE_STATUS="7", **_OWN_DATA).returncode == 7


def test_1p_shows_the_output_and_adds_it_to_the_log(project):
    first = _run(project, **_OWN_DATA)
    second = _run(project, **_OWN_DATA)
    assert first.stdout == second.stdout == "rank 0 speaks\n"
    assert _log(project) == "rank 0 speaks\n" * 2


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_1p_ended_by_a_signal_leaves_no_process(project, name):
    process = _start(project, "run_npu_1p.sh", FAKE_SECONDS="60", **_OWN_DATA)
    _wait_for_ranks(project, [0])
    # To the launcher alone, as kill does; Ctrl-C reaches the whole group.
    number = getattr(signal, name)
    (os.killpg if name == "SIGINT" else os.kill)(process.pid, number)
    output, _ = process.communicate(timeout=20)
    # Python 3.7 makes status 1 of an interrupt, later ones pass the signal on.
    expected = (-number, 1) if name == "SIGINT" else (-number,)
    assert process.returncode in expected
    assert _group_is_gone(process)
    # What Python says at its end is kept, too.
    assert ("KeyboardInterrupt" in output) == (name == "SIGINT")
    assert _log(project) == output


def test_8p_starts_eight_ranks_each_on_its_device(project):
    result = _run(project, "run_npu_8p.sh", ["--num_epochs=1"], **_OWN_DATA)
    assert result.returncode == 0
    assert result.stdout == "rank 0 speaks\n"
    for rank in range(8):
        (report,) = _reports(project, rank)
        assert report["cwd"] == str(project / "training" / f"D{rank}")
        assert report["argv"][-1] == "--num_epochs=1"
        environment = report["env"]
        names = ("RANK_ID", "DEVICE_ID", "DEVICE_INDEX", "RANK_SIZE")
        assert [environment[name] for name in names] == [str(rank)] * 3 + ["8"]
        table = str(project / "npu_config" / "8p.json")
        assert environment["RANK_TABLE_FILE"] == table
        assert environment["JOB_ID"]
        assert environment["HCCL_CONNECT_TIMEOUT"] == "600"
        assert environment["FUSION_TENSOR_SIZE"] == "1000000000"
        assert _log(project, rank) == f"rank {rank} speaks\n"


def test_8p_with_a_failing_rank_ends_the_others_and_names_it(project):
    start = time.monotonic()
    process = _start(
        project,
        "run_npu_8p.sh",
        FAKE_SECONDS="60",
        FAKE_FAILING_RANK="5",
        **_OWN_DATA,
    )
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - start < 30
    assert process.returncode == 1
    assert "rank 5 failed with status 1" in output
    assert "rank fails, as it was told" in output
    assert _group_is_gone(process)


def test_8p_ends_ranks_that_ignore_sigterm(project):
    variables = dict(_OWN_DATA, RANK_SIZE="2", FAKE_SECONDS="60", FAKE_STUBBORN="1")
    process = _start(project, "run_npu_8p.sh", FAKE_FAILING_RANK="1", **variables)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "rank 1 failed" in output
    assert _group_is_gone(process)


@pytest.mark.parametrize("name, status", [("SIGINT", 130), ("SIGTERM", 143)])
def test_8p_ended_by_a_signal_leaves_no_process(project, name, status):
    process = _start(project, "run_npu_8p.sh", FAKE_SECONDS="60", **_OWN_DATA)
    _wait_for_ranks(project, range(8))
    number = getattr(signal, name)
    (os.killpg if name == "SIGINT" else os.kill)(process.pid, number)
    process.communicate(timeout=20)
    assert process.returncode == status
    assert _group_is_gone(process)


@pytest.mark.parametrize(
    "name, value", [("RANK_TABLE_FILE", "/nowhere/table.json"), ("RANK_SIZE", "no")]
)
def test_8p_with_a_bad_setting_is_one_line(project, name, value):
    result = _run(project, "run_npu_8p.sh", **{name: value})
    assert result.returncode == 2
    (line,) = (result.stdout + result.stderr).splitlines()
    assert line.startswith(f"run_npu_8p.sh: {name}={value}")
    assert not (project / "training").exists()


def test_8p_makes_a_relative_rank_table_absolute(project, tmp_path):
    (tmp_path / "table.json").write_text("{}")
    variables = dict(_OWN_DATA, RANK_TABLE_FILE="table.json", RANK_SIZE="1")
    script = str(project / "run_npu_8p.sh")
    subprocess.run(
        [script], cwd=str(tmp_path), env=_environment(**variables), check=True
    )
    (report,) = _reports(project)
    assert report["env"]["RANK_TABLE_FILE"] == str(tmp_path / "table.json")
