# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""A copy of the launchers, for their tests, with an ssd_main.py that only reports.

That ssd_main.py appends a line of JSON with its arguments, environment, folder and
process id to report.jsonl in its working folder, and then does what FAKE_<rank id>,
else FAKE_ALL, in the environment says:

  end STATUS [SECONDS]
               exits with that status (the default is 0), but if SECONDS are given, only
               so long after all ranks have reported
  wait         waits for a signal; with FAKE_CHILD together with a process of its own
  stubborn     waits and ignores SIGTERM
  save         waits; on SIGTERM it writes the file "saved" and exits with status 0
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

from processes import wait_for

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_SCRIPTS = ("env.sh", "exec_main.sh", "run_npu_1p.sh", "run_npu_8p.sh")
_FOLDERS = ("console", "devices", "npu_config")
_INHERITED_VARIABLES = ("HOME", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
_MARK = "SSD_TEST_PROJECT"
# A loaded machine may take this long for what usually takes a second.
_PATIENCE_SECONDS = 100

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
    for seconds in action[2:]:
        while len(glob.glob("../*/report.jsonl")) < int(os.environ["RANK_SIZE"]):
            time.sleep(0.05)
        time.sleep(float(seconds))
    sys.exit(int(action[1]))
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
    """The copy of the launchers, in a folder whose name has unusual characters."""

    def __init__(self, parent):
        """Creates the copy in a new folder."""
        self.folder = parent / "the 'project' [1] é*"
        (self.folder / "tools").mkdir(parents=True)
        for name in _SCRIPTS:
            shutil.copy(str(ROOT / name), str(self.folder))
        for name in _FOLDERS:
            shutil.copytree(str(ROOT / name), str(self.folder / name))
        (self.folder / "ssd_main.py").write_text(_FAKE_MAIN)
        sample = self.folder / "tools" / "make_sample_dataset.py"
        sample.write_text(_FAKE_SAMPLE)

    def environment(self, **variables):
        """Returns the environment for a launcher: own data, unless variables differ."""
        names = [name for name in _INHERITED_VARIABLES if name in os.environ]
        environment = {name: os.environ[name] for name in names}
        environment.update(
            PYTHON=sys.executable,
            path_to_tfrecord="/data/records",
            path_to_annotations="/data/coco",
        )
        # The mark finds everything that a launcher of this project starts.
        environment[_MARK] = str(self.folder)
        return dict(environment, **variables)

    def run(self, script, *arguments, shell=(), cwd="/", **variables):
        """Runs a script to its end and returns the completed process.

        Args:
          script: str, its name or another path to it.
          *arguments: str, flags.
          shell: the command that runs it; empty: its own.
          cwd: path of the working folder.
          **variables: environment variables.
        """
        return subprocess.run(
            [*shell, str(self.folder / script), *arguments],
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
                env=self.environment(**variables),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=set_signals,
            )

    def end(self, process):
        """Waits for a started launcher; returns its exit status and its output.

        Fails if a process outlives it.
        """
        status = process.wait(timeout=_PATIENCE_SECONDS)
        # A killed process takes a moment.
        wait_for(lambda: not self.processes())
        return status, self.output()

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

    def wait_for_ranks(self, count):
        """Waits until so many ranks run; returns their process ids."""
        wait_for(lambda: all(map(self.reports, range(count))))
        return [self.reports(device)[0]["pid"] for device in range(count)]

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
