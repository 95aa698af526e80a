# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""A copy of the launchers whose ssd_main.py only reports, for their tests.

That ssd_main.py appends a line of JSON with its arguments, environment, folder and
process id to report.jsonl in its working folder, and then does what FAKE_<rank id>,
else FAKE_ALL, in the environment says:

  end STATUS   leave with that status at once (the default, with status 0)
  fail [STATUS [SECONDS]]
               wait until all local ranks have reported, and SECONDS (0) more, then
               leave with STATUS (3)
  wait         wait for a signal; FAKE_CHILD: together with a process of its own
  stubborn     wait, and ignore SIGTERM
  save         wait; on SIGTERM write the file "saved" and leave with status 0
  follow       wait for the file "go" in the project's folder, then leave with status 0
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_FILES = (
    "env.sh",
    "exec_main.sh",
    "run_npu_1p.sh",
    "run_npu_8p.sh",
)
_LAUNCHER_VARIABLES = (
    "DEVICE_ID",
    "FUSION_TENSOR_SIZE",
    "HCCL_CONNECT_TIMEOUT",
    "JOB_ID",
    "RANK_ID",
    "RANK_SIZE",
    "RANK_TABLE_FILE",
    "SERVER_ID",
    "SSD_SECONDS_TO_SAVE",
    "path_to_annotations",
    "path_to_pretrain",
    "path_to_tfrecord",
)
# In the environment of everything that a launcher of a project starts.
_MARK = "SSD_TEST_PROJECT"
# A loaded machine may take this long for what usually takes a second.
_PATIENCE_SECONDS = 100
OWN_DATA = {"path_to_tfrecord": "/data/records", "path_to_annotations": "/data/coco"}

_FAKE_MAIN = """
import glob, json, os, signal, subprocess, sys, time

rank = os.environ["RANK_ID"]
action = os.environ.get("FAKE_" + rank, os.environ.get("FAKE_ALL", "end 0")).split()

def save(*unused):
    open("saved", "w").close()
    print("rank %s saved" % rank)
    sys.exit(0)

if action[0] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif action[0] == "save":
    signal.signal(signal.SIGTERM, save)
if os.environ.get("FAKE_CHILD"):
    subprocess.Popen(["sleep", "300"])

def wait_for(is_there):
    while not is_there():
        time.sleep(0.05)

print("rank %s speaks" % rank, flush=True)
report = {"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}
report["pid"] = os.getpid()
with open("report.jsonl", "a") as file:
    file.write(json.dumps(report) + "\\n")
if action[0] == "end":
    sys.exit(int(action[1]))
if action[0] == "fail":
    local_ranks = int(os.environ["FAKE_LOCAL_RANKS"])
    wait_for(lambda: len(glob.glob("../*/report.jsonl")) == local_ranks)
    print("rank %s fails, as it was told" % rank)
    status, seconds = (action[1:] + ["3", "0"][len(action) - 1 :])
    time.sleep(float(seconds))
    sys.exit(int(status))
if action[0] == "follow":
    wait_for(lambda: os.path.exists("../../go"))
    sys.exit(0)
time.sleep(300)
"""

_FAKE_SAMPLE = """
import os, sys

os.makedirs(sys.argv[sys.argv.index("--output_dir") + 1], exist_ok=True)
print("sample made")
"""


class Project:
    """The copy of the launchers, in a folder with a space in its name."""

    def __init__(self, folder):
        """Makes the copy in a new folder."""
        self.folder = folder / "the project"
        (self.folder / "tools").mkdir(parents=True)
        for name in _FILES:
            shutil.copy(str(_ROOT / name), str(self.folder))
        for name in ("console", "devices", "npu_config"):
            shutil.copytree(str(_ROOT / name), str(self.folder / name))
        (self.folder / "tools").mkdir()
        shutil.copy(str(_ROOT / "tools" / "rank_table.py"), str(self.folder / "tools"))
        (self.folder / "ssd_main.py").write_text(_FAKE_MAIN)
        sample = self.folder / "tools" / "make_sample_dataset.py"
        sample.write_text(_FAKE_SAMPLE)

    def _environment(self, variables):
        environment = dict(os.environ, PYTHON=sys.executable)
        for name in _LAUNCHER_VARIABLES:
            environment.pop(name, None)
        environment.update(variables)
        environment[_MARK] = str(self.folder)
        return environment

    def run(self, script="run_npu_1p.sh", arguments=(), cwd="/", **variables):
        """Runs a launcher to its end; gives the completed process."""
        return subprocess.run(
            [str(self.folder / script), *arguments],
            cwd=str(cwd),
            env=self._environment(variables),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
        )

    def start(self, script, **variables):
        """Starts a launcher as a terminal does, as the leader of a process group.

        What it says goes to the file that `output` reads.
        """
        with open(str(self.folder / "output"), "wb") as output:
            return subprocess.Popen(
                [str(self.folder / script)],
                cwd="/",
                env=self._environment(dict(OWN_DATA, **variables)),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Started in the background, this process ignores Ctrl-C, and so would
                # bash.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def end(self, process):
        """Waits for a started launcher; gives its exit status and its output."""
        return process.wait(timeout=_PATIENCE_SECONDS), self.output()

    def output(self):
        """What the started launcher has said."""
        return (self.folder / "output").read_text()

    def reports(self, device=0):
        """What the ssd_main.py that ran on a device reported, run after run."""
        path = self.folder / "training" / f"D{device}" / "report.jsonl"
        lines = path.read_text().splitlines(True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def log(self, device=0, rank=None):
        """The log of a rank on a device; its rank is the device's number if None."""
        name = f"train_{device if rank is None else rank}.log"
        return (self.folder / "training" / f"D{device}" / name).read_text()

    def wait_for_ranks(self, devices):
        """Waits until the ranks on these devices run; gives their process ids."""
        wait_until(lambda: all(map(self.reports, devices)), "the ranks do not start")
        return [self.reports(device)[0]["pid"] for device in devices]

    def processes(self):
        """Ids of the processes that a launcher of this project started and that run."""
        mark = f"{_MARK}={self.folder}".encode()
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:
                pass  # it ended meanwhile
        return found

    def wait_until_nothing_runs(self):
        """Fails if a process outlives its launcher."""
        # A killed process takes a moment.
        wait_until(lambda: not self.processes(), "processes are left")


def wait_until(condition, otherwise):
    """Waits for a condition; fails with the text `otherwise` if it does not come."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
