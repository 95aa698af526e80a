# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exports detect the same as --mode=eval, with the inputs and outputs they document."""

import json
import os
import re
import sys
from unittest import mock

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
import commands
import models
from console.errors import UserError
from dataset import categories
from detection import exporter, model_file, onnx_export, picture_stream
from evaluation import postprocess


@pytest.fixture(scope="session")
def made(made_once):
    """Folder with a model, its export and pictures, see models.make."""
    return made_once("model", models.make)


def export_for_ascend(made, folder, soc_version, *more_flags):
    """Runs export_model.py with a stand-in for atc in the folder bin."""
    (folder / "bin").mkdir()
    atc = folder / "bin" / "atc"
    standin = commands.ROOT / "tests" / "helpers" / "standin_atc.py"
    atc.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{standin}' \"$@\"\n")
    atc.chmod(0o755)
    flags = [f"--model={made / 'model'}", f"--label_map={made / 'labels.json'}"]
    flags += ["--output_dir=export", f"--soc_version={soc_version}", *more_flags]
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    with mock.patch.dict(os.environ, PATH=path):
        return commands.run("export_model.py", flags, folder)


@pytest.fixture(scope="session")
def exported(made, made_once):
    """Folder with photo.png and its export with all options."""
    pytest.importorskip("tf2onnx", reason="tools/requirements-export.txt is missing")
    pytest.importorskip("onnxruntime", reason="see tools/requirements-export.txt")

    def fill(folder):
        (folder / "photo.png").write_bytes((made / "pictures" / "1.png").read_bytes())
        result = export_for_ascend(made, folder, "Ascend310P3", "--onnx")
        assert result.returncode == 0, result.stderr
        assert len(result.stdout.splitlines()) == 1
        names = "detect.pb detections.onnx label_map.json raw.onnx raw.pb saved_model"
        names = names.split() + ["ssd_resnet34.om"]
        assert sorted(os.listdir(str(folder / "export"))) == names

    return made_once("exported", fill)


def pixels_of(path):
    with open(path, "rb") as file, tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.image.decode_jpeg(file.read(), channels=3))


def load_frozen(path):
    graph_def = tf.GraphDef.FromString(path.read_bytes())
    tf.import_graph_def(graph_def, name="")
    return graph_def


def load_detect(_, folder):
    load_frozen(folder / "detect.pb")
    return "images:0", {name: name + ":0" for name in exporter.OUTPUTS}


def load_signature(session, folder, signature="serving_default"):
    """Returns (tensor name of the only input, dict from output to tensor name)."""
    tags = [tf.saved_model.SERVING]
    loaded = tf.saved_model.load(session, tags, str(folder / "saved_model"))
    signature = loaded.signature_def[signature]
    (info,) = signature.inputs.values()
    return info.name, {name: info.name for name, info in signature.outputs.items()}


def check_same(outputs, row, expected, limit=1e-4):
    """One image's outputs against the evaluation's rows, see models.to_rows."""
    count = outputs["num_detections"][row]
    found = [outputs[name][row] for name in ("classes", "scores", "boxes")]
    models.check_same(np.column_stack([x[:count] for x in found]), expected, limit)
    assert (np.diff(found[1]) <= 0).all()
    assert not any(x[count:].any() for x in found)


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_signature, load_detect])
def test_pictures_of_any_size_are_detected_in_as_by_the_evaluation(made, load):
    with tf.Graph().as_default(), tf.Session() as session:
        images, outputs = load(session, made / "export")
        for path, rows in models.expected(made).items():
            check_same(session.run(outputs, {images: pixels_of(path)[None]}), 0, rows)


@pytest.mark.slow
def test_the_other_signature_takes_a_batch_of_resized_images(made):
    expected = models.expected(made)
    decoder = picture_stream.Decoder()
    batch = np.stack([decoder(path).image for path in expected])
    with tf.Graph().as_default(), tf.Session() as session:
        images, outputs = load_signature(session, made / "export", "resized")
        found = session.run(outputs, {images: batch})
    for row, rows in enumerate(expected.values()):
        check_same(found, row, rows)


# Those operations of the graph that Ascend's converter is known to support.
_PLAIN_OPERATIONS = set(
    "Placeholder Const Identity Pad Conv2D BiasAdd Relu FusedBatchNormV3 MaxPool Add "
    "AddV2 Sub RealDiv Reshape ConcatV2".split()
)


@pytest.mark.slow
def test_the_raw_graph_is_static_plain_and_computes_the_same(made):
    with tf.Graph().as_default() as graph, tf.Session() as session:
        graph_def = load_frozen(made / "export" / "raw.pb")
        inputs = [node.name for node in graph_def.node if node.op == "Placeholder"]
        assert inputs == ["input"]
        assert {node.op for node in graph_def.node} <= _PLAIN_OPERATIONS
        for operation in graph.get_operations():
            # Batch norm has further outputs, for its gradient.
            shape = operation.outputs[0].shape
            assert shape.is_fully_defined(), operation.name
        images = np.random.RandomState(1).uniform(size=[2, 300, 300, 3])
        outputs = ["class_logits:0", "box_offsets:0"]
        found = session.run(outputs, {"input:0": images})
    network = model_file.open_model(str(made / "model"), str(made / "labels.json"))
    boxes = anchors.NUM_DEFAULT_BOXES
    assert [x.shape for x in found] == [(2, boxes, 5), (2, boxes, 4)]
    for ours, theirs in zip(found, network(images)):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_the_export_has_the_label_map_and_nothing_else_is_left(made):
    names = ["detect.pb", "label_map.json", "raw.pb", "saved_model"]
    assert sorted(os.listdir(str(made / "export"))) == names
    assert [name for name in os.listdir(str(made)) if name.startswith(".")] == []
    path = made / "export" / "label_map.json"
    assert categories.read_label_map(str(path)).names == models.LABELS.names
    info = json.loads(path.read_text())["info"]
    assert (info["checkpoint"], info["step"]) == ("model.ckpt-12", 12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, message",
    [
        (["--model={model}"], "--output_dir is missing"),
        (["--model=.", "--output_dir=new"], "--model must be a checkpoint (model.ckpt"),
        (
            ["--model={model}", "--output_dir=new"],
            "with 4 categories, not 80; give its --label_map",
        ),
        (
            ["--model={model}", "--output_dir=new", "--soc_version=310P3"],
            "--soc_version=310P3: must be Ascend and the name that `npu-smi",
        ),
    ],
)
def test_a_wrong_flag_is_one_line_and_nothing_is_written(
    made, tmp_path, flags, message
):
    flags = [flag.format(model=made / "model") for flag in flags]
    assert message in commands.fail("export_model.py", flags, tmp_path)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.slow
def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("dense/kernel", [3])
        tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), 3)
    with pytest.raises(UserError, match="not a checkpoint of SSD-ResNet34: it lacks"):
        model_file.open_model(path)


@pytest.mark.slow
def test_onnx_detects_as_the_evaluation_within_a_thousandth(made, exported):
    import onnxruntime

    model = str(exported / "export" / "detections.onnx")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = list(exporter.OUTPUTS)
    assert [x.name for x in session.get_inputs()] == ["images"]
    for path, rows in models.expected(made).items():
        # A batch; rows are the detections of its second image.
        pixels = pixels_of(path)
        batch = np.stack([pixels * 0, pixels])
        found = dict(zip(names, session.run(names, {"images": batch})))
        check_same(found, 1, rows, 1e-3)


@pytest.mark.slow
def test_the_graph_for_onnx_detects_as_the_evaluation_does():
    random = np.random.RandomState(3)
    logits = random.standard_normal([3, anchors.NUM_DEFAULT_BOXES, 5]) * 3
    # Hundreds of scores in each class of the first image, some in the second one, and
    # nothing in the last one.
    logits[:, :, 0] += np.array([[2], [6], [99]])
    offsets = random.standard_normal([3, anchors.NUM_DEFAULT_BOXES, 4])
    raw = [np.float32(logits), np.float32(offsets)]
    with tf.Graph().as_default(), tf.Session() as session:
        functions = (onnx_export.detections, postprocess.detections)
        graphs = [function(raw[0], raw[1]) for function in functions]
        found, expected = session.run(graphs)
    assert expected[3].tolist()[0::2] == [200, 0] and expected[3][1] > 20
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, atol=1e-6)


# A stand-in for the package ais_bench.
OFFLINE_STANDIN = str(commands.ROOT / "tests" / "npu_standin" / "offline")
PAGE = (commands.ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, file",
    enumerate(["saved_model", "detect.pb", "detections.onnx", "raw.onnx", ".om"]),
)
def test_the_program_of_the_page_for_each_file_prints_the_detections(
    made, exported, number, file, monkeypatch, capsys
):
    assert len(PROGRAMS) == 5 and file in PROGRAMS[number]
    monkeypatch.chdir(str(exported))
    monkeypatch.setattr(sys, "path", [OFFLINE_STANDIN] + sys.path)
    exec(compile(PROGRAMS[number], "docs/deploy.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    rows = [list(map(float, line.split())) for line in lines]
    (expected,) = (v for k, v in models.expected(made).items() if k.endswith("1.png"))
    models.check_same(rows, expected, 1e-3)


@pytest.mark.slow
def test_when_atc_fails_its_last_lines_are_shown_and_nothing_is_written(made, tmp_path):
    result = export_for_ascend(made, tmp_path, "Ascend777")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-3:] == [
        "E10001: Value [Ascend777] for --soc_version",
        "ATC run failed, Please check the detail log",
        "export_model.py: --soc_version=Ascend777: atc failed with status 1; its last "
        "lines are above; nothing was exported",
    ]
    assert os.listdir(str(tmp_path)) == ["bin"]


def test_without_its_packages_onnx_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(UserError) as caught:
        onnx_export.check_packages()
    assert str(caught.value) == (
        "--onnx needs the packages tf2onnx and onnx; run python3 -m pip install "
        "-r requirements.txt -r tools/requirements-export.txt"
    )
