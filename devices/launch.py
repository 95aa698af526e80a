# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The program behind run_npu_1p.sh and run_npu_8p.sh, which prepare its environment.

It finds the ranks of this server and their devices, and runs them as one job. It uses
only the standard library and starts in a fraction of a second.
"""

import argparse
import functools
import os
import subprocess
import sys
from typing import Dict, List

from console.errors import UserError
from devices import job, rank_table
from devices.cluster import whole_number, whole_variable
from devices.rank_process import RankProcess

_CODE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Seconds that a rank waits for the others: the slowest may still be compiling.
_HCCL_CONNECT_TIMEOUT = "600"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        """Raises a UserError; argparse would print the usage as well."""
        raise UserError(message)


def _parser(name: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=name,
        usage=f"./{name} [flags]",
        description="All other flags go to ssd_main.py, whose help follows.",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--help", "-h", "-help", action="store_true", help="Prints this and exits."
    )
    parser.add_argument(
        "--max_restarts",
        metavar="N",
        type=functools.partial(whole_number, "--max_restarts"),
        default=whole_variable("SSD_MAX_RESTARTS", "0"),
        help="Restarts in a row without a new checkpoint before the launcher gives up. "
        "After a rank has failed, all ranks of this server start again from the newest "
        "common checkpoint, unless the user has to correct something. Default: "
        "SSD_MAX_RESTARTS in the environment, else 0.",
    )
    parser.add_argument(
        "--hang_seconds",
        metavar="SECONDS",
        type=functools.partial(whole_number, "--hang_seconds"),
        default=0,
        help="Seconds of training in which no rank finishes a step. They count as a "
        "failure. The first step includes compilation. Default: 0, no limit.",
    )
    return parser


def _one_device(environment: Dict[str, str]) -> Dict[int, int]:
    """Returns {0: device} and completes the environment of a single rank."""
    environment["RANK_SIZE"] = "1"
    # With a rank table, HCCL would wait for other ranks.
    environment.pop("RANK_TABLE_FILE", None)
    return {0: whole_variable("DEVICE_ID", "0")}


def _devices_of_table(environment: Dict[str, str]) -> Dict[int, int]:
    """Returns {rank: device} of this server and completes the ranks' environment."""
    path = os.path.join(
        environment["SSD_CALLED_FROM"],
        environment.get("RANK_TABLE_FILE") or f"{_CODE_DIR}/npu_config/8p.json",
    )
    table = whole = rank_table.read(path)
    if environment.get("RANK_SIZE"):
        table = rank_table.first_ranks(whole, whole_variable("RANK_SIZE", ""))
    local = rank_table.local_ranks(table, environment.get("SERVER_ID"))
    if len(table.ranks) < len(whole.ranks):
        # HCCL waits for every rank of the table that it is given.
        path = f"{_CODE_DIR}/training/rank_table_{len(table.ranks)}.json"
        rank_table.write(path, rank_table.document(table.ranks))
    environment.update(RANK_TABLE_FILE=path, RANK_SIZE=str(len(table.ranks)))
    if not environment.get("HCCL_CONNECT_TIMEOUT"):
        environment["HCCL_CONNECT_TIMEOUT"] = _HCCL_CONNECT_TIMEOUT
    return {rank.rank_id: rank.device_id for rank in local}


def _launch(name: str, arguments: List[str]) -> int:
    parser = _parser(name)
    own_flags, flags = parser.parse_known_args(arguments)
    if own_flags.help:
        parser.print_help()
        sys.stdout.flush()
        subprocess.call([sys.executable, f"{_CODE_DIR}/ssd_main.py", "--help"])
        return 0
    environment = dict(os.environ)
    options = job.Options(
        seconds_to_save=whole_variable("SSD_SECONDS_TO_SAVE", "60"),
        max_restarts=own_flags.max_restarts,
        hang_seconds=own_flags.hang_seconds,
    )
    is_single = name == "run_npu_1p.sh"
    devices = (_one_device if is_single else _devices_of_table)(environment)
    ranks = [RankProcess(rank, devices[rank], _CODE_DIR) for rank in sorted(devices)]
    for rank in ranks:
        rank.create_log()
    return job.Job(name, ranks, flags, environment, options).run()


def main(name: str, *arguments: str) -> int:
    """Runs a launcher and returns its exit status.

    Args:
      name: run_npu_1p.sh for one device, run_npu_8p.sh for the ranks of a rank table.
      *arguments: flags of the launcher and of ssd_main.py.
    """
    try:
        return _launch(name, list(arguments))
    except UserError as error:
        print(f"{name}: " + " ".join(str(error).split()), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
