# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""run_npu_8p.sh, run by bash with an ssd_main.py that only reports."""

import os
import signal

import pytest

from devices import rank_table
from launching import OWN_DATA, Project, wait_until

_TWO_SERVERS = "npu_config/16p_2servers.json"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def run(project, **variables):
    return project.run("run_npu_8p.sh", **OWN_DATA, **variables)


def start(project, **variables):
    return project.start("run_npu_8p.sh", FAKE_LOCAL_RANKS="8", **variables)


def write_table(path, *servers):
    """A table of two devices on every server."""
    ranks = [
        rank_table.Rank(rank, servers[rank // 2], rank % 2, f"10.1.0.{rank + 1}")
        for rank in range(2 * len(servers))
    ]
    rank_table.write(str(path), rank_table.document(ranks), overwrite=False)


def test_eight_ranks_start_each_on_its_device(project):
    result = run(project, arguments=["--num_epochs=1"])
    assert result.returncode == 0
    assert result.stdout == "rank 0 speaks\n"
    assert result.stderr == ""
    for rank in range(8):
        (report,) = project.reports(rank)
        assert report["cwd"] == str(project.folder / "training" / f"D{rank}")
        assert report["argv"][-1] == "--num_epochs=1"
        environment = report["env"]
        names = ("RANK_ID", "DEVICE_ID", "DEVICE_INDEX", "RANK_SIZE")
        assert [environment[name] for name in names] == [str(rank)] * 3 + ["8"]
        table = str(project.folder / "npu_config" / "8p.json")
        assert environment["RANK_TABLE_FILE"] == table
        assert environment["JOB_ID"]
        assert environment["HCCL_CONNECT_TIMEOUT"] == "600"
        assert environment["FUSION_TENSOR_SIZE"] == "1000000000"
        assert project.log(rank) == f"rank {rank} speaks\n"


@pytest.mark.parametrize("server_id, first", [("10.0.0.1", 0), ("10.0.0.2", 8)])
def test_each_of_two_servers_starts_its_own_ranks(project, server_id, first):
    table = str(project.folder / _TWO_SERVERS)
    result = run(project, RANK_TABLE_FILE=table, SERVER_ID=server_id)
    assert result.returncode == 0
    assert result.stdout == f"rank {first} speaks\n"
    for device in range(8):
        (report,) = project.reports(device)
        environment = report["env"]
        names = ("RANK_ID", "DEVICE_ID", "RANK_SIZE", "RANK_TABLE_FILE")
        expected = [str(first + device), str(device), "16", table]
        assert [environment[name] for name in names] == expected
        assert project.log(device, first + device)


def test_a_server_is_known_by_its_address(project, tmp_path):
    # The first is reserved: no machine has it.
    write_table(tmp_path / "table.json", "240.0.0.1", "127.0.0.1")
    result = run(project, RANK_TABLE_FILE=str(tmp_path / "table.json"))
    assert result.stdout == "rank 2 speaks\n"
    assert [project.reports(d)[0]["env"]["RANK_ID"] for d in (0, 1)] == ["2", "3"]


def test_without_rank_size_all_ranks_of_the_table_start(project, tmp_path):
    write_table(tmp_path / "table.json", "0.0.0.0")
    result = run(project, cwd=tmp_path, RANK_TABLE_FILE="table.json")
    assert result.returncode == 0
    for rank in range(2):
        (report,) = project.reports(rank)
        assert report["env"]["RANK_SIZE"] == "2"
        # A relative file is relative to where the launcher was called.
        assert report["env"]["RANK_TABLE_FILE"] == str(tmp_path / "table.json")
    assert not project.reports(2)


def test_rank_size_takes_the_first_ranks_and_shortens_the_table(project):
    assert run(project, RANK_SIZE="2").returncode == 0
    (report,) = project.reports(1)
    assert report["env"]["RANK_SIZE"] == "2"
    whole = rank_table.read(str(project.folder / "npu_config" / "8p.json"))
    shortened = rank_table.read(report["env"]["RANK_TABLE_FILE"])
    assert shortened.ranks == whole.ranks[:2]
    assert not project.reports(2)


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("RANK_TABLE_FILE", "/nowhere/table.json", "/nowhere/table.json: cannot be"),
        ("RANK_SIZE", "no", "RANK_SIZE=no: must be"),
        ("RANK_SIZE", "0", "RANK_SIZE=0: "),
        ("RANK_SIZE", "9", "8p.json has 8 ranks; set RANK_SIZE to 1 to 8"),
        ("SSD_SECONDS_TO_SAVE", "1.5", "SSD_SECONDS_TO_SAVE=1.5: must be whole"),
    ],
)
def test_a_bad_setting_is_one_line(project, name, value, said):
    result = run(project, **{name: value})
    assert result.returncode == 2
    (line,) = (result.stdout + result.stderr).splitlines()
    assert said in line
    assert not (project.folder / "training").exists()


def test_a_bad_rank_table_is_one_line_with_the_entry(project):
    table = project.folder / "npu_config" / "8p.json"
    table.write_text(table.read_text().replace('"rank_id": "7"', '"rank_id": "3"'))
    result = run(project)
    assert result.returncode == 2
    (line,) = (result.stdout + result.stderr).splitlines()
    assert f"{table}: group_list[0].instance_list[7]: rank_id 3" in line
    assert not (project.folder / "training").exists()


def test_an_unknown_server_is_one_line(project):
    table = str(project.folder / _TWO_SERVERS)
    result = run(project, RANK_TABLE_FILE=table, SERVER_ID="10.0.0.3")
    assert result.returncode == 2
    (line,) = (result.stdout + result.stderr).splitlines()
    assert "SERVER_ID=10.0.0.3" in line and "10.0.0.1, 10.0.0.2" in line


def test_a_log_that_cannot_be_written_is_one_line(project):
    (project.folder / "training").write_text("in the way")
    result = run(project)
    assert result.returncode == 2
    (line,) = (result.stdout + result.stderr).splitlines()
    assert "training/D0/train_0.log cannot be written" in line


def test_the_log_is_shown_whole_but_not_that_of_earlier_runs(project):
    lines = "".join(f"line {number}\n" for number in range(20000))
    fake = project.folder / "ssd_main.py"
    fake.write_text(f"print({lines!r}, end='')\n")
    assert run(project, RANK_SIZE="1").stdout == lines
    assert run(project, RANK_SIZE="1").stdout == lines
    assert project.log() == lines * 2


def test_a_rank_that_ends_well_does_not_end_the_others(project):
    process = start(project, FAKE_ALL="follow", FAKE_3="end 0")
    (pid,) = project.wait_for_ranks([3])
    project.wait_for_ranks(range(8))
    wait_until(lambda: pid not in project.processes(), "rank 3 does not end")
    (project.folder / "go").touch()
    assert project.end(process) == (0, "rank 0 speaks\n")
    project.wait_until_nothing_runs()


def test_a_failing_rank_is_named_and_ends_the_others(project):
    process = start(project, FAKE_ALL="wait", FAKE_5="fail", FAKE_CHILD="1")
    status, output = project.end(process)
    assert status == 3
    lines = output.splitlines()
    assert "run_npu_8p.sh: ending the other ranks" in lines
    assert lines[-3:] == [
        "run_npu_8p.sh: rank 5 failed with status 3; the end of "
        f"{project.folder}/training/D5/train_5.log:",
        "rank 5 speaks",
        "rank 5 fails, as it was told",
    ]
    project.wait_until_nothing_runs()


def test_a_rank_killed_from_outside_is_named_and_ends_the_others(project):
    process = start(project, FAKE_ALL="wait")
    pids = project.wait_for_ranks(range(8))
    # Its display runs on its own, and might be late otherwise.
    wait_until(project.output, "rank 0's log is not shown")
    os.kill(pids[6], signal.SIGKILL)
    status, output = project.end(process)
    assert status == 128 + signal.SIGKILL
    # Only the launcher speaks, not bash.
    log = f"{project.folder}/training/D6/train_6.log"
    assert output.splitlines() == [
        "rank 0 speaks",
        "run_npu_8p.sh: rank 6 was killed by SIGKILL",
        "run_npu_8p.sh: ending the other ranks",
        f"run_npu_8p.sh: rank 6 was killed by SIGKILL; the end of {log}:",
        "rank 6 speaks",
    ]
    project.wait_until_nothing_runs()


def test_the_rank_that_the_others_left_for_is_named_though_it_ends_later(project):
    process = start(project, FAKE_ALL="wait", FAKE_0="fail 75", FAKE_5="fail 4 1")
    status, output = project.end(process)
    assert status == 4
    assert "rank 5 failed with status 4; the end of" in output
    assert "rank 0 failed" not in output


def test_ranks_that_left_for_one_on_another_server_are_named(project):
    process = start(project, FAKE_ALL="fail 75")
    status, output = project.end(process)
    assert status == 75
    assert "rank 0 failed with status 75" in output
    assert "rank 7 failed with status 75" in output


def test_ranks_that_ignore_sigterm_are_killed_after_a_failure(project):
    process = start(project, FAKE_ALL="stubborn", FAKE_1="fail")
    status, output = project.end(process)
    assert status == 3
    assert "rank 0 2 3 4 5 6 7 did not end by itself; killing it" in output
    project.wait_until_nothing_runs()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_lets_every_rank_save(project, name):
    process = start(project, FAKE_ALL="save")
    project.wait_for_ranks(range(8))
    number = getattr(signal, name)
    # Ctrl-C reaches the whole group of the launcher, kill the launcher alone.
    (os.killpg if name == "SIGINT" else os.kill)(process.pid, number)
    status, output = project.end(process)
    assert status == 0
    assert f"{name}: the ranks save a checkpoint and end, within 60 s" in output
    for rank in range(8):
        assert (project.folder / "training" / f"D{rank}" / "saved").exists()
        assert project.log(rank) == f"rank {rank} speaks\nrank {rank} saved\n"
    assert "rank 0 saved" in output
    project.wait_until_nothing_runs()


@pytest.mark.parametrize("name, status", [("SIGINT", 130), ("SIGTERM", 143)])
def test_ranks_that_cannot_save_yet_end_with_the_signals_status(project, name, status):
    process = start(project, FAKE_ALL="wait", FAKE_CHILD="1")
    project.wait_for_ranks(range(8))
    os.kill(process.pid, getattr(signal, name))
    assert project.end(process)[0] == status
    project.wait_until_nothing_runs()


def test_a_rank_that_fails_to_save_is_named(project):
    process = start(project, FAKE_ALL="save")
    project.wait_for_ranks(range(8))
    folder = project.folder / "training" / "D2"
    (folder / "saved").mkdir()
    process.send_signal(signal.SIGTERM)
    status, output = project.end(process)
    assert status == 143
    assert f"rank 2 failed with status 1, see {folder}/train_2.log" in output
    assert "IsADirectoryError" in project.log(2)


def test_ranks_are_killed_when_the_time_for_saving_is_over(project):
    process = start(project, FAKE_ALL="stubborn", SSD_SECONDS_TO_SAVE="1")
    project.wait_for_ranks(range(8))
    process.send_signal(signal.SIGTERM)
    status, output = project.end(process)
    assert status == 143
    assert "did not end by itself" in output
    assert "rank 7 was killed by SIGKILL" in output
    project.wait_until_nothing_runs()


def test_a_second_signal_ends_the_ranks_at_once(project):
    process = start(project, FAKE_ALL="stubborn", SSD_SECONDS_TO_SAVE="9999")
    project.wait_for_ranks(range(8))
    process.send_signal(signal.SIGTERM)
    answer = "once more ends them at once"
    wait_until(lambda: answer in project.output(), "the first signal is not answered")
    process.send_signal(signal.SIGINT)
    assert project.end(process)[0] == 143
    project.wait_until_nothing_runs()


def test_nothing_outlives_a_launcher_that_is_killed(project):
    process = start(project, FAKE_ALL="stubborn")
    project.wait_for_ranks(range(8))
    process.kill()
    assert project.end(process)[0] == -signal.SIGKILL
    project.wait_until_nothing_runs()
