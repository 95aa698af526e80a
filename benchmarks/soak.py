# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kills a training again and again, and runs one for long.

  python3 benchmarks/soak.py

Takes about an hour on two cores. First a small training is killed (SIGKILL) --kills
times, every other time while it saves a checkpoint, and run again by the same command
each time; no saved step may be lost, and it has to end at its last step. Then
--long_steps steps are trained without a break: memory, threads and open files of the
process are watched, from a quarter of the way on. Prints what it found; the status is 0
if all of it is as it should be.
"""

import os
import random
import subprocess
import sys
import tempfile
import time

from absl import app, flags

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import checkpoints  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_integer("kills", 50, "Times to kill.", lower_bound=0)
flags.DEFINE_integer("long_steps", 2000, "Steps of the long run.", lower_bound=0)
flags.DEFINE_integer("seed", None, "Of the moments; default: another each time.")

_KEPT = 5
_SECONDS_TO_A_KILL = 30


def command(folder, model_dir, steps, save_every):
    """A training of batches of one image."""
    return [sys.executable, os.path.join(ROOT, "ssd_main.py"), "--mode=train"] + [
        f"--training_file_pattern={folder}/train2017*",
        f"--model_dir={model_dir}",
        f"--num_examples_per_epoch={steps}",
        "--num_epochs=1",
        "--decay_epochs=1",
        "--train_batch_size=1",
        f"--save_checkpoints_steps={save_every}",
        f"--keep_checkpoint_max={_KEPT}",
        "--device=cpu",
    ]


def start(arguments):
    """Starts a training that logs to a pipe."""
    return subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"),
    )


def kill_one(arguments, at_save):
    """Starts the training and kills it; True if it had ended by itself before."""
    process = start(arguments)
    if at_save:
        for line in process.stderr:
            # Not the first: after a start there is one at once.
            if "Saving checkpoints for" in line and random.random() < 0.5:
                break
        time.sleep(random.uniform(0, 0.5))
    else:
        time.sleep(random.uniform(0, _SECONDS_TO_A_KILL))
    process.kill()
    process.communicate()
    return process.returncode == 0


def kill_often(folder):
    """Kills and restarts; returns whether nothing was lost."""
    model_dir, steps = os.path.join(folder, "killed"), 100000
    arguments = command(folder, model_dir, steps, save_every=2)
    last, lost = 0, 0
    for number in range(FLAGS.kills):
        kill_one(arguments, at_save=number % 2 == 1)
        step = checkpoints.newest_usable(model_dir)[0] or 0
        lost += step < last
        last = step
        print(f"kill {number + 1}: goes on from step {step}", flush=True)
    # A total that is near, so that the last run ends.
    total = last + 4
    process = start(command(folder, model_dir, total, save_every=2))
    process.communicate()
    end = checkpoints.newest_usable(model_dir)[0]
    names = os.listdir(model_dir)
    left = [name for name in names if "temp" in name]
    print(
        f"{FLAGS.kills} kills: {lost} times a saved step was lost; ended at step {end} "
        f"of {total}; {len(left)} temporary files are left"
    )
    return not lost and end == total and process.returncode == 0


def usage(pid):
    """(resident MB, threads, open files) of a process."""
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    open_files = len(os.listdir(f"/proc/{pid}/fd"))
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["Threads"]), open_files


def run_long(folder):
    """Trains for long; returns whether memory, threads and files stayed flat."""
    model_dir = os.path.join(folder, "long")
    steps = FLAGS.long_steps
    process = start(command(folder, model_dir, steps, save_every=max(steps // 20, 1)))
    usages = []
    for line in process.stderr:
        # Of a line each hundred steps.
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
    """Does both."""
    seed = FLAGS.seed if FLAGS.seed is not None else random.randrange(10**6)
    print("seed", seed)
    random.seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        tool = os.path.join(ROOT, "tools", "make_sample_dataset.py")
        subprocess.run(
            [sys.executable, tool, f"--output_dir={folder}"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        is_good = not FLAGS.kills or kill_often(folder)
        is_good &= not FLAGS.long_steps or run_long(folder)
    return 0 if is_good else 1


if __name__ == "__main__":
    app.run(main)
