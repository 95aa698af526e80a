# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""tools/detect.py: which pictures, which models, what it writes and what it refuses."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import detect
import export_model
import models
import records
from console import atomic_file
from console.errors import UserError
from dataset import categories
from detection import model_file, picture_stream
from devices import base

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, "tools", "detect.py")
FLOAT32 = base.PRECISION_MODES[1]


def run(arguments, cwd, **variables):
    return subprocess.run(
        [sys.executable, TOOL] + [str(argument) for argument in arguments],
        cwd=str(cwd),
        env=dict(os.environ, **variables),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder with a model_dir "model", an "export" of it, labels.json and pictures."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("model", "export", "pictures"):
        (folder / name).mkdir()
    checkpoint = models.write_checkpoint(folder / "model")
    models.write_label_map(folder / "labels.json")
    export_model.export(checkpoint, models.LABELS, str(folder / "export"), 2)
    models.write_pictures(folder / "pictures")
    return folder


@pytest.fixture(scope="module")
def expected(made, tmp_path_factory):
    """Entries that detections.json should have at score 0.3, by file name."""
    paths = sorted(str(path) for path in (made / "pictures").iterdir())
    folder = tmp_path_factory.mktemp("evaluation")
    found = models.evaluate(str(made / "model" / "model.ckpt-12"), paths, folder)
    return {
        os.path.basename(path): [
            (models.LABELS.category_of_class(c), score) + tuple(box)
            for c, score, box in zip(d["classes"], d["scores"], d["boxes"])
            if score >= 0.3
        ]
        for path, d in zip(paths, found)
    }


def check_entries(path, entries, expected):
    """The entries of one picture against rows (category id, score, ltrb in 0..1)."""
    height, width = pixels_of(path).shape[:2]
    rows = []
    for entry in entries:
        x, y, w, h = entry["bbox"]
        ltrb = y / height, x / width, (y + h) / height, (x + w) / width
        rows.append((entry["category_id"], entry["score"]) + ltrb)
        assert entry["category"] == models.LABELS.names[entry["category_id"]]
    models.check_same(rows, expected)


def pixels_of(path):
    with open(str(path), "rb") as file, tf.Graph().as_default():
        with tf.Session() as session:
            return session.run(tf.image.decode_jpeg(file.read(), channels=3))


def entries_by_file(path):
    by_file = {}
    for entry in json.loads(path.read_text()):
        by_file.setdefault(entry["file_name"], []).append(entry)
    return by_file


def test_files_folders_and_globs_of_which_some_cannot_be_read(made, expected, tmp_path):
    pytest.importorskip("PIL")
    names = sorted(expected)
    for name, folder in zip(names, ("a", "a", "a/sub", "b", "c")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        content = (made / "pictures" / name).read_bytes()
        (tmp_path / folder / name).write_bytes(content)
    (tmp_path / "a" / "broken.jpg").write_bytes(content[: len(content) // 3])
    (tmp_path / "a" / "empty.png").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    result = run(
        ["a", "b/" + names[3], "--model", made / "model", "c/*", "a/*/*.jpeg"]
        + [f"--label_map={made / 'labels.json'}", f"--precision_mode={FLOAT32}"]
        + ["--output_dir=out/here", "--batch_size=2"],
        tmp_path,
    )
    assert result.returncode == 1, result.stderr
    lines = [line for line in result.stderr.splitlines() if "detect.py:" in line]
    assert lines[0].startswith("detect.py: a/broken.jpg passed over: neither JPEG nor")
    assert lines[1].startswith("detect.py: a/empty.png passed over: ")
    assert lines[2:] == ["detect.py: 2 of 7 pictures passed over"]
    paths = [f"a/{names[0]}", f"a/{names[1]}", f"b/{names[3]}", f"c/{names[4]}"]
    paths.append(f"a/sub/{names[2]}")
    by_file = entries_by_file(tmp_path / "out" / "here" / "detections.json")
    assert list(by_file) == [path for path in paths if expected[path.split("/")[-1]]]
    for path in paths:
        entries = by_file.get(path, [])
        check_entries(tmp_path / path, entries, expected[path.split("/")[-1]])
        original = pixels_of(tmp_path / path)
        drawn = pixels_of(tmp_path / "out" / "here" / path)
        assert drawn.shape == original.shape
        if by_file.get(path):
            # A JPEG's own changes are far smaller.
            assert np.abs(drawn.astype(int) - original).max() > 100
    assert "objects in 5 pictures, " in result.stdout.splitlines()[-1]
    left = [name for _, _, names in os.walk(str(tmp_path)) for name in names]
    assert len(left) == 8 + 5 + 1


@pytest.mark.parametrize(
    "name",
    [
        "model",
        "model/model.ckpt-12.index",
        "export",
        "export/saved_model",
        "export/detect.pb",
        "export/raw.pb",
    ],
)
def test_every_kind_of_model_finds_the_same(made, expected, name):
    labels = None if name.startswith("export") else str(made / "labels.json")
    config = model_file.session_config("cpu", FLOAT32)
    network = model_file.open_model(str(made / name), labels, config)
    paths = [str(made / "pictures" / name) for name in sorted(expected)]
    results = picture_stream.detect(network, paths, 3, picture_stream.Decoder())
    for picture, detection in results:
        entries = detect.to_results(picture.path, detection, network.label_map, 0.3)
        check_entries(picture.path, entries, expected[os.path.basename(picture.path)])


def test_names_that_no_terminal_shows_and_fonts_lack_are_no_trouble(made, tmp_path):
    pytest.importorskip("PIL")
    entries = [{"id": i, "name": f"a\nname \udc80 {i}"} for i in models.LABELS.names]
    (tmp_path / "labels.json").write_text(json.dumps({"categories": entries}))
    picture = sorted((made / "pictures").iterdir())[0]
    name = os.fsdecode(b"\xff.jpeg")
    (tmp_path / name).write_bytes(picture.read_bytes())
    result = run(
        [name, f"--model={made / 'model'}", "--label_map=labels.json"],
        tmp_path,
        PYTHONIOENCODING="utf-8:strict",
    )
    assert result.returncode == 0, result.stderr
    assert "\\udcff.jpeg: " in result.stdout and "\\udc80" in result.stdout
    found = json.loads((tmp_path / "detections" / "detections.json").read_text())
    assert found and {entry["file_name"] for entry in found} == {name}
    assert (tmp_path / "detections" / name).exists()


def test_when_nobody_reads_the_output_it_ends_quietly(made, tmp_path):
    script = f'"{sys.executable}" "{TOOL}" "$@" | true; exit "${{PIPESTATUS[0]}}"'
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


def test_without_pillow_the_json_is_written_and_one_line_says_what_lacks(
    made, tmp_path
):
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text("raise ImportError('no PIL here')")
    result = run(
        [made / "pictures", f"--model={made / 'export'}"],
        tmp_path,
        PYTHONPATH=str(tmp_path),
    )
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if "detect.py:" in line]
    assert len(lines) == 1
    assert "no pictures are drawn, no PIL here; pip install Pillow" in lines[0]
    assert os.listdir(str(tmp_path / "detections")) == ["detections.json"]
    assert json.loads((tmp_path / "detections" / "detections.json").read_text())


_REFUSED = {
    "no_model": (["p.png"], "--model is missing"),
    "missing_file": (["x.jpg", "--model=m"], "x.jpg: there is no such file"),
    "neither_model": (["p.png", "--model=m"], "--model=m: neither a checkpoint"),
    "output_is_a_file": (
        ["p.png", "--model=m", "--output_dir=t.pb", "--nodraw"],
        "--output_dir=t.pb cannot be written",
    ),
    "low_score": (["p.png", "--model=m", "--min_score=0.01"], "flag --min_score=0.01"),
}


@pytest.mark.parametrize("case", sorted(_REFUSED))
def test_what_the_user_can_mend_is_one_line(case, tmp_path):
    arguments, message = _REFUSED[case]
    (tmp_path / "t.pb").write_text("no graph at all")
    picture = records.encode_image(models.picture((20, 30)), "png")
    (tmp_path / "p.png").write_bytes(picture)
    result = run(arguments, tmp_path, TF_CPP_MIN_LOG_LEVEL="2", PYTHONWARNINGS="ignore")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("detect.py: ")
    assert message in result.stderr


def test_arguments_that_mean_no_picture_are_named(tmp_path):
    for argument, message in (
        (str(tmp_path), "the folder holds no .jpg"),
        (str(tmp_path / "x*.jpg"), "no file matches"),
        (str(tmp_path / "x.jpg"), "there is no such file"),
    ):
        with pytest.raises(UserError) as error:
            detect.find_pictures([argument])
        assert str(error.value).startswith(f"{argument}: {message}")


def test_a_picture_is_never_overwritten_by_its_drawing(tmp_path):
    path = str(tmp_path / "p.png")
    with pytest.raises(UserError, match="--output_dir=.*would overwrite .*p.png"):
        detect.output_paths([path], str(tmp_path))


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "t.pb").write_text("no graph at all")
    with pytest.raises(UserError, match="t.pb is no export"):
        model_file.open_model(str(tmp_path / "t.pb"))


@pytest.mark.parametrize("name", ["model", "export", "export/raw.pb"])
def test_a_model_of_other_classes_is_refused(made, name, tmp_path):
    labels = models.write_label_map(tmp_path / "x.json", categories.COCO)
    with pytest.raises(UserError, match="with 4 categories, not 80; give its"):
        model_file.open_model(str(made / name), labels)


def test_an_export_without_its_label_map_is_taken_for_coco(made, tmp_path):
    os.symlink(str(made / "export" / "raw.pb"), str(tmp_path / "raw.pb"))
    with pytest.raises(UserError, match="with 4 categories, not 80; give its"):
        model_file.open_model(str(tmp_path / "raw.pb"))
    labels = str(made / "labels.json")
    assert model_file.open_model(str(tmp_path / "raw.pb"), labels).batch_size == 2


def test_each_file_is_taken_once_in_the_order_of_the_arguments(tmp_path):
    for name in ("b.jpg", "a.PNG", "c.jpeg", "[1].jpg", "d.txt"):
        (tmp_path / name).write_bytes(b"")
    folder = str(tmp_path)
    arguments = [folder + "/c.jpeg", folder, folder + "/**/*.jpg", folder + "/[1].jpg"]
    names = [os.path.basename(path) for path in detect.find_pictures(arguments)]
    assert names == ["c.jpeg", "[1].jpg", "a.PNG", "b.jpg"]


def test_drawn_pictures_have_names_of_their_own():
    paths = ["/p/a/1.jpg", "/p/b/1.jpg", "/p/b/1", "/p/b/2.webp"]
    paths += ["/p/b/3", "/p/b/3.png"]
    targets = detect.output_paths(paths, "out")
    assert [targets[path] for path in paths] == [
        "out/a/1.jpg",
        "out/b/1.jpg",
        "out/b/1.png",
        "out/b/2.webp.png",
        "out/b/3.png.png",
        "out/b/3.png",
    ]


HUGE = struct.pack(">II", 2**31 - 1, 2**31 - 1)


@pytest.mark.parametrize(
    "encoded",
    [
        records.black_png(8200),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + HUGE + b"\x01\0\0\0\0" + b"\0" * 40,
        b"\x89PNG\r\n\x1a\n",
        b"\xff",
        b"",
    ],
    ids=["large", "gigapixels", "signature", "byte", "empty"],
)
def test_a_picture_too_large_or_too_short_is_refused(tmp_path, encoded):
    (tmp_path / "bomb.png").write_bytes(encoded)
    picture = picture_stream.Decoder()(str(tmp_path / "bomb.png"))
    assert picture.image is None and picture.error.startswith("neither JPEG nor PNG")


def test_entries_below_the_score_are_left_out():
    detection = {
        "raw_shape": [100, 200, 3],
        "boxes": np.array([[0.1, 0.2, 0.5, 0.4]] * 3, np.float32),
        "scores": np.array([0.9, 0.5, 0.2], np.float32),
        "classes": np.array([3, 1, 4], np.int32),
    }
    entries = detect.to_results("x.jpg", detection, models.LABELS, 0.5)
    assert [e["category_id"] for e in entries] == [20, 3]
    # x = 0.2 of 200, y = 0.1 of 100, 0.2 of 200 wide and 0.4 of 100 high.
    assert entries[0]["bbox"] == pytest.approx([40, 10, 40, 40], rel=1e-6)


class Paths:
    """Paths of one picture, counted as they are asked for."""

    def __init__(self, path, count):
        self.asked = 0
        self._path, self._count = path, count

    def __iter__(self):
        for _ in range(self._count):
            self.asked += 1
            yield self._path


def test_pictures_are_read_only_some_batches_ahead(made, tmp_path):
    (tmp_path / "x.png").write_bytes(
        records.encode_image(models.picture((20, 30)), "png")
    )
    paths = Paths(str(tmp_path / "x.png"), 12)

    network = model_file.open_model(str(made / "export" / "raw.pb"))
    results = picture_stream.detect(network, paths, 2, picture_stream.Decoder())
    next(results)
    # Batches of two: two are read ahead of the two that run and are suppressed.
    assert paths.asked <= 9
    assert sum(1 for _ in results) == 11


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_as_viewers_show_them(tmp_path, orientation):
    pillow = pytest.importorskip("PIL.Image")
    ops = pytest.importorskip("PIL.ImageOps")
    exif = pillow.Exif()
    exif[0x0112] = orientation
    path = str(tmp_path / "turned.jpg")
    pillow.fromarray(models.picture((40, 60))).save(path, exif=exif, quality=95)
    with pillow.open(path) as image:
        upright = np.array(ops.exif_transpose(image))
    decoder = picture_stream.Decoder()
    found = decoder.pixels(path)
    assert found.shape == upright.shape
    # Two decoders may round otherwise.
    assert np.abs(found.astype(int) - upright).max() < 8
    assert decoder(path).raw_shape.tolist() == list(upright.shape)


def test_nothing_found_is_an_empty_list(tmp_path):
    with atomic_file.AtomicFile(str(tmp_path / "x.json")) as file:
        entries = detect.JsonList(file)
        entries.add([])
        entries.close()
    assert json.loads((tmp_path / "x.json").read_text()) == []
