# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kills a training again and again, and runs a long one.

  python3 benchmarks/soak.py

Takes about 40 minutes on two cores. First small trainings are started by run_npu_1p.sh,
and their process is killed (SIGKILL) --kills times in all, every other time while it
saves a checkpoint. The launcher starts them again by itself. No saved step may be lost,
and each training has to end at its last step. Then --long_steps steps are trained
without a break, while memory, threads and open files of the process are watched from a
quarter of the way on. Prints the results; the exit status is 0 if all of them are as
they should be.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl import app, flags

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from trainer import checkpoints

FLAGS = flags.FLAGS
flags.DEFINE_integer("kills", 50, "Number of kills.", lower_bound=0)
flags.DEFINE_integer("long_steps", 2000, "Steps of the long run.", lower_bound=0)
flags.DEFINE_integer(
    "seed", None, "Seed for the moments of the kills. Default: another one each time."
)

_KEPT = 5
_MAX_SECONDS_TO_A_KILL = 30
_KILLED_STEPS = 120


def training_flags(model_dir, steps, save_every):
    """Returns the flags of a training with batches of one image."""
    return [
        "--mode=train",
        f"--model_dir={model_dir}",
        f"--num_examples_per_epoch={steps}",
        "--num_epochs=1",
        "--decay_epochs=1",
        "--train_batch_size=1",
        f"--save_checkpoints_steps={save_every}",
        f"--keep_checkpoint_max={_KEPT}",
        "--device=cpu",
    ]


class Launched:
    """A training that run_npu_1p.sh runs and starts again after each kill."""

    def __init__(self, clone, sample, number):
        """Starts the training in a folder with this number in a copy of the project."""
        folder = os.path.join(clone, "training", f"D{number}")
        self._model_dir = os.path.join(folder, "result_npu")
        self._log = os.path.join(folder, "train_0.log")
        self.launcher = subprocess.Popen(
            [os.path.join(clone, "run_npu_1p.sh"), f"--max_restarts={FLAGS.kills}"]
            + training_flags(self._model_dir, _KILLED_STEPS, save_every=2),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(
                os.environ,
                DEVICE_ID=str(number),
                PYTHON=sys.executable,
                path_to_tfrecord=sample,
                path_to_annotations=sample,
            ),
        )

    def step(self):
        """Returns the step that a restart goes on from."""
        return checkpoints.newest_usable(self._model_dir)[0] or 0

    def _process(self):
        """Returns the id of the training's process; None if there is none just now."""
        pid = self.launcher.pid
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return next(map(int, file.read().split()), None)

    def _saves(self):
        if not os.path.exists(self._log):
            return 0
        with open(self._log) as file:
            return file.read().count("Saving checkpoints for")

    def kill(self, at_save):
        """Kills the process at a random moment, or while it saves a checkpoint.

        Returns False if the training ended before.
        """
        # The first one is saved right after the start.
        saves = self._saves() + random.randint(2, 4)
        moment = time.monotonic() + random.uniform(0, _MAX_SECONDS_TO_A_KILL)
        while self.launcher.poll() is None:
            is_time = self._saves() >= saves if at_save else time.monotonic() > moment
            process = self._process()
            if is_time and process:
                time.sleep(random.uniform(0, 0.5) if at_save else 0)
                os.kill(process, signal.SIGKILL)
                while self._process() == process:
                    time.sleep(0.05)
                return True
            time.sleep(0.05)
        return False


def kill_often(folder, sample):
    """Kills trainings; returns whether no step was lost and each reached its end."""
    clone = os.path.join(folder, "clone")
    ignored = shutil.ignore_patterns(".*", "sample_dataset", "tests", "training")
    shutil.copytree(ROOT, clone, ignore=ignored)
    kills, lost, ends = 0, 0, []
    while kills < FLAGS.kills:
        training, step = Launched(clone, sample, number=len(ends)), 0
        while kills < FLAGS.kills and training.kill(at_save=kills % 2 == 1):
            kills += 1
            lost += training.step() < step
            step = training.step()
            print(f"killed at step {step} of {_KILLED_STEPS}", flush=True)
        if training.launcher.wait():
            raise RuntimeError(f"the launcher left: {training.launcher.returncode}")
        ends.append(training.step())
    left = [
        name
        for _, folders, files in os.walk(os.path.join(clone, "training"))
        for name in folders + files
        if "temp" in name
    ]
    print(
        f"{kills} kills in {len(ends)} trainings: {lost} times a saved step was lost; "
        f"they ended at the steps {ends}; {len(left)} temporary files are left"
    )
    return not lost and set(ends) == {_KILLED_STEPS}


def usage(pid):
    """Returns (resident MB, threads, open files) of a process."""
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    open_files = len(os.listdir(f"/proc/{pid}/fd"))
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["Threads"]), open_files


def run_long(folder, sample):
    """Trains long; returns whether memory, threads and open files stayed the same."""
    model_dir = os.path.join(folder, "long")
    steps = FLAGS.long_steps
    process = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, "ssd_main.py")]
        + training_flags(model_dir, steps, save_every=max(steps // 20, 1))
        + [f"--training_file_pattern={sample}/train2017*"]
        + [f"--log_every_n_steps={min(100, max(steps // 20, 1))}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"),
    )
    usages = []
    for line in process.stderr:
        if ":step " in line:
            usages.append(usage(process.pid))
    process.wait()
    warm = usages[len(usages) // 4 :]
    first = [max(column) for column in zip(*warm[: len(warm) // 2])]
    second = [max(column) for column in zip(*warm[len(warm) // 2 :])]
    growth = second[0] / first[0] - 1
    kept = [name for name in os.listdir(model_dir) if name.endswith(".index")]
    print(
        f"{steps} steps: memory {first[0]:.0f} then {second[0]:.0f} MB "
        f"({100 * growth:+.1f} %), threads {first[1]} then {second[1]}, open files "
        f"{first[2]} then {second[2]}, {len(kept)} checkpoints kept"
    )
    is_flat = growth < 0.05 and second[1] <= first[1] and second[2] <= first[2]
    return process.returncode == 0 and is_flat and len(kept) == _KEPT


def main(_):
    """Kills trainings, runs the long one, and returns the exit status."""
    seed = FLAGS.seed if FLAGS.seed is not None else random.randrange(10**6)
    print("seed", seed)
    random.seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        sample = os.path.join(folder, "sample")
        tool = os.path.join(ROOT, "tools", "make_sample_dataset.py")
        subprocess.run(
            [sys.executable, tool, f"--output_dir={sample}"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        is_good = not FLAGS.kills or kill_often(folder, sample)
        is_good &= not FLAGS.long_steps or run_long(folder, sample)
    return 0 if is_good else 1


if __name__ == "__main__":
    app.run(main)
