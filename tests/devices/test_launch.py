# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Both launchers with an ssd_main.py that only reports: starts, failures, signals."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from devices import launch, rank_table
from launching import ROOT, Project
from processes import free_ports, wait_for

ONE, ALL = "run_npu_1p.sh", "run_npu_8p.sh"
TWO_SERVERS = "npu_config/16p_2servers.json"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def start(project, *arguments, script=ALL, ranks=3, **variables):
    return project.start(script, *arguments, RANK_SIZE=str(ranks), **variables)


def write_table(path, *servers, devices=2):
    """Writes a rank table with some devices on every server."""
    places = [(server, device) for server in servers for device in range(devices)]
    ranks = [
        rank_table.Rank(rank, *place, f"10.1.0.{rank + 1}")
        for rank, place in enumerate(places)
    ]
    path.write_text(json.dumps(rank_table.document(ranks)))


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


def test_a_server_starts_its_own_ranks(project):
    table = project.folder / "table.json"
    write_table(table, "10.0.0.1", "10.0.0.2")
    # A relative file is relative to where the launcher was called.
    variables = {"RANK_TABLE_FILE": "table.json", "SERVER_ID": "10.0.0.2"}
    result = project.run(ALL, cwd=project.folder, **variables)
    assert (result.returncode, result.stdout) == (0, "rank 2 speaks\n")
    for device in range(2):
        (report,) = project.reports(device)
        names = ("RANK_ID", "DEVICE_ID", "RANK_SIZE", "RANK_TABLE_FILE")
        expected = [str(2 + device), str(device), "4", str(table)]
        assert [report["env"][name] for name in names] == expected
        assert project.log(device, 2 + device)


def test_rank_size_takes_the_first_ranks_and_shortens_the_table(project):
    assert project.run(ALL, RANK_SIZE="2").returncode == 0
    (report,) = project.reports(1)
    assert report["env"]["RANK_SIZE"] == "2"
    path = project.folder / "training" / "rank_table_2.json"
    assert report["env"]["RANK_TABLE_FILE"] == str(path)
    whole = rank_table.read(str(project.folder / "npu_config" / "8p.json"))
    assert rank_table.read(str(path)).ranks == whole.ranks[:2]
    assert not project.reports(2)


@pytest.fixture
def error_line(monkeypatch, capfd, tmp_path):
    """Function that calls a launcher's program here; returns the line that it prints.

    Its argument is the name of the launcher, then flags and environment variables.
    """
    code_dir = tmp_path / "code"
    (code_dir / "npu_config").mkdir(parents=True)
    for name in ("8p.json", "16p_2servers.json"):
        shutil.copy(str(ROOT / "npu_config" / name), str(code_dir / "npu_config"))
    monkeypatch.setattr(launch, "_CODE_DIR", str(code_dir))
    monkeypatch.setenv("SSD_CALLED_FROM", str(code_dir))

    def call(command):
        name, *settings = command.split()
        flags = [text for text in settings if text.startswith("-")]
        for text in settings:
            if text not in flags:
                monkeypatch.setenv(*text.split("="))
        assert launch.main(name, *flags) == 2
        output, errors = capfd.readouterr()
        assert not output and errors.startswith(f"{name}: ")
        assert errors.count("\n") == 1
        return errors

    return call


@pytest.mark.parametrize(
    "command, expected",
    [
        (f"{ALL} RANK_TABLE_FILE=/x.json", "cannot read /x.json: No such file"),
        (f"{ALL} RANK_SIZE=no", "RANK_SIZE=no: must be a whole number"),
        (f"{ALL} RANK_SIZE=9", "8p.json has 8 ranks; set RANK_SIZE to 1 to 8"),
        (f"{ALL} RANK_TABLE_FILE={TWO_SERVERS} SERVER_ID=10.0.0.3", "=10.0.0.3: "),
        (f"{ALL} SSD_SECONDS_TO_SAVE=1.5", "SSD_SECONDS_TO_SAVE=1.5: must be a whole"),
        (f"{ALL} SSD_MAX_RESTARTS=many", "SSD_MAX_RESTARTS=many: must be a whole"),
        (f"{ONE} --max_restarts=-1", "--max_restarts=-1: must be a whole number"),
        (f"{ONE} --hang_seconds=1h", "--hang_seconds=1h: must be a whole number"),
        (f"{ONE} --hang_seconds", "--hang_seconds: expected one argument"),
        (f"{ONE} DEVICE_ID=01", "DEVICE_ID=01: must be a whole number"),
    ],
)
def test_a_bad_setting_is_one_line(error_line, tmp_path, command, expected):
    assert expected in error_line(command)
    assert not (tmp_path / "code" / "training").exists()


def test_a_bad_rank_table_is_one_line_with_the_entry(error_line, tmp_path):
    table = tmp_path / "code" / "npu_config" / "8p.json"
    table.write_text(table.read_text().replace('"rank_id": "7"', '"rank_id": "3"'))
    assert f"{table}: group_list[0].instance_list[7]: rank_id 3" in error_line(ALL)


def test_a_log_that_cannot_be_written_is_one_line(error_line, tmp_path):
    (tmp_path / "code" / "training").write_text("in the way")
    assert "training/D0/train_0.log cannot be written" in error_line(ALL)


def test_the_log_is_shown_whole_but_not_that_of_earlier_runs(project):
    lines = "".join(f"line {number}\n" for number in range(20000))
    code = f"import sys\nprint({lines!r}, end='')\nsys.exit(7)"
    (project.folder / "ssd_main.py").write_text(code)
    for _ in range(2):
        result = project.run(ONE)
        assert (result.returncode, result.stdout, result.stderr) == (7, lines, "")
    assert project.log() == lines * 2


def test_a_rank_that_ends_well_does_not_end_the_others(project):
    process = start(project, FAKE_ALL="end 0 1", FAKE_1="end 0")
    assert project.end(process) == (0, "rank 0 speaks\n")


def test_a_rank_killed_from_outside_is_named_and_ends_the_others(project):
    process = start(project, FAKE_ALL="wait", FAKE_CHILD="1")
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


def test_ranks_that_left_for_one_on_another_server_are_named(project):
    status, output = project.end(start(project, FAKE_ALL="end 75 0"))
    assert status == 75
    assert "rank 0 failed with status 75" in output
    assert "rank 2 failed with status 75" in output


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


def test_ranks_that_cannot_save_yet_end_with_the_signals_status(project):
    process = start(project, ranks=1, FAKE_ALL="wait", FAKE_CHILD="1")
    project.wait_for_ranks(1)
    process.send_signal(signal.SIGINT)
    assert project.end(process)[0] == 128 + signal.SIGINT


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
    command = [sys.executable, "-X", "importtime", "-c", "import devices.launch"]
    result = subprocess.run(command, cwd=str(project.folder), stderr=subprocess.PIPE)
    names = {line.split()[-1] for line in result.stderr.splitlines()}
    assert result.returncode == 0 and b"devices.job" in names
    assert not {b"tensorflow", b"numpy", b"absl"} & names


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


_CONNECTED_RANKS = """
import os, signal
from devices import rank_messages

rank = int(os.environ["RANK_ID"])
is_first_run = not os.path.exists("started")
open("started", "w").close()
ranks = rank_messages.connect(rank, 2, ("127.0.0.1", int(os.environ["FAKE_PORT"])))
if rank and is_first_run:
    os.kill(os.getpid(), signal.SIGKILL)
ranks.exchange("trained")
ranks.close()
"""


@pytest.mark.slow
def test_two_servers_start_again_together(tmp_path):
    write_table(tmp_path / "table.json", "10.0.0.1", "10.0.0.2", devices=1)
    port = str(free_ports(1))
    launchers = []
    for server in ("10.0.0.1", "10.0.0.2"):
        (tmp_path / server).mkdir()
        project = Project(tmp_path / server)
        (project.folder / "ssd_main.py").write_text(_CONNECTED_RANKS)
        variables = {"RANK_TABLE_FILE": str(tmp_path / "table.json")}
        variables.update(SERVER_ID=server, FAKE_PORT=port, SSD_MAX_RESTARTS="1")
        launchers.append((project, project.start(ALL, **variables)))
    for rank, cause in enumerate(["failed with status 75", "was killed by SIGKILL"]):
        project, process = launchers[rank]
        assert project.end(process)[0] == 0, project.output()
        restart = f"rank {rank} {cause}; all ranks of this server start again"
        assert project.log(0, rank).count(restart) == 1


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
