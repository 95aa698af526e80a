# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures how many images a second this host can feed.

  python3 benchmarks/input_pipeline.py --pattern='tfrecord/train2017*' [--stages]

Takes about two minutes. Prints the rate of decoding the JPEGs of these records alone
(tf.image.decode_jpeg), the rates of the training and the evaluation pipeline and their
ratios to it, images a core-second of processor time, the cores that 4474 images/s
need, peak memory, and the rates of training on one and on two cores. --stages adds what
each stage costs alone, and what it costs to look for broken records.

Other loads can only slow a run down, so runs alternate and the fastest of each kind
counts. Each line is measured in a process of its own, pinned to as many cores as it
says; few records are read over and over, from the page cache.
"""

import json
import os
import resource
import subprocess
import sys
import time
from unittest import mock

import tensorflow.compat.v1 as tf
from absl import app, flags

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import anchors  # noqa: E402
import augmentation  # noqa: E402
import bad_records  # noqa: E402
import categories  # noqa: E402
import dataset_parser  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_string("pattern", None, "Glob of TFRecord files.", required=True)
flags.DEFINE_boolean("stages", False, "Also measure the cost of each stage.")
flags.DEFINE_integer("batch_size", 32, "Images a batch.", lower_bound=1)
flags.DEFINE_integer("rounds", 4, "Runs of each kind.", lower_bound=1)
flags.DEFINE_float("seconds", 3.0, "Length of a run.", lower_bound=0.1)
flags.DEFINE_list("kinds", None, "Only print JSON of these; used by this program.")
flags.DEFINE_integer("cores", 0, "Use so many cores; 0: all.", lower_bound=0)

# What eight Ascend 910 train on, in the published log.
WANTED_RATE = 4474
# Evaluation reads its files once: a small set is listed so often that a run lasts.
_EVALUATION_READS = 200
_STAGE_IMAGES = 64
_AUTOTUNE = tf.data.experimental.AUTOTUNE


def main(_):
    """Prints the figures, or as a child process measures some."""
    if FLAGS.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: FLAGS.cores])
    if FLAGS.kinds:
        print(json.dumps(measure(FLAGS.kinds)))
        return
    if not tf.gfile.Glob(FLAGS.pattern):
        sys.exit(f"input_pipeline.py: --pattern={FLAGS.pattern}: no file matches")
    cores = len(os.sched_getaffinity(0))
    _print_rates(_child(["decode", "training", "evaluation"], cores), cores)
    _print_memory(_child(["training"], cores)["training"])
    if cores > 1:
        _print_scaling()
    if FLAGS.stages:
        _print_stages(_child(["stages"], 1)["stages"])
        _print_check(_child(["training", "unchecked"], 1))


def _child(kinds, cores):
    """What `measure` gives in a process of its own."""
    command = [sys.executable, os.path.abspath(__file__)] + sys.argv[1:]
    command += ["--kinds=" + ",".join(kinds), f"--cores={cores}"]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(
            f"input_pipeline.py: --pattern={FLAGS.pattern} cannot be measured; "
            "tools/check_dataset.py finds broken records"
        )
    return json.loads(done.stdout.decode().splitlines()[-1])


def _print_rates(figures, cores):
    decode = figures["decode"]
    print(f"decoding alone: {decode['rate']:.0f} images/s on {cores} cores")
    for kind in ("training", "evaluation"):
        rate = figures[kind]["rate"]
        per_core = figures[kind]["per_core_second"]
        print(
            f"{kind}: {rate:.0f} images/s, ratio {rate / decode['rate']:.2f}, "
            f"{per_core:.0f} images per core-second; "
            f"{WANTED_RATE} images/s need {WANTED_RATE / per_core:.1f} cores",
            flush=True,
        )


def _print_memory(figures):
    first, last = figures["memory"][0], figures["memory"][-1]
    print(
        f"peak memory of training at batch {FLAGS.batch_size}: {last:.2f} GB, "
        f"{first:.2f} GB of it after the first of {FLAGS.rounds} runs",
        flush=True,
    )


def _print_scaling():
    """One core and two, in turns."""
    rates = {1: 0.0, 2: 0.0}
    for _ in range(2):
        for cores in rates:
            rate = _child(["training"], cores)["training"]["rate"]
            rates[cores] = max(rates[cores], rate)
    print(
        f"training on 1 core: {rates[1]:.0f} images/s, on 2: {rates[2]:.0f}, "
        f"{rates[2] / rates[1]:.2f} times as many",
        flush=True,
    )


def _print_stages(milliseconds):
    print("each stage alone, on one core:")
    for name, value in milliseconds.items():
        print(f"  {name:34} {value:6.3f} ms an image")


def _print_check(figures):
    milliseconds = {k: 1e3 / v["per_core_second"] for k, v in figures.items()}
    checked, unchecked = milliseconds["training"], milliseconds["unchecked"]
    print(
        f"looking for broken records: {checked - unchecked:.3f} of {checked:.3f} ms an "
        f"image, {100 * (checked / unchecked - 1):.1f} % more"
    )


def measure(kinds):
    """Measures pipelines by turns.

    Args:
      kinds: list of "decode", "training", "evaluation", "unchecked"; or ["stages"].

    Returns:
      dict by kind: "rate", images/s of the fastest run; "per_core_second", images for
      a second of processor time, the best run; "memory", list of the process's peak
      memory after each run, GB. "stages": milliseconds of processor time by stage.
    """
    if kinds == ["stages"]:
        return {"stages": measure_stages()}
    runs = {kind: _Run(_DATASETS[kind]) for kind in kinds}
    found = {kind: [] for kind in kinds}
    for _ in range(FLAGS.rounds):
        for kind in kinds:
            found[kind].append(runs[kind].measure(FLAGS.seconds) + (_peak_memory(),))
    return {
        kind: dict(
            rate=max(rate for rate, _, _ in figures),
            per_core_second=max(per_core for _, per_core, _ in figures),
            memory=[memory for _, _, memory in figures],
        )
        for kind, figures in found.items()
    }


def _peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


class _Run:
    """A dataset of batches, with a session to run it in."""

    def __init__(self, make_dataset):
        with tf.Graph().as_default() as graph:
            iterator = tf.data.make_initializable_iterator(make_dataset())
            # Nothing is copied out of TensorFlow.
            self._ops = [tensor.op for tensor in tf.nest.flatten(iterator.get_next())]
        self._session = tf.Session(graph=graph)
        self._start = iterator.initializer
        self._session.run(self._start)

    def measure(self, seconds):
        """(images/s, images per core-second) over some seconds."""
        # What the pipeline has in stock was made before.
        self._run(seconds / 3)
        start, busy = time.time(), time.process_time()
        images = self._run(seconds) * FLAGS.batch_size
        return (
            images / (time.time() - start),
            images / (time.process_time() - busy),
        )

    def _run(self, seconds):
        batches, end = 0, time.time() + seconds
        while time.time() < end:
            try:
                self._session.run(self._ops)
                batches += 1
            except tf.errors.OutOfRangeError:
                self._session.run(self._start)
        return batches


def _decode_dataset():
    records = (
        _records().repeat().map(lambda record: tf.size(_decode(record)), _AUTOTUNE)
    )
    return records.batch(FLAGS.batch_size).prefetch(2)


def _records():
    files = sorted(tf.gfile.Glob(FLAGS.pattern))
    return tf.data.TFRecordDataset(files)


def _decode(record):
    feature = {"image/encoded": tf.FixedLenFeature([], tf.string)}
    encoded = tf.parse_single_example(record, feature)["image/encoded"]
    return tf.image.decode_jpeg(encoded, channels=3)


def _training_dataset():
    reader = dataset_parser.SSDInputReader(FLAGS.pattern, is_training=True)
    return reader({"batch_size": FLAGS.batch_size})


def _unchecked_dataset():
    """Training without whatever finds, counts and leaves out broken records."""
    files = tf.data.Dataset.from_tensor_slices(sorted(tf.gfile.Glob(FLAGS.pattern)))
    dataset = files.shuffle(dataset_parser.FILES_READ_TOGETHER).interleave(
        *(tf.data.TFRecordDataset, dataset_parser.FILES_READ_TOGETHER),
        num_parallel_calls=_AUTOTUNE,
    )
    dataset = dataset.shuffle(dataset_parser.SHUFFLE_RECORDS).repeat()
    unchecked = mock.patch.multiple(
        bad_records,
        check_boxes=lambda boxes, num_labels: boxes,
        check_id=lambda text: text,
    )
    with unchecked:
        dataset = dataset.map(
            lambda record: dataset_parser.training_example(record, categories.COCO),
            dataset_parser.num_cores(),
        )
    dataset = dataset.filter(lambda has_boxes, example: has_boxes)
    dataset = dataset.batch(FLAGS.batch_size, drop_remainder=True)
    dataset = dataset.map(lambda has_boxes, example: example)
    return dataset.prefetch(dataset_parser.BATCHES_IN_STOCK)


def _evaluation_dataset():
    pattern = [FLAGS.pattern] * _EVALUATION_READS
    reader = dataset_parser.SSDInputReader(pattern, is_training=False)
    return reader({"batch_size": FLAGS.batch_size})


_DATASETS = {
    "decode": _decode_dataset,
    "training": _training_dataset,
    "evaluation": _evaluation_dataset,
    "unchecked": _unchecked_dataset,
}


def measure_stages():
    """Measures each stage of training alone, on inputs kept in memory.

    Returns:
      dict of str, the stage, to milliseconds of processor time an image.
    """
    stages = {
        "decoding the whole image": lambda e: tf.image.decode_jpeg(e["encoded"]),
        "reading features": lambda e: dataset_parser.parse_record(e["record"]),
        "choosing a window": lambda e: augmentation.random_crop(
            e["boxes"], e["classes"], tf.constant([480, 640])
        ),
        "decoding the window, resizing": _decode_window,
        "changing colors": lambda e: augmentation.distort_color(e["image"]),
        "targets": lambda e: anchors.encode_labels(e["boxes"], e["classes"]),
    }
    idle = lambda e: tf.zeros([])  # noqa: E731
    runs = {name: _Run(_stage_dataset(stage)) for name, stage in stages.items()}
    runs[None] = _Run(_stage_dataset(idle))
    best = dict.fromkeys(runs, 0.0)
    for _ in range(FLAGS.rounds):
        for name, run in runs.items():
            best[name] = max(best[name], run.measure(FLAGS.seconds / 3)[1])
    idle_time = 1e3 / best.pop(None)
    return {name: 1e3 / rate - idle_time for name, rate in best.items()}


def _stage_dataset(stage):
    """Function that makes a dataset of nothing but a stage."""

    def make():
        inputs = _records().map(_stage_inputs)
        inputs = inputs.filter(lambda e: tf.size(e["classes"]) > 0)
        inputs = inputs.take(_STAGE_IMAGES).cache().repeat()
        return inputs.map(stage).map(_size).batch(FLAGS.batch_size)

    return make


def _stage_inputs(record):
    example = dataset_parser.parse_record(record)
    shape = augmentation.open_image(example["encoded"]).height_width
    window, _, _ = augmentation.random_crop(example["boxes"], example["classes"], shape)
    example.update(record=record, window=window)
    return dict(example, image=_decode_window(example))


def _decode_window(example):
    image = augmentation.open_image(example["encoded"])
    return augmentation.decode_window(image, example["window"], tf.constant(False))


def _size(*result):
    return sum(tf.size(tensor) for tensor in tf.nest.flatten(result))


if __name__ == "__main__":
    tf.disable_eager_execution()
    tf.logging.set_verbosity(tf.logging.ERROR)
    app.run(main)
