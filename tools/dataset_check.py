# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks all records of some files on all cores, in the order of the files."""

import collections
import concurrent.futures
import os
import random

import coco_source
import contact_sheet
import dataset_statistics
import problems as kinds
import record_check
import record_files
from command_line import InputError

# Records in work or waiting for their turn, for each core.
_AHEAD = 4


def check(paths, label_map, json_path, report, num_samples, seed):
    """Checks files, record by record.

    Args:
      paths: list of str, TFRecord files.
      label_map: categories.LabelMap.
      json_path: str, COCO json of evaluation, or None.
      report: problems.Report; gets what is found.
      num_samples: int, how many records to keep for the contact sheet.
      seed: int, chooses them.

    Returns:
      (statistics, samples): dataset_statistics.Statistics, and a list of
      contact_sheet.Sample: records that training takes.

    Raises:
      InputError: when a file or the json cannot be read at all.
    """
    images = _Images(json_path, label_map, report)
    for line in record_files.missing_shards(paths):
        report.add(kinds.SHARDS, line)
    statistics = dataset_statistics.Statistics()
    chosen = _Reservoir(num_samples, seed, frozenset(label_map.names))
    checker = record_check.Checker(label_map)
    for place, serialized, facts in _checked(_records(paths, report), checker):
        image = f" (image {facts.id_text})" if facts.id_text else ""
        for problem in facts.problems:
            report.add(problem.kind, f"{place}{image} {problem.text}")
        images.add(place, facts)
        statistics.add(facts)
        chosen.add(place, serialized, facts)
    images.finish()
    return statistics, chosen.samples


def _records(paths, report):
    for path in paths:
        try:
            yield from record_files.read(path)
        except record_files.Cut as error:
            report.add(kinds.CUT, str(error))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error


def _checked(records, checker):
    """Yields (place, record, facts) in order; few records are held at a time."""
    workers = os.cpu_count() or 1
    waiting = collections.deque()
    # Threads do: nearly all the time goes into decoding, outside of Python.
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for place, serialized in records:
            future = pool.submit(checker.check, serialized)
            waiting.append((place, serialized, future))
            if len(waiting) > _AHEAD * workers:
                place, serialized, future = waiting.popleft()
                yield place, serialized, future.result()
        for place, serialized, future in waiting:
            yield place, serialized, future.result()


class _Images:
    """The images of --json, and which ids occur in the records."""

    def __init__(self, path, label_map, report):
        self._sizes = None
        self._places = {}
        self._report = report
        if not path:
            return
        dataset = coco_source.read_annotations(path, "json")
        try:
            self._sizes = {
                image["id"]: (image.get("width"), image.get("height"))
                for image in dataset["images"]
            }
            used = {annotation["category_id"] for annotation in dataset["annotations"]}
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(
                f"--json: an entry of {path} is wrong: {error!r}"
            ) from error
        for number in sorted(used - set(label_map.names)):
            report.add(kinds.CATEGORIES, f"{path}: category id {number}")

    def add(self, place, facts):
        """Compares one record with the json and with the ids before."""
        number = facts.image_id
        if number is None:
            return
        where = f"{place} (image {number})"
        first = self._places.setdefault(number, place)
        if first is not place:
            self._report.add(kinds.REPEATED, f"{where} has the id of {first}")
        if self._sizes is None:
            return
        if number not in self._sizes:
            self._report.add(kinds.NOT_IN_JSON, f"{where} is not in the json")
        elif facts.size is not None and None not in self._sizes[number]:
            said = self._sizes[number]
            for problem in record_check.compare_sizes(facts.size, said, "the json"):
                self._report.add(problem.kind, f"{where} {problem.text}")

    def finish(self):
        """Reports the images of the json that no record has."""
        for number in sorted(set(self._sizes or ()) - set(self._places), key=str):
            self._report.add(kinds.NO_RECORD, f"no record has image {number}")


class _Reservoir:
    """Keeps a random choice of the records that training takes."""

    def __init__(self, size, seed, known_ids):
        self._size, self._random = size, random.Random(seed)
        self._known_ids = known_ids
        self._seen = 0
        self.samples = []

    def add(self, place, serialized, facts):
        """Offers a record; it must be one that training takes, with a box."""
        has_box = not self._known_ids.isdisjoint(facts.labels.tolist())
        if not self._size or not facts.is_trained_on or not has_box:
            return
        self._seen += 1
        name = os.path.basename(place.path)
        title = f"image {facts.id_text}, {'{} x {}'.format(*facts.size)}"
        sample = contact_sheet.Sample(
            f"{title} ({name}, record {place.index})", serialized
        )
        if len(self.samples) < self._size:
            self.samples.append(sample)
        else:
            index = self._random.randrange(self._seen)
            if index < self._size:
                self.samples[index] = sample
