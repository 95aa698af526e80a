# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""tools/detect.py: pictures and models it takes, what it writes and what it refuses."""

import json
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import commands
import detect
import models
import records
from console.errors import UserError
from dataset import categories
from detection import model_file, picture_stream
from devices import base

FLOAT32 = base.PRECISION_MODES[1]


@pytest.fixture(scope="session")
def made(made_once):
    """Folder with a model, its export and pictures, see models.make."""
    return made_once("model", models.make)


@pytest.fixture(scope="session")
def expected(made):
    """By file name, the rows that detections.json should have at the best score."""
    return {
        os.path.basename(path): [row for row in rows if row[1] >= models.BEST_SCORE]
        for path, rows in models.expected(made).items()
    }


def to_rows(entries, size):
    """Entries of one picture of (width, height) as rows, see models.to_rows."""
    rows = []
    for entry in entries:
        assert entry["category"] == models.LABELS.names[entry["category_id"]]
        x, y, w, h = np.array(entry["bbox"]) / (size * 2)
        rows.append([entry["category_id"], entry["score"], y, x, y + h, x + w])
    return rows


def entries_by_file(path):
    by_file = {}
    for entry in json.loads(path.read_text()):
        by_file.setdefault(entry["file_name"], []).append(entry)
    return by_file


@pytest.mark.slow
def test_files_folders_and_patterns_some_of_them_unreadable(made, expected, tmp_path):
    names = sorted(expected)
    for name, folder in zip(names, ("a", "a", "a/sub", "b", "c")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        content = (made / "pictures" / name).read_bytes()
        (tmp_path / folder / name).write_bytes(content)
    (tmp_path / "a" / "broken.jpg").write_bytes(content[: len(content) // 3])
    (tmp_path / "a" / "empty.png").write_bytes(b"")
    for name in (".hidden.png", "notes.heic", "notes.txt"):
        (tmp_path / "a" / name).write_text("not a picture")
    result = commands.run(
        "detect.py",
        ["a", "b/" + names[3], "--model", made / "model", "c/*", "a/*/*.jpeg"]
        + [f"--label_map={made / 'labels.json'}", f"--precision_mode={FLOAT32}"]
        + ["--output_dir=out/here", "--batch_size=2"],
        tmp_path,
    )
    assert result.returncode == 1, result.stderr
    lines = [line for line in result.stderr.splitlines() if "detect.py:" in line]
    assert lines == [
        "detect.py: a: passed over 2 files of other formats, for example notes.heic",
        "detect.py: a/broken.jpg skipped: it is cut off: it is a JPEG without an end "
        "marker",
        "detect.py: a/empty.png skipped: it is not an image that Pillow can open",
        "detect.py: 2 of 7 pictures skipped",
    ]
    paths = [f"a/{names[0]}", f"a/{names[1]}", f"b/{names[3]}", f"c/{names[4]}"]
    paths.append(f"a/sub/{names[2]}")
    by_file = entries_by_file(tmp_path / "out" / "here" / "detections.json")
    assert list(by_file) == [path for path in paths if expected[path.split("/")[-1]]]
    for path in paths:
        entries = by_file.get(path, [])
        with Image.open(str(tmp_path / path)) as image:
            models.check_same(
                to_rows(entries, image.size), expected[os.path.basename(path)]
            )
            original = np.array(image.convert("RGB"))
        with Image.open(str(tmp_path / "out" / "here" / path)) as image:
            drawn = np.array(image.convert("RGB"))
        assert drawn.shape == original.shape
        # The changes by a JPEG's compression are far smaller.
        assert bool(entries) == (np.abs(drawn.astype(int) - original).max() > 100)
    lines = result.stdout.splitlines()
    assert "--min_score=0.35 has the best F1 in an evaluation of this model" in lines
    assert "objects in 5 pictures, " in lines[-1]
    left = [name for _, _, names in os.walk(str(tmp_path)) for name in names]
    assert len(left) == 10 + 5 + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model", "model/model.ckpt-12.index", "export"])
def test_every_kind_of_model_finds_the_same(made, expected, name, tmp_path):
    # TensorFlow would take this name for a pattern.
    folder = tmp_path / "run [1]*"
    shutil.copytree(str(made / name.split("/")[0]), str(folder / name.split("/")[0]))
    if not name.startswith("export"):
        # The training leaves its label map beside the checkpoints.
        models.write_label_map(folder / "model" / "label_map.json")
    config = model_file.session_config("cpu", FLOAT32)
    network = model_file.open_model(str(folder / name), config=config)
    assert network.label_map.names == models.LABELS.names
    assert network.best_score == models.BEST_SCORE
    paths = [str(made / "pictures" / name) for name in sorted(expected)]
    results = picture_stream.detect(network, paths, 3, picture_stream.Decoder())
    for picture, detection in results:
        rows = models.to_rows(detection, network.label_map)
        models.check_same(
            [row for row in rows if row[1] >= network.best_score],
            expected[os.path.basename(picture.path)],
        )


@pytest.mark.slow
def test_names_that_terminals_and_fonts_cannot_show(made, tmp_path):
    entries = [{"id": i, "name": f"a\nname \udc80 {i}"} for i in models.LABELS.names]
    (tmp_path / "labels.json").write_text(json.dumps({"categories": entries}))
    picture = sorted((made / "pictures").iterdir())[0]
    name = os.fsdecode(b"\xff.jpeg")
    (tmp_path / name).write_bytes(picture.read_bytes())
    # Its evaluation is of another step.
    shutil.copytree(str(made / "model"), str(tmp_path / "model"))
    metrics = tmp_path / "model" / "eval" / "metrics-12.json"
    metrics.write_text(json.dumps({"step": 11, "best_score": 0.9}))
    flags = [name, "--model=model", "--label_map=labels.json"]
    result = commands.run("detect.py", flags, tmp_path)
    assert result.returncode == 0, result.stderr
    line = "--min_score=0.3 is the default without an evaluation of this model"
    assert line in result.stdout.splitlines()
    assert "\\udcff.jpeg: " in result.stdout and "\\udc80" in result.stdout
    found = json.loads((tmp_path / "detections" / "detections.json").read_text())
    assert found and {entry["file_name"] for entry in found} == {name}
    assert (tmp_path / "detections" / name).exists()


@pytest.mark.slow
def test_when_nobody_reads_the_output_it_ends_quietly(made, tmp_path):
    tool = commands.ROOT / "tools" / "detect.py"
    script = f'"{sys.executable}" "{tool}" "$@" | true; exit "${{PIPESTATUS[0]}}"'
    arguments = [made / "pictures", f"--model={made / 'export'}", "--nodraw"]
    result = subprocess.run(
        ["bash", "-c", script, "detect"] + [str(argument) for argument in arguments],
        cwd=str(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert result.returncode == 141
    assert "Traceback" not in result.stderr and "Errno" not in result.stderr
    assert os.listdir(str(tmp_path / "detections")) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["p.png"], "--model is missing"),
        (["--model=m"], "no pictures are named"),
        (["empty", "--model=m"], "empty: neither a file, a folder with .jpg"),
        (["x*.jpg", "--model=m"], "x*.jpg: neither a file, a folder with .jpg"),
        (["p.png", "--model=empty"], "--model must be a checkpoint (model.ckpt-N) or"),
        (["p.png", "--model=wrong"], "--model: wrong/detect.pb is not an export"),
        (["p.png", "--model=m", "--output_dir=p.png"], "p.png cannot be written"),
        (["p.png", "--model=m", "--output_dir=."], "would overwrite ./p.png"),
        (["p.png", "--model=m", "--min_score=0.01"], "flag --min_score=0.01"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "detect.pb").write_text("not a graph")
    models.write_label_map(tmp_path / "wrong" / "label_map.json")
    picture = records.encode_image(models.picture((20, 30)), "png")
    (tmp_path / "p.png").write_bytes(picture)
    assert message in commands.fail("detect.py", arguments, tmp_path)


@pytest.mark.slow
def test_an_export_of_other_classes_is_refused(made, tmp_path):
    labels = models.write_label_map(tmp_path / "x.json", categories.COCO)
    with pytest.raises(UserError, match="with 4 categories, not 80; give its"):
        model_file.open_model(str(made / "export"), labels)


def test_each_file_is_taken_once_in_the_order_of_the_arguments(tmp_path):
    for name in ("b.jpg", "a.PNG", "c.jpeg", "[1].jpg", "d.txt", "e.gif", "f.WebP"):
        (tmp_path / name).write_bytes(b"")
    folder = str(tmp_path)
    arguments = [folder + "/c.jpeg", folder, folder + "/**/*.jpg", folder + "/[1].jpg"]
    names = [os.path.basename(path) for path in detect.find_pictures(arguments)]
    assert names == ["c.jpeg", "[1].jpg", "a.PNG", "b.jpg", "e.gif", "f.WebP"]


def test_every_drawn_picture_has_its_own_name():
    paths = ["/p/a/1.jpg", "/p/b/1.jpg", "/p/b/1", "/p/b/2.webp"]
    paths += ["/p/b/3.png", "/p/b/3"]
    targets = detect.output_paths(paths, "out")
    assert [targets[path] for path in paths] == [
        "out/a/1.jpg",
        "out/b/1.jpg",
        "out/b/1.png",
        "out/b/2.webp.png",
        "out/b/3.png",
        "out/b/3.png.png",
    ]


HUGE = struct.pack(">II", 2**31 - 1, 2**31 - 1)


def broken_jpeg():
    """A JPEG whose frame names a quantization table that it lacks."""
    encoded = bytearray(records.encode_image(models.picture((90, 90)), "jpeg"))
    encoded[encoded.index(b"\xff\xc0") + 12] = 3
    return bytes(encoded)


@pytest.mark.parametrize(
    "encoded, reason",
    [
        (records.black_png(8200), "cannot be opened: Image size (67240000 pixels)"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + HUGE + b"\x01\0\0\0\0" + b"\0" * 40,
            "is not an image that Pillow can open",
        ),
        (b"GIF89a", "is not an image that Pillow can open"),
        (broken_jpeg(), "is a broken JPEG: TensorFlow cannot decode it"),
    ],
    ids=["large", "gigapixels", "gif", "broken_jpeg"],
)
def test_the_reason_is_named_why_a_picture_cannot_be_read(tmp_path, encoded, reason):
    (tmp_path / "bomb.png").write_bytes(encoded)
    picture = picture_stream.Decoder()(str(tmp_path / "bomb.png"))
    assert picture.image is None and picture.error.startswith("it " + reason)


@pytest.mark.slow
def test_at_most_two_batches_are_read_ahead(made, tmp_path):
    picture = records.encode_image(models.picture((20, 30)), "png")
    (tmp_path / "x.png").write_bytes(picture)
    asked = []
    paths = (asked.append(i) or str(tmp_path / "x.png") for i in range(6))
    network = model_file.open_model(str(made / "export"))
    results = picture_stream.detect(network, paths, 2, picture_stream.Decoder())
    next(results)
    assert len(asked) == 4
    assert sum(1 for _ in results) == 5
