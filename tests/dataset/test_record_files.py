# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which files of a pattern are taken for TFRecord files, and counting records."""

import gzip
import os
import zlib

import pytest

import records
from dataset import record_files

RECORD = records.record(1, records.black_png(9), [[0, 0, 1, 1]], [1])


def write(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        records.write(folder / name, [RECORD])


def test_files_beside_the_shards_are_passed_over_and_named_once(tmp_path, caplog):
    shards = ["val-00000-of-00001", "val.tfrecord", "val2", "val[3]"]
    write(tmp_path, *shards)
    (tmp_path / "val").mkdir()
    content = (tmp_path / "val2").read_bytes()
    others = ["._val2", ".val2", "val2.crc", "val2.part", "val2.tmp", "val2~"]
    for name in others:
        (tmp_path / name).write_bytes(content)
    for name, data in (
        ("val.zip", b"PK\3\4\x14\0\0\0\x08\0" + bytes(5000)),
        ("val.json", b'{"images": []}' * 20),
        ("val.tar.gz", gzip.compress(b"val2017/1.jpg" + bytes(500))),
        ("val_notes.txt", b"short"),
    ):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "val-empty").touch()
    expected = [f"{tmp_path}/{name}" for name in sorted(shards + ["val-empty"])]
    for _ in range(2):
        assert record_files.find(f"{tmp_path}/val*") == expected
    assert caplog.messages == [
        f"{tmp_path}/val*: passed over 9 of 14 matches that cannot be TFRecord files: "
        "val, val.json, val.tar.gz, val.zip, val2.crc, ..."
    ]
    # Wildcards do not match hidden files, but other patterns do.
    assert record_files.find(f"{tmp_path}/[.v]*") == expected


@pytest.mark.parametrize(
    "name, pattern",
    [
        ("t-00001-of-00004", "t*"),
        ("t.tfrecord", "t*"),
        ("t.RECORD", "t*"),
        ("t.tmp", "t.tmp"),
    ],
)
def test_a_damaged_file_that_is_meant_stays(tmp_path, name, pattern):
    (tmp_path / name).write_bytes(b"this is not a TFRecord file" * 9)
    assert record_files.find(f"{tmp_path}/{pattern}") == [f"{tmp_path}/{name}"]


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("name", ["t-00000-of-00001", "t.tfrecord.gz", "t"])
def test_compressed_shards_are_refused_with_the_remedy(tmp_path, name, compress):
    write(tmp_path, "plain")
    write(tmp_path, "t2")
    (tmp_path / name).write_bytes(compress((tmp_path / "plain").read_bytes()))
    with pytest.raises(ValueError) as error:
        record_files.find(f"{tmp_path}/t*")
    assert str(error.value) == (
        f"{tmp_path}/{name} is compressed; store the records without compression: "
        "gunzip < COMPRESSED > NEW_FILE"
    )


def test_a_pattern_without_a_tfrecord_file_is_one_line(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train.zip").write_bytes(b"PK\3\4\x14\0\0\0\x08\0" + bytes(5000))
    (tmp_path / "gone.tfrecord").symlink_to(tmp_path / "nowhere")
    for pattern, message in (
        ("none*", "none* matches no TFRecord file"),
        ("train*", "2 of 2 matches that cannot be TFRecord files: train, train.zip"),
        ("gone.tfrecord", "gone.tfrecord cannot be read: "),
        ("obs://a/b*", "obs://a/b*: File system scheme"),
    ):
        if "://" not in pattern:
            pattern = f"{tmp_path}/{pattern}"
        with pytest.raises(ValueError) as error:
            record_files.find(pattern)
        assert message in str(error.value) and "\n" not in str(error.value)


def test_records_are_counted_by_their_lengths(tmp_path):
    counts = {"a": 3, "empty": 0, "c": 5}
    for name, count in counts.items():
        records.write(tmp_path / name, [b"x" * 90 * i for i in range(count)])
    files = [str(tmp_path / name) for name in counts]
    assert record_files.count_records(files) == 8
    # Cut off within its last record, and not there at all.
    content = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(content[:-1])
    assert record_files.count_records(files + [str(tmp_path / "none")]) == 7


def test_missing_shards_are_named(tmp_path, caplog):
    write(tmp_path, "train-00000-of-00003.tfrecord", "train-00001-of-00003.tfrecord")
    os.mkfifo(str(tmp_path / "train.fifo"))
    assert len(record_files.find(f"{tmp_path}/train-*")) == 2
    assert caplog.messages == [
        f"1 of 3 files {tmp_path}/train-*.tfrecord are missing, number 2 first"
    ]
    # Opening a pipe would wait for a writer.
    assert len(record_files.find(f"{tmp_path}/train*")) == 2
