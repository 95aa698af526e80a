# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rank tables: which device of which server runs which rank.

A rank table is a JSON file in one of two published layouts. All numbers in it are
strings, like "0". Version 1.0 is the recommended layout:

  version, status, server_count, server_list[]: server_id,
    device[]: device_id, device_ip, rank_id

The older layout is group_list:

  status, group_count, group_list[0]: instance_count, device_num, server_num,
    instance_list[]: rank_id, server_id, devices[0]: device_id, device_ip
  para_plane_nic_num, para_plane_nic_name[] (optional)

A table is valid if its ranks are 0 to n - 1 without gaps or repeats, no device of a
server and no address occurs twice, all counts match their lists, and its status is
"completed".

This module needs only the standard library and starts quickly, because the launcher
uses it. `tools/rank_table.py` has the commands that check, show and create tables.
"""

import json
import re
import reprlib
import socket
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from console import atomic_file, text_file
from console.errors import UserError, as_user_error

# The server_id of a table whose only server is the machine that reads it.
_THIS_MACHINE = "0.0.0.0"

_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")
# A name without any letter would be mistaken for an address.
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_.-]+")


class Rank(NamedTuple):
    """One process of the training."""

    rank_id: int
    server_id: str  # address or host name of its server, in lower case
    device_id: int  # on that server
    device_ip: str  # of the device's own network port


class RankTable(NamedTuple):
    """A valid table: ranks[i].rank_id == i."""

    path: str
    ranks: List[Rank]

    @property
    def servers(self) -> List[str]:
        """Every server_id once, in the order of the lowest rank on each server."""
        return list(dict.fromkeys(rank.server_id for rank in self.ranks))


def read(path: str) -> RankTable:
    """Reads and checks a rank table of either layout.

    Raises:
      UserError: one line with file, entry, what is wrong and how to fix it.
    """
    try:
        content = text_file.read_json(path)
    except ValueError as error:
        raise UserError(
            f"{error}; give a rank table in JSON, without comments"
        ) from error
    return check(path, content)


def check(path: str, content: Any) -> RankTable:
    """Checks the content of a rank table; see `read`.

    Args:
      path: the name for error messages.
      content: JSON value.

    Raises:
      UserError: the table is not valid.
    """
    root = _Entry(path, "", content)
    found = [name for name in ("server_list", "group_list") if name in root]
    if len(found) != 1:
        raise root.error(
            'must be an object with either "server_list" (layout version 1.0) or '
            f'"group_list"; it has {"both" if found else "neither"}'
        )
    root["status"].expect("completed")
    read_ranks = _version_1_ranks if found == ["server_list"] else _group_list_ranks
    placed = read_ranks(root)
    _check_ranks(placed)
    return RankTable(path, sorted(rank for rank, _ in placed))


def first_ranks(table: RankTable, num_ranks: int) -> RankTable:
    """Returns the table of the ranks 0 to num_ranks - 1.

    Raises:
      UserError: the table has fewer ranks.
    """
    if not 1 <= num_ranks <= len(table.ranks):
        raise UserError(
            f"RANK_SIZE={num_ranks}: {table.path} has {len(table.ranks)} ranks; set "
            f"RANK_SIZE to 1 to {len(table.ranks)}, or RANK_TABLE_FILE to another table"
        )
    return table._replace(ranks=table.ranks[:num_ranks])


def local_ranks(table: RankTable, server_id: Optional[str] = None) -> List[Rank]:
    """Returns the ranks that run on this machine.

    Args:
      table: RankTable.
      server_id: which server of the table this machine is. If empty or None, it is the
        only server, or the one whose server_id is an address or name of this machine.

    Raises:
      UserError: it is not clear which server this machine is.
    """
    servers = table.servers
    if server_id and servers != [_THIS_MACHINE]:
        own = [s for s in servers if s == _canonical_server(server_id)]
        problem = f"SERVER_ID={server_id}: not a server of {table.path}; set it"
    else:
        own = [s for s in servers if len(servers) == 1 or _is_this_machine(s)]
        problem = (
            f"{table.path}: {len(own)} of its {len(servers)} server_ids are addresses "
            "of this machine; set SERVER_ID"
        )
    if len(own) != 1:
        raise UserError(f"{problem} to one of {', '.join(servers)}")
    return [rank for rank in table.ranks if rank.server_id == own[0]]


def canonical_address(text: str) -> Optional[str]:
    """Returns an IP address in its usual spelling, or None for other texts."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        return None


def _number(text: str) -> Optional[int]:
    return int(text) if _NUMBER.fullmatch(text) else None


def _canonical_server(text: str) -> Optional[str]:
    return text.lower() if _HOST_NAME.fullmatch(text) else canonical_address(text)


def _is_this_machine(server_id: str) -> bool:
    family = socket.AF_INET6 if ":" in server_id else socket.AF_INET
    try:
        # A machine can bind a socket only to an address of its own.
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((server_id, 0))
    except OSError:
        return False
    return True


def document(ranks: List[Rank]) -> Dict[str, Any]:
    """Returns the content of a rank table in layout version 1.0, for `write`."""
    servers: Dict[str, List[Dict[str, str]]] = {}
    for rank in ranks:
        servers.setdefault(rank.server_id, []).append(
            {
                "device_id": str(rank.device_id),
                "device_ip": rank.device_ip,
                "rank_id": str(rank.rank_id),
            }
        )
    return {
        "version": "1.0",
        "server_count": str(len(servers)),
        "server_list": [
            {"server_id": server_id, "device": devices}
            for server_id, devices in servers.items()
        ],
        "status": "completed",
    }


def write(path: str, content: Dict[str, Any]):
    """Writes a rank table whole or not at all; missing folders are created.

    Raises:
      UserError: the file cannot be written.
    """
    text = json.dumps(content, indent=4) + "\n"
    with as_user_error():
        atomic_file.write_atomically(path, text.encode())


class _Entry:
    """A JSON value and its place in the file, for error messages."""

    def __init__(self, path: str, place: str, value: Any):
        self.path = path
        self.place = place
        self.value = value

    def error(self, text: str) -> UserError:
        place = f"{self.place}: " if self.place else ""
        return UserError(f"{self.path}: {place}{text}")

    def __str__(self) -> str:
        return reprlib.repr(self.value)

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def __getitem__(self, key: str) -> "_Entry":
        if not isinstance(self.value, dict):
            raise self.error(f"must be an object in {{}}; it is {self}")
        if key not in self.value:
            raise self.error(f'"{key}" is missing; add it')
        place = f"{self.place}.{key}" if self.place else key
        return _Entry(self.path, place, self.value[key])

    def items(self) -> List["_Entry"]:
        if not isinstance(self.value, list) or not self.value:
            raise self.error(f"must be a list in [] that is not empty; it is {self}")
        return [
            _Entry(self.path, f"{self.place}[{index}]", value)
            for index, value in enumerate(self.value)
        ]

    def expect(self, allowed: Any):
        if self.value != str(allowed):
            raise self.error(f'must be "{allowed}"; it is {self}')

    def parse(self, function: Callable[[str], Any], what: str) -> Any:
        """Returns function(value), which must not be None."""
        parsed = function(self.value) if isinstance(self.value, str) else None
        if parsed is None:
            raise self.error(f"must be {what} in quotes; it is {self}")
        return parsed


def _version_1_ranks(root: _Entry) -> List[Tuple[Rank, _Entry]]:
    root["version"].expect("1.0")
    placed = [
        (_rank(device["rank_id"], server["server_id"], device), device)
        for server in root["server_list"].items()
        for device in server["device"].items()
    ]
    root["server_count"].expect(_num_servers(placed))
    return placed


def _group_list_ranks(root: _Entry) -> List[Tuple[Rank, _Entry]]:
    root["group_count"].expect("1")
    group, *others = root["group_list"].items()
    if others:
        raise root["group_list"].error("must be one group; put all ranks into it")
    placed = [
        (_rank(instance["rank_id"], instance["server_id"], device), instance)
        for instance in group["instance_list"].items()
        for device in instance["devices"].items()
    ]
    group["instance_count"].expect(len(placed))
    group["device_num"].expect(len(placed))
    group["server_num"].expect(_num_servers(placed))
    return placed


def _rank(rank_id: _Entry, server_id: _Entry, device: _Entry) -> Rank:
    return Rank(
        rank_id.parse(_number, "a whole number"),
        server_id.parse(_canonical_server, "an IP address or host name"),
        device["device_id"].parse(_number, "a whole number"),
        device["device_ip"].parse(canonical_address, "the device's own IP address"),
    )


def _num_servers(placed: List[Tuple[Rank, _Entry]]) -> int:
    return len({rank.server_id for rank, _ in placed})


def _check_ranks(placed: List[Tuple[Rank, _Entry]]):
    """Checks the ranks against each other; each comes with its entry in the file."""
    numbering = f"number the ranks 0 to {len(placed) - 1} without gaps or repeats"
    first: Dict[str, _Entry] = {}
    for rank, entry in placed:
        device = f"device {rank.device_id} of server {rank.server_id}"
        for value, remedy in (
            (f"rank_id {rank.rank_id}", numbering),
            (device, "a device runs only one rank"),
            (f"device_ip {rank.device_ip}", "every device has its own address"),
        ):
            other = first.setdefault(value, entry)
            if other is not entry:
                raise entry.error(f"{value} is already in {other.place}; {remedy}")
        if rank.rank_id >= len(placed):
            raise entry.error(
                f"rank_id is {rank.rank_id} in a table of {len(placed)} ranks; "
                f"{numbering}"
            )
        if rank.server_id == _THIS_MACHINE and _num_servers(placed) > 1:
            raise entry.error(
                f"server_id {_THIS_MACHINE} is only for tables with one server; write "
                "the server's address"
            )
