# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The converter: what the shards contain, what is left out, and what stops it."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import commands
import processes
from own_data import JPEG, encode_image, fail, features_of, files_of


@pytest.fixture
def dataset(tmp_path):
    """Five images of 30 x 50 with good and odd boxes: (dict, folder)."""
    image_dir = tmp_path / "images"
    image_dir.mkdir()
    for i in range(1, 6):
        encoded = encode_image("PNG") if i == 2 else JPEG
        (image_dir / f"{i}.jpg").write_bytes(encoded)
    # A link may lead out of the folder.
    (image_dir / "5.jpg").rename(tmp_path / "elsewhere.jpg")
    (image_dir / "5.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    boxes = [
        (1, 18, [5, 6, 20, 12], 7.5),  # ends within the image
        (1, 18, [-10, 6, 20, 12], 7.5),  # clipped on the left
        (2, 44, [40, 20, 10.01, 10.01], None),  # COCO's rounding: not clipped
        (2, 44, [10, 10, 0, 5], 1),  # no width
        (3, 44, [60, 10, 5, 5], 1),  # outside
        (3, 44, [10, 10, float("nan"), 5], 1),
        (3, 99, [10, 10, 5, 5], 1),  # no such category
        (77, 18, [10, 10, 5, 5], 1),  # no such image
        (4, 18, [0, 0, 50, 30], -1),
    ]
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": 30, "width": 50}
            for i in (3, 1, 2, 5, 4)
        ],
        "annotations": [
            dict(image_id=i, category_id=c, bbox=box, area=area, iscrowd=i == 4)
            for i, c, box, area in boxes
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 44, "name": "bottle"}],
    }
    return content, image_dir


def arguments(tmp_path, content, image_dir, *flags):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    prefix = tmp_path / "out" / "train2017"
    given = [f"--annotations={path}", f"--image_dir={image_dir}", "--workers=2"]
    return given + [f"--output_prefix={prefix}", "--num_shards=2", *flags]


def run(tmp_path, content, image_dir, *flags):
    given = arguments(tmp_path, content, image_dir, *flags)
    return commands.run("create_tf_record.py", given, tmp_path)


def repeat_image(content, count):
    """Lists the first image many times, without boxes."""
    image = {"file_name": "1.jpg", "height": 30, "width": 50}
    content["images"] = [dict(image, id=i) for i in range(count)]
    content["annotations"] = []


def test_images_that_may_have_lost_their_content_are_counted_and_named(
    tmp_path, dataset
):
    content, folder = dataset
    repeat_image(content, 3)
    # 12 bits in 16, a picture that is not, and black lines on transparent black.
    pictures = [np.full((30, 50), 4095, np.uint16), np.full((30, 50), 90, np.uint8)]
    pictures.append(np.uint8([[[0, 0, 0, 0]] * 50, [[0, 0, 0, 255]] * 50] * 15))
    for image, numbers in zip(content["images"], pictures):
        image["file_name"] = f"dark{image['id']}.png"
        Image.fromarray(numbers).save(str(folder / image["file_name"]))
    result = run(tmp_path, content, folder)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    for start, name in (
        ("2 images that are nearly black, white or gray", "dark0.png"),
        ("1 images with transparent pixels, whose stored colors", "dark2.png"),
    ):
        end = f"convert again), for example {folder}/{name}"
        assert [start in line for line in lines if line.endswith(end)] == [True]


def test_shards_contain_every_image_and_the_counts_tell_what_was_left_out(
    tmp_path, dataset
):
    result = run(tmp_path, *dataset)
    assert result.returncode == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0].endswith("5 images, 4 boxes, 1 of them crowd")
    assert lines[1:] == [
        "2 images without a box (evaluated, not trained on)",
        f"1 images converted to JPEG, for example {dataset[1].resolve()}/2.jpg",
        "1 boxes clipped to their image",
        "1 areas that are not positive (that of the box is stored)",
        "left out: 3 boxes of no size or outside their image",
        "left out: 1 boxes of an image that the json does not list",
        "left out: 1 boxes of a category that is not listed",
        f"beside the shards: {tmp_path}/out/instances_train2017.json, "
        f"{tmp_path}/out/label_map.json",
    ]
    json_name, map_name, *names = sorted(os.listdir(str(tmp_path / "out")))
    assert (json_name, map_name) == ("instances_train2017.json", "label_map.json")
    assert names == [f"train2017-0000{i}-of-00002.tfrecord" for i in range(2)]
    first, second = (features_of(tmp_path / "out" / name) for name in names)
    # In the order of the ids, alternating between the shards.
    assert (list(first), list(second)) == ([1, 3, 5], [2, 4])

    image = first[1]
    assert image["image/encoded"] == [(dataset[1] / "1.jpg").read_bytes()]
    assert image["image/format"] == [b"jpeg"]
    assert image["image/filename"] == [b"1.jpg"]
    assert (image["image/height"], image["image/width"]) == ([30], [50])
    boxes = [image["image/object/bbox/" + n] for n in ("ymin", "xmin", "ymax", "xmax")]
    expected = [[6 / 30, 5 / 50, 18 / 30, 25 / 50], [6 / 30, 0, 18 / 30, 10 / 50]]
    np.testing.assert_allclose(np.transpose(boxes), expected, rtol=1e-6)
    assert image["image/object/class/label"] == [18, 18]
    assert image["image/object/class/text"] == [b"dog", b"dog"]
    assert image["image/object/area"] == [7.5, 7.5]
    # The PNG.
    assert second[2]["image/format"] == [b"jpeg"]
    assert second[2]["image/encoded"][0].startswith(b"\xff\xd8")
    assert second[2]["image/object/area"] == [pytest.approx(100)]
    assert second[4]["image/object/is_crowd"] == [1]
    assert second[4]["image/object/area"] == [1500]


def test_names_that_are_not_utf_8_are_written_and_threads_do_not_change_a_byte(
    tmp_path, dataset
):
    content, image_dir = dataset
    content["categories"][0]["name"] = "\ud800"
    name = os.fsdecode(b"\xff.jpg")
    (image_dir / "1.jpg").rename(image_dir / name)
    content["images"][1]["file_name"] = name
    contents = []
    for workers in (1, 5):
        run(tmp_path, content, image_dir, f"--workers={workers}")
        contents.append(files_of(tmp_path / "out"))
    assert len(contents[0]) == 4 and contents[0] == contents[1]
    features = features_of(tmp_path / "out" / "train2017-00000-of-00002.tfrecord")[1]
    assert features["image/filename"] == [b"\xff.jpg"]
    assert features["image/object/class/text"] == [b"?", b"?"]


def change(section, number=1, **fields):
    """Changes fields of the first entries of a section."""

    def spoil(content, image_dir):
        for entry in content[section][:number]:
            entry.update(fields)

    return spoil


@pytest.mark.parametrize(
    "spoil, message",
    [
        (change("images", file_name="../../etc/passwd"), "the file name leaves "),
        (change("images", file_name=7), "file_name must be a text"),
        (change("images", width=0), "is wrong: width must be an integer from 1"),
        (change("images", id=1), "is wrong: its id occurs twice"),
        (change("annotations", bbox=[1, 2]), "is wrong: bbox [1, 2] is not a list"),
        (change("annotations", 9, bbox=[0, 0, 0.5, 0.6]), "7 boxes lie within 0..1"),
        (change("annotations", 9, category_id=-1), "8 boxes of a category that is not"),
        (change("categories", id=-1), "category id -1 is not within 0..100000"),
        (change("categories", 2, name=5), "as name (and 1 more, see above); correct"),
        (lambda c, d: shutil.rmtree(str(d)), "images: there is no such folder"),
        (lambda c, d: (d / "2.jpg").unlink(), "2.jpg, image 2, is missing; add or"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_shard(tmp_path, dataset, spoil, message):
    content, image_dir = dataset
    spoil(content, image_dir)
    assert message in fail(tmp_path, *arguments(tmp_path, content, image_dir))


def test_all_images_that_cannot_be_used_are_told_at_once(tmp_path, dataset):
    content, image_dir = dataset
    # The shards of the run before stay.
    assert run(tmp_path, content, image_dir).returncode == 0
    repeat_image(content, 60)
    whole = (image_dir / "1.jpg").read_bytes()
    broken = {7: ("cut", whole[:-9]), 8: ("text", b"no image"), 50: ("empty", b"")}
    for number, (name, encoded) in broken.items():
        content["images"][number]["file_name"] = f"{name}.jpg"
        (image_dir / f"{name}.jpg").write_bytes(encoded)
    errors = fail(tmp_path, *arguments(tmp_path, content, image_dir))
    names = sorted(re.findall(r"/(\w+)\.jpg is", errors))
    assert names == ["cut", "empty", "text"]
    assert "cut.jpg is cut off" in errors and "(and 2 more, see above)" in errors


def test_very_many_images_that_cannot_be_used_end_a_run_early(tmp_path, dataset):
    content, image_dir = dataset
    repeat_image(content, 60)
    (image_dir / "text.jpg").write_text("no image")
    for image in content["images"]:
        image["file_name"] = "text.jpg"
    given = arguments(tmp_path, content, image_dir, "--num_shards=30")
    lines = fail(tmp_path, *given).splitlines()
    assert sum("text.jpg" in line for line in lines) == 20
    # Another thread may be at its next image.
    assert re.search(r"\(and (19|20) more, ", lines[-1])


def test_shards_of_another_number_are_refused_before_the_json_is_read(
    tmp_path, dataset
):
    run(tmp_path, *dataset)
    given = arguments(tmp_path, "no dataset", dataset[1], "--num_shards=3")
    errors = fail(tmp_path, *given)
    assert "00000-of-00002.tfrecord is of another run" in errors
    assert "(and 1 more, see above); move it away" in errors


def test_a_full_disk_is_one_line_and_leaves_no_shard(tmp_path, dataset):
    content, image_dir = dataset
    repeat_image(content, 2000)
    # A limit on the size of files stands for the disk.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (499999, limits[1]))
    try:
        errors = fail(tmp_path, *arguments(tmp_path, content, image_dir))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "--output_prefix: cannot write" in errors


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "number, moment, status, line",
    [
        (signal.SIGTERM, "importing", 143, "create_tf_record.py: terminated"),
        (signal.SIGINT, "writing", 130, "create_tf_record.py: interrupted"),
        (signal.SIGKILL, "writing", -9, ""),
    ],
)
def test_a_run_that_is_ended_leaves_no_shard(
    tmp_path, dataset, number, moment, status, line
):
    content, image_dir = dataset
    repeat_image(content, 40000)
    tool = subprocess.Popen(
        [sys.executable, str(commands.ROOT / "tools" / "create_tf_record.py")]
        + arguments(tmp_path, content, image_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        if moment == "importing":
            maps = f"/proc/{tool.pid}/maps"
            processes.wait_for(lambda: "_pywrap_tensorflow" in open(maps).read())
        else:
            partial = "out/.partial-train2017-*/*.tfrecord"
            processes.wait_for(lambda: list(tmp_path.glob(partial)))
        os.killpg(tool.pid, number)
        output, error = tool.communicate(timeout=60)
    finally:
        tool.kill()
    assert (tool.returncode, output) == (status, "")
    assert "Traceback" not in error
    assert (error.splitlines() or [""])[-1] == line
    # Only a killed run leaves its hidden folder.
    assert (tmp_path / "out").exists() == (number == signal.SIGKILL)
    assert not list(tmp_path.glob("out/*.tfrecord"))
    repeat_image(content, 2)
    assert run(tmp_path, content, image_dir).returncode == 0
    assert len(list(tmp_path.glob("out/[!.]*"))) == 4
