# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kills a training again and again, and runs one for long.

  python3 benchmarks/soak.py

Takes about 40 minutes on two cores. First small trainings are killed (SIGKILL) --kills
times in all, every other time while they save a checkpoint, and run again by the same
command each time; no saved step may be lost, and each has to end at its last step. Then
--long_steps steps are trained without a break: memory, threads and open files of the
process are watched, from a quarter of the way on. Prints what it found; the status is 0
if all of it is as it should be.
"""

import itertools
import os
import random
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
flags.DEFINE_integer("kills", 50, "Times to kill.", lower_bound=0)
flags.DEFINE_integer("long_steps", 2000, "Steps of the long run.", lower_bound=0)
flags.DEFINE_integer("seed", None, "Of the moments; default: another each time.")

_KEPT = 5
_SECONDS_TO_A_KILL = 30
_KILLED_STEPS = 120


def command(model_dir, steps, save_every):
    """A training of batches of one image."""
    return [sys.executable, os.path.join(ROOT, "ssd_main.py"), "--mode=train"] + [
        f"--training_file_pattern={os.path.dirname(model_dir)}/train2017*",
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


def run_and_kill(arguments, at_save):
    """Starts the training and kills it at a random moment; gives its exit status."""
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
    return process.returncode


def steps_of_killed_training(model_dir, max_kills):
    """Runs a training to its end, by the same command after each kill.

    Yields:
      int, the step that a restart goes on from, after each kill and at the end.
    """
    arguments = command(model_dir, _KILLED_STEPS, save_every=2)
    for kill in itertools.count():
        if kill < max_kills:
            status = run_and_kill(arguments, at_save=kill % 2 == 1)
        else:
            process = start(arguments)
            process.communicate()
            status = process.returncode
        yield checkpoints.newest_usable(model_dir)[0] or 0
        if status == 0:
            return
        if status != -signal.SIGKILL:
            raise RuntimeError(f"the training left with status {status}")


def kill_often(folder):
    """Kills trainings until there were enough kills; was nothing lost?"""
    kills, lost, ends = 0, 0, []
    while kills < FLAGS.kills:
        model_dir = os.path.join(folder, f"killed{len(ends)}")
        steps = [0]
        for step in steps_of_killed_training(model_dir, FLAGS.kills - kills):
            lost += step < steps[-1]
            steps.append(step)
            print(f"at step {step} of {_KILLED_STEPS}", flush=True)
        kills += len(steps) - 2
        ends.append(steps[-1])
    left = [
        name
        for _, folders, files in os.walk(folder)
        for name in folders + files
        if "temp" in name
    ]
    print(
        f"{kills} kills in {len(ends)} trainings: {lost} times a saved step was lost; "
        f"they ended at the steps {ends}; {len(left)} temporary files are left"
    )
    return not lost and set(ends) == {_KILLED_STEPS}


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
    process = start(command(model_dir, steps, save_every=max(steps // 20, 1)))
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
