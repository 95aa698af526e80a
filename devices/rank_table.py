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
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from console import atomic_file

# The server_id of a table whose only server is the machine that reads it.
_THIS_MACHINE = "0.0.0.0"

# Far more than any table has. A larger file is cut off, and refused as invalid JSON.
_MAX_BYTES = 1 << 24
_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")
# A name without any letter would be mistaken for an address.
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?")


class RankTableError(ValueError):
    """A rank table cannot be used; the text is one line that says how to fix it."""


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
      RankTableError: one line with file, entry, what is wrong and how to fix it.
    """
    try:
        with open(path, "rb") as file:
            # json.load would also accept UTF-16, but HCCL has to read this file, too.
            content = json.loads(file.read(_MAX_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise RankTableError(
            f"{path}: cannot be read: {error.strerror}; give the file of a rank table"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RankTableError(
            f"{path}: is not JSON in UTF-8: {error}; correct it there (JSON allows no "
            "comments)"
        ) from error
    return check(path, content)


def check(path: str, content: Any) -> RankTable:
    """Checks the content of a rank table; see `read`.

    Args:
      path: str, the name for error messages.
      content: JSON value.

    Raises:
      RankTableError: the table is not valid.
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
      RankTableError: the table has fewer ranks.
    """
    if not 1 <= num_ranks <= len(table.ranks):
        raise RankTableError(
            f"RANK_SIZE={num_ranks}: {table.path} has {len(table.ranks)} ranks; set "
            f"RANK_SIZE to 1 to {len(table.ranks)}, or RANK_TABLE_FILE to another table"
        )
    return table._replace(ranks=table.ranks[:num_ranks])


def local_ranks(table: RankTable, server_id: Optional[str] = None) -> List[Rank]:
    """Returns the ranks that run on this machine.

    Args:
      table: RankTable.
      server_id: str, which server of the table this machine is. If empty or None, it is
        the only server, or the one whose server_id is an address or the name of this
        machine.

    Returns:
      list of Rank, at least one, in order.

    Raises:
      RankTableError: it is not clear which server this machine is.
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
        raise RankTableError(f"{problem} to one of {', '.join(servers)}")
    return [rank for rank in table.ranks if rank.server_id == own[0]]


def canonical_address(text: str) -> Optional[str]:
    """Returns an IP address in its usual spelling, or None for other texts."""
    family = _address_family(text)
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        return None


def _number(text: str) -> Optional[int]:
    return int(text) if _NUMBER.fullmatch(text) else None


def _device_address(text: str) -> Optional[str]:
    address = canonical_address(text)
    return None if address in ("0.0.0.0", "::") else address


def _address_family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _canonical_server(text: str) -> Optional[str]:
    return text.lower() if _HOST_NAME.fullmatch(text) else canonical_address(text)


def _is_this_machine(server_id: str) -> bool:
    if _HOST_NAME.fullmatch(server_id):
        own = socket.gethostname().lower()
        return server_id in (own, own.split(".")[0])
    try:
        # A machine can bind a socket only to an address of its own.
        with socket.socket(_address_family(server_id), socket.SOCK_DGRAM) as probe:
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
    """Writes a rank table whole, or leaves the file's former content.

    Args:
      path: str; missing folders are created.
      content: dict; see `document`.

    Raises:
      atomic_file.NotWritableError: the file cannot be written.
    """
    text = json.dumps(content, indent=4) + "\n"
    atomic_file.write_atomically(path, text.encode())


class _Entry:
    """A JSON value and its place in the file, for error messages."""

    def __init__(self, path: str, place: str, value: Any):
        self.path = path
        self.place = place
        self.value = value

    def error(self, text: str) -> RankTableError:
        place = f"{self.place}: " if self.place else ""
        return RankTableError(f"{self.path}: {place}{text}")

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

    def only_item(self) -> "_Entry":
        items = self.items()
        if len(items) != 1:
            raise self.error(f"has {len(items)} entries; it must have exactly one")
        return items[0]

    def expect(self, allowed: str):
        if self.value != allowed:
            raise self.error(f'must be "{allowed}"; it is {self}')

    def parse(self, function: Callable[[str], Any], what: str) -> Any:
        """Returns function(value), which must not be None."""
        parsed = function(self.value) if isinstance(self.value, str) else None
        if parsed is None:
            raise self.error(f"must be {what} in quotes; it is {self}")
        return parsed

    def number(self) -> int:
        return self.parse(_number, "a whole number")

    def server_id(self) -> str:
        return self.parse(_canonical_server, "an IP address or host name")

    def device_ip(self) -> str:
        return self.parse(_device_address, "the device's own IP address")


def _version_1_ranks(root: _Entry) -> List[Tuple[Rank, _Entry]]:
    root["version"].expect("1.0")
    servers = [(s["server_id"].server_id(), s) for s in root["server_list"].items()]
    root["server_count"].expect(str(len(servers)))
    _check_distinct("server_id", servers, "list all devices of a server in one entry")
    return [
        (_rank(device["rank_id"], server_id, device), device)
        for server_id, server in servers
        for device in server["device"].items()
    ]


def _group_list_ranks(root: _Entry) -> List[Tuple[Rank, _Entry]]:
    root["group_count"].expect("1")
    group = root["group_list"].only_item()
    placed = []
    for instance in group["instance_list"].items():
        server_id = instance["server_id"].server_id()
        device = instance["devices"].only_item()
        placed.append((_rank(instance["rank_id"], server_id, device), instance))
    group["instance_count"].expect(str(len(placed)))
    group["device_num"].expect(str(len(placed)))
    group["server_num"].expect(str(len({rank.server_id for rank, _ in placed})))
    if "para_plane_nic_num" in root:
        names = root["para_plane_nic_name"].items()
        root["para_plane_nic_num"].expect(str(len(names)))
    return placed


def _rank(rank_id: _Entry, server_id: str, device: _Entry) -> Rank:
    return Rank(
        rank_id=rank_id.number(),
        server_id=server_id,
        device_id=device["device_id"].number(),
        device_ip=device["device_ip"].device_ip(),
    )


def _check_ranks(placed: List[Tuple[Rank, _Entry]]):
    """Checks the ranks against each other; each comes with its entry in the file."""
    ids, devices, addresses = [], [], []
    for rank, entry in placed:
        ids.append((rank.rank_id, entry))
        devices.append((f"{rank.device_id} of server {rank.server_id}", entry))
        addresses.append((rank.device_ip, entry))
    remedy = f"number the ranks 0 to {len(placed) - 1} without gaps or repeats"
    _check_distinct("rank_id", ids, remedy)
    _check_distinct("device", devices, "a device runs only one rank")
    _check_distinct("device_ip", addresses, "every device has its own address")
    last, entry = max(placed)
    if last.rank_id >= len(placed):
        raise entry.error(
            f"rank_id is {last.rank_id} in a table of {len(placed)} ranks; {remedy}"
        )
    num_servers = len({rank.server_id for rank, _ in placed})
    for rank, entry in placed:
        if rank.server_id == _THIS_MACHINE and num_servers > 1:
            raise entry.error(
                f"server_id {_THIS_MACHINE} is only for tables with one server, and "
                f"this one has {num_servers}; write the server's address"
            )


def _check_distinct(name: str, values: Iterable[Tuple[Any, _Entry]], remedy: str):
    first: Dict[Any, _Entry] = {}
    for value, entry in values:
        other = first.setdefault(value, entry)
        if other is not entry:
            raise entry.error(f"{name} {value} is already in {other.place}; {remedy}")
