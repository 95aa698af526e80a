# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Both launchers with an ssd_main.py that only reports: starts, failures, signals."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from devices import launch, rank_table
from launching import ROOT, Project
from processes import wait_for

ONE, ALL = "run_npu_1p.sh", "run_npu_8p.sh"
TWO_SERVERS = "npu_config/16p_2servers.json"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def start(project, *arguments, script=ALL, ranks=3, **variables):
    return project.start(script, *arguments, RANK_SIZE=str(ranks), **variables)


@pytest.mark.slow
def test_eight_ranks_start_each_on_its_device(project):
    result = project.run(ALL, "--num_epochs=1")
    assert (result.returncode, result.stdout) == (0, "rank 0 speaks\n"), result.stderr
    assert result.stderr == ""
    for rank in range(8):
        (report,) = project.reports(rank)
        assert report["cwd"] == str(project.folder / "training" / f"D{rank}")
        assert report["argv"][-1] == "--num_epochs=1"
        names = ("RANK_ID", "DEVICE_ID", "DEVICE_INDEX", "RANK_SIZE")
        assert [report["env"][name] for name in names] == [str(rank)] * 3 + ["8"]
        table = str(project.folder / "npu_config" / "8p.json")
        assert report["env"]["RANK_TABLE_FILE"] == table
        assert report["env"]["HCCL_CONNECT_TIMEOUT"] == "600"
        assert project.log(rank) == f"rank {rank} speaks\n"


def test_a_single_rank_starts_without_a_rank_table(project, tmp_path):
    # With a table left over from another run it would wait for other ranks.
    variables = {"DEVICE_ID": "3", "RANK_SIZE": "8", "RANK_TABLE_FILE": "/x.json"}
    assert project.run(ONE, cwd=tmp_path, **variables).returncode == 0
    (report,) = project.reports(device=3)
    assert report["cwd"] == str(project.folder / "training" / "D3")
    names = ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "DEVICE_INDEX")
    assert [report["env"][name] for name in names] == ["0", "1", "3", "3"]
    assert "RANK_TABLE_FILE" not in report["env"]
    # Paths in flags start where the user is.
    assert report["env"]["SSD_CALLED_FROM"] == str(tmp_path)
    assert project.log(3, rank=0) == "rank 0 speaks\n"


def test_a_server_starts_its_own_of_the_first_ranks(project):
    # A relative file is relative to where the launcher was called.
    variables = {"RANK_TABLE_FILE": "16p_2servers.json", "SERVER_ID": "10.0.0.2"}
    folder = project.folder / "npu_config"
    # The table of nine ranks has one rank of the second server.
    result = project.run(ALL, cwd=folder, RANK_SIZE="9", **variables)
    assert (result.returncode, result.stdout) == (0, "rank 8 speaks\n")
    (report,) = project.reports(device=0)
    assert (report["env"]["RANK_ID"], report["env"]["DEVICE_ID"]) == ("8", "0")
    assert report["env"]["RANK_SIZE"] == "9"
    path = project.folder / "training" / "rank_table_9.json"
    assert report["env"]["RANK_TABLE_FILE"] == str(path)
    whole = rank_table.read(str(folder / "16p_2servers.json"))
    assert rank_table.read(str(path)).ranks == whole.ranks[:9]
    assert project.log(0, rank=8)


@pytest.mark.parametrize(
    "command, expected",
    [
        (f"{ALL} RANK_TABLE_FILE=/x.json", "cannot read /x.json: No such file"),
        (f"{ALL} RANK_TABLE_FILE=bad.json", "bad.json: group_list[0].instance_list[7]"),
        (f"{ALL} RANK_SIZE=9", "8p.json has 8 ranks; set RANK_SIZE to 1 to 8"),
        (f"{ALL} RANK_TABLE_FILE={TWO_SERVERS} SERVER_ID=10.0.0.3", "=10.0.0.3: "),
        (f"{ALL} SSD_SECONDS_TO_SAVE=1.5", "SSD_SECONDS_TO_SAVE=1.5: must be a whole"),
        (f"{ALL} SSD_MAX_RESTARTS=many", "SSD_MAX_RESTARTS=many: must be a whole"),
        (f"{ONE} --max_restarts=-1", "--max_restarts=-1: must be a whole number"),
        (f"{ONE} --hang_seconds=1h", "--hang_seconds=1h: must be a whole number"),
        (f"{ONE} --hang_seconds", "--hang_seconds: expected one argument"),
        (f"{ONE} DEVICE_ID=01", "DEVICE_ID=01: must be a whole number"),
        (ONE, "training/D0/train_0.log cannot be written"),
    ],
)
def test_a_bad_setting_is_one_line(monkeypatch, capfd, tmp_path, command, expected):
    shutil.copytree(str(ROOT / "npu_config"), str(tmp_path / "npu_config"))
    table = (ROOT / "npu_config" / "8p.json").read_text()
    bad = table.replace('"rank_id": "7"', '"rank_id": "3"')
    (tmp_path / "bad.json").write_text(bad)
    (tmp_path / "training").write_text("in the way")
    monkeypatch.setattr(launch, "_CODE_DIR", str(tmp_path))
    monkeypatch.setenv("SSD_CALLED_FROM", str(tmp_path))
    name, *settings = command.split()
    flags = [text for text in settings if text.startswith("-")]
    for text in settings[len(flags) :]:
        monkeypatch.setenv(*text.split("="))
    assert launch.main(name, *flags) == 2
    output, errors = capfd.readouterr()
    assert not output and errors.startswith(f"{name}: ")
    assert errors.count("\n") == 1 and expected in errors


def test_the_log_is_shown_whole_but_not_that_of_earlier_runs(project):
    lines = "".join(f"line {number}\n" for number in range(20000))
    code = f"import sys\nprint({lines!r}, end='')\nsys.exit(7)"
    (project.folder / "ssd_main.py").write_text(code)
    for _ in range(2):
        result = project.run(ONE)
        assert (result.returncode, result.stdout, result.stderr) == (7, lines, "")
    assert project.log() == lines * 2


def test_a_rank_killed_from_outside_is_named_and_ends_the_others(project):
    # Rank 2 ends well, which ends no other rank.
    process = start(project, FAKE_ALL="wait", FAKE_2="end 0", FAKE_CHILD="1")
    pids = project.wait_for_ranks(3)
    # The display of the log might be late otherwise.
    wait_for(project.output)
    os.kill(pids[1], signal.SIGKILL)
    status, output = project.end(process)
    assert status == 128 + signal.SIGKILL
    log = f"{project.folder}/training/D1/train_1.log"
    assert output.splitlines() == [
        "rank 0 speaks",
        "run_npu_8p.sh: rank 1 was killed by SIGKILL; ending the other ranks",
        f"run_npu_8p.sh: rank 1 was killed by SIGKILL; the end of {log}:",
        "rank 1 speaks",
    ]


@pytest.mark.slow
def test_the_rank_that_the_others_left_for_is_named_though_it_ends_later(project):
    process = start(project, FAKE_ALL="wait", FAKE_0="end 75 0", FAKE_2="end 4 1")
    status, output = project.end(process)
    assert status == 4
    assert "rank 2 failed with status 4; the end of" in output
    assert "rank 0 failed" not in output


@pytest.mark.slow
def test_ranks_that_left_for_one_on_another_server_start_again(project):
    process = start(project, "--max_restarts=1", ranks=2, FAKE_ALL="end 75 0")
    status, output = project.end(process)
    assert status == 75
    causes = "rank 0 failed with status 75, rank 1 failed with status 75"
    assert f"{causes}; all ranks of this server start again" in output
    assert f"{causes}; not started again: 1 restart(s) have brought no new" in output
    assert len(project.reports(1)) == 2


@pytest.mark.parametrize(
    "script, name, disposition",
    [
        (ALL, "SIGINT", signal.SIG_DFL),
        (ONE, "SIGHUP", signal.SIG_DFL),
        # Started as `nohup ./run_npu_1p.sh &` in a script.
        (ONE, "SIGINT", signal.SIG_IGN),
        (ONE, "SIGTERM", signal.SIG_IGN),
    ],
)
def test_a_signal_lets_every_rank_save(project, script, name, disposition):
    variables = {"script": script, "disposition": disposition}
    process = start(project, FAKE_ALL="save", **variables)
    ranks = 3 if script == ALL else 1
    project.wait_for_ranks(ranks)
    if disposition == signal.SIG_IGN:
        # The terminal is closed.
        process.send_signal(signal.SIGHUP)
    # Ctrl-C reaches the whole group of the launcher, kill the launcher alone.
    number = getattr(signal, name)
    (os.killpg if name == "SIGINT" else os.kill)(process.pid, number)
    status, output = project.end(process)
    assert status == 0
    assert f"{name}: the training saves a checkpoint and ends, within 60 s" in output
    for rank in range(ranks):
        assert (project.folder / "training" / f"D{rank}" / "saved").exists()
        assert project.log(rank) == f"rank {rank} speaks\nrank {rank} saved\n"
    assert "rank 0 saved" in output


def test_the_ranks_save_when_the_terminal_is_gone(project):
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [str(project.folder / ALL)],
        env=project.environment(RANK_SIZE="2", FAKE_ALL="save"),
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    project.wait_for_ranks(2)
    os.close(reader)
    process.terminate()
    assert process.wait() == 0
    assert project.log(1) == "rank 1 speaks\nrank 1 saved\n"


@pytest.mark.slow
def test_ranks_that_do_not_save_in_time_are_named_and_killed(project):
    process = start(
        project, FAKE_ALL="stubborn", FAKE_2="save", SSD_SECONDS_TO_SAVE="1"
    )
    project.wait_for_ranks(3)
    folder = project.folder / "training" / "D2"
    (folder / "saved").mkdir()
    process.send_signal(signal.SIGTERM)
    status, output = project.end(process)
    assert status == 143
    assert "killing the ranks that did not end by themselves: 0 1\n" in output
    assert "rank 0 was killed by SIGKILL, see" in output
    assert f"rank 2 failed with status 1, see {folder}/train_2.log" in output
    assert "IsADirectoryError" in project.log(2)


@pytest.mark.parametrize(
    "fakes, answer, status",
    [
        ({}, "a second signal ends it at once", 143),
        ({"FAKE_1": "end 3 0"}, "ending the other ranks", 3),
    ],
)
def test_a_second_signal_ends_the_ranks_at_once(project, fakes, answer, status):
    process = start(project, FAKE_ALL="stubborn", SSD_SECONDS_TO_SAVE="9999", **fakes)
    project.wait_for_ranks(3)
    if not fakes:
        process.send_signal(signal.SIGTERM)
    # A failure counts as the first signal.
    wait_for(lambda: answer in project.output())
    process.send_signal(signal.SIGINT)
    assert project.end(process)[0] == status


def test_nothing_outlives_a_launcher_that_is_killed(project):
    process = start(project, ranks=2, FAKE_ALL="stubborn")
    project.wait_for_ranks(2)
    process.kill()
    assert project.end(process)[0] == -signal.SIGKILL


def test_the_launcher_starts_without_tensorflow(project):
    names = "import sys, devices.launch; print(*sys.modules)"
    command = [sys.executable, "-c", names]
    names = subprocess.check_output(command, cwd=str(project.folder)).split()
    assert b"devices.job" in names
    assert not {b"tensorflow", b"numpy", b"absl"} & set(names)


@pytest.mark.slow
def test_a_rank_killed_five_times_is_started_again_from_the_newest_checkpoint(project):
    # Each run saves checkpoints: a single restart in a row is enough.
    process = start(project, "--max_restarts=1", ranks=2, FAKE_ALL="train 40")
    saved = project.folder / "training" / "D1" / "result_npu"

    def wait_for_run(number, num_saved_before):
        wait_for(lambda: len(project.reports(1)) == number)
        wait_for(lambda: len(list(saved.glob("*"))) > num_saved_before)

    for number in range(1, 6):
        wait_for_run(number, num_saved_before=len(list(saved.glob("*"))))
        os.kill(project.reports(1)[-1]["pid"], signal.SIGKILL)
    status, output = project.end(process)
    assert status == 0
    assert len(project.reports(1)) == 6
    restart = (
        "rank 1 was killed by SIGKILL; all ranks of this server start again in 1 s "
        "(restart 1 of 1 since the last new checkpoint)"
    )
    for text in (output, project.log(0), project.log(1)):
        assert text.count(restart) == 5
    assert len(list(saved.glob("*"))) == 40


def test_an_error_of_the_user_is_not_started_again(project):
    process = start(project, "--max_restarts=9", FAKE_ALL="wait", FAKE_1="end 2")
    assert project.end(process)[0] == 2
    assert len(project.reports(1)) == 1


@pytest.mark.slow
def test_the_pauses_before_restarts_grow_and_a_signal_ends_the_job_in_them(project):
    variables = {"FAKE_1": "end 3", "SSD_MAX_RESTARTS": "9"}
    process = start(project, ranks=2, FAKE_ALL="wait", **variables)
    wait_for(lambda: "start again in 4 s" in project.output())
    process.send_signal(signal.SIGTERM)
    assert project.end(process)[0] == 143
    assert len(project.reports(1)) == 3
    text = "rank 1 failed with status 3; all ranks of this server start again"
    assert f"{text} in 1 s (restart 1 of 9" in project.log(1)
    assert f"{text} in 2 s (restart 2 of 9" in project.log(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "script, ranks, restarts, expected_status",
    [(ALL, 2, 1, 0), (ONE, 1, 0, 124)],
)
def test_ranks_that_hang_show_their_stacks_and_start_again(
    project, script, ranks, restarts, expected_status
):
    arguments = [f"--max_restarts={restarts}", "--hang_seconds=2"]
    variables = {"script": script, "ranks": ranks, "FAKE_ALL": "train 30"}
    process = start(project, *arguments, **variables)
    for rank, pid in enumerate(project.wait_for_ranks(ranks)):
        folder = project.folder / "training" / f"D{rank}" / "result_npu"
        wait_for((folder / "model.ckpt-1.index").exists)
        os.kill(pid, signal.SIGSTOP)
    status, output = project.end(process)
    assert status == expected_status
    assert "no rank has finished a step for 2 s; the end of each log shows" in output
    for rank in range(ranks):
        log = project.log(rank)
        assert re.search(r'File ".*/ssd_main.py", line \d+ in train\n', log)
        assert log.count("for 2 s; all ranks of this server start again") == restarts
        assert len(project.reports(rank)) == 1 + restarts


@pytest.mark.slow
def test_what_follows_the_training_may_take_longer_than_hang_seconds(project):
    fake = project.folder / "ssd_main.py"
    ending = "\nos.utime(os.environ['SSD_HEARTBEAT_FILE'], (0, 0)); time.sleep(2)\n"
    fake.write_text(fake.read_text() + ending)
    process = start(project, "--hang_seconds=1", ranks=1, FAKE_ALL="train 2")
    assert project.end(process)[0] == 0


@pytest.mark.slow
def test_a_full_disk_does_not_stop_the_launcher(project):
    folder = project.folder / "training"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if os.geteuid() or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("only root may create a small file system")
    try:
        with pytest.raises(OSError), (folder / "large").open("wb", 0) as file:
            while True:
                file.write(bytes(4096))
        process = project.start(ONE, "--max_restarts=1")
        status, output = project.end(process)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    # Its ssd_main.py cannot write its report.
    assert status == 1
    (line,) = output.splitlines()
    assert "rank 0 failed with status 1; not started again: 1 restart(s) have" in line
