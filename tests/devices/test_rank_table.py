# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rank tables: what is read, what is refused and how, and the command line."""

import json
import os
import subprocess
import sys

import pytest

from devices import rank_table
from devices.rank_table import Rank, RankTableError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ONE_SERVER = os.path.join(ROOT, "npu_config", "8p.json")
TWO_SERVERS = os.path.join(ROOT, "npu_config", "16p_2servers.json")

# Devices 4 and 5 of one server, 0 of another: ids that differ from each other.
RANKS = [
    Rank(0, "10.0.0.1", 4, "192.168.100.101"),
    Rank(1, "10.0.0.1", 5, "192.168.101.101"),
    Rank(2, "node-2", 0, "192.168.100.102"),
]


def written(tmp_path, content):
    """A file with this text, or this JSON value."""
    path = tmp_path / "table.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return str(path)


def set_to(*keys):
    """A change of a document: the last of the keys becomes the value behind it."""
    *way, last, value = keys

    def change(content):
        for key in way:
            content = content[key]
        content[last] = value

    return change


def delete(*keys):
    *way, last = keys

    def change(content):
        for key in way:
            content = content[key]
        del content[last]

    return change


def test_the_group_list_layout_is_read():
    table = rank_table.read(ONE_SERVER)
    assert len(table.ranks) == 8
    assert table.ranks[0] == Rank(0, "0.0.0.0", 0, "192.168.100.101")
    assert table.ranks[7] == Rank(7, "0.0.0.0", 7, "192.168.103.100")
    assert table.servers == ["0.0.0.0"]
    assert table.path == ONE_SERVER


def test_the_version_1_layout_is_read():
    table = rank_table.read(TWO_SERVERS)
    assert [rank.rank_id for rank in table.ranks] == list(range(16))
    assert table.ranks[3] == Rank(3, "10.0.0.1", 3, "192.168.103.101")
    assert table.ranks[9] == Rank(9, "10.0.0.2", 1, "192.168.101.103")
    assert table.servers == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize("layout", rank_table.LAYOUTS)
def test_ranks_come_in_order_whatever_the_order_in_the_file(tmp_path, layout):
    shuffled = [RANKS[2], RANKS[1], RANKS[0]]
    path = written(tmp_path, rank_table.document(shuffled, layout))
    assert rank_table.read(path).ranks == RANKS


def test_servers_in_other_spellings_are_the_same(tmp_path):
    content = rank_table.document([Rank(0, "Node-2", 0, "FE80:0::1")])
    (rank,) = rank_table.read(written(tmp_path, content)).ranks
    assert rank == Rank(0, "node-2", 0, "fe80::1")


def test_a_byte_order_mark_and_further_keys_are_accepted(tmp_path):
    content = dict(rank_table.document(RANKS), remark="rack 7")
    path = written(tmp_path, "\ufeff" + json.dumps(content))
    assert rank_table.read(path).ranks == RANKS


_DEVICE = ("server_list", 0, "device", 1)
BAD_VERSION_1 = {
    "rank id twice": (
        set_to(*_DEVICE, "rank_id", "0"),
        "server_list[0].device[1]: rank_id 0 is in server_list[0].device[0] already; "
        "number the ranks 0 to 2, each once",
    ),
    "gap in the rank ids": (
        set_to(*_DEVICE, "rank_id", "3"),
        "server_list[0].device[1]: rank_id 3 of 3 ranks, and no entry has rank_id 1; "
        "number the ranks 0 to 2 without gaps",
    ),
    "device twice on a server": (
        set_to(*_DEVICE, "device_id", "4"),
        "server_list[0].device[1]: device_id 4 is in server_list[0].device[0] already",
    ),
    "address twice": (
        set_to(*_DEVICE, "device_ip", "192.168.100.102"),
        "server_list[1].device[0]: device_ip 192.168.100.102 is in "
        "server_list[0].device[1] already; every device has an address of its own",
    ),
    "not completed": (
        set_to("status", "initializing"),
        "status: must be \"completed\"; it is 'initializing'",
    ),
    "no status": (delete("status"), '"status" is missing; add it'),
    "wrong count of servers": (
        set_to("server_count", "1"),
        'server_count: is \'1\', but "server_list" has 2 entries: write "2"',
    ),
    "unknown version": (set_to("version", "2.0"), 'version: must be "1.0"; it is'),
    "server twice": (
        set_to("server_list", 1, "server_id", "10.0.0.1"),
        "server_list[1]: server_id 10.0.0.1 is in server_list[0] already",
    ),
    "this machine among others": (
        set_to("server_list", 1, "server_id", "0.0.0.0"),
        "server_list[1].device[0]: server_id 0.0.0.0 among 2 servers; write the "
        "address",
    ),
    "server with a space": (
        set_to("server_list", 0, "server_id", "10.0.0.1 "),
        "server_list[0].server_id: must be an IP address or host name in quotes; it "
        "is '10.0.0.1 '",
    ),
    "server with a part above 255": (
        set_to("server_list", 0, "server_id", "10.0.0.256"),
        "server_list[0].server_id: must be an IP address",
    ),
    "server that is a number": (
        set_to("server_list", 0, "server_id", 10),
        "server_list[0].server_id: must be an IP address",
    ),
    "no devices": (
        set_to("server_list", 0, "device", []),
        "server_list[0].device: must be a filled list in []; it is []",
    ),
    "device that is no object": (
        set_to(*_DEVICE, "3"),
        "server_list[0].device[1]: must be an object in {}; it is '3'",
    ),
    "no rank id": (
        delete(*_DEVICE, "rank_id"),
        'server_list[0].device[1]: "rank_id" is missing; add it',
    ),
    "rank id without quotes": (
        set_to(*_DEVICE, "rank_id", 1),
        'device[1].rank_id: must be a whole number in quotes, like "0"; it is 1',
    ),
    "negative rank id": (set_to(*_DEVICE, "rank_id", "-1"), "rank_id: must be a whole"),
    "device id with other digits": (
        set_to(*_DEVICE, "device_id", "\u0665"),
        "device[1].device_id: must be a whole",
    ),
    "device id that is too long": (
        set_to(*_DEVICE, "device_id", "7" * 5000),
        "device[1].device_id: must be a whole",
    ),
    "address with leading zeros": (
        set_to(*_DEVICE, "device_ip", "192.168.001.1"),
        "device[1].device_ip: must be the device's own IP address in quotes, as in "
        "/etc/hccn.conf; it is '192.168.001.1'",
    ),
    "address that is none": (
        set_to(*_DEVICE, "device_ip", "0.0.0.0"),
        "device[1].device_ip: must be the device's own IP address",
    ),
    "host name as an address": (
        set_to(*_DEVICE, "device_ip", "npu-1"),
        "device[1].device_ip: must be the device's own IP address",
    ),
    "neither layout": (delete("server_list"), "it has neither"),
    "both layouts": (set_to("group_list", []), "it has both"),
}

_INSTANCE = ("group_list", 0, "instance_list", 1)
BAD_GROUP_LIST = {
    "rank id twice": (
        set_to(*_INSTANCE, "rank_id", "0"),
        "group_list[0].instance_list[1]: rank_id 0 is in "
        "group_list[0].instance_list[0] already",
    ),
    "wrong count of instances": (
        set_to("group_list", 0, "instance_count", "8"),
        "group_list[0].instance_count: is '8', but \"instance_list\" has 3 entries "
        'on 2 server(s): write "3"',
    ),
    "wrong count of devices": (
        set_to("group_list", 0, "device_num", "8"),
        "group_list[0].device_num: is '8', but",
    ),
    "wrong count of servers": (
        set_to("group_list", 0, "server_num", "1"),
        "group_list[0].server_num: is '1', but \"instance_list\" has 3 entries on "
        '2 server(s): write "2"',
    ),
    "wrong count of groups": (
        set_to("group_count", "2"),
        "group_count: is '2', but \"group_list\" has 1 entry",
    ),
    "two groups": (
        set_to("group_list", [{}, {}]),
        "group_list: has 2 groups; put all ranks into one",
    ),
    "two devices in an instance": (
        set_to(*_INSTANCE, "devices", [{}, {}]),
        "group_list[0].instance_list[1].devices: has 2 devices; a rank has one",
    ),
    "wrong count of ports": (
        set_to("para_plane_nic_num", "8"),
        "para_plane_nic_num: is '8', but \"para_plane_nic_name\" has 2 entries",
    ),
}


def refused(tmp_path, content):
    """The message about a bad table, without the file's name in front."""
    path = written(tmp_path, content)
    with pytest.raises(RankTableError) as error:
        rank_table.read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    assert ";" in message or "write" in message, "no remedy"
    return message[len(path) + 2 :]


@pytest.mark.parametrize("kind", BAD_VERSION_1)
def test_a_bad_table_of_version_1_is_refused_with_its_entry(tmp_path, kind):
    change, message = BAD_VERSION_1[kind]
    content = rank_table.document(RANKS)
    change(content)
    assert message in refused(tmp_path, content)


@pytest.mark.parametrize("kind", BAD_GROUP_LIST)
def test_a_bad_group_list_is_refused_with_its_entry(tmp_path, kind):
    change, message = BAD_GROUP_LIST[kind]
    content = rank_table.document(RANKS, "group_list")
    change(content)
    assert message in refused(tmp_path, content)


@pytest.mark.parametrize(
    "text, message",
    [
        ('{\n  // cards of rack 7\n  "status": 1}', "line 2 column 3: JSON has no "),
        ('{"status": 1, # ready\n}', "JSON has no comments; delete this one"),
        ('{"status": /* ready */ 1}', "line 1 column 12: JSON has no comments"),
        ('{"status": 1}\n// end', "line 2 column 1: JSON has no comments"),
        ('{"status": 1,}', "line 1 column 14: is not JSON: "),
        ("", "line 1 column 1: is not JSON: Expecting value"),
        ('{"status": 1, "status": 2}', "an object has the key 'status' twice"),
        ('"text"', "must be an object with either"),
    ],
)
def test_a_file_that_is_no_json_of_a_table_is_refused(tmp_path, text, message):
    assert message in refused(tmp_path, text)


def test_a_file_too_deep_or_too_large_is_refused(tmp_path):
    for text, message in (
        ("[" * 100000, "is not JSON of a rank table"),
        (" " * (1 << 24) + "{}", "is too large for a rank table"),
    ):
        assert message in refused(tmp_path, text)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "latin").write_bytes(b'{"status": "\xe9"}')
    for name, message in (
        ("none", "none: cannot be read: No such file or directory; name the file"),
        ("", "cannot be read: Is a directory; name the file"),
        ("latin", "latin: byte 12 is not UTF-8 text; save it as UTF-8"),
    ):
        with pytest.raises(RankTableError, match=message):
            rank_table.read(str(tmp_path / name))


def test_a_rank_is_found_and_no_such_rank_is_refused():
    table = rank_table.read(ONE_SERVER)
    assert rank_table.find_rank(table, 5).device_ip == "192.168.101.100"
    for rank_id in (8, -1):
        with pytest.raises(RankTableError, match=f"has no rank {rank_id}; its ranks"):
            rank_table.find_rank(table, rank_id)


def test_it_needs_nothing_but_the_standard_library():
    # -S leaves out the installed packages.
    command = [sys.executable, "-S", "tools/rank_table.py", "check", ONE_SERVER]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{ONE_SERVER}: fit: 8 rank(s) on 1 server(s), 0.0.0.0\n"
