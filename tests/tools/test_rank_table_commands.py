# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands of tools/rank_table.py."""

import os
import subprocess
import sys

import pytest

import rank_table as tool
from devices import rank_table
from devices.rank_table import Rank

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ONE_SERVER = os.path.join(ROOT, "npu_config", "8p.json")
TWO_SERVERS = os.path.join(ROOT, "npu_config", "16p_2servers.json")


@pytest.fixture
def run(capsys):
    """Function of the arguments: the command's status, output and error output."""

    def command(*arguments):
        status = tool.main([str(argument) for argument in arguments])
        return (status, *capsys.readouterr())

    return command


def write_table(path, *servers):
    """Writes a table with a rank on each server; a repeated one has several devices."""
    ranks = [
        Rank(i, server, servers[:i].count(server), f"10.1.0.{i + 1}")
        for i, server in enumerate(servers)
    ]
    rank_table.write(str(path), rank_table.document(ranks))
    return path


def write_hccn(path, ranks):
    """Writes /etc/hccn.conf for the devices of these ranks, in descending order."""
    lines = [f"address_{r.device_id}={r.device_ip}\nnetmask_0=::\n" for r in ranks]
    path.write_text("# written by hccn_tool\n" + "".join(reversed(lines)))
    return path


def test_the_tool_runs_from_any_folder_without_installed_packages(tmp_path):
    # -S hides the installed packages.
    command = [sys.executable, "-S", os.path.join(ROOT, "tools", "rank_table.py")]
    command += ["check", ONE_SERVER]
    line = f"{ONE_SERVER}: valid: 8 rank(s) on 1 server(s), 0.0.0.0\n"
    assert subprocess.check_output(command, cwd=str(tmp_path)).decode() == line


def test_an_error_is_one_line_and_status_2(run):
    line = "rank_table.py: unrecognized arguments: --all; see --help\n"
    assert run("show", "--all", ONE_SERVER) == (2, "", line)
    line = (
        f"rank_table.py: cannot read {os.devnull}: it is empty; give a rank table in "
    )
    assert run("check", os.devnull) == (2, "", line + "JSON, without comments\n")


def test_show_prints_one_line_per_rank(run, tmp_path):
    path = write_table(tmp_path / "table [1].json", "10.0.0.1", "node-2")
    lines = (
        "rank  server    device  device address\n"
        "   0  10.0.0.1       0  10.1.0.1\n"
        "   1  node-2         0  10.1.0.2\n"
    )
    assert run("show", path) == (0, lines, "")


def test_check_notes_device_counts_that_hccl_refuses(run, tmp_path):
    path = write_table(tmp_path / "table.json", *"aab")
    status, output, note = run("check", path)
    assert (status, output) == (0, f"{path}: valid: 3 rank(s) on 2 server(s), a, b\n")
    assert note.startswith(f"rank_table.py: note: {path}: on the 910, HCCL accepts ")
    assert note.endswith("the table has 2, 1\n")


def test_make_creates_the_two_example_tables(run, tmp_path):
    hccn = write_hccn(tmp_path / "hccn.conf", rank_table.read(ONE_SERVER).ranks)
    arguments = ["make", "--servers", "0.0.0.0", "--layout", "group_list"]
    with open(ONE_SERVER) as file:
        assert run(*arguments, "--hccn", hccn) == (0, file.read(), "")

    ranks = rank_table.read(TWO_SERVERS).ranks
    first = write_hccn(tmp_path / "first.conf", ranks[:8])
    second = write_hccn(tmp_path / "second [*?].conf", ranks[8:])
    output = tmp_path / "16p [*?].json"
    output.write_text("mine")
    arguments = ["make", "--overwrite", "--servers", "10.0.0.1,10.0.0.2"]
    arguments += ["--output", output]
    assert run(*arguments, "--hccn", first, second) == (0, "", "")
    with open(TWO_SERVERS) as file:
        assert output.read_text() == file.read()


@pytest.mark.parametrize(
    "newline, encoding",
    [("\r\n", "utf-8-sig"), ("\r", "utf-16"), ("\n", "gbk")],
)
def test_make_reads_hccn_files_of_other_systems(run, tmp_path, newline, encoding):
    lines = ["address_0=10.1.0.1", "# \u7b2c", "#address_2=::3", "address_1 = ::2"]
    hccn = tmp_path / "hccn.conf"
    hccn.write_bytes(newline.join(lines).encode(encoding))
    output = tmp_path / "table.json"
    assert run("make", "--servers", "a", "--hccn", hccn, "--output", output)[0] == 0
    ranks = [Rank(0, "a", 0, "10.1.0.1"), Rank(1, "a", 1, "::2")]
    assert rank_table.read(str(output)).ranks == ranks


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "adress_0=10.0.0.1\naddress_1=10.0.0.2\n",
            "device 0 has no address; a device's line is like ",
        ),
        ("address_0=1.2.3\n", "line 1: 'address_0=1.2.3' is not a device's address; a"),
        ("address_0=1.2.3.4\n" * 2, "line 2: 'address_0=1.2.3.4' repeats a device; a"),
        ("\nAddress_0:1.2.3.4", "line 2: 'Address_0:1.2.3.4' is not a device's addr"),
        (
            "address_0=1\naddress_1=\n",
            "line 1: 'address_0=1' is not a device's address (and 1 more, see above)",
        ),
    ],
)
def test_make_refuses_a_wrong_hccn_file(run, tmp_path, text, message):
    hccn = tmp_path / "hccn.conf"
    hccn.write_bytes(text.encode())
    status, output, error = run("make", "--servers", "node-1", "--hccn", hccn)
    assert (status, output) == (2, "")
    assert f"--hccn: {hccn}: {message}" in error


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("a,b --hccn 1", "--hccn: 1 file(s) for 2 server(s); give the /etc/hccn"),
        ("a,b --hccn 1 1", "server_list[1].device[0]: device_ip 10.1.0.1 is"),
        ("a+b --hccn 1", "server_list[0].server_id: must be an IP address or h"),
        ("a --hccn 1", "--output=table: exists; give another file, or add --ov"),
    ],
)
def test_make_keeps_the_file_unless_the_table_is_valid_and_it_may_be_replaced(
    run, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    write_hccn(tmp_path / "1", [Rank(0, "", 0, "10.1.0.1")])
    (tmp_path / "table").write_text("mine")
    arguments = ["--output", "table", "--servers"] + arguments.split()
    status, _, error = run("make", *arguments)
    assert status == 2
    assert message in error
    assert (tmp_path / "table").read_text() == "mine"
