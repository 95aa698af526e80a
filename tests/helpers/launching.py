# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""A copy of the launchers, for their tests, with an ssd_main.py that only reports.

That ssd_main.py appends a line of JSON with its arguments, environment, folder and
process id to report.jsonl in its working folder, and then does what FAKE_<rank id>,
else FAKE_ALL, in the environment says:

  end STATUS   exits with that status at once (the default, with status 0)
  fail [STATUS [SECONDS]]
               waits until all ranks have reported, and SECONDS (0) longer, then exits
               with STATUS (3)
  wait         waits for a signal; with FAKE_CHILD together with a process of its own
  stubborn     waits and ignores SIGTERM
  save         waits; on SIGTERM it writes the file "saved" and exits with status 0
  follow       waits for the file "go" in the project's folder, then exits with status 0
  train STEPS  takes a step every 0.1 s, with heartbeat and checkpoint, from the newest
               checkpoint on, and exits with status 0 after the last one
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
_FILES = ("env.sh", "exec_main.sh", "run_npu_1p.sh", "run_npu_8p.sh")
_FOLDERS = ("console", "devices", "npu_config")
_LAUNCHER_VARIABLES = (
    "DEVICE_ID HCCL_CONNECT_TIMEOUT RANK_ID RANK_SIZE RANK_TABLE_FILE SERVER_ID "
    "SSD_CALLED_FROM SSD_MAX_RESTARTS SSD_SECONDS_TO_SAVE path_to_annotations "
    "path_to_pretrain path_to_tfrecord"
).split()
# In the environment of everything that a launcher of a project starts.
_MARK = "SSD_TEST_PROJECT"
# A loaded machine may take this long for what usually takes a second.
_PATIENCE_SECONDS = 100
OWN_DATA = {"path_to_tfrecord": "/data/records", "path_to_annotations": "/data/coco"}

_FAKE_MAIN = """
import faulthandler, glob, json, os, re, signal, subprocess, sys, time

if sys.argv[1:] == ["--help"]:
    print("the flags of ssd_main.py")
    sys.exit(1)
rank = os.environ["RANK_ID"]
action = os.environ.get("FAKE_" + rank, os.environ.get("FAKE_ALL", "end 0")).split()

def save(*unused):
    open("saved", "w").close()
    print("rank %s saved" % rank)
    sys.exit(0)

def wait_for(is_there):
    while not is_there():
        time.sleep(0.05)

def train(last_step):
    names = glob.glob("result_npu/*.index")
    step = max([int(re.findall("[0-9]+", name)[-1]) for name in names], default=0)
    faulthandler.register(signal.SIGUSR1)
    with open(os.environ["SSD_HEARTBEAT_FILE"], "w") as file:
        file.write("%d result_npu" % step)
    os.makedirs("result_npu", exist_ok=True)
    while step < last_step:
        time.sleep(0.1)
        step += 1
        open("result_npu/model.ckpt-%d.index" % step, "w").close()
        os.utime(os.environ["SSD_HEARTBEAT_FILE"])

if action[0] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif action[0] == "save":
    signal.signal(signal.SIGTERM, save)
if os.environ.get("FAKE_CHILD"):
    subprocess.Popen(["sleep", "300"])
print("rank %s speaks" % rank, flush=True)
report = {"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}
report["pid"] = os.getpid()
with open("report.jsonl", "a") as file:
    file.write(json.dumps(report) + "\\n")
if action[0] == "end":
    sys.exit(int(action[1]))
elif action[0] == "fail":
    all_ranks = int(os.environ["RANK_SIZE"])
    wait_for(lambda: len(glob.glob("../*/report.jsonl")) == all_ranks)
    print("rank %s fails, as it was told" % rank)
    status, seconds = (action[1:] + ["3", "0"][len(action) - 1 :])
    time.sleep(float(seconds))
    sys.exit(int(status))
elif action[0] == "follow":
    wait_for(lambda: os.path.exists("../../go"))
elif action[0] == "train":
    train(int(action[1]))
else:
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
        """Creates the copy in a new folder."""
        self.folder = folder / "the project"
        (self.folder / "tools").mkdir(parents=True)
        for name in _FILES:
            shutil.copy(str(_ROOT / name), str(self.folder))
        for name in _FOLDERS:
            shutil.copytree(str(_ROOT / name), str(self.folder / name))
        (self.folder / "ssd_main.py").write_text(_FAKE_MAIN)
        sample = self.folder / "tools" / "make_sample_dataset.py"
        sample.write_text(_FAKE_SAMPLE)

    def environment(self, **variables):
        """Returns the environment for a launcher, with nothing left of others."""
        environment = dict(os.environ, PYTHON=sys.executable)
        for name in _LAUNCHER_VARIABLES:
            environment.pop(name, None)
        environment.update(variables)
        environment[_MARK] = str(self.folder)
        return environment

    def run(self, script="run_npu_1p.sh", arguments=(), cwd="/", **variables):
        """Runs a launcher to its end and returns the completed process."""
        return subprocess.run(
            [str(self.folder / script), *arguments],
            cwd=str(cwd),
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
        )

    def start(self, script, *arguments, disposition=signal.SIG_DFL, **variables):
        """Starts a launcher as the leader of a process group, like a terminal does.

        Its output goes to the file that `output` reads. It starts with SIGINT and
        SIGHUP as the disposition says, whatever these tests were started with.
        """

        def set_signals():
            signal.signal(signal.SIGINT, disposition)
            signal.signal(signal.SIGHUP, disposition)

        with open(str(self.folder / "output"), "wb") as output:
            return subprocess.Popen(
                [str(self.folder / script), *arguments],
                cwd="/",
                env=self.environment(**dict(OWN_DATA, **variables)),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=set_signals,
            )

    def end(self, process):
        """Waits for a started launcher; returns its exit status and its output."""
        return process.wait(timeout=_PATIENCE_SECONDS), self.output()

    def output(self):
        """Returns what the started launcher has printed so far."""
        return (self.folder / "output").read_text()

    def reports(self, device=0):
        """Returns the reports of the ssd_main.py on a device, run after run."""
        path = self.folder / "training" / f"D{device}" / "report.jsonl"
        lines = path.read_text().splitlines(True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def log(self, device=0, rank=None):
        """Returns the log of a rank on a device; the default rank is the device."""
        name = f"train_{device if rank is None else rank}.log"
        return (self.folder / "training" / f"D{device}" / name).read_text()

    def wait_for_ranks(self, devices):
        """Waits until the ranks on these devices run; returns their process ids."""
        wait_until(lambda: all(map(self.reports, devices)), "the ranks do not start")
        return [self.reports(device)[0]["pid"] for device in devices]

    def processes(self):
        """Returns the ids of the running processes that a launcher here started."""
        mark = f"{_MARK}={self.folder}".encode()
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:
                pass  # it has ended meanwhile
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
