# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rank tables: which device of which server is which rank.

  python3 tools/rank_table.py check FILE          # one line: fit, or what to mend
  python3 tools/rank_table.py show FILE           # as a table
  python3 tools/rank_table.py make --servers 10.0.0.1,10.0.0.2 \\
    --hccn hccn_1.conf hccn_2.conf --output npu_config/16p.json
  python3 tools/rank_table.py local FILE          # "rank device ranks" of this server
  python3 tools/rank_table.py first FILE 4 OUT    # the table of the first four ranks

Reads both published layouts: version_1.0 (server_list, the recommended one) and
group_list. All numbers in them are text, like "0". A table that passes has ranks 0 to
n-1 without gaps or repeats, no device twice on a server, no address twice, counts that
match its lists, and the status "completed"; anything else is a RankTableError of one
line: file, entry, what is wrong, what to do.

Needs the standard library only, and starts quickly: the launchers call it.
"""

import argparse
import collections
import ipaddress
import json
import os
import re
import socket
import sys
from typing import Any, Dict, List, Optional, Tuple

from console import atomic_file
from devices.rank_table_layouts import (
    LAYOUTS,
    THIS_MACHINE,
    Rank,
    RankTable,
    RankTableError,
    canonical_address,
    canonical_server,
    check_document,
    document,
    read,
)

_HCCN_ADDRESS = re.compile(r"\s*address_(0|[1-9][0-9]{0,5})\s*=\s*(.*?)\s*")
_HCCN_MAX_CHARACTERS = 1 << 20
# What HCCL takes on servers with the Ascend 910.
_DEVICES_OF_SERVER = (1, 2, 4, 8)


def find_rank(table: RankTable, rank_id: int) -> Rank:
    """Gives one rank of a table.

    Raises:
      RankTableError: when the table has no such rank.
    """
    if not 0 <= rank_id < len(table.ranks):
        raise RankTableError(
            f"{table.path}: has no rank {rank_id}; its ranks are 0 to "
            f"{len(table.ranks) - 1}"
        )
    return table.ranks[rank_id]


def first_ranks(table: RankTable, num_ranks: int) -> RankTable:
    """Gives the table of the ranks 0 to num_ranks - 1.

    Raises:
      RankTableError: when the table has fewer.
    """
    if not 1 <= num_ranks <= len(table.ranks):
        raise RankTableError(
            f"RANK_SIZE={num_ranks}: {table.path} has {len(table.ranks)} ranks; set "
            f"RANK_SIZE to 1 to {len(table.ranks)}, or RANK_TABLE_FILE to another table"
        )
    return table._replace(ranks=table.ranks[:num_ranks])


def _is_this_machine(server_id: str) -> bool:
    try:
        family = (
            socket.AF_INET6
            if ipaddress.ip_address(server_id).version == 6
            else socket.AF_INET
        )
    except ValueError:
        own = socket.gethostname().lower()
        return server_id in (own, own.split(".")[0])
    try:
        # Only an address of its own can a machine give to a socket.
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((server_id, 0))
    except OSError:
        return False
    return True


def local_ranks(table: RankTable, server_id: Optional[str] = None) -> List[Rank]:
    """Gives the ranks that run on this machine.

    Args:
      table: RankTable.
      server_id: which server of the table this machine is. If empty or None: the only
        one, else the one whose server_id is an address or the name of this machine.

    Returns:
      list of Rank, at least one, in order.

    Raises:
      RankTableError: when it cannot be told which server this machine is.
    """
    servers = table.servers
    known = ", ".join(servers[:8]) + (", ..." if len(servers) > 8 else "")
    if server_id and servers != [THIS_MACHINE]:
        try:
            own = [canonical_server(server_id)]
        except ValueError:
            own = []
        if not set(own) & set(servers):
            raise RankTableError(
                f"SERVER_ID={server_id}: no server of {table.path}; set it to one of "
                f"{known}"
            )
    else:
        own = [s for s in servers if len(servers) == 1 or _is_this_machine(s)]
    if len(own) != 1:
        raise RankTableError(
            f"{table.path}: {len(own)} of its {len(servers)} server_ids are addresses "
            f"of this machine; set SERVER_ID to one of {known}"
        )
    return [rank for rank in table.ranks if rank.server_id == own[0]]


def notes(table: RankTable) -> List[str]:
    """Gives lines on what HCCL may refuse, though jobs without NPUs run with it."""
    counts = collections.Counter(rank.server_id for rank in table.ranks)
    lines = [
        f"{table.path}: server {server} has {count} devices; HCCL takes 1, 2, 4 or 8"
        for server, count in counts.items()
        if count not in _DEVICES_OF_SERVER
    ]
    if len(set(counts.values())) > 1:
        lines.append(f"{table.path}: the servers have different numbers of devices")
    return lines


def read_hccn(path: str) -> List[Tuple[int, str]]:
    """Reads the devices of a server from its /etc/hccn.conf.

    Args:
      path: str, a file with lines like address_0=192.168.100.101; others don't matter.

    Returns:
      list of (device id, address), by device id.

    Raises:
      RankTableError: when an address is wrong or there twice, or there is none.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(_HCCN_MAX_CHARACTERS).splitlines()
    except OSError as error:
        raise RankTableError(
            f"--hccn: {path}: cannot be read: {error.strerror}; copy /etc/hccn.conf"
        ) from error
    found: Dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        match = _HCCN_ADDRESS.fullmatch(line)
        if not match:
            continue
        device_id = int(match.group(1))
        if device_id in found:
            raise RankTableError(
                f"--hccn: {path}: line {number}: address_{device_id} again; delete one"
            )
        try:
            found[device_id] = canonical_address(match.group(2))
        except ValueError:
            raise RankTableError(
                f"--hccn: {path}: line {number}: {match.group(2)!r:.60} is no IP "
                "address; mend it"
            ) from None
    if not found:
        raise RankTableError(
            f"--hccn: {path}: no line like address_0=192.168.100.101; give the devices "
            "their addresses with hccn_tool first"
        )
    return sorted(found.items())


def write(path: str, content: Dict[str, Any], overwrite: bool):
    """Writes a JSON document whole, or not at all.

    Args:
      path: str; its folder is made where it is missing.
      content: dict, see `document`.
      overwrite: whether a file of that name may be replaced.

    Raises:
      RankTableError: when that fails, or the file exists and shall be kept.
    """
    if os.path.exists(path) and not overwrite:
        raise RankTableError(
            f"--output={path}: exists; name another file, or add --overwrite"
        )
    try:
        atomic_file.write_atomically(
            path, (json.dumps(content, indent=4) + "\n").encode()
        )
    except atomic_file.NotWritableError as error:
        raise RankTableError(f"--output={error}; name another file") from error


def make_ranks(servers: List[str], hccn_files: List[str]) -> List[Rank]:
    """Numbers the devices of several servers through, server after server.

    Args:
      servers: list of server_id.
      hccn_files: list of str, the servers' copies of /etc/hccn.conf in that order.

    Returns:
      list of Rank, not checked yet.

    Raises:
      RankTableError: when the numbers of both differ, or a file is wrong.
    """
    if len(servers) != len(hccn_files):
        raise RankTableError(
            f"--hccn: {len(hccn_files)} file(s) for {len(servers)} server(s); give the "
            "/etc/hccn.conf of each, in the order of --servers"
        )
    devices = [
        (server_id, device_id, device_ip)
        for server_id, path in zip(servers, hccn_files)
        for device_id, device_ip in read_hccn(path)
    ]
    return [Rank(rank_id, *device) for rank_id, device in enumerate(devices)]


def _check(options: argparse.Namespace):
    table = read(options.file)
    for line in notes(table):
        print(f"rank_table.py: note: {line}", file=sys.stderr)
    print(
        f"{table.path}: fit: {len(table.ranks)} rank(s) on {len(table.servers)} "
        f"server(s), {', '.join(table.servers)}"
    )


def _show(options: argparse.Namespace):
    rows = [("rank", "server", "device", "device address")]
    rows += [tuple(map(str, rank)) for rank in read(options.file).ranks]
    rank, server, device, _ = (max(map(len, column)) for column in zip(*rows))
    for row in rows:
        print(f"{row[0]:>{rank}}  {row[1]:<{server}}  {row[2]:>{device}}  {row[3]}")


def _local(options: argparse.Namespace):
    table = read(options.file)
    for rank in local_ranks(table, options.server_id):
        print(rank.rank_id, rank.device_id, len(table.ranks))


def _first(options: argparse.Namespace):
    table = read(options.file)
    if not re.fullmatch("[0-9]{1,6}", options.ranks):
        raise RankTableError(f"RANK_SIZE={options.ranks}: must be a number of ranks")
    shorter = first_ranks(table, int(options.ranks))
    if shorter.ranks == table.ranks:
        print(table.path)
    else:
        write(options.output, document(shorter.ranks), overwrite=True)
        print(options.output)


def _make(options: argparse.Namespace):
    ranks = make_ranks(options.servers.split(","), options.hccn)
    content = document(ranks, options.layout, options.board_id)
    check_document(options.output or "the new table", content)
    if options.output:
        write(options.output, content, options.overwrite)
    else:
        print(json.dumps(content, indent=4))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        """Says what is wrong in one line, where argparse adds the usage."""
        print(f"rank_table.py: {message}; --help says more", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rank_table.py", description="Checks, shows, makes rank tables."
    )
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    commands.required = True

    def add(function, text):
        command = commands.add_parser(
            function.__name__[1:], help=text, description=text
        )
        command.set_defaults(function=function)
        if function is not _make:
            command.add_argument("file", metavar="FILE", help="a rank table")
        return command

    add(_check, "Says in one line whether a table is fit, or what to mend.")
    add(_show, "Prints a table with one line a rank.")
    add(
        _local, "Prints 'rank device number-of-ranks' for every rank of this server."
    ).add_argument(
        "--server_id",
        default=os.environ.get("SERVER_ID"),
        help="this server in the table (default: SERVER_ID, else by its addresses)",
    )
    first = add(_first, "Writes the table of the first ranks; prints the file to use.")
    first.add_argument("ranks", metavar="RANKS", help="how many")
    first.add_argument("output", metavar="OUT", help="file to write")
    _add_make_arguments(add(_make, "Makes a table of all devices of some servers."))
    return parser


def _add_make_arguments(command: argparse.ArgumentParser):
    command.add_argument(
        "--servers", required=True, help="addresses or host names, parted by commas"
    )
    command.add_argument(
        "--hccn",
        required=True,
        nargs="+",
        metavar="FILE",
        help="the /etc/hccn.conf of each server, in the order of --servers",
    )
    command.add_argument("--layout", choices=LAYOUTS, default=LAYOUTS[0])
    command.add_argument(
        "--board_id", default="0x0000", help="for the layout group_list"
    )
    command.add_argument("--output", metavar="FILE", help="instead of the screen")
    command.add_argument(
        "--overwrite", action="store_true", help="replace the --output file"
    )


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs one command; gives the exit status, 2 for what the user can mend."""
    options = _parser().parse_args(arguments)
    try:
        options.function(options)
    except RankTableError as error:
        print("rank_table.py: " + " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    return 0
