# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which rank this process is and where the other ranks are, from the environment.

The launchers set RANK_ID, RANK_SIZE, RANK_TABLE_FILE and JOB_ID for every rank. This
module reads them once per process and needs the standard library only.
"""

import os
import re
from typing import List, NamedTuple, Tuple

from console.errors import check
from devices import rank_table

_LOOPBACK = "127.0.0.1"
# NPUEstimator refuses to start without a JOB_ID; it accepts any text.
_DEFAULT_JOB_ID = "10087"


class Cluster(NamedTuple):
    """All ranks of one training.

    Attributes:
      rank: number of this process, in 0..num_ranks - 1.
      num_ranks: at least 1.
      workers: "host:port" of TensorFlow's own server of each rank.
      meeting_point: (host, port) where rank 0 listens for the other ranks, see
        rank_messages.
      local_rank: place of this rank among the ranks of its server.
    """

    rank: int
    num_ranks: int
    workers: List[str]
    meeting_point: Tuple[str, int]
    local_rank: int


def from_environment(base_port: int) -> Cluster:
    """Returns the cluster that RANK_ID, RANK_SIZE and RANK_TABLE_FILE describe.

    Without RANK_SIZE there is one rank. Without RANK_TABLE_FILE all ranks run on this
    machine.

    Args:
      base_port: rank r listens on base_port + r, rank 0 also on base_port + num_ranks.

    Raises:
      UserError: one line; the variables contradict each other, or the rank table
        cannot be read.
    """
    rank, num_ranks = _rank_and_size()
    hosts = [_LOOPBACK] * num_ranks
    path = os.environ.get("RANK_TABLE_FILE")
    if path and num_ranks > 1:
        hosts = _hosts(path, num_ranks)
    return Cluster(
        rank,
        num_ranks,
        workers=[f"{host}:{base_port + i}" for i, host in enumerate(hosts)],
        meeting_point=(hosts[0], base_port + num_ranks),
        local_rank=hosts[:rank].count(hosts[rank]),
    )


def job_id() -> str:
    """Returns JOB_ID, the same text for all ranks of one training."""
    return os.environ.get("JOB_ID") or _DEFAULT_JOB_ID


def whole_number(name: str, text: str) -> int:
    """Returns the number in an environment variable or a flag of a launcher."""
    check(
        re.fullmatch("0|[1-9][0-9]{0,5}", text),
        "%s=%s: must be a whole number, for example 60",
        name,
        text,
    )
    return int(text)


def whole_variable(name: str, default: str) -> int:
    """Returns the number in an environment variable; the default replaces no text."""
    return whole_number(name, os.environ.get(name) or default)


def _rank_and_size():
    rank = whole_variable("RANK_ID", "0")
    num_ranks = whole_variable("RANK_SIZE", "1")
    check(
        rank < num_ranks,
        "RANK_ID=%d RANK_SIZE=%d: the rank must lie in 0..RANK_SIZE - 1",
        rank,
        num_ranks,
    )
    return rank, num_ranks


def _hosts(path, num_ranks):
    table = rank_table.read(path)
    check(
        len(table.ranks) == num_ranks,
        "RANK_SIZE=%d: RANK_TABLE_FILE=%s has %d ranks; both must be the same, as "
        "run_npu_8p.sh sets them",
        num_ranks,
        path,
        len(table.ranks),
    )
    if len(table.servers) == 1:
        return [_LOOPBACK] * num_ranks
    return [entry.server_id for entry in table.ranks]
