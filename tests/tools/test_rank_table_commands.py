# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands of rank_table.py, and tables that hypothesis makes up."""

import copy
import json
import os
import socket
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import rank_table
from devices.rank_table import Rank, RankTableError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ONE_SERVER = os.path.join(ROOT, "npu_config", "8p.json")
TWO_SERVERS = os.path.join(ROOT, "npu_config", "16p_2servers.json")


@pytest.fixture
def run(capsys, monkeypatch):
    """Function of the arguments: the command's status, lines and error lines."""
    monkeypatch.delenv("SERVER_ID", raising=False)

    def command(*arguments):
        try:
            status = rank_table.main([str(argument) for argument in arguments])
        except SystemExit as error:
            status = error.code
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err.splitlines()

    return command


def write_table(path, *servers, devices=1):
    """A table of some devices on every server."""
    places = [(server, device) for server in servers for device in range(devices)]
    ranks = [
        Rank(rank, server, device, f"10.1.0.{rank + 1}")
        for rank, (server, device) in enumerate(places)
    ]
    rank_table.write(str(path), rank_table.document(ranks), overwrite=False)
    return path


def write_hccn(path, *addresses):
    """A file like /etc/hccn.conf, devices in descending order."""
    lines = [f"address_{i}={a}\nnetmask_{i}=255.255.255.0\n" for i, a in addresses]
    path.write_text("# made by hccn_tool\n" + "".join(reversed(lines)))
    return path


def test_show_prints_a_line_a_rank(run, tmp_path):
    path = write_table(tmp_path / "table.json", "10.0.0.1", "node-2")
    assert run("show", path) == (
        0,
        [
            "rank  server    device  device address",
            "   0  10.0.0.1       0  10.1.0.1",
            "   1  node-2         0  10.1.0.2",
        ],
        [],
    )


def test_check_notes_what_hccl_may_refuse(run, tmp_path):
    path = write_table(tmp_path / "table.json", "node-1", devices=3)
    status, lines, errors = run("check", path)
    assert status == 0
    assert lines == [f"{path}: fit: 3 rank(s) on 1 server(s), node-1"]
    assert errors == [
        f"rank_table.py: note: {path}: server node-1 has 3 devices; HCCL takes "
        "1, 2, 4 or 8"
    ]


def test_check_of_a_bad_table_is_one_line_and_status_2(run, tmp_path):
    path = tmp_path / "table.json"
    path.write_text("{}")
    status, lines, (error,) = run("check", path)
    assert (status, lines) == (2, [])
    assert error.startswith(f"rank_table.py: {path}: must be an object")


@pytest.mark.parametrize(
    "arguments", [(), ("mend", "x"), ("check",), ("show", "--all", ONE_SERVER)]
)
def test_wrong_arguments_are_one_line_and_status_2(run, arguments):
    status, lines, (error,) = run(*arguments)
    assert (status, lines) == (2, [])
    assert error.startswith("rank_table.py: ")


def test_local_gives_rank_device_and_number_of_ranks(run):
    _, lines, _ = run("local", TWO_SERVERS, "--server_id", "10.0.0.2")
    assert lines == [f"{8 + device} {device} 16" for device in range(8)]


def test_local_takes_the_server_from_the_environment(run, monkeypatch):
    monkeypatch.setenv("SERVER_ID", "10.0.0.1")
    assert run("local", TWO_SERVERS)[1][0] == "0 0 16"


@pytest.mark.parametrize("server_id", ["", "10.9.9.9"])
def test_0_0_0_0_is_this_machine_whatever_its_name(run, server_id):
    assert len(run("local", ONE_SERVER, "--server_id", server_id)[1]) == 8


def test_the_only_server_is_this_machine_unless_another_is_named(run, tmp_path):
    # 240.0.0.* is reserved: no machine has it.
    path = write_table(tmp_path / "table.json", "240.0.0.1")
    assert run("local", path)[:2] == (0, ["0 0 1"])
    status, lines, (error,) = run("local", path, "--server_id", "240.0.0.2")
    assert (status, lines) == (2, [])
    assert error == (
        f"rank_table.py: SERVER_ID=240.0.0.2: no server of {path}; set it to one of "
        "240.0.0.1"
    )


@pytest.mark.parametrize("own", ["127.0.0.1", socket.gethostname()])
def test_of_several_servers_the_one_with_an_own_address_or_name_is_taken(
    run, tmp_path, own
):
    path = write_table(tmp_path / "table.json", "240.0.0.1", own, "no-such-host")
    assert run("local", path)[:2] == (0, ["1 0 3"])


@pytest.mark.parametrize(
    "servers, number",
    [(("240.0.0.1", "240.0.0.2"), 0), (("127.0.0.1", "127.0.0.2"), 2)],
)
def test_local_asks_where_it_cannot_tell_the_server(run, tmp_path, servers, number):
    path = write_table(tmp_path / "table.json", *servers)
    status, _, (error,) = run("local", path)
    assert status == 2
    assert f"{number} of its 2 server_ids are addresses of this machine" in error
    assert error.endswith("set SERVER_ID to one of " + ", ".join(servers))


def test_first_writes_the_shorter_table_and_names_it(run, tmp_path):
    output = tmp_path / "new folder" / "first.json"
    assert run("first", TWO_SERVERS, "9", output) == (0, [str(output)], [])
    ranks = rank_table.read(str(output)).ranks
    assert ranks == rank_table.read(TWO_SERVERS).ranks[:9]


def test_first_names_the_table_itself_where_all_ranks_are_wanted(run, tmp_path):
    output = tmp_path / "first.json"
    assert run("first", ONE_SERVER, "8", output) == (0, [ONE_SERVER], [])
    assert not output.exists()


def test_make_gives_the_table_of_one_server_in_the_older_layout(run, tmp_path):
    addresses = [(i, f"192.168.10{i % 4}.10{int(i < 4)}") for i in range(8)]
    hccn = write_hccn(tmp_path / "hccn.conf", *addresses)
    _, lines, _ = run(
        *("make", "--servers", "0.0.0.0", "--hccn", hccn, "--layout", "group_list")
    )
    with open(ONE_SERVER) as file:
        assert lines == file.read().splitlines()


def test_make_numbers_servers_through_and_writes_the_example(run, tmp_path):
    files = [
        write_hccn(
            tmp_path / f"hccn_{server}.conf",
            *((i, f"192.168.10{i % 4}.10{int(i < 4) + server}") for i in range(8)),
        )
        for server in (0, 2)
    ]
    output = tmp_path / "16p.json"
    command = ["make", "--servers", "10.0.0.1,10.0.0.2", "--output", output, "--hccn"]
    assert run(*command, *files) == (0, [], [])
    with open(TWO_SERVERS) as file:
        assert output.read_text() == file.read()


def test_make_keeps_a_file_that_is_there_unless_told_otherwise(run, tmp_path):
    hccn = write_hccn(tmp_path / "hccn.conf", (0, "10.1.0.1"))
    output = tmp_path / "table.json"
    output.write_text("mine")
    command = ["make", "--servers", "node-1", "--hccn", hccn, "--output", output]
    status, _, (error,) = run(*command)
    assert status == 2
    assert f"--output={output}: exists; name another file, or add --ov" in error
    assert output.read_text() == "mine"
    assert run(*command, "--overwrite") == (0, [], [])
    assert rank_table.read(str(output)).ranks == [Rank(0, "node-1", 0, "10.1.0.1")]
    assert sorted(os.listdir(str(tmp_path))) == ["hccn.conf", "table.json"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("netmask_0=255.0.0.0\n", "no line like address_0=192.168.100.101; give the"),
        ("address_0=1.2.3\n", "line 1: '1.2.3' is no IP address; mend it"),
        ("address_0=1.2.3.4\n" * 2, "line 2: address_0 again; delete one"),
    ],
)
def test_make_refuses_a_wrong_hccn_file(run, tmp_path, text, message):
    hccn = tmp_path / "hccn.conf"
    hccn.write_text(text)
    status, lines, (error,) = run("make", "--servers", "node-1", "--hccn", hccn)
    assert (status, lines) == (2, [])
    assert f"--hccn: {hccn}: {message}" in error


@pytest.mark.parametrize(
    "servers, files, message",
    [
        ("a,b", 1, "--hccn: 1 file(s) for 2 server(s); give the /etc/hccn.conf of"),
        ("a,b", 2, "table.json: server_list[1].device[0]: device_ip 10.1.0.1 is in"),
        ("a b", 1, "table.json: server_list[0].server_id: must be an IP address or"),
    ],
)
def test_make_writes_no_table_that_would_be_refused(
    run, tmp_path, servers, files, message
):
    hccn = write_hccn(tmp_path / "hccn.conf", (0, "10.1.0.1"))
    output = tmp_path / "table.json"
    status, _, (error,) = run(
        *("make", "--servers", servers, "--output", output, "--hccn", *[hccn] * files)
    )
    assert status == 2
    assert message in error
    assert not output.exists()


# The same examples in every run, so that a failure can be repeated anywhere.
made_up = settings(derandomize=True, database=None, deadline=None, max_examples=300)


@st.composite
def good_ranks(draw):
    """Ranks in any order on up to three servers with up to eight devices."""
    servers = draw(st.lists(st.ip_addresses(v=4), min_size=1, max_size=3, unique=True))
    servers = [str(server) for server in servers]
    if len(servers) > 1:
        servers = [name for name in servers if name != "0.0.0.0"] or ["10.0.0.1"]
    ids = st.lists(st.integers(0, 15), min_size=1, max_size=8, unique=True)
    places = [(server, i) for server in servers for i in draw(ids)]
    ranks = [
        Rank(rank, server, device, f"10.1.{rank // 8}.{rank % 8 + 1}")
        for rank, (server, device) in enumerate(draw(st.permutations(places)))
    ]
    return draw(st.permutations(ranks))


def check(content):
    """Reads a JSON text or value from a file; gives the ranks, or None if refused."""
    text = content if isinstance(content, str) else json.dumps(content)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "table.json")
        with open(path, "wb") as file:
            file.write(text.encode("utf-8", "surrogatepass"))
        try:
            return rank_table.read(path).ranks
        except RankTableError as error:
            assert str(error).startswith(f"{path}: ")
            assert len(str(error).splitlines()) == 1
            return None


@made_up
@given(good_ranks(), st.sampled_from(rank_table.LAYOUTS))
def test_every_table_that_is_made_reads_as_it_was(ranks, layout):
    assert check(rank_table.document(ranks, layout)) == sorted(ranks)


def places(value):
    """Every (container, key) of a JSON value."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
    ),
    max_leaves=5,
)


@made_up
@given(good_ranks(), st.sampled_from(rank_table.LAYOUTS), st.data())
def test_a_table_with_one_entry_replaced_stays_sound_or_is_refused(ranks, layout, data):
    content = copy.deepcopy(rank_table.document(ranks, layout))
    container, key = data.draw(st.sampled_from(list(places(content))))
    ids = st.integers(-1, len(ranks)).map(str)
    container[key] = data.draw(ids | st.sampled_from(["10.1.0.1"]) | anything)
    found = check(content)
    if found is not None:
        assert [rank.rank_id for rank in found] == list(range(len(found)))
        assert len({(rank.server_id, rank.device_id) for rank in found}) == len(found)
        assert len({rank.device_ip for rank in found}) == len(found)


@made_up
@given(st.data())
def test_a_file_cut_or_filled_with_anything_is_refused(data):
    with open(ONE_SERVER) as file:
        text = file.read().rstrip()
    cut = data.draw(st.integers(0, len(text) - 1))
    assert check(text[:cut] + data.draw(st.text(max_size=3)) + "\0") is None
