# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks, shows and creates rank tables (see devices/rank_table.py).

  python3 tools/rank_table.py check FILE
  python3 tools/rank_table.py show FILE
  python3 tools/rank_table.py make --servers 10.0.0.1,10.0.0.2 \\
    --hccn hccn_1.conf hccn_2.conf --output npu_config/16p.json

The exit status is 0, or 2 after an error, which is one line.
"""

import argparse
import collections
import json
import os
import re
import signal
import sys
from typing import Any, Dict, List

# The project's packages are in the folder above this one.
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from console import paths, text_file
from console.errors import UserError, as_user_error, check, raise_all
from devices import rank_table
from devices.rank_table import Rank

_LAYOUTS = ("version_1.0", "group_list")
# A line of hccn.conf with the address of a device, and any line that looks like one.
_HCCN_ADDRESS = re.compile(r"\s*address_(0|[1-9][0-9]{0,5})\s*=\s*(.*?)\s*")
_HCCN_LIKE_ADDRESS = re.compile(r"[^#\w]*address", re.IGNORECASE)


def _check(options: argparse.Namespace):
    table = rank_table.read(options.file)
    counts = collections.Counter(rank.server_id for rank in table.ranks)
    if set(counts.values()) not in ({1}, {2}, {4}, {8}):
        print(
            f"rank_table.py: note: {table.path}: on the 910, HCCL accepts 1, 2, 4 or 8 "
            "devices per server, the same number on all servers; the table has "
            + ", ".join(map(str, counts.values())),
            file=sys.stderr,
        )
    print(
        f"{table.path}: valid: {len(table.ranks)} rank(s) on {len(counts)} server(s), "
        f"{', '.join(counts)}"
    )


def _show(options: argparse.Namespace):
    rows = [("rank", "server", "device", "device address")]
    rows += [tuple(map(str, rank)) for rank in rank_table.read(options.file).ranks]
    rank, server, device, _ = (max(map(len, column)) for column in zip(*rows))
    for row in rows:
        print(f"{row[0]:>{rank}}  {row[1]:<{server}}  {row[2]:>{device}}  {row[3]}")


def _make(options: argparse.Namespace):
    paths.check_local("output", options.output)
    ranks = _number_devices(options.servers.split(","), options.hccn)
    if options.layout == "group_list":
        content = _group_list_document(ranks, options.board_id)
    else:
        content = rank_table.document(ranks)
    rank_table.check(options.output or "the new table", content)
    if not options.output:
        print(json.dumps(content, indent=4))
        return
    check(
        options.overwrite or not os.path.exists(options.output),
        "--output=%s: exists; give another file, or add --overwrite",
        options.output,
    )
    rank_table.write(options.output, content)


def _number_devices(servers: List[str], hccn_files: List[str]) -> List[Rank]:
    """Returns the ranks of all devices, server after server, not checked yet."""
    check(
        len(servers) == len(hccn_files),
        "--hccn: %d file(s) for %d server(s); give the /etc/hccn.conf of each server, "
        "in the order of --servers",
        len(hccn_files),
        len(servers),
    )
    problems: List[str] = []
    devices = [
        (server_id, device_id, address)
        for server_id, path in zip(servers, hccn_files)
        for device_id, address in sorted(_read_hccn(path, problems).items())
    ]
    raise_all(
        problems,
        "a device's line is like address_0=192.168.100.101, one line per device; "
        "correct or delete the others, or set addresses with hccn_tool first",
    )
    return [Rank(rank_id, *device) for rank_id, device in enumerate(devices)]


def _read_hccn(path: str, problems: List[str]) -> Dict[int, str]:
    """Returns {device id: address} of a server, from its /etc/hccn.conf."""
    addresses: Dict[int, str] = {}
    with as_user_error("--hccn:"), text_file.naming(path):
        # Comments may be in another encoding; addresses contain only ASCII.
        text = text_file.read_text(path, errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        # Skipping a damaged line would lose a device.
        if not _HCCN_LIKE_ADDRESS.match(line):
            continue
        match = _HCCN_ADDRESS.fullmatch(line)
        address = match and rank_table.canonical_address(match.group(2))
        if address and int(match.group(1)) not in addresses:
            addresses[int(match.group(1))] = address
        else:
            reason = "repeats a device" if address else "is not a device's address"
            problems.append(f"--hccn: {path}: line {number}: {line!r:.60} {reason}")
    if not addresses and not problems:
        problems.append(f"--hccn: {path}: has no address of a device")
    return addresses


def _group_list_document(ranks: List[Rank], board_id: str) -> Dict[str, Any]:
    """Returns the content of a rank table in the older layout."""
    instances = [
        {
            "devices": [
                {"device_id": str(rank.device_id), "device_ip": rank.device_ip}
            ],
            "rank_id": str(rank.rank_id),
            "server_id": rank.server_id,
        }
        for rank in ranks
    ]
    counts = collections.Counter(rank.server_id for rank in ranks)
    group = {
        "device_num": str(len(ranks)),
        "server_num": str(len(counts)),
        "group_name": "",
        "instance_count": str(len(ranks)),
        "instance_list": instances,
    }
    num_ports = max(counts.values())
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        """Raises the error, because argparse would print more than one line."""
        raise UserError(f"{message}; see --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rank_table.py", description="Checks, shows and creates rank tables."
    )
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)

    def add(function, text, takes_file=True):
        name = function.__name__[1:]
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        if takes_file:
            command.add_argument("file", metavar="FILE", help="rank table")
        return command.add_argument

    add(_check, "Checks a table; prints the first error and how to fix it.")
    add(_show, "Prints a table with one line per rank.")
    option = add(_make, "Creates a table of all devices of the servers.", False)
    option("--servers", required=True, help="addresses or host names, comma-separated")
    hccn_help = "the /etc/hccn.conf of each server, in the order of --servers"
    option("--hccn", required=True, nargs="+", metavar="FILE", help=hccn_help)
    option("--layout", choices=_LAYOUTS, default=_LAYOUTS[0], help="of the table")
    option("--board_id", default="0x0000", help="for the layout group_list")
    option("--output", metavar="FILE", help="file to write (default: standard output)")
    option("--overwrite", action="store_true", help="replace an existing --output file")
    return parser


def main(arguments: List[str]) -> int:
    """Runs one command and returns the exit status."""
    try:
        options = _parser().parse_args(arguments)
        options.function(options)
    except UserError as error:
        print("rank_table.py: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    # End silently when the reader of the output is gone, as in `show FILE | head -1`.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # File names that are not valid text are printed as they are.
    sys.stdout.reconfigure(errors="surrogateescape")
    sys.exit(main(sys.argv[1:]))
