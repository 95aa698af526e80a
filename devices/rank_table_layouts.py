# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The two published file layouts of rank tables: reading, checking, making them.

Layout version_1.0 is the recommended one:

  version, status, server_count, server_list[]: server_id,
    device[]: device_id, device_ip, rank_id

Layout group_list is the older one:

  status, group_count, group_list[0]: instance_count, device_num, server_num,
    instance_list[]: rank_id, server_id, devices[0]: device_id, device_ip
  para_plane_nic_num, para_plane_nic_name[] (may be left out)

All numbers in them are text, like "0". `rank_table` is what other modules import.
"""

import collections
import functools
import ipaddress
import json
import operator
import os
import re
from typing import Any, Dict, List, NamedTuple, Tuple

LAYOUTS = ("version_1.0", "group_list")
# The server_id of a table with one server that does not care for its address.
THIS_MACHINE = "0.0.0.0"

# About a hundred bytes a rank: no table comes near.
_MAX_BYTES = 1 << 24
_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?")
_COMMENTS = ("//", "/*", "#")


class RankTableError(ValueError):
    """What is wrong with a rank table, as one line for the user."""


class Rank(NamedTuple):
    """One process of the job.

    server_id is an address or host name in lower case, device_ip the address of the
    device's own network port.
    """

    rank_id: int
    server_id: str
    device_id: int
    device_ip: str


class RankTable(NamedTuple):
    """A table that passed all checks: ranks[i].rank_id == i."""

    path: str
    ranks: List[Rank]

    @property
    def servers(self) -> List[str]:
        """Every server_id once, in the order of their lowest ranks."""
        return list(collections.OrderedDict.fromkeys(r.server_id for r in self.ranks))


class _Entry:
    """A value in the file that knows its place, for messages."""

    def __init__(self, path: str, place: str, value: Any):
        self.path = path
        self.place = place
        self.value = value

    def wrong(self, text: str) -> RankTableError:
        place = f"{self.place}: " if self.place else ""
        return RankTableError(f"{self.path}: {place}{text}")

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def __getitem__(self, key: str) -> "_Entry":
        if not isinstance(self.value, dict):
            raise self.wrong(f"must be an object in {{}}; it is {self.shown()}")
        if key not in self.value:
            raise self.wrong(f'"{key}" is missing; add it')
        place = f"{self.place}.{key}" if self.place else key
        return _Entry(self.path, place, self.value[key])

    def items(self) -> List["_Entry"]:
        if not isinstance(self.value, list) or not self.value:
            raise self.wrong(f"must be a filled list in []; it is {self.shown()}")
        return [
            _Entry(self.path, f"{self.place}[{index}]", value)
            for index, value in enumerate(self.value)
        ]

    def shown(self) -> str:
        text = repr(self.value)
        return text if len(text) <= 60 else text[:57] + "..."

    def number(self) -> int:
        if not isinstance(self.value, str) or not _NUMBER.fullmatch(self.value):
            raise self.wrong(
                f'must be a whole number in quotes, like "0"; it is {self.shown()}'
            )
        return int(self.value)

    def expect(self, allowed: str):
        if self.value != allowed:
            raise self.wrong(f'must be "{allowed}"; it is {self.shown()}')

    def expect_count(self, count: int, what: str):
        if self.number() != count:
            raise self.wrong(f'is {self.shown()}, but {what}: write "{count}"')


def canonical_address(text: str) -> str:
    """Gives an IPv4 or IPv6 address in its usual spelling; ValueError for others."""
    # Python 3.7 lets pass 010.0.0.1, and later ones scopes like fe80::1%eth0.
    if "%" in text or re.search(r"(^|\.)0[0-9]", text):
        raise ValueError(text)
    return str(ipaddress.ip_address(text))


def canonical_server(text: str) -> str:
    """Gives an address or host name in its usual spelling; ValueError for others."""
    if _HOST_NAME.fullmatch(text):
        return text.lower()
    return canonical_address(text)


def _server_id(entry: _Entry) -> str:
    try:
        return canonical_server(entry.value)
    except (TypeError, ValueError):
        raise entry.wrong(
            f"must be an IP address or host name in quotes; it is {entry.shown()}"
        ) from None


def _device_ip(entry: _Entry) -> str:
    try:
        address = canonical_address(entry.value)
    except (TypeError, ValueError):
        address = ""
    if not address or ipaddress.ip_address(address).is_unspecified:
        raise entry.wrong(
            "must be the device's own IP address in quotes, as in /etc/hccn.conf; it "
            f"is {entry.shown()}"
        )
    return address


def _version_1_ranks(root: _Entry) -> List[Tuple[Rank, _Entry]]:
    root["version"].expect("1.0")
    servers = root["server_list"].items()
    root["server_count"].expect_count(
        len(servers), f'"server_list" has {len(servers)} entries'
    )
    placed, first = [], {}
    for server in servers:
        server_id = _server_id(server["server_id"])
        other = first.setdefault(server_id, server)
        if other is not server:
            raise server.wrong(
                f"server_id {server_id} is in {other.place} already; list all devices "
                "of a server in one entry"
            )
        for device in server["device"].items():
            placed.append((_rank(device["rank_id"], server_id, device), device))
    return placed


def _group_list_ranks(root: _Entry) -> List[Tuple[Rank, _Entry]]:
    groups = root["group_list"].items()
    if len(groups) != 1:
        raise root["group_list"].wrong(
            f"has {len(groups)} groups; put all ranks into one"
        )
    root["group_count"].expect_count(1, '"group_list" has 1 entry')
    instances = groups[0]["instance_list"].items()
    placed = []
    for instance in instances:
        devices = instance["devices"].items()
        if len(devices) != 1:
            raise instance["devices"].wrong(
                f"has {len(devices)} devices; a rank has one"
            )
        server_id = _server_id(instance["server_id"])
        placed.append((_rank(instance["rank_id"], server_id, devices[0]), instance))
    _check_group_counts(groups[0], [rank for rank, _ in placed])
    if "para_plane_nic_num" in root:
        names = root["para_plane_nic_name"].items()
        root["para_plane_nic_num"].expect_count(
            len(names), f'"para_plane_nic_name" has {len(names)} entries'
        )
    return placed


def _check_group_counts(group: _Entry, ranks: List[Rank]):
    servers = len({rank.server_id for rank in ranks})
    counts = {
        "instance_count": len(ranks),
        "device_num": len(ranks),
        "server_num": servers,
    }
    found = f'"instance_list" has {len(ranks)} entries on {servers} server(s)'
    for name, count in counts.items():
        group[name].expect_count(count, found)


def _rank(rank_id: _Entry, server_id: str, device: _Entry) -> Rank:
    return Rank(
        rank_id=rank_id.number(),
        server_id=server_id,
        device_id=device["device_id"].number(),
        device_ip=_device_ip(device["device_ip"]),
    )


def _check_repeats(placed: List[Tuple[Rank, _Entry]]):
    for names, remedy in (
        (["rank_id"], f"number the ranks 0 to {len(placed) - 1}, each once"),
        (["server_id", "device_id"], "a device of a server runs one rank"),
        (["device_ip"], "every device has an address of its own"),
    ):
        key = operator.attrgetter(*names)
        first: Dict[Any, _Entry] = {}
        for rank, entry in placed:
            other = first.setdefault(key(rank), entry)
            if other is not entry:
                raise entry.wrong(
                    f"{names[-1]} {getattr(rank, names[-1])} is in {other.place} "
                    f"already; {remedy}"
                )


def _check_gaps(placed: List[Tuple[Rank, _Entry]]):
    highest, entry = max(placed, key=lambda pair: pair[0].rank_id)
    if highest.rank_id >= len(placed):
        missing = min(set(range(len(placed))) - {rank.rank_id for rank, _ in placed})
        raise entry.wrong(
            f"rank_id {highest.rank_id} of {len(placed)} ranks, and no entry has "
            f"rank_id {missing}; number the ranks 0 to {len(placed) - 1} without gaps"
        )


def _check_this_machine(placed: List[Tuple[Rank, _Entry]]):
    """The placeholder for this machine says nothing where there are others."""
    servers = {rank.server_id for rank, _ in placed}
    entries = [entry for rank, entry in placed if rank.server_id == THIS_MACHINE]
    if entries and len(servers) > 1:
        raise entries[0].wrong(
            f"server_id {THIS_MACHINE} among {len(servers)} servers; write the address "
            "at which the others reach it"
        )


def check_document(path: str, content: Any) -> RankTable:
    """Like `read`, for the JSON value in a file of that name."""
    root = _Entry(path, "", content)
    found = [name for name in ("server_list", "group_list") if name in root]
    if len(found) != 1:
        raise root.wrong(
            'must be an object with either "server_list" (layout version 1.0) or '
            f'"group_list"; it has {"both" if found else "neither"}'
        )
    root["status"].expect("completed")
    read_ranks = _version_1_ranks if found == ["server_list"] else _group_list_ranks
    placed = read_ranks(root)
    _check_repeats(placed)
    _check_gaps(placed)
    _check_this_machine(placed)
    return RankTable(path, sorted(rank for rank, _ in placed))


def _distinct_keys(path: str, pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """Refuses a key that one object has twice: JSON readers keep either."""
    found: Dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise RankTableError(
                f"{path}: an object has the key {key!r:.60} twice; delete one"
            )
        found[key] = value
    return found


def _load(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise RankTableError(
            f"{path}: cannot be read: {error.strerror}; name the file of a rank table"
        ) from error
    except UnicodeDecodeError as error:
        raise RankTableError(
            f"{path}: byte {error.start} is not UTF-8 text; save it as UTF-8"
        ) from error
    if len(data) > _MAX_BYTES:
        raise RankTableError(f"{path}: is too large for a rank table; name another")
    return _parse_json(path, text)


def _parse_json(path: str, text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=functools.partial(_distinct_keys, path)
        )
    except json.JSONDecodeError as error:
        what = f"is not JSON: {error.msg}; mend it there"
        if text[error.pos :].lstrip(" ,").startswith(_COMMENTS):
            what = "JSON has no comments; delete this one"
        raise RankTableError(
            f"{path}: line {error.lineno} column {error.colno}: {what}"
        ) from error
    except RankTableError:
        raise
    except (RecursionError, ValueError) as error:
        # Brackets or digits by the thousand.
        raise RankTableError(f"{path}: is not JSON of a rank table; mend it") from error


def read(path: str) -> RankTable:
    """Reads and checks a rank table of either layout.

    Args:
      path: str, the JSON file.

    Returns:
      RankTable, its ranks in order.

    Raises:
      RankTableError: one line with file, entry, what is wrong and what to do.
    """
    path = os.fspath(path)
    return check_document(path, _load(path))


def document(
    ranks: List[Rank], layout: str = LAYOUTS[0], board_id: str = "0x0000"
) -> Dict[str, Any]:
    """Gives the JSON document of a rank table.

    Args:
      ranks: list of Rank.
      layout: one of LAYOUTS.
      board_id: text for the group_list layout.

    Returns:
      dict for json.dump.
    """
    servers: Dict[str, List[Rank]] = collections.OrderedDict()
    for rank in ranks:
        servers.setdefault(rank.server_id, []).append(rank)
    if layout == "group_list":
        return _group_list_document(ranks, servers, board_id)
    return {
        "version": "1.0",
        "server_count": str(len(servers)),
        "server_list": [
            {
                "server_id": server_id,
                "device": [dict(_device(r), rank_id=str(r.rank_id)) for r in own],
            }
            for server_id, own in servers.items()
        ],
        "status": "completed",
    }


def _device(rank: Rank) -> Dict[str, str]:
    return {"device_id": str(rank.device_id), "device_ip": rank.device_ip}


def _group_list_document(
    ranks: List[Rank], servers: Dict[str, List[Rank]], board_id: str
) -> Dict[str, Any]:
    instances = [
        {
            "devices": [_device(rank)],
            "rank_id": str(rank.rank_id),
            "server_id": rank.server_id,
        }
        for rank in ranks
    ]
    group = {
        "device_num": str(len(ranks)),
        "server_num": str(len(servers)),
        "group_name": "",
        "instance_count": str(len(ranks)),
        "instance_list": instances,
    }
    num_ports = max(len(own) for own in servers.values())
    return {
        "board_id": board_id,
        "chip_info": "910",
        "deploy_mode": "lab",
        "group_count": "1",
        "group_list": [group],
        "para_plane_nic_location": "device",
        "para_plane_nic_name": [f"eth{port}" for port in range(num_ports)],
        "para_plane_nic_num": str(num_ports),
        "status": "completed",
    }
