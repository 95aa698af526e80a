# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""One rank as a process: its folder, log and heartbeat, its start and its end.

The heartbeat is a file that the rank writes while it trains (trainer/heartbeat.py). Its
content is "STEP MODEL_DIR": the step that this run started from, and the folder of the
checkpoints. Its time stamp changes with every finished session run, and is 0 after the
training has ended.
"""

import collections
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
from typing import Dict, List, Optional

from console.errors import UserError

_PR_SET_PDEATHSIG = 1
_CHECKPOINT = re.compile(r"model\.ckpt-([0-9]+)\.index")
_LIBC = ctypes.CDLL(None)
_LINES_SHOWN, _BYTES_SHOWN = 20, 1 << 14


class RankProcess:
    """One rank of this server.

    Attributes:
      rank: int, number of the rank.
      folder: str, the rank's working folder.
      log: str, path of the file with everything that the rank prints.
    """

    def __init__(self, rank: int, device: int, code_dir: str):
        """Initializes the rank; code_dir is the absolute path of the project."""
        self.rank = rank
        self.folder = os.path.join(code_dir, "training", f"D{device}")
        self.log = os.path.join(self.folder, f"train_{rank}.log")
        self._code_dir = code_dir
        self._device = device
        self._heartbeat = os.path.join(self.folder, f"heartbeat_{rank}")
        self._process: Optional[subprocess.Popen] = None

    def create_log(self):
        """Creates the folder and the log, which keeps what earlier runs printed.

        Raises:
          UserError: one of them cannot be created.
        """
        try:
            os.makedirs(self.folder, exist_ok=True)
            open(self.log, "ab").close()
        except OSError as error:
            raise UserError(
                f"{self.log} cannot be written: {error.strerror}; change its "
                "permissions or move it away"
            ) from error

    def append_to_log(self, line: str):
        """Appends a line to the log, unless the disk is full."""
        with contextlib.suppress(OSError), open(self.log, "ab") as log:
            log.write(os.fsencode(line + "\n"))

    def start(self, flags: List[str], environment: Dict[str, str]):
        """Starts exec_main.sh with flags of ssd_main.py and variables of all ranks.

        It leads a session of its own, so that a Ctrl-C at the terminal reaches only
        the launcher. The kernel kills it when the launcher dies.
        """
        with contextlib.suppress(OSError):
            os.remove(self._heartbeat)
        script = os.path.join(self._code_dir, "exec_main.sh")
        with open(script, "rb") as file:
            # Users edit this script, some of them on Windows.
            commands = file.read().replace(b"\r\n", b"\n")
        arguments = [str(self.rank), environment["RANK_SIZE"], self._code_dir]
        launcher = os.getpid()

        def die_with_launcher():
            if sys.platform == "linux":
                _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            # The launcher may have died before this call.
            if os.getppid() != launcher:
                os._exit(1)

        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", commands, script] + arguments + flags,
                cwd=self.folder,
                env=dict(
                    environment,
                    RANK_ID=str(self.rank),
                    DEVICE_ID=str(self._device),
                    DEVICE_INDEX=str(self._device),
                    SSD_HEARTBEAT_FILE=self._heartbeat,
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_launcher,
            )

    @property
    def status(self) -> Optional[int]:
        """The exit status as shells give it, 128 + N after signal N; None at first."""
        if self._process.returncode is None and self._process.poll() is not None:
            # What the rank has started ends with it.
            self.kill()
        status = self._process.returncode
        return 128 - status if status is not None and status < 0 else status

    def describe_end(self) -> str:
        """Returns how the rank ended, for messages."""
        try:
            name = signal.Signals(self.status - 128).name
            return f"rank {self.rank} was killed by {name}"
        except ValueError:
            return f"rank {self.rank} failed with status {self.status}"

    def terminate(self):
        """Asks the rank to save a checkpoint and to end."""
        self._process.terminate()

    def kill(self):
        """Ends the rank and all processes that it has started at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def dump_stacks(self):
        """Makes a rank that trains write the stacks of its threads to its log."""
        self._process.send_signal(signal.SIGUSR1)
        # A stopped process would not react.
        self._process.send_signal(signal.SIGCONT)

    def heartbeat(self) -> Optional[int]:
        """Returns a number that changes with every finished session run.

        It is None before and after the training.
        """
        try:
            return os.stat(self._heartbeat).st_mtime_ns or None
        except OSError:
            return None

    def has_new_checkpoint(self) -> bool:
        """Returns whether this run has saved a later step than it started from."""
        try:
            with open(self._heartbeat) as file:
                first_step, model_dir = file.read().split(" ", 1)
            names = os.listdir(os.path.join(self.folder, model_dir))
            found = filter(None, map(_CHECKPOINT.fullmatch, names))
            return any(int(match.group(1)) > int(first_step) for match in found)
        except (OSError, ValueError):
            return False

    def end_of_log(self) -> bytes:
        """Returns the last lines of the log."""
        with open(self.log, "rb") as log:
            lines = b"".join(collections.deque(log, _LINES_SHOWN))
        # A rank that was killed may have left its last line without an end.
        return lines[-_BYTES_SHOWN:].rstrip(b"\n") + b"\n"
