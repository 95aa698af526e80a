# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exports detect what --mode=eval detects, and say what they take and give."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
import export_model
import models
from console.errors import UserError
from dataset import categories
from detection import model_file, picture_stream

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, "tools", "export_model.py")


def run(*flags):
    return subprocess.run(
        [sys.executable, TOOL] + list(flags),
        cwd="/",
        env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2", PYTHONWARNINGS="ignore"),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder with a model_dir "model", labels.json, pictures, and "export"."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "model").mkdir()
    (folder / "pictures").mkdir()
    models.write_checkpoint(folder / "model")
    models.write_label_map(folder / "labels.json")
    models.write_pictures(folder / "pictures")
    result = run(
        f"--model={folder / 'model'}",
        f"--label_map={folder / 'labels.json'}",
        f"--output_dir={folder / 'export'}",
        "--batch_size=2",
    )
    assert result.returncode == 0, result.stderr
    assert "model.ckpt-12: exported to" in result.stdout
    return folder


@pytest.fixture(scope="module")
def expected(made, tmp_path_factory):
    """What the evaluation detects in each of the pictures."""
    paths = read_pictures(made / "pictures")
    folder = tmp_path_factory.mktemp("evaluation")
    found = models.evaluate(str(made / "model" / "model.ckpt-12"), paths, folder)
    # They are of use here only if there are several classes in every picture.
    assert min(len(set(detection["classes"])) for detection in found) > 1
    return found


def pixels_of(path):
    with open(path, "rb") as file, tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.image.decode_jpeg(file.read(), channels=3))


def load_frozen(session, path):
    graph_def = tf.GraphDef.FromString(path.read_bytes())
    tf.import_graph_def(graph_def, name="")
    return graph_def


def read_pictures(folder):
    return sorted(str(path) for path in folder.iterdir())


def check_same(outputs, row, expected, label_map):
    """Row `row` of an export's outputs against a detection of the evaluation."""
    count = len(expected["scores"])
    assert outputs["num_detections"][row] == count
    ids = [label_map.category_of_class(c) for c in expected["classes"]]
    found = [outputs[name][row, :count] for name in ("classes", "scores", "boxes")]
    assert (np.diff(found[1]) <= 0).all()
    models.check_same(
        np.column_stack(found),
        np.column_stack([ids, expected["scores"], expected["boxes"]]),
    )
    for name in ("boxes", "classes", "scores"):
        assert not outputs[name][row, count:].any()


def saved_model(session, folder, signature):
    """(inputs, outputs): tensor names by the names of a signature."""
    loaded = tf.saved_model.load(
        session, [tf.saved_model.SERVING], str(folder / "export" / "saved_model")
    )
    signature = loaded.signature_def[signature]
    return (
        {name: info.name for name, info in signature.inputs.items()},
        {name: info.name for name, info in signature.outputs.items()},
    )


def test_the_saved_model_detects_what_the_evaluation_does_in_any_size(made, expected):
    paths = read_pictures(made / "pictures")
    with tf.Graph().as_default(), tf.Session() as session:
        name = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        inputs, outputs = saved_model(session, made, name)
        assert list(inputs) == ["images"]
        for path, detection in zip(paths, expected):
            pixels = pixels_of(path)
            found = session.run(outputs, {inputs["images"]: pixels[None]})
            check_same(found, 0, detection, models.LABELS)


def test_the_frozen_graph_detects_what_the_evaluation_does(made, expected):
    paths = read_pictures(made / "pictures")
    with tf.Graph().as_default(), tf.Session() as session:
        load_frozen(session, made / "export" / "detect.pb")
        outputs = {name: name + ":0" for name in export_model.OUTPUTS}
        for path, detection in zip(paths, expected):
            found = session.run(outputs, {"images:0": pixels_of(path)[None]})
            check_same(found, 0, detection, models.LABELS)


def test_the_other_signature_takes_a_batch_that_is_resized(made, expected):
    paths = read_pictures(made / "pictures")
    decoder = picture_stream.Decoder()
    batch = np.stack([decoder(path).image for path in paths])
    with tf.Graph().as_default(), tf.Session() as session:
        inputs, outputs = saved_model(session, made, "resized")
        assert list(inputs) == ["input"]
        found = session.run(outputs, {inputs["input"]: batch})
    for row, detection in enumerate(expected):
        check_same(found, row, detection, models.LABELS)


def test_photographs_are_detected_in_as_the_evaluation_does(
    made, tmp_path, coco_sample
):
    folder = os.path.join(coco_sample, "images")
    by_size = {}
    for name in sorted(os.listdir(folder))[:40]:
        path = os.path.join(folder, name)
        by_size.setdefault(pixels_of(path).shape, path)
    paths = list(by_size.values())[:6]
    assert len(paths) == 6
    expected = models.evaluate(str(made / "model" / "model.ckpt-12"), paths, tmp_path)
    with tf.Graph().as_default(), tf.Session() as session:
        load_frozen(session, made / "export" / "detect.pb")
        outputs = {name: name + ":0" for name in export_model.OUTPUTS}
        for path, detection in zip(paths, expected):
            found = session.run(outputs, {"images:0": pixels_of(path)[None]})
            check_same(found, 0, detection, models.LABELS)


# Of the operations that TensorFlow puts here, those that are known to Ascend's
# converter for TensorFlow graphs.
_PLAIN_OPERATIONS = {
    *("Placeholder", "Const", "Identity", "Pad", "Conv2D", "BiasAdd", "Relu"),
    *("FusedBatchNormV3", "MaxPool", "Add", "AddV2", "Sub", "RealDiv", "Reshape"),
    "ConcatV2",
}


def test_the_raw_graph_is_static_and_of_plain_operations(made):
    with tf.Graph().as_default() as graph, tf.Session() as session:
        graph_def = load_frozen(session, made / "export" / "raw.pb")
        inputs = [node.name for node in graph_def.node if node.op == "Placeholder"]
        assert inputs == ["input"]
        assert {node.op for node in graph_def.node} <= _PLAIN_OPERATIONS
        for operation in graph.get_operations():
            # Further outputs, of batch norm, are there for its gradient.
            shape = operation.outputs[0].shape
            assert shape.is_fully_defined(), operation.name
        shapes = [
            graph.get_tensor_by_name(name).shape.as_list()
            for name in ("input:0", "class_logits:0", "box_offsets:0")
        ]
    boxes = anchors.NUM_DEFAULT_BOXES
    assert shapes == [[2, 300, 300, 3], [2, boxes, 5], [2, boxes, 4]]


def test_raw_graph_and_checkpoint_give_the_same(made):
    images = np.random.RandomState(1).uniform(size=[2, 300, 300, 3])
    networks = [
        model_file.open_model(str(made / name), str(made / "labels.json"))
        for name in ("model", "export/raw.pb")
    ]
    for ours, theirs in zip(*(network(images) for network in networks)):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_label_map_beside_the_export_is_the_models(made):
    path = made / "export" / "label_map.json"
    labels = categories.read_label_map(str(path))
    assert labels.names == models.LABELS.names
    info = json.loads(path.read_text())["info"]
    assert (info["checkpoint"], info["step"]) == ("model.ckpt-12", 12)


def test_nothing_but_the_export_is_left(made):
    names = ["detect.pb", "label_map.json", "raw.pb", "saved_model"]
    assert sorted(os.listdir(str(made / "export"))) == names
    assert [name for name in os.listdir(str(made)) if name.startswith(".")] == []


def one_line_of(result):
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


def test_a_folder_that_is_not_empty_is_left_alone(made, tmp_path):
    (tmp_path / "mine").write_text("dear")
    result = run(
        f"--model={made / 'model'}",
        f"--label_map={made / 'labels.json'}",
        f"--output_dir={tmp_path}",
    )
    assert f"--output_dir={tmp_path} is not empty" in one_line_of(result)
    assert os.listdir(str(tmp_path)) == ["mine"]


def test_a_model_of_other_classes_is_refused_and_nothing_written(made, tmp_path):
    result = run(f"--model={made / 'model'}", f"--output_dir={tmp_path / 'new'}")
    line = one_line_of(result)
    assert line.startswith("export_model.py: --model: ")
    assert "with 4 categories, not 80; give its --label_map" in line
    assert os.listdir(str(tmp_path)) == []


def test_no_checkpoint_is_told_before_anything_is_written(tmp_path):
    result = run(f"--model={tmp_path}", f"--output_dir={tmp_path / 'new'}")
    assert f"--model={tmp_path}: neither a checkpoint" in one_line_of(result)
    assert os.listdir(str(tmp_path)) == []


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "export"):
        with pytest.raises(UserError, match=f"--output_dir={path} cannot be written"):
            export_model.make_partial(str(path))


def test_a_damaged_checkpoint_is_named(made, tmp_path):
    for name in os.listdir(str(made / "model")):
        shutil.copy(str(made / "model" / name), str(tmp_path))
    data = tmp_path / "model.ckpt-12.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[10**6] ^= 255
    data.write_bytes(bytes(content))
    with pytest.raises(UserError, match="every checkpoint in .* is damaged"):
        model_file.find_checkpoint(str(tmp_path))
    with pytest.raises(UserError, match="cannot read .*model.ckpt-12: "):
        model_file.find_checkpoint(str(tmp_path / "model.ckpt-12"))


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("dense/kernel", [3])
        tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), 3)
    with pytest.raises(UserError, match="no checkpoint of SSD-ResNet34: it lacks"):
        model_file.open_model(path)
