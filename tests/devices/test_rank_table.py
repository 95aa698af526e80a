# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rank tables: which ones are read, which are refused, and the choice of ranks."""

import copy
import json
import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.errors import UserError
from devices import rank_table
from devices.rank_table import Rank, RankTable

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ONE_SERVER = os.path.join(ROOT, "npu_config", "8p.json")
TWO_SERVERS = os.path.join(ROOT, "npu_config", "16p_2servers.json")

# Devices 4 and 5 of one server and device 0 of another: rank and device ids differ.
RANKS = [
    Rank(0, "10.0.0.1", 4, "192.168.100.101"),
    Rank(1, "10.0.0.1", 5, "192.168.101.101"),
    Rank(2, "node-2", 0, "192.168.100.102"),
]


def load(path):
    with open(path) as file:
        return json.load(file)


def test_both_layouts_are_read():
    table = rank_table.read(ONE_SERVER)
    assert table.path == ONE_SERVER
    assert len(table.ranks) == 8
    assert table.ranks[7] == Rank(7, "0.0.0.0", 7, "192.168.103.100")
    assert table.servers == ["0.0.0.0"]
    table = rank_table.read(TWO_SERVERS)
    assert [rank.rank_id for rank in table.ranks] == list(range(16))
    assert table.ranks[9] == Rank(9, "10.0.0.2", 1, "192.168.101.103")
    assert table.servers == ["10.0.0.1", "10.0.0.2"]


def test_ranks_are_sorted_and_unknown_keys_and_a_byte_order_mark_are_accepted(tmp_path):
    path = tmp_path / "table [1]*?.json"
    content = dict(rank_table.document(RANKS[::-1]), remark="rack 7")
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_text(json.dumps(content), encoding=encoding)
        assert rank_table.read(str(path)).ranks == RANKS
    content = load(ONE_SERVER)
    content["group_list"][0]["instance_list"].reverse()
    assert rank_table.check("", content).ranks == rank_table.read(ONE_SERVER).ranks


# Where in a document, which value (None removes the key), and the error.
DEVICE = "server_list/0/device/1"
SERVER = "server_list/0/server_id"
BAD_VERSION_1 = [
    (DEVICE + "/rank_id", "0", f"rank_id 0 is already in {DEVICE[:-1]}0; n"),
    (
        DEVICE + "/rank_id",
        "3",
        "rank_id is 3 in a table of 3 ranks; number the ranks 0",
    ),
    (DEVICE + "/rank_id", None, f'{DEVICE}: "rank_id" is missing; add it'),
    (DEVICE + "/rank_id", 1, "rank_id: must be a whole number in quotes; it is 1"),
    (DEVICE + "/device_id", "4", "device 4 of server 10.0.0.1 is already in server_l"),
    (DEVICE + "/device_ip", "192.168.100.102", "device_ip 192.168.100.102 is already"),
    (DEVICE + "/device_ip", "192.168.001.1", "must be the device's own IP address in"),
    (DEVICE, "3", f"{DEVICE}: must be an object in {{}}; it is '3'"),
    ("server_list/0/device", [], "must be a list in [] that is not empty; it is []"),
    (SERVER, "1.1.1.256", "server_id: must be an IP address or host name in quotes"),
    (SERVER, "NODE-2", "server_count: must be \"1\"; it is '2'"),
    ("server_list/1/server_id", "0.0.0.0", "server_id 0.0.0.0 is only for tables wit"),
    ("server_list", None, 'either "server_list" (layout version 1.0) or "group_list"'),
    ("group_list", [], "it has both"),
    ("status", "initializing", "status: must be \"completed\"; it is 'initializing'"),
    ("version", "2.0", 'version: must be "1.0"; it is'),
]
# The same for npu_config/8p.json.
BAD_GROUP_LIST = [
    ("group_list/0/instance_list/1/rank_id", "0", "instance_list/1: rank_id 0 is alre"),
    ("group_list", [{}, {}], "group_list: must be one group; put all ranks into it"),
    ("group_list/0/device_num", "2", 'group_list/0/device_num: must be "8"; it is'),
    ("group_list/0/server_num", "2", 'group_list/0/server_num: must be "1"; it is'),
    ("group_count", "2", "group_count: must be \"1\"; it is '2'"),
]


@pytest.mark.parametrize(
    "content, place, value, message",
    [(rank_table.document(RANKS), *case) for case in BAD_VERSION_1]
    + [(load(ONE_SERVER), *case) for case in BAD_GROUP_LIST],
)
def test_an_invalid_table_is_refused_with_its_entry(content, place, value, message):
    *way, last = [int(key) if key.isdigit() else key for key in place.split("/")]
    parent = content = copy.deepcopy(content)
    for key in way:
        parent = parent[key]
    parent[last] = value
    if value is None:
        del parent[last]
    # "server_list/0/device/1" is written "server_list[0].device[1]".
    message = re.sub(r"(?<=[a-z])/([0-9]+)", r"[\1]", message).replace("/", ".")
    with pytest.raises(UserError, match="table.json: .*" + re.escape(message)):
        rank_table.check("table.json", content)


def test_a_file_that_is_not_json_is_refused(tmp_path):
    path = tmp_path / "table.json"
    path.write_text('{\n  // rack 7\n  "status": 1}')
    reason = "it is not JSON: line 2, column 3, at '// rack 7.*without comments"
    with pytest.raises(UserError, match=f"^cannot read {path}: {reason}"):
        rank_table.read(str(path))


def test_a_table_is_written_in_a_new_folder_and_read_in_the_usual_spelling(tmp_path):
    path = str(tmp_path / "new [folder]*" / "table?.json")
    rank_table.write(path, rank_table.document([Rank(0, "Node-2", 0, "FE80:0::1")]))
    ranks = [Rank(0, "node-2", 0, "fe80::1")]
    assert rank_table.read(path) == RankTable(path, ranks)


def table_of(*servers):
    """A table with one rank on each server."""
    return RankTable("table.json", [Rank(i, s, 0, "") for i, s in enumerate(servers)])


# No machine has an address in 240.0.0.0/4, which is reserved.
@pytest.mark.parametrize(
    "servers, server_id, rank",
    [
        (["240.0.0.1", "node-2"], "Node-2", 1),
        (["240.0.0.1"], None, 0),
        (["0.0.0.0"], "10.9.9.9", 0),
        (["240.0.0.1", "127.0.0.1"], "", 1),
        (["240.0.0.1", "localhost"], None, 1),
    ],
)
def test_local_ranks_are_those_of_this_machine(servers, server_id, rank):
    table = table_of(*servers)
    assert rank_table.local_ranks(table, server_id) == [table.ranks[rank]]


@pytest.mark.parametrize(
    "servers, server_id, message",
    [
        (["240.0.0.1"], "240.0.0.2", "SERVER_ID=240.0.0.2: not a server of table.j"),
        (["127.0.0.1", "127.0.0.2"], "", "table.json: 2 of its 2 server_ids are addr"),
    ],
)
def test_an_unclear_server_is_an_error_that_lists_the_servers(
    servers, server_id, message
):
    with pytest.raises(UserError) as error:
        rank_table.local_ranks(table_of(*servers), server_id)
    assert str(error.value).startswith(message)
    assert str(error.value).endswith(" to one of " + ", ".join(servers))


values = (
    st.sampled_from(["0", "1", "2", "3", "a", "0.0.0.0", "10.0.0.1", "::"])
    | st.none()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.text(max_size=3), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
)


# The same examples in every run, so that a failure is repeatable.
@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(st.booleans(), st.integers(0, 42), values)
def test_a_table_with_one_value_replaced_is_valid_or_refused(is_group, place, value):
    content = load(ONE_SERVER) if is_group else rank_table.document(RANKS)
    parts = re.split('(?<=: )("[^"]*")', json.dumps(content))
    # Every other part is a value; 8p.json has 43 of them.
    parts[place % (len(parts) // 2) * 2 + 1] = json.dumps(value)
    try:
        ranks = rank_table.check("table.json", json.loads("".join(parts))).ranks
    except UserError as error:
        assert re.fullmatch(r"table\.json: .+", str(error))
    else:
        assert [rank.rank_id for rank in ranks] == list(range(len(ranks)))
        assert len({(rank.server_id, rank.device_id) for rank in ranks}) == len(ranks)
        assert len({rank.device_ip for rank in ranks}) == len(ranks)
