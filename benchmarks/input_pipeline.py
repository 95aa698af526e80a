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
  with --stages the cost of each stage alone, and the cost of checking the records.

Each kind is measured in a process of its own, pinned to as many cores as its line says;
all stages share one process. The processes take turns, because the speed of a machine
changes within minutes. Rates are medians over all rounds, and a ratio is the median of
the ratios within each round. The same records are read repeatedly from the page cache.
"""

import contextlib
import json
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
from dataset import augmentation, color, record_files, record_rules

FLAGS = flags.FLAGS
flags.DEFINE_string("pattern", None, "Glob of TFRecord files.", required=True)
flags.DEFINE_boolean("stages", False, "Also measure the cost of each stage.")
flags.DEFINE_enum(
    "color_on", "host", ["host", "device"], "As --color_on of ssd_main.py."
)
flags.DEFINE_integer("batch_size", 32, "Images per batch.", lower_bound=1)
flags.DEFINE_integer("rounds", 6, "Runs of each kind.", lower_bound=1)
flags.DEFINE_float("seconds", 3.0, "Length of a run.", lower_bound=0.1)
flags.DEFINE_string("kind", None, "Print JSON of this kind only; used internally.")
flags.DEFINE_integer("cores", 0, "Number of cores to use; 0 for all.", lower_bound=0)

# Images/s of eight Ascend 910 in the published log.
WANTED_RATE = 4474
# Evaluation reads its files once, so they are listed this often to fill a run.
_EVALUATION_READS = 200
_STAGE_IMAGES = 64
# With the environment variables that env.sh sets for training.
_AS_LAUNCHED = 'source "$0/env.sh" && exec "${PYTHON}" "$@"'
_AUTOTUNE = tf.data.experimental.AUTOTUNE


def main(_):
    """Prints the figures; a child process measures one kind instead."""
    if FLAGS.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: FLAGS.cores])
    if FLAGS.kind:
        _answer(FLAGS.kind)
        return
    try:
        record_files.find(FLAGS.pattern)
    except ValueError as error:
        sys.exit(f"input_pipeline.py: --pattern: {error}")
    cores = len(os.sched_getaffinity(0))
    kinds = [(kind, cores) for kind in ("decode", "evaluation", "training")]
    kinds += [("training", 1), ("training", min(2, cores))]
    kinds += [("decode", 1), ("decode", min(2, cores))]
    if FLAGS.stages:
        kinds += [("checked", 1), ("unchecked", 1)]
    answers = _ask_in_turns(kinds)
    _print_rates(answers, cores)
    if cores > 1:
        for kind, name in (("training", "training"), ("decode", "decoding alone")):
            _print_scaling(name, answers[kind, 1], answers[kind, 2])
    if FLAGS.stages:
        with _Child("stages", 1) as child:
            _print_stages(child.ask())
        _print_check(*(answers[k, 1] for k in ("training", "checked", "unchecked")))


class _Child:
    """A process that is pinned to some cores and measures when asked."""

    def __init__(self, kind, cores):
        command = ["bash", "-c", _AS_LAUNCHED, ROOT, os.path.abspath(__file__)]
        command += sys.argv[1:] + [f"--kind={kind}", f"--cores={cores}"]
        self._process = subprocess.Popen(
            command,
            env=dict(os.environ, PYTHON=sys.executable),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._process.kill()
        self._process.communicate()

    def ask(self):
        """Returns one answer, see `_answer`."""
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(
                f"input_pipeline.py: --pattern={FLAGS.pattern} cannot be measured; "
                "tools/check_dataset.py finds broken records"
            )
        return json.loads(answer.decode())


def _answer(kind):
    """Measures once for every line of the standard input.

    Prints a line of JSON each time: the result of `_Run.measure` or `measure_stages`.
    """
    if kind == "stages":
        measure = measure_stages
    else:
        run = _Run(_DATASETS[kind])
        measure = lambda: run.measure(FLAGS.seconds)  # noqa: E731
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)


def _ask_in_turns(kinds):
    """Measures several kinds, each in its process, while the others idle.

    Args:
      kinds: list of (kind, cores), in which repeated entries count once.

    Returns:
      dict from (kind, cores) to the list of the answers of all rounds.
    """
    with contextlib.ExitStack() as stack:
        children = {
            kind: stack.enter_context(_Child(*kind)) for kind in dict.fromkeys(kinds)
        }
        for child in children.values():
            # From now on all have started.
            child.ask()
        answers = {kind: [] for kind in children}
        for _ in range(FLAGS.rounds):
            for kind, child in children.items():
                answers[kind].append(child.ask())
    return answers


def _median(name, answers, divisors=None):
    """Returns the median of a figure, or of its ratios to others of the same round."""
    values = [answer[name] for answer in answers]
    if divisors:
        values = [value / other[name] for value, other in zip(values, divisors)]
    return statistics.median(values)


def _print_rates(answers, cores):
    decode, training = answers["decode", cores], answers["training", cores]
    print(f"decoding alone: {_median('rate', decode):.0f} images/s on {cores} cores")
    for name in ("training", "evaluation"):
        found = answers[name, cores]
        per_core = _median("per_core_second", found)
        print(
            f"{name}: {_median('rate', found):.0f} images/s, "
            f"ratio {_median('rate', found, decode):.2f}, "
            f"{per_core:.0f} images per core-second; "
            f"{WANTED_RATE} images/s need {WANTED_RATE / per_core:.1f} cores"
        )
    before = training[(len(training) - 1) // 2]["memory"]
    print(
        f"peak memory of training at batch {FLAGS.batch_size}: "
        f"{training[-1]['memory']:.2f} GB, after half of the runs {before:.2f} GB",
        flush=True,
    )


def _print_scaling(name, one, two):
    print(
        f"{name} on 1 core: {_median('rate', one):.0f} images/s, "
        f"on 2: {_median('rate', two):.0f}, "
        f"{_median('rate', two, one):.2f} times as many",
        flush=True,
    )


def _print_stages(milliseconds):
    print("each stage alone, on one core:")
    for name, value in milliseconds.items():
        print(f"  {name:34} {value:6.3f} ms per image")


def _print_check(training, checked, unchecked):
    whole, checked, unchecked = (
        1e3 / _median("per_core_second", answers)
        for answers in (training, checked, unchecked)
    )
    cost = checked - unchecked
    print(
        f"checking the records: {cost:.3f} of {whole:.3f} ms per image, "
        f"{100 * cost / (whole - cost):.1f} % more"
    )


def _peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


class _Run:
    """A dataset of batches, and a session that runs it."""

    def __init__(self, make_dataset):
        with tf.Graph().as_default() as graph:
            iterator = tf.data.make_initializable_iterator(make_dataset())
            # Operations instead of tensors: nothing is copied out of TensorFlow.
            self._ops = [tensor.op for tensor in tf.nest.flatten(iterator.get_next())]
        self._session = tf.Session(graph=graph)
        self._start = iterator.initializer
        self._session.run(self._start)

    def measure(self, seconds):
        """Draws batches for some seconds.

        Returns:
          dict of "rate", images/s, "per_core_second", images per second of processor
          time, and "memory", the peak of the process so far, in GB.
        """
        # The first batches were prefetched before.
        self._run(seconds / 3)
        start, busy = time.time(), time.process_time()
        images = self._run(seconds) * FLAGS.batch_size
        return {
            "rate": images / (time.time() - start),
            "per_core_second": images / (time.process_time() - busy),
            "memory": _peak_memory(),
        }

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
    return tf.data.TFRecordDataset(record_files.find(FLAGS.pattern))


def _decode(record):
    feature = {"image/encoded": tf.FixedLenFeature([], tf.string)}
    encoded = tf.parse_single_example(record, feature)["image/encoded"]
    return tf.image.decode_jpeg(encoded, channels=3)


def _training_dataset():
    reader = dataset_parser.SSDInputReader(FLAGS.pattern, is_training=True)
    return reader({"batch_size": FLAGS.batch_size, "color_on": FLAGS.color_on})


def _parsed_only(example, color_on="host", zoom_out=0.0):
    """Replaces training_example, whose time varies more than a check takes."""
    del color_on, zoom_out
    return tf.size(example["boxes"])


@mock.patch.object(dataset_parser, "training_example", _parsed_only)
def _checked_dataset():
    """Training up to the parsed records."""
    return _training_dataset()


def _unchecked_dataset():
    """The same with TensorFlow's parser, which does not look for broken records."""
    files = tf.data.Dataset.from_tensor_slices(record_files.find(FLAGS.pattern))
    together = record_files.FILES_READ_TOGETHER
    dataset = files.shuffle(together).interleave(
        tf.data.TFRecordDataset, together, num_parallel_calls=_AUTOTUNE
    )
    features = {
        name: tf.VarLenFeature(tf.float32) for name in record_rules.BOX_FEATURES
    }
    features[record_rules.LABEL_FEATURE] = tf.VarLenFeature(tf.int64)
    features[record_rules.IMAGE_FEATURE] = tf.FixedLenFeature([], tf.string)

    def parse(record):
        parsed = tf.parse_single_example(record, features)
        sides = [parsed[name].values for name in record_rules.BOX_FEATURES]
        example = {"boxes": tf.stack(sides, axis=1)}
        example["encoded"] = parsed[record_rules.IMAGE_FEATURE]
        return example

    dataset = dataset.map(parse).filter(lambda example: tf.size(example["boxes"]) > 0)
    dataset = dataset.shuffle(dataset_parser.SHUFFLED_EXAMPLES).repeat()
    dataset = dataset.map(_parsed_only, dataset_parser.num_cores())
    dataset = dataset.batch(FLAGS.batch_size, drop_remainder=True)
    return dataset.prefetch(dataset_parser.PREFETCHED_BATCHES)


def _evaluation_dataset():
    files = record_files.find(FLAGS.pattern) * _EVALUATION_READS
    reader = dataset_parser.SSDInputReader(FLAGS.pattern, is_training=False)
    with mock.patch.object(record_files, "find", lambda pattern: files):
        return reader({"batch_size": FLAGS.batch_size})


_DATASETS = {
    "decode": _decode_dataset,
    "training": _training_dataset,
    "evaluation": _evaluation_dataset,
    "checked": _checked_dataset,
    "unchecked": _unchecked_dataset,
}


def measure_stages():
    """Measures each stage of training alone, on inputs that are kept in memory.

    Returns:
      dict from stage, str, to milliseconds of processor time per image.
    """
    stages = {
        "decoding the whole image": lambda e: tf.image.decode_jpeg(e["encoded"]),
        "parsing and checking the record": lambda e: dataset_parser.parse_record(
            e["record"]
        ),
        "choosing a window": lambda e: augmentation.random_crop(
            e["boxes"], e["classes"], e["height_width"]
        ),
        "decoding the window, resizing": _decode_window,
        "changing colors": lambda e: color.adjust_color(
            e["image"], color.random_changes()
        ),
        "targets": lambda e: anchors.encode_labels(e["boxes"], e["classes"]),
    }
    idle = lambda e: tf.zeros([])  # noqa: E731
    runs = {name: _Run(_stage_dataset(stage)) for name, stage in stages.items()}
    runs[None] = _Run(_stage_dataset(idle))
    best = dict.fromkeys(runs, 0.0)
    for _ in range(FLAGS.rounds):
        for name, run in runs.items():
            figures = run.measure(FLAGS.seconds / 3)
            best[name] = max(best[name], figures["per_core_second"])
    idle_time = 1e3 / best.pop(None)
    return {name: 1e3 / rate - idle_time for name, rate in best.items()}


def _stage_dataset(stage):
    """Returns a function that creates a dataset of only this stage."""

    def make():
        inputs = _records().map(_stage_inputs)
        inputs = inputs.filter(lambda e: tf.size(e["classes"]) > 0)
        inputs = inputs.take(_STAGE_IMAGES).cache().repeat()
        return inputs.map(stage).map(_size).batch(FLAGS.batch_size)

    return make


def _stage_inputs(record):
    example = dataset_parser.parse_record(record)
    window, _, _ = augmentation.random_crop(
        example["boxes"], example["classes"], example["height_width"]
    )
    example.update(record=record, window=window)
    return dict(example, image=_decode_window(example))


def _decode_window(example):
    return augmentation.decode_window(
        example["encoded"],
        example["height_width"],
        example["window"],
        tf.constant(False),
    )


def _size(*result):
    return sum(tf.size(tensor) for tensor in tf.nest.flatten(result))


if __name__ == "__main__":
    tf.disable_eager_execution()
    tf.logging.set_verbosity(tf.logging.ERROR)
    app.run(main)
