# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures how many images per second this host can prepare.

  python3 benchmarks/input_pipeline.py --pattern='tfrecord/train2017*' [--stages]
    [--color_on=device]

Takes three minutes on two cores, six with --stages. It prints:
  the rate of decoding the JPEGs of these records alone (tf.image.decode_jpeg);
  the rates of the training and the evaluation pipeline, their ratios to that rate,
    images per core-second of processor time, and the cores that 4474 images/s need;
  peak memory;
  the rates of training and of decoding alone on one core and on two;
  with --stages the cost of each stage of training alone.

Each kind is measured in a process of its own, pinned to as many cores as its line says;
all stages share one process. The processes take turns, because the speed of a machine
changes within minutes. Figures are medians over all rounds, and a ratio is the median
of the ratios within each round. All runs read the same records, from the page cache.
"""

import concurrent.futures
import functools
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time
from unittest import mock

import tensorflow.compat.v1 as tf
from absl import app, flags

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import anchors
import dataset_parser
from dataset import augmentation, color, record_files

FLAGS = flags.FLAGS
flags.DEFINE_string("pattern", None, "Glob of TFRecord files.", required=True)
flags.DEFINE_boolean("stages", False, "Also measure the cost of each stage.")
flags.DEFINE_enum(
    "color_on", "host", ["host", "device"], "As --color_on of ssd_main.py."
)
flags.DEFINE_integer("batch_size", 32, "Images per batch.", lower_bound=1)
flags.DEFINE_integer("rounds", 6, "Runs of each kind.", lower_bound=1)
flags.DEFINE_float("seconds", 3.0, "Length of a run.", lower_bound=0.1)

# Images/s of eight Ascend 910 in the published log.
WANTED_RATE = 4474
# Evaluation reads its files once, so they are listed this often to fill a run.
_EVALUATION_READS = 200
_STAGE_IMAGES = 64
# A stage that does nothing: its cost is subtracted from that of each other stage.
_NO_STAGE = "nothing"


def main(_):
    """Prints the figures of all kinds."""
    os.environ.update(_variables_of_launchers())
    cores = len(os.sched_getaffinity(0))
    workers = {("evaluation", cores): _worker(cores)}
    for number in sorted({1, min(2, cores), cores}):
        for kind in ("decode", "training"):
            workers[kind, number] = _worker(number)
    if FLAGS.stages:
        workers.update(dict.fromkeys([(stage, 1) for stage in _STAGES], _worker(1)))
    try:
        record_files.find(FLAGS.pattern)
        figures = _measure_in_turns(workers)
    except ValueError as error:
        sys.exit(f"input_pipeline.py: --pattern: {error}")
    _print_rates(figures, cores)
    if cores > 1:
        _print_scaling("training", figures["training", 1], figures["training", 2])
        _print_scaling("decoding alone", figures["decode", 1], figures["decode", 2])
    if FLAGS.stages:
        _print_stages(figures)


def _variables_of_launchers():
    """Returns the environment variables that env.sh sets for training."""
    output = subprocess.run(
        ["bash", "-c", 'source "$0/env.sh" && env -0', ROOT],
        env=dict(os.environ, PYTHON=sys.executable),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    return dict(line.split("=", 1) for line in os.fsdecode(output).split("\0")[:-1])


def _worker(cores):
    """Returns an executor with one process that is pinned to some cores."""
    return concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), _start_worker, [cores]
    )


def _start_worker(cores):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    FLAGS(sys.argv)
    tf.disable_eager_execution()
    tf.logging.set_verbosity(tf.logging.ERROR)


def _measure_in_turns(workers):
    """Measures several kinds, each in its process, while the others idle.

    Args:
      workers: dict from (kind, cores) to the executor.

    Returns:
      dict from (kind, cores) to the list of the figures of all rounds, see `_measure`.
    """
    figures = {key: [] for key in workers}
    for _ in range(FLAGS.rounds + 1):
        for key, worker in workers.items():
            figures[key].append(worker.submit(_measure, key[0]).result())
    # In the first round, processes start beside each other.
    return {key: values[1:] for key, values in figures.items()}


def _measure(kind):
    """Prepares batches for some seconds.

    Returns:
      dict of "rate", images/s, "per_core_second", images per second of processor time,
      and "memory", the peak of the process so far, in GB.

    Raises:
      ValueError: a record cannot be used.
    """
    try:
        # The first batches were prefetched before.
        _run(kind, FLAGS.seconds / 3)
        start, busy = time.time(), time.process_time()
        images = _run(kind, FLAGS.seconds) * FLAGS.batch_size
    except tf.errors.OpError as error:
        reason = error.message.split("\n")[0]
        raise ValueError(
            f"{FLAGS.pattern} cannot be measured: {reason}; tools/check_dataset.py "
            "finds broken records"
        ) from None
    return {
        "rate": images / (time.time() - start),
        "per_core_second": images / (time.process_time() - busy),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def _run(kind, seconds):
    """Prepares batches; returns how many."""
    session, operations = _session(kind)
    batches, end = 0, time.time() + seconds
    while time.time() < end:
        session.run(operations)
        batches += 1
    return batches


@functools.lru_cache(maxsize=None)
def _session(kind):
    """Returns a session, and the operations that prepare a batch."""
    with tf.Graph().as_default() as graph:
        if kind in _STAGES:
            dataset = _stage_dataset(_STAGES[kind])
        else:
            dataset = _DATASETS[kind]()
        iterator = tf.data.make_initializable_iterator(dataset)
        # Operations instead of tensors: nothing is copied out of TensorFlow.
        operations = [tensor.op for tensor in tf.nest.flatten(iterator.get_next())]
        session = tf.Session(graph=graph)
        session.run(iterator.initializer)
    return session, operations


def _decode_dataset():
    def decode(record):
        feature = {"image/encoded": tf.FixedLenFeature([], tf.string)}
        encoded = tf.parse_single_example(record, feature)["image/encoded"]
        return tf.size(tf.image.decode_jpeg(encoded, channels=3))

    sizes = _records().repeat().map(decode, tf.data.experimental.AUTOTUNE)
    return sizes.batch(FLAGS.batch_size).prefetch(2)


def _records():
    return tf.data.TFRecordDataset(record_files.find(FLAGS.pattern))


def _training_dataset():
    reader = dataset_parser.SSDInputReader(FLAGS.pattern, is_training=True)
    return reader({"batch_size": FLAGS.batch_size, "color_on": FLAGS.color_on})


def _evaluation_dataset():
    files = record_files.find(FLAGS.pattern) * _EVALUATION_READS
    reader = dataset_parser.SSDInputReader(FLAGS.pattern, is_training=False)
    with mock.patch.object(record_files, "find", lambda pattern: files):
        return reader({"batch_size": FLAGS.batch_size}).repeat()


_DATASETS = {
    "decode": _decode_dataset,
    "training": _training_dataset,
    "evaluation": _evaluation_dataset,
}


def _decode_window(example):
    return augmentation.decode_window(
        example["encoded"],
        example["height_width"],
        example["window"],
        tf.constant(False),
    )


_STAGES = {
    _NO_STAGE: lambda e: tf.zeros([]),
    "decoding the whole image": lambda e: augmentation.decode(e["encoded"]),
    "parsing and checking the record": lambda e: dataset_parser.parse_record(
        e["record"]
    ),
    "choosing a window": lambda e: augmentation.random_crop(
        e["boxes"], e["classes"], e["height_width"]
    ),
    "decoding the window, resizing": _decode_window,
    "changing colors": lambda e: color.adjust_color(e["image"], color.random_changes()),
    "targets": lambda e: anchors.encode_labels(e["boxes"], e["classes"]),
}


def _stage_dataset(stage):
    """Creates a dataset of a stage alone, on inputs that are kept in memory."""

    def prepare(record):
        example = dict(dataset_parser.parse_record(record), record=record)
        example["window"], _, _ = _STAGES["choosing a window"](example)
        return dict(example, image=_decode_window(example))

    def size(*result):
        return sum(tf.size(tensor) for tensor in tf.nest.flatten(result))

    inputs = _records().map(prepare).filter(lambda e: tf.size(e["classes"]) > 0)
    inputs = inputs.take(_STAGE_IMAGES).cache().repeat()
    return inputs.map(stage).map(size).batch(FLAGS.batch_size)


def _median(name, figures, divisors=None):
    """Returns the median of a figure, or of its ratios to others of the same round."""
    values = [own[name] for own in figures]
    if divisors:
        values = [value / other[name] for value, other in zip(values, divisors)]
    return statistics.median(values)


def _print_rates(figures, cores):
    decode = figures["decode", cores]
    print(f"decoding alone: {_median('rate', decode):.0f} images/s on {cores} cores")
    for name in ("training", "evaluation"):
        found = figures[name, cores]
        per_core = _median("per_core_second", found)
        print(
            f"{name}: {_median('rate', found):.0f} images/s, "
            f"ratio {_median('rate', found, decode):.2f}, "
            f"{per_core:.0f} images per core-second; "
            f"{WANTED_RATE} images/s need {WANTED_RATE / per_core:.1f} cores"
        )
    memory = figures["training", cores][-1]["memory"]
    print(f"peak memory of training at batch {FLAGS.batch_size}: {memory:.2f} GB")


def _print_scaling(name, one, two):
    print(
        f"{name} on 1 core: {_median('rate', one):.0f} images/s, "
        f"on 2: {_median('rate', two):.0f}, "
        f"{_median('rate', two, one):.2f} times as many"
    )


def _print_stages(figures):
    times = {s: 1e3 / _median("per_core_second", figures[s, 1]) for s in _STAGES}
    shared = times.pop(_NO_STAGE)
    print("each stage alone, on one core:")
    for name, value in times.items():
        print(f"  {name:34} {value - shared:6.3f} ms per image")


if __name__ == "__main__":
    app.run(main)
