# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading, sharding, decoding and evaluation batches."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
import dataset_parser
import records
from dataset import augmentation, categories, coco_json, image_header, record_files

# Black to white from left to right, red from top to bottom: 40 high, 60 wide.
Y, X = np.mgrid[0:40, 0:60]
GRADIENT = np.stack([Y * 6, X * 4, X * 4], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def jpeg():
    return records.encode_image(GRADIENT)


def write_numbered(folder, jpeg, records_per_file):
    """Files of records with ids 1, 2, ...; every third image has no box."""
    number = 0
    for index, count in enumerate(records_per_file):
        lines = []
        for _ in range(count):
            number += 1
            boxes = [[0.1, 0.2, 0.6, 0.9]] if number % 3 else []
            lines.append(records.record(number, jpeg, boxes, [1] * len(boxes)))
        records.write(folder / f"train2017-{index:05d}.tfrecord", lines)
    return str(folder / "train2017*")


def read_ids(pattern, **params):
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(pattern, is_training=False)
        batches = records.elements(reader(dict(params, batch_size=4)))
    return np.concatenate([[]] + [batch["source_id"] for batch in batches])


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize(
    "records_per_file, num_ranks",
    [([5], 1), ([5], 3), ([3, 4, 2], 2), ([3, 4, 2, 6], 2), ([1, 0, 7], 5)],
)
def test_every_record_belongs_to_exactly_one_rank(
    tmp_path, jpeg, records_per_file, num_ranks, is_training
):
    files = sorted(tf.gfile.Glob(write_numbered(tmp_path, jpeg, records_per_file)))
    seen = []
    for rank in range(num_ranks):
        with tf.Graph().as_default():
            shard = record_files.shard_records(files, num_ranks, rank, is_training)
            seen += [e["record"] for e in records.elements(shard) if not e["is_end"]]
    assert len(seen) == len(set(seen)) == sum(records_per_file)


def test_files_of_one_record_are_dealt_out_to_all_ranks(tmp_path, jpeg):
    pattern = write_numbered(tmp_path, jpeg, [1] * 5)
    counts = [(read_ids(pattern, num_ranks=2, rank=r) > 0).sum() for r in range(2)]
    assert sorted(counts) == [2, 3]


def test_the_last_evaluation_batch_is_filled_up_and_marked(tmp_path, jpeg):
    pattern = write_numbered(tmp_path, jpeg, [6])
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(pattern, is_training=False)
        dataset = reader({"batch_size": 4})
        shapes = tf.data.get_output_shapes(dataset)
        first, last = records.elements(dataset)
    assert shapes["image"].as_list() == [4, 300, 300, 3]
    assert first["source_id"].tolist() == [1, 2, 3, 4]
    assert last["source_id"].tolist() == [5, 6, -1, -1]
    assert last["image"].shape == (4, 300, 300, 3)
    assert last["raw_shape"][1].tolist() == [40, 60, 3]


@pytest.mark.parametrize("sizes", [[9], [2] * 5, [2] * 6])
def test_eval_samples_takes_the_same_images_with_any_number_of_ranks(
    tmp_path, jpeg, sizes
):
    pattern = write_numbered(tmp_path, jpeg, sizes)
    found = []
    for num_ranks in (1, 2):
        ids = []
        for rank in range(num_ranks):
            ids += read_ids(
                pattern, eval_samples=5, num_ranks=num_ranks, rank=rank
            ).tolist()
        found.append(sorted(number for number in ids if number > 0))
    assert len(found[0]) == 5
    assert found[0] == found[1]


def test_evaluation_resizes_the_whole_image_as_tensorflow_1_does(tmp_path, jpeg):
    records.write(tmp_path / "val", [records.record(1, jpeg)])
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(str(tmp_path / "val"), False)
        image = records.elements(reader({"batch_size": 1}))[0]["image"][0]
        pixels = tf.image.decode_jpeg(jpeg)
        with tf.Session() as session:
            pixels = session.run(pixels).astype(np.float32) / 255
    # Legacy bilinear sampling: output pixel i reads input position i * 40 / 300.
    y, x = 31, 233
    top, left = y * 40 / 300, x * 60 / 300
    part_y, part_x = top % 1, left % 1
    top, left = int(top), int(left)
    corners = pixels[top : top + 2, left : left + 2]
    rows = corners[0] * (1 - part_y) + corners[1] * part_y
    expected = rows[0] * (1 - part_x) + rows[1] * part_x
    np.testing.assert_allclose(image[y, x], expected, atol=1e-5)


def test_training_batches_have_static_shapes_and_targets(tmp_path, jpeg):
    pattern = write_numbered(tmp_path, jpeg, [4, 3])
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(pattern, is_training=True)
        dataset = reader({"batch_size": 3})
        features, labels = tf.data.get_output_shapes(dataset)
        batch_features, batch_labels = records.elements(dataset, limit=1)[0]
    assert features["image"].as_list() == [3, 300, 300, 3]
    assert labels["classes"].as_list() == [3, 8732]
    assert labels["boxes"].as_list() == [3, 8732, 4]
    assert labels["num_matched_boxes"].as_list() == [3]
    assert batch_features["image"].dtype == np.float32
    matched = (batch_labels["classes"] > 0).sum(axis=1)
    np.testing.assert_array_equal(matched, batch_labels["num_matched_boxes"])
    assert (matched > 0).all()  # the images without boxes were dropped


@pytest.mark.parametrize("synthetic_data", [False, True])
def test_images_whose_colors_the_device_changes(tmp_path, jpeg, synthetic_data):
    pattern = write_numbered(tmp_path, jpeg, [4])
    with tf.Graph().as_default():
        params = {"batch_size": 3, "synthetic_data": synthetic_data}
        reader = dataset_parser.SSDInputReader(pattern, is_training=True)
        dataset = reader(dict(params, color_on="device"))
        features, _ = records.elements(dataset, limit=1)[0]
    assert features["image"].dtype == np.uint8
    assert features["image"].shape == (3, 300, 300, 3)
    assert features["color_changes"].shape == (3, 4)
    lowest, highest = [-0.125, 0.5, 0.5, -0.05], [0.125, 1.5, 1.5, 0.05]
    assert (features["color_changes"] > lowest).all()
    assert (features["color_changes"] < highest).all()
    assert len(np.unique(features["color_changes"])) == 12


def test_without_zoom_out_the_graph_is_the_published_one(tmp_path, jpeg):
    pattern = write_numbered(tmp_path, jpeg, [4])
    ops = []
    for params in ({}, {"zoom_out": 0.0}, {"zoom_out": 0.5}):
        with tf.Graph().as_default() as graph:
            reader = dataset_parser.SSDInputReader(pattern, is_training=True)
            tf.data.make_one_shot_iterator(reader(dict(params, batch_size=3)))
            functions = graph.as_graph_def().library.function
        ops.append(sorted(node.op for f in functions for node in f.node_def))
    assert ops[0] == ops[1]
    # Round, minimum IoU and windows of a crop, flip and colors.
    assert ops[0].count("RandomUniform") + ops[0].count("RandomUniformInt") == 5
    assert "CropAndResize" not in ops[0]
    assert ops[2].count("CropAndResize") == 1


def test_boxes_of_a_category_that_coco_lacks_are_left_out(graph):
    boxes = [[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.6, 0.7], [0, 0, 1, 1], [0, 0, 0.5, 1]]
    serialized = records.record(1, b"", boxes, [12, 90, 91, -3])
    with tf.Session() as session:
        parsed = session.run(dataset_parser.parse_record(tf.constant(serialized)))
    assert parsed["classes"].tolist() == [80]
    np.testing.assert_allclose(parsed["boxes"], boxes[1:2])


def test_files_without_any_box_end_instead_of_hanging(tmp_path, jpeg):
    records.write(tmp_path / "train", [records.record(1, jpeg)])
    with tf.Graph().as_default():
        reader = dataset_parser.SSDInputReader(str(tmp_path / "train"), True)
        assert records.elements(reader({"batch_size": 1})) == []


def decode(encoded, window, is_flipped=False):
    with tf.Graph().as_default(), tf.Session() as session:
        pixels = augmentation.decode_window(
            tf.constant(encoded),
            tf.constant(image_header.read_size(encoded)),
            tf.constant(window),
            tf.constant(is_flipped),
        )
        return session.run(pixels) / 255


def reference_crop(pixels, window):
    """The whole image, cropped and resized by TensorFlow."""
    with tf.Graph().as_default(), tf.Session() as session:
        image = tf.constant(pixels[None] / 255, tf.float32)
        size = [anchors.IMAGE_SIZE] * 2
        return session.run(tf.image.crop_and_resize(image, window[None], [0], size))[0]


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize(
    "pixels_ltrb", [(4, 18, 22, 56), (0, 0, 39, 59), (27, 0, 39, 18), (5, 7, 5, 7)]
)
def test_decoding_a_window_equals_cropping_the_whole_image(kind, pixels_ltrb):
    encoded = records.encode_image(GRADIENT, kind)
    with tf.Graph().as_default(), tf.Session() as session:
        pixels = session.run(tf.image.decode_jpeg(encoded, channels=3))
    last_row, last_column = np.array(pixels.shape[:2]) - 1
    window = np.array(pixels_ltrb) / np.array([last_row, last_column] * 2)
    window = window.astype(np.float32)
    inner = slice(1, -1)  # at the border the reference may read black by rounding
    np.testing.assert_allclose(
        decode(encoded, window)[inner, inner],
        reference_crop(pixels, window)[inner, inner],
        # At the edges of a window of a JPEG, chroma is interpolated differently.
        atol=2.5 / 255 if kind == "jpeg" else 1e-5,
    )


def test_no_sample_falls_outside_the_image():
    # White everywhere: a sample past the border would be black.
    for height, width in [(2, 3), (37, 53), (300, 299), (480, 333), (1, 5)]:
        white = np.full([height, width, 3], 255, np.uint8)
        encoded = records.encode_image(white)
        for is_flipped in (False, True):
            image = decode(encoded, [0.0, 0.0, 1.0, 1.0], is_flipped)
            assert image.min() > 0.99, (height, width, is_flipped)


def test_flipping_mirrors_image_and_boxes(jpeg):
    window = [0.1, 0.3, 0.9, 0.8]
    image, mirrored = decode(jpeg, window), decode(jpeg, window, True)
    np.testing.assert_allclose(mirrored, image[:, ::-1], atol=1e-4)
    with tf.Graph().as_default(), tf.Session() as session:
        box = session.run(augmentation.flip_left_right([[0.1, 0.2, 0.5, 0.9]]))
    np.testing.assert_allclose(box, [[0.1, 0.1, 0.5, 0.8]], atol=1e-6)


def test_real_photographs_go_in(tmp_path, coco_sample):
    from conversion import annotations, shards

    dataset = coco_json.load(coco_sample + "/instances.json")
    entries, _ = annotations.plan(dataset, coco_sample + "/images")
    names = categories.COCO.names
    shards.write(str(tmp_path / "coco"), entries[:9], names, num_shards=1, workers=1)
    ids = read_ids(str(tmp_path / "coco-*"))
    assert sorted(ids[ids > 0]) == sorted(i["id"] for i in dataset["images"])[:9]
