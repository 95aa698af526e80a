# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Equal to the published reference, figure by figure.

tests/data/ssd_resnet34.npz was made by that reference under TensorFlow 1.15.5; the
tolerances are those of the same graph under 1.15.5 and 2.15.1.
"""

import zlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
import dataset_parser
import ssd_architecture
import ssd_model
from dataset import categories
from evaluation import postprocess

TRAIN, PREDICT = tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.PREDICT


def ground_truth(golden):
    """(source id, boxes, classes) of each of the eight images."""
    ends = np.cumsum(golden["gt_counts"])
    for end, count, source_id in zip(ends, golden["gt_counts"], golden["source_ids"]):
        rows = slice(end - count, end)
        yield source_id, golden["gt_boxes"][rows], golden["gt_classes"][rows]


def random_outputs(golden):
    """Class and box outputs by level, drawn from the seed as golden's README says."""
    random = np.random.RandomState(int(golden["loss_seed"]))
    levels = list(zip(anchors.LEVELS, anchors.FEATURE_SIZES, anchors.BOXES_PER_CELL))
    class_outputs = {
        level: 2 * random.standard_normal((2, size, size, 81 * boxes))
        for level, size, boxes in levels
    }
    box_outputs = {
        level: random.standard_normal((2, size, size, 4 * boxes))
        for level, size, boxes in levels
    }
    return [
        {level: tf.constant(x.astype(np.float32)) for level, x in outputs.items()}
        for outputs in (class_outputs, box_outputs)
    ]


def first_two_labels(golden):
    return {
        "classes": tf.constant(golden["encoded_classes"][:2]),
        "boxes": tf.constant(golden["encoded_boxes"][:2]),
        "num_matched_boxes": tf.constant(golden["num_matched_boxes"][:2]),
    }


def features(golden):
    return {
        "image": tf.constant(golden["images_u8"].astype(np.float32) / 255),
        "source_id": tf.constant(golden["source_ids"][:2]),
        "raw_shape": tf.constant([[300, 300, 3]] * 2),
    }


def weight(name, shape):
    """The weight of a variable, made from its name alone."""
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    x = random.standard_normal(shape).astype(np.float32)
    kind = name.split("/")[-1]
    if kind == "kernel":
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        return x * scale * (0.1 if "class_net" in name or "box_net" in name else 1)
    if kind == "gamma":
        return 1 + 0.1 * x
    if kind == "moving_variance":
        return 1 + 0.1 * np.abs(x)
    return 0.1 * x


def model_variables(golden):
    names = set(golden["variable_names"])
    return [v for v in tf.global_variables() if v.op.name in names]


def load_weights(golden, session):
    session.run(tf.global_variables_initializer())
    for variable in model_variables(golden):
        name, shape = variable.op.name, variable.shape.as_list()
        variable.load(weight(name, shape), session)


def l2(arrays):
    return np.array([np.linalg.norm(array.astype(np.float64)) for array in arrays])


@pytest.mark.parametrize("order", ["ltrb", "xywh"])
def test_default_boxes_equal_the_reference(golden, order):
    boxes = anchors.DefaultBoxes()(order)
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes, golden["default_boxes_" + order], atol=1e-6)


def test_ground_truth_survives_a_tfrecord(golden, graph):
    for source_id, boxes, classes in ground_truth(golden):
        columns = dict(zip(("ymin", "xmin", "ymax", "xmax"), boxes.T))
        example = tf.train.Example()
        feature = example.features.feature
        feature["image/encoded"].bytes_list.value.append(b"not decoded here")
        feature["image/source_id"].bytes_list.value.append(str(source_id).encode())
        labels = feature["image/object/class/label"].int64_list.value
        labels.extend(categories.COCO.category_of_class(c) for c in classes)
        for name, column in columns.items():
            feature["image/object/bbox/" + name].float_list.value.extend(column)
        parsed = dataset_parser.parse_record(tf.constant(example.SerializeToString()))
        with tf.Session() as session:
            result = session.run(parsed)
        np.testing.assert_array_equal(result["boxes"], boxes)
        np.testing.assert_array_equal(result["classes"], classes)


def test_training_targets_equal_the_reference(golden, graph):
    boxes = tf.placeholder(tf.float32, [None, 4])
    classes = tf.placeholder(tf.int32, [None])
    targets = anchors.encode_labels(boxes, classes)
    with tf.Session() as session:
        for image, (_, gt_boxes, gt_classes) in enumerate(ground_truth(golden)):
            encoded_classes, encoded_boxes, num_matched = session.run(
                targets, {boxes: gt_boxes, classes: gt_classes}
            )
            np.testing.assert_array_equal(
                encoded_classes, golden["encoded_classes"][image]
            )
            np.testing.assert_allclose(
                encoded_boxes, golden["encoded_boxes"][image], atol=1e-4
            )
            assert num_matched == golden["num_matched_boxes"][image]


def test_losses_equal_the_reference_with_exactly_three_negatives_a_match(golden, graph):
    losses = ssd_model.detection_loss(*random_outputs(golden), first_two_labels(golden))
    with tf.Session() as session:
        total, class_loss, box_loss = session.run(losses)
    assert class_loss == pytest.approx(golden["class_loss_exact_k"], rel=5e-5)
    assert box_loss == pytest.approx(golden["box_loss"], rel=5e-5)
    assert total == pytest.approx(class_loss + box_loss, rel=5e-5)


def test_the_published_port_takes_one_negative_more_than_we_do(golden, graph):
    labels = first_two_labels(golden)
    num_matched = golden["num_matched_boxes"][:2]
    class_outputs, _ = random_outputs(golden)
    logits = ssd_architecture.flatten_levels(class_outputs)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels["classes"], logits=logits
    )
    is_positive = labels["classes"] > 0
    count = tf.constant(3 * num_matched + 1, tf.int32)
    is_hard = ssd_model.hardest_negatives(losses, ~is_positive, count)
    selected = tf.where(is_positive | is_hard, losses, tf.zeros_like(losses))
    class_loss = tf.reduce_mean(tf.reduce_sum(selected, axis=1) / num_matched)
    with tf.Session() as session:
        assert session.run(class_loss) == pytest.approx(
            golden["class_loss_ascend"], rel=5e-5
        )


def test_learning_rates_equal_the_reference(golden, graph):
    rows = golden["lr_ranks_batch_step_value"]
    rates = []
    for num_ranks, batch_size, step, _ in rows:
        params = dict(
            ssd_model.DEFAULT_PARAMS,
            num_ranks=int(num_ranks),
            batch_size=int(batch_size),
        )
        rates.append(ssd_model.learning_rate_schedule(params, tf.constant(int(step))))
    with tf.Session() as session:
        np.testing.assert_allclose(session.run(rates), rows[:, 3], atol=1e-6)


def test_learning_rate_0_02377195_at_step_3099_on_eight_devices(graph):
    params = dict(ssd_model.DEFAULT_PARAMS, num_ranks=8)
    rate = ssd_model.learning_rate_schedule(params, tf.constant(3099))
    with tf.Session() as session:
        assert f"{session.run(rate):.8f}" == "0.02377195"


def test_variables_have_the_names_and_shapes_of_published_checkpoints(golden, graph):
    ssd_model.ssd_model_fn(features(golden), None, PREDICT, ssd_model.DEFAULT_PARAMS)
    shapes = [",".join(map(str, v.shape.as_list())) for v in tf.global_variables()]
    names = [v.op.name for v in tf.global_variables()]
    assert names == list(golden["variable_names"])
    assert shapes == list(golden["variable_shapes"])
    trainable = [v.op.name for v in tf.trainable_variables()]
    assert trainable == list(golden["trainable_names"])


def test_forward_pass_equals_the_reference(golden, graph):
    spec = ssd_model.ssd_model_fn(
        features(golden), None, PREDICT, ssd_model.DEFAULT_PARAMS
    )
    with tf.Session() as session:
        load_weights(golden, session)
        outputs = session.run(spec.predictions)
    logits, offsets = outputs["class_logits"], outputs["box_offsets"]
    for ours, theirs in (
        (logits[:, ::97], golden["forward_class_sample"]),
        (offsets, golden["forward_box"]),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * abs(theirs).max())
    total = np.abs(logits).sum(dtype=np.float64)
    assert total == pytest.approx(golden["forward_class_sum"], rel=1e-5)


@pytest.fixture(scope="module")
def three_steps(golden):
    """Losses, gradients and variables of three momentum steps of ssd_model_fn."""
    with tf.Graph().as_default():
        params = dict(
            ssd_model.DEFAULT_PARAMS,
            # A constant learning rate of 1e-4.
            base_learning_rate=1e-4,
            warmup_epochs=0,
            decay_alpha=1.0,
        )
        labels = first_two_labels(golden)
        spec = ssd_model.ssd_model_fn(features(golden), labels, TRAIN, params)
        class_outputs, box_outputs = _outputs_of_the_graph()
        parts = ssd_model.detection_loss(class_outputs, box_outputs, labels)[1:]
        trainable = tf.trainable_variables()
        gradients = tf.gradients(spec.loss, trainable)
        variables = model_variables(golden)
        with tf.Session() as session:
            load_weights(golden, session)
            before = session.run(variables)
            result = {
                "gradient_names": [v.op.name for v in trainable],
                "gradients": session.run(gradients),
                "names": [v.op.name for v in variables],
                "before": before,
                "losses": [],
                "after": [],
            }
            for _ in range(3):
                result["losses"].append(session.run([spec.loss] + list(parts)))
                session.run(spec.train_op)
                result["after"].append(session.run(variables))
    return result


def _outputs_of_the_graph():
    """The predictors' outputs, found by the names of their bias additions."""
    graph = tf.get_default_graph()
    return [
        {
            level: graph.get_tensor_by_name(f"ssd/{kind}_net/{kind}-{level}/BiasAdd:0")
            for level in anchors.LEVELS
        }
        for kind in ("class", "box")
    ]


@pytest.mark.slow
def test_training_losses_equal_the_reference(golden, three_steps):
    np.testing.assert_allclose(
        three_steps["losses"], golden["train_losses_total_class_box"], rtol=5e-5
    )


@pytest.mark.slow
def test_gradients_equal_the_reference(golden, three_steps):
    assert three_steps["gradient_names"] == list(golden["gradient_names"])
    np.testing.assert_allclose(
        l2(three_steps["gradients"]), golden["gradient_l2"], rtol=2e-2
    )


@pytest.mark.slow
def test_variables_after_three_steps_equal_the_reference(golden, three_steps):
    order = [three_steps["names"].index(name) for name in golden["after3_names"]]
    after = [[arrays[i] for i in order] for arrays in three_steps["after"]]
    before = [three_steps["before"][i] for i in order]
    np.testing.assert_allclose(l2(after[2]), golden["after3_l2"], rtol=1e-5)
    for arrays, key in ((after[0], "after1_delta_l2"), (after[2], "after3_delta_l2")):
        changes = [x - y for x, y in zip(arrays, before)]
        np.testing.assert_allclose(l2(changes), golden[key], rtol=2e-2)


def test_decoded_boxes_equal_the_reference(golden, graph):
    _, box_outputs = random_outputs(golden)
    offsets = ssd_architecture.flatten_levels(box_outputs)
    with tf.Session() as session:
        boxes = session.run(anchors.decode_offsets(offsets))
    np.testing.assert_allclose(boxes, golden["decoded_boxes"], atol=1e-6)


def test_detections_equal_the_reference(golden, graph):
    class_outputs, box_outputs = random_outputs(golden)
    outputs = postprocess.detections(
        ssd_architecture.flatten_levels(class_outputs),
        ssd_architecture.flatten_levels(box_outputs),
    )
    with tf.Session() as session:
        boxes, scores, classes, counts = session.run(outputs)
    for i in range(2):
        assert counts[i] == len(golden[f"nms{i}_scores"])
        np.testing.assert_array_equal(classes[i], golden[f"nms{i}_classes"])
        np.testing.assert_allclose(scores[i], golden[f"nms{i}_scores"], atol=1e-6)
        np.testing.assert_allclose(boxes[i], golden[f"nms{i}_boxes"], atol=1e-6)
