# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a training takes from a checkpoint, and what --freeze leaves unchanged."""

import functools
import os
import pathlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
import models
import ssd_model
from dataset import categories
from trainer import initial_weights

# bolt is class 1 of the checkpoint, and washer class 4.
NEW_LABELS = categories.LabelMap({1: "washer", 2: "rivet", 3: "Bolt"})


@pytest.fixture(scope="module")
def backbone():
    """Values of the backbone's variables, by their names in its checkpoints."""
    shapes = initial_weights.backbone_shapes()
    return {
        name.replace("resnet34/", ""): np.full(shape, number, np.float32)
        for number, (name, shape) in enumerate(shapes.items(), 1)
    }


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """The prefix of a detector's checkpoint, and its values by name."""
    path = models.write_checkpoint(tmp_path_factory.mktemp("detector"))
    models.write_label_map(pathlib.Path(path).parent / "label_map.json")
    reader = tf.train.load_checkpoint(path)
    return path, {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
    }


def train(weights, freeze, label_map=NEW_LABELS):
    """Values of all variables by name: initial ones, and those after a step.

    Returns:
      (before, after): two dicts.
    """
    labels = {
        "classes": tf.zeros([1, 8732], tf.int32),
        "boxes": tf.zeros([1, 8732, 4]),
        "num_matched_boxes": tf.ones([1]),
    }
    features = {"image": tf.ones([1, 300, 300, 3])}
    params = dict(
        ssd_model.DEFAULT_PARAMS, num_classes=label_map.num_classes, warmup_epochs=0
    )
    model_fn = functools.partial(
        ssd_model.ssd_model_fn, updates_batch_norm=freeze == "none"
    )
    model_fn = initial_weights.apply(model_fn, weights, freeze)
    spec = model_fn(features, labels, "train", params)
    variables = {v.op.name: v for v in tf.global_variables()}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run(variables)
        session.run(spec.train_op)
        return before, session.run(variables)


@pytest.mark.slow
def test_backbone_is_loaded_and_other_variables_are_ignored(tmp_path, graph, backbone):
    path = str(tmp_path / "model.ckpt-28152")
    others = {"dense/kernel": [1.0, 2.0], "global_step": 28152}
    models.save(path, dict(backbone, **others))
    before, _ = train(initial_weights.of_backbone(path), "none")
    for name, value in backbone.items():
        np.testing.assert_array_equal(before["resnet34/" + name], value)
    check_fresh(before)


def check_fresh(values):
    """The step and the momentum start at 0."""
    assert values["global_step"] == 0
    momentum = [value for name, value in values.items() if name.endswith("Momentum")]
    assert momentum and not any(value.any() for value in momentum)


@pytest.mark.slow
def test_a_variable_that_is_missing_or_has_another_shape_is_named(tmp_path, backbone):
    first = {name: backbone[name] for name in list(backbone)[:10]}
    wide = dict(first, **{"batch_normalization_1/gamma": [1.0] * 65})
    for name, values, message in (
        ("cut", first, r"needs conv2d_2/kernel of shape \[3, 3, .* has none"),
        ("wide", wide, r"batch_normalization_1/gamma of shape \[64\], .* has \[65\]"),
    ):
        models.save(tmp_path / name, dict(values, global_step=1))
        with pytest.raises(ValueError, match="checkpoint of ResNet34: .*" + message):
            initial_weights.of_backbone(str(tmp_path / name))
    with pytest.raises(ValueError, match="cut is not a checkpoint of SSD-ResNet34: .*"):
        initial_weights.of_detector(str(tmp_path / "cut"), NEW_LABELS)


@pytest.mark.slow
def test_a_detector_with_other_classes_can_be_a_backbone(detector):
    path, values = detector
    names = initial_weights.of_backbone(path).variables
    assert set(names) == {name for name in values if name.startswith("resnet34/")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "freeze, frozen, num_frozen",
    [
        ("none", (), 0),
        # 29 convolutions, each with a batch norm of four variables.
        ("backbone", ("resnet34/",), 29 * 5),
        # Ten convolutions with bias.
        ("all_but_heads", ("resnet34/", "ssd/block"), 29 * 5 + 20),
    ],
)
def test_detector_is_loaded_by_category_and_frozen_variables_stay(
    graph, caplog, detector, freeze, frozen, num_frozen
):
    caplog.set_level("INFO", "tensorflow")
    path, values = detector
    weights = initial_weights.of_detector(os.path.dirname(path), NEW_LABELS)
    before, after = train(weights, freeze)
    for name, value in values.items():
        if "class_net" not in name and name != "global_step":
            np.testing.assert_array_equal(before[name], value)
    for level, k in zip(anchors.LEVELS, anchors.BOXES_PER_CELL):
        name = f"ssd/class_net/class-{level}/kernel"
        old = values[name].reshape([9, -1, k, 5])
        new = before[name].reshape([9, -1, k, 4])
        # Background, washer and bolt.
        np.testing.assert_array_equal(new[..., [0, 1, 3]], old[..., [0, 4, 1]])
        # Glorot's uniform distribution: its standard deviation is sqrt(2 / fans).
        rivet = new[..., 2]
        fans = 9 * (rivet.shape[1] + 4 * k)
        assert rivet.std() == pytest.approx(np.sqrt(2 / fans), rel=0.1)
        name = f"ssd/class_net/class-{level}/bias"
        old, new = values[name].reshape([k, 5]), before[name].reshape([k, 4])
        np.testing.assert_array_equal(new[:, [0, 1, 3]], old[:, [0, 4, 1]])
        assert not new[:, 2].any()
    check_fresh(before)
    same = {name for name in before if np.array_equal(before[name], after[name])}
    held = {name for name in before if frozen and name.startswith(frozen)}
    assert len(held) == num_frozen and held <= same
    # Weight decay changes every kernel that is not frozen.
    assert not {name for name in same - held if name.endswith("kernel")}
    assert not {name for name in held if name.endswith("Momentum")}
    assert "loading 189 variables of step 12" in caplog.text
    assert (
        "categories taken over by name: background, washer, Bolt; new categories: rivet"
        in caplog.text
    )


def link(path, folder):
    """Makes a checkpoint available in another folder; returns its prefix there."""
    for suffix in (".index", ".data-00000-of-00001"):
        name = os.path.basename(path) + suffix
        os.symlink(path + suffix, str(folder / name))
    return str(folder / os.path.basename(path))


@pytest.mark.slow
@pytest.mark.parametrize(
    "source, target, expected, line",
    [
        # Four boxes of five classes: random channels start at 20.
        (
            {0: "a b", 5: "c", 6: "d", 7: "c"},
            {1: "C ", 5: "A_B", 9: "c++"},
            [0, 2, 1, 23],
            "by name: background, C , A_B; new categories: c++",
        ),
        (None, {2: "x", 4: "y", 7: "z"}, [0, 2, 4, 23], "by id, for there is no label"),
        # The same number of categories: class by class.
        (None, {0: "w", 2: "x", 4: "y", 7: "z"}, [0, 1, 2, 3, 4], "new categories: no"),
    ],
    ids=["by name", "by id", "by id, as many"],
)
def test_categories_are_matched(
    tmp_path, caplog, detector, source, target, expected, line
):
    caplog.set_level("INFO", "tensorflow")
    path = link(detector[0], tmp_path)
    if source:
        models.write_label_map(tmp_path / "label_map.json", categories.LabelMap(source))
    weights = initial_weights.of_detector(path, categories.LabelMap(target))
    channels = weights.channels["ssd/class_net/class-3/bias"]
    # The first of four boxes, and the same channels of the second one.
    size = len(expected)
    assert len(channels) == 4 * size
    assert channels[:size] == expected
    second = [old + 5 if old < 20 else old + size for old in expected]
    assert channels[size : 2 * size] == second
    assert line in caplog.text


@pytest.mark.slow
def test_a_label_map_with_other_categories_than_its_checkpoint_is_named(
    tmp_path, detector
):
    path = link(detector[0], tmp_path)
    models.write_label_map(tmp_path / "label_map.json", NEW_LABELS)
    with pytest.raises(ValueError, match="with 4 categories, but .*map.json lists 3;"):
        initial_weights.of_detector(path, NEW_LABELS)


def test_a_training_resumes_only_with_the_momentum_of_all_its_variables(tmp_path):
    path = str(tmp_path / "model.ckpt-7")
    slots = ["ssd/block7-conv1x1/kernel/Momentum", "ssd/box_net/box-3/bias/Momentum"]
    models.save(path, {name: [0.0] for name in slots})
    initial_weights.check_resumable(path, "backbone")
    initial_weights.check_resumable(path, "all_but_heads")
    with pytest.raises(ValueError, match="not trained with --freeze=none: resnet34/ "):
        initial_weights.check_resumable(path, "none")
    models.save(path, {slots[1]: [0.0]})
    with pytest.raises(ValueError, match="not trained with --freeze=backbone: ssd/blo"):
        initial_weights.check_resumable(path, "backbone")
