# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The converter: what goes into the shards, what is left out, what stops it."""

import contextlib
import glob
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import records
from console.errors import UserError
from conversion import coco_json, shards

# A library of TensorFlow's.
TENSORFLOW = "_pywrap_tensorflow_internal"

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, "tools", "create_tf_record.py")


@pytest.fixture
def dataset(tmp_path):
    """Five images of 30 x 50 with good and odd boxes: (dict, folder)."""
    image_dir = tmp_path / "images"
    image_dir.mkdir()
    pixels = np.full([30, 50, 3], 90, np.uint8)
    for i in range(1, 6):
        kind = "png" if i == 2 else "jpeg"
        (image_dir / f"{i}.jpg").write_bytes(records.encode_image(pixels, kind))
    boxes = [
        (1, 18, [5, 6, 20, 12]),  # ends within the image
        (1, 18, [-10, 6, 20, 12]),  # clipped on the left
        (2, 44, [40, 20, 10.01, 10.01]),  # COCO's rounding: not counted as clipped
        (2, 44, [10, 10, 0, 5]),  # no width
        (3, 44, [60, 10, 5, 5]),  # outside
        (3, 44, [10, 10, float("nan"), 5]),
        (3, 99, [10, 10, 5, 5]),  # no such category
        (77, 18, [10, 10, 5, 5]),  # no such image
        (4, 18, [0, 0, 50, 30]),
    ]
    annotations = [
        {"image_id": i, "category_id": c, "bbox": box, "area": 7.5, "iscrowd": i == 4}
        for i, c, box in boxes
    ]
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": 30, "width": 50}
            for i in (3, 1, 2, 5, 4)
        ],
        "annotations": annotations,
        "categories": [{"id": 18, "name": "dog"}, {"id": 44, "name": "bottle"}],
    }
    return content, image_dir


def command(tmp_path, content, image_dir, *flags):
    path = tmp_path / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return [
        sys.executable,
        TOOL,
        f"--annotations={path}",
        f"--image_dir={image_dir}",
        f"--output_prefix={tmp_path / 'out' / 'train2017'}",
        "--num_shards=2",
        "--workers=1",
    ] + list(flags)


def run(tmp_path, content, image_dir, *flags, **options):
    return subprocess.run(
        command(tmp_path, content, image_dir, *flags),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=100,
        **options,
    )


def features_of(path):
    examples = {}
    for line in tf.python_io.tf_record_iterator(str(path)):
        feature = tf.train.Example.FromString(line).features.feature
        values = {}
        for name in feature:
            kind = feature[name].WhichOneof("kind")
            values[name] = list(getattr(feature[name], kind).value) if kind else []
        examples[values["image/source_id"][0]] = values
    return examples


def test_shards_hold_every_image_and_the_counts_tell_what_was_left_out(
    tmp_path, dataset
):
    content, image_dir = dataset
    result = run(tmp_path, content, image_dir)
    assert result.returncode == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0].endswith("5 images, 4 boxes, 1 of them crowd")
    assert lines[1:] == [
        "2 images without a box (evaluated, not trained on)",
        "1 boxes clipped to their image",
        "1 images converted to JPEG (of 16 bits the upper 8; transparency is dropped)",
        "left out: 3 boxes of no size or outside their image",
        "left out: 1 boxes of an image that the json does not list",
        "left out: 1 boxes of a category that is not listed",
    ]
    names = sorted(os.listdir(str(tmp_path / "out")))
    assert names == [f"train2017-0000{i}-of-00002.tfrecord" for i in range(2)]
    # In the order of the ids, dealt out in turn.
    assert list(features_of(tmp_path / "out" / names[0])) == [b"1", b"3", b"5"]
    assert list(features_of(tmp_path / "out" / names[1])) == [b"2", b"4"]


def test_features_are_those_of_the_usual_converters(tmp_path, dataset):
    content, image_dir = dataset
    run(tmp_path, content, image_dir)
    first = features_of(tmp_path / "out" / "train2017-00000-of-00002.tfrecord")[b"1"]
    assert first["image/encoded"] == [(image_dir / "1.jpg").read_bytes()]
    assert first["image/format"] == [b"jpeg"]
    assert first["image/filename"] == [b"1.jpg"]
    assert (first["image/height"], first["image/width"]) == ([30], [50])
    boxes = [first["image/object/bbox/" + n] for n in ("ymin", "xmin", "ymax", "xmax")]
    expected = [[6 / 30, 5 / 50, 18 / 30, 25 / 50], [6 / 30, 0, 18 / 30, 10 / 50]]
    np.testing.assert_allclose(np.transpose(boxes), expected, rtol=1e-6)
    assert first["image/object/class/label"] == [18, 18]
    assert first["image/object/class/text"] == [b"dog", b"dog"]
    assert first["image/object/area"] == [7.5, 7.5]
    second = features_of(tmp_path / "out" / "train2017-00001-of-00002.tfrecord")
    # Of a PNG.
    assert second[b"2"]["image/format"] == [b"jpeg"]
    assert second[b"2"]["image/encoded"][0].startswith(b"\xff\xd8")
    assert second[b"4"]["image/object/is_crowd"] == [1]


def test_the_number_of_workers_does_not_change_a_byte(tmp_path, dataset):
    content, image_dir = dataset
    paths = shards.shard_paths(str(tmp_path / "out" / "train2017"), 2)
    contents = []
    for workers in (1, 2):
        run(tmp_path, content, image_dir, f"--workers={workers}")
        contents.append([open(path, "rb").read() for path in paths])
    assert contents[0] == contents[1]


def test_max_images_takes_the_first_by_id(tmp_path, dataset):
    content, image_dir = dataset
    result = run(tmp_path, content, image_dir, "--max_images=2")
    assert "2 images, 3 boxes" in result.stdout


def without_image(content, image_dir):
    (image_dir / "2.jpg").unlink()


def with_text_as_image(content, image_dir):
    (image_dir / "2.jpg").write_text("no picture")


def with_escape(content, image_dir):
    content["images"][0]["file_name"] = "../../etc/passwd"


def without_width(content, image_dir):
    del content["images"][0]["width"]


def with_width_zero(content, image_dir):
    content["images"][0]["width"] = 0


def with_same_id(content, image_dir):
    content["images"][0]["id"] = 1


def with_two_numbers_as_box(content, image_dir):
    content["annotations"][0]["bbox"] = [1, 2]


def without_box(content, image_dir):
    del content["annotations"][0]["bbox"]


def with_iscrowd_of_80_bits(content, image_dir):
    content["annotations"][0]["iscrowd"] = 2**80


def with_category_beyond_all(content, image_dir):
    content["categories"][0]["id"] = 2**64


def with_text_as_category(content, image_dir):
    content["categories"][0]["id"] = "18"


def with_same_category(content, image_dir):
    content["categories"][0]["id"] = 44


def with_nothing_as_image(content, image_dir):
    content["images"][0] = None


def with_folder_as_shard(content, image_dir):
    folder = image_dir.parent / "out" / "train2017-00001-of-00002.tfrecord"
    (folder / "x").mkdir(parents=True)


def without_categories(content, image_dir):
    del content["categories"]


def with_text_as_category_id(content, image_dir):
    content["annotations"][0]["category_id"] = "18"


def with_text_as_image_id(content, image_dir):
    content["annotations"][0]["image_id"] = "1"


def without_folder(content, image_dir):
    shutil.rmtree(str(image_dir))


def without_any_image(content, image_dir):
    content["images"] = []


@pytest.mark.parametrize(
    "spoil, message",
    [
        (without_image, "2.jpg, image 2, is missing; put it there or take it out"),
        (with_text_as_image, "2.jpg is no image that Pillow opens"),
        (with_escape, "file name ../../etc/passwd leaves"),
        (without_width, "image 3 has width and height (None, 30)"),
        (with_width_zero, "image 3 has width and height (0, 30)"),
        (with_same_id, "an image id occurs twice"),
        (with_two_numbers_as_box, "is wrong: ValueError"),
        (without_box, "is wrong: it has no bbox"),
        (with_iscrowd_of_80_bits, "iscrowd 1208925819614629174706176 is neither 0"),
        (with_category_beyond_all, "category id 18446744073709551616 is not within"),
        (with_text_as_category, "'id': '18', 'name': 'dog'} needs a whole id and a"),
        (with_text_as_category_id, "has the category_id '18', which is no number"),
        (with_text_as_image_id, "has the image_id '1', which is no number"),
        (without_folder, "images: no such folder"),
        (with_same_category, "category id 44 occurs twice"),
        (with_nothing_as_image, "image id None must be a whole number"),
        (with_folder_as_shard, "00001-of-00002.tfrecord is a folder; move it away"),
        (without_any_image, "its list of images is empty"),
        (without_categories, "is no COCO instances json: no list of categories"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_shard(tmp_path, dataset, spoil, message):
    content, image_dir = dataset
    spoil(content, image_dir)
    result = run(tmp_path, content, image_dir)
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith("create_tf_record.py: ") and message in line
    assert "Traceback" not in result.stderr
    assert files_of(tmp_path / "out") == {}


def test_all_images_that_cannot_be_used_are_told_at_once(tmp_path, dataset):
    content, image_dir = dataset
    many_times(content, 60)
    for number, name in ((7, "cut.jpg"), (8, "text.jpg"), (50, "empty.jpg")):
        content["images"][number]["file_name"] = name
    whole = (image_dir / "1.jpg").read_bytes()
    (image_dir / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (image_dir / "text.jpg").write_text("no picture")
    (image_dir / "empty.jpg").write_bytes(b"")
    result = run(tmp_path, content, image_dir)
    assert result.returncode == 2
    assert sorted(told_images(result)) == ["cut", "empty", "text"]
    assert "cut.jpg is cut off" in result.stderr.splitlines()[-1]
    assert "(and 2 more, see above)" in result.stderr.splitlines()[-1]
    assert files_of(tmp_path / "out") == {}


def told_images(result):
    return re.findall(r"^\S*/(\w+)\.jpg (?:is|has)", result.stderr, re.MULTILINE)


def test_missing_images_are_told_and_counted(tmp_path, dataset):
    content, image_dir = dataset
    many_times(content, 60)
    for image in content["images"]:
        image["file_name"] = "no\nsuch 1.jpg"
    result = run(tmp_path, content, image_dir)
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 20 and all("1.jpg, image " in line for line in lines)
    assert "(and 59 more, the first 19 of them above)" in lines[-1]


@pytest.mark.parametrize("num_shards", [1, 30])
def test_very_many_images_that_cannot_be_used_end_a_run_early(
    tmp_path, dataset, num_shards
):
    content, image_dir = dataset
    many_times(content, 60)
    (image_dir / "1.jpg").write_text("no picture")
    arguments = [f"--num_shards={num_shards}", "--workers=1"]
    result = run(tmp_path, content, image_dir, *arguments)
    assert result.returncode == 2
    assert told_images(result) == ["1"] * 20
    assert "(and 19 more, see above)" in result.stderr.splitlines()[-1]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    entry = shards.Entry(str(tmp_path / "gone.jpg"), "gone.jpg", 1, (50, 30), ())
    with pytest.raises(UserError, match="gone.jpg cannot be read: No such file"):
        shards.serialize(entry)


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


def many_times(content, count):
    """One image without boxes, so often that a shard takes a while to write."""
    image = {"file_name": "1.jpg", "height": 30, "width": 50}
    content["images"] = [dict(image, id=i) for i in range(count)]
    content["annotations"] = []


def test_a_failed_run_leaves_the_shards_of_the_one_before(tmp_path, dataset):
    content, image_dir = dataset
    (tmp_path / "out").mkdir()
    for path in shards.shard_paths(str(tmp_path / "out" / "train2017"), 2):
        with open(path, "w") as file:
            file.write("before")
    before = files_of(tmp_path / "out")
    # The first shard fails midway while the other process is at the second.
    many_times(content, 30000)
    content["images"][15000]["file_name"] = "bad.jpg"
    (image_dir / "bad.jpg").write_text("no picture")
    result = run(tmp_path, content, image_dir, "--workers=2")
    assert result.returncode == 2
    assert "bad.jpg is no image that Pillow opens" in result.stderr.splitlines()[-1]
    assert files_of(tmp_path / "out") == before


def test_a_full_disk_is_one_line_and_leaves_no_shard(tmp_path, dataset):
    content, image_dir = dataset
    many_times(content, 2000)
    # A limit on the size of files stands for the disk.
    result = run(
        tmp_path,
        content,
        image_dir,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (99999, 99999)),
    )
    assert result.returncode == 2
    assert "--output_prefix: cannot write" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert files_of(tmp_path / "out") == {}


def open_files(pid):
    try:
        folder = f"/proc/{pid}/fd"
        return [os.path.realpath(f"{folder}/{name}") for name in os.listdir(folder)]
    except OSError:
        return []


def writer_of(folder, timeout=60):
    """Waits for a process that writes into the folder; its id."""
    end = time.time() + timeout
    while time.time() < end:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            files = [f for f in open_files(pid) if f.startswith(f"{folder}/")]
            if any(path.endswith(".tfrecord") for path in files):
                return int(pid)
        time.sleep(0.02)
    raise AssertionError(f"nobody writes into {folder}")


def fork_server(pid, mapped=""):
    """Waits for the process that imports TensorFlow for the others.

    Args:
      pid: of the tool.
      mapped: a file that it must have begun to use.

    Returns:
      its number.
    """
    end = time.time() + 60
    while time.time() < end:
        with contextlib.suppress(OSError):
            for path in glob.glob(f"/proc/{pid}/task/*/children"):
                for child in open(path).read().split():
                    command = open(f"/proc/{child}/cmdline", "rb").read()
                    maps = open(f"/proc/{child}/maps").read()
                    if b"forkserver" in command and mapped in maps:
                        return int(child)
        time.sleep(0.02)
    raise AssertionError(f"process {pid} has no fork server")


def is_running(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def long_run(tmp_path, dataset):
    """A conversion that takes a while, as a terminal starts it; killed in the end."""
    content, image_dir = dataset
    many_times(content, 40000)
    tool = subprocess.Popen(
        command(tmp_path, content, image_dir, "--workers=2"),
        stderr=subprocess.PIPE,
        universal_newlines=True,
        start_new_session=True,
    )
    try:
        yield tool
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(tool.pid, signal.SIGKILL)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
@pytest.mark.parametrize("moment", ["while importing", "while writing"])
def test_a_killed_process_ends_the_run_instead_of_hanging_it(tmp_path, dataset, moment):
    with long_run(tmp_path, dataset) as tool:
        if moment == "while writing":
            os.kill(writer_of(tmp_path / "out"), signal.SIGKILL)
        else:
            os.kill(fork_server(tool.pid, TENSORFLOW), signal.SIGKILL)
        error = tool.communicate(timeout=60)[1]
    assert tool.returncode == 2
    assert "Traceback" not in error
    told = {"while writing": "a process was killed", "while importing": "the processes"}
    assert f"--workers=2: {told[moment]}" in error.splitlines()[-1]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
@pytest.mark.parametrize("moment", ["at the start", "while importing", "while writing"])
def test_ctrl_c_ends_all_processes_without_a_traceback(tmp_path, dataset, moment):
    with long_run(tmp_path, dataset) as tool:
        if moment == "while writing":
            writer_of(tmp_path / "out")
        elif moment == "while importing":
            fork_server(tool.pid, TENSORFLOW)
        else:
            fork_server(tool.pid)
            # For a moment Ctrl-C is ignored, as the new process is to do.
            time.sleep(0.3)
        os.killpg(tool.pid, signal.SIGINT)
        error = tool.communicate(timeout=60)[1]
    assert tool.returncode == 130
    assert "Traceback" not in error
    assert error.splitlines()[-1] == "create_tf_record.py: interrupted"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
def test_sigterm_during_the_start_leaves_no_process_behind(tmp_path, dataset):
    with long_run(tmp_path, dataset) as tool:
        server = fork_server(tool.pid)
        time.sleep(0.3)
        tool.terminate()
        tool.wait(timeout=60)
        time.sleep(0.3)
        # Importing TensorFlow takes longer than this.
        assert not is_running(server)
        error = tool.communicate(timeout=60)[1]
    assert tool.returncode == 143
    assert "Traceback" not in error
    assert error.splitlines()[-1] == "create_tf_record.py: terminated"


def test_shards_of_another_number_are_refused_before_the_json_is_read(
    tmp_path, dataset
):
    content, image_dir = dataset
    run(tmp_path, content, image_dir)
    result = run(tmp_path, "no json", image_dir, "--num_shards=3")
    assert result.returncode == 2
    assert "2 files of another run lie there" in result.stderr
    assert len(os.listdir(str(tmp_path / "out"))) == 2


def test_names_that_are_no_utf_8_are_no_trouble(tmp_path, dataset):
    content, image_dir = dataset
    content["categories"][0]["name"] = "\ud800"
    name = os.fsdecode(b"\xff.jpg")
    (image_dir / "1.jpg").rename(image_dir / name)
    content["images"][1]["file_name"] = name
    result = run(tmp_path, content, image_dir)
    assert result.returncode == 0, result.stderr
    (path, _) = shards.shard_paths(str(tmp_path / "out" / "train2017"), 2)
    features = features_of(path)[b"1"]
    assert features["image/filename"] == [b"\xff.jpg"]
    assert features["image/object/class/text"] == [b"?", b"?"]


def test_images_may_be_links_to_elsewhere(tmp_path, dataset):
    content, image_dir = dataset
    (image_dir / "1.jpg").rename(tmp_path / "elsewhere.jpg")
    (image_dir / "1.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    entries, _ = coco_json.plan(content, str(image_dir))
    assert entries[0].file_name == "1.jpg"


def test_real_coco_annotations(tmp_path, coco_sample):
    with open(coco_sample + "/instances.json") as file:
        content = file.read()
    result = run(tmp_path, content, coco_sample + "/images")
    assert "128 images, 939 boxes, 10 of them crowd" in result.stdout
