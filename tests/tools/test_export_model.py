# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exports detect the same as --mode=eval, with the inputs and outputs they document."""

import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
import commands
import models
from console.errors import UserError
from dataset import categories
from detection import exporter, model_file, picture_stream


@pytest.fixture(scope="session")
def made(made_once):
    """Folder with a model, its export and pictures, see models.make."""
    return made_once("model", models.make)


def pixels_of(path):
    with open(path, "rb") as file, tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.image.decode_jpeg(file.read(), channels=3))


def load_frozen(path):
    graph_def = tf.GraphDef.FromString(path.read_bytes())
    tf.import_graph_def(graph_def, name="")
    return graph_def


def load_detect(session, folder):
    del session
    load_frozen(folder / "detect.pb")
    return "images:0", {name: name + ":0" for name in exporter.OUTPUTS}


def load_signature(session, folder, signature, input_name):
    """Returns (tensor name of the only input, dict from output to tensor name)."""
    tags = [tf.saved_model.SERVING]
    loaded = tf.saved_model.load(session, tags, str(folder / "saved_model"))
    signature = loaded.signature_def[signature]
    assert list(signature.inputs) == [input_name]
    outputs = {name: info.name for name, info in signature.outputs.items()}
    return signature.inputs[input_name].name, outputs


def load_default_signature(session, folder):
    return load_signature(session, folder, "serving_default", "images")


def check_same(outputs, row, expected):
    """One image's outputs against the evaluation's rows, see models.to_rows."""
    count = outputs["num_detections"][row]
    found = [outputs[name][row] for name in ("classes", "scores", "boxes")]
    models.check_same(np.column_stack([x[:count] for x in found]), expected)
    assert (np.diff(found[1]) <= 0).all()
    assert not any(x[count:].any() for x in found)


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_default_signature, load_detect])
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
        images, outputs = load_signature(session, made / "export", "resized", "input")
        found = session.run(outputs, {images: batch})
    for row, rows in enumerate(expected.values()):
        check_same(found, row, rows)


@pytest.mark.slow
def test_photographs_are_detected_in_as_by_the_evaluation(made, tmp_path, coco_sample):
    folder = os.path.join(coco_sample, "images")
    by_size = {}
    for name in sorted(os.listdir(folder))[:40]:
        path = os.path.join(folder, name)
        by_size.setdefault(pixels_of(path).shape, path)
    paths = list(by_size.values())[:6]
    assert len(paths) == 6
    checkpoint = str(made / "model" / "model.ckpt-12")
    expected = models.evaluate(checkpoint, paths, tmp_path)
    with tf.Graph().as_default(), tf.Session() as session:
        images, outputs = load_detect(session, made / "export")
        for path, detection in zip(paths, expected):
            found = session.run(outputs, {images: pixels_of(path)[None]})
            check_same(found, 0, models.to_rows(detection))


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
        (["--output_dir=new"], "--model is missing"),
        (["--model={model}"], "--output_dir is missing"),
        (["--model=.", "--output_dir=new"], "--model must be a checkpoint (model.ckpt"),
        (["--model={model}", "--output_dir=."], "--output_dir=. is not empty"),
        (
            ["--model={model}", "--output_dir=mine/x"],
            "mine: File exists",
        ),
        (
            ["--model={model}", "--output_dir=new"],
            "with 4 categories, not 80; give its --label_map",
        ),
    ],
)
def test_a_wrong_flag_is_one_line_and_nothing_is_written(
    made, tmp_path, flags, message
):
    (tmp_path / "mine").write_text("")
    flags = [flag.format(model=made / "model") for flag in flags]
    result = commands.run("export_model.py", flags, tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("export_model.py: ") and message in line
    assert os.listdir(str(tmp_path)) == ["mine"]


@pytest.mark.slow
def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("dense/kernel", [3])
        tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), 3)
    with pytest.raises(UserError, match="not a checkpoint of SSD-ResNet34: it lacks"):
        model_file.open_model(path)
