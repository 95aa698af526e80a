# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches are drawn as the network sees them, and never end a training."""

import io
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import anchors
import records
from dataset import categories, drawing
from trainer import batch_pictures

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.slow

# 30 rows below the upper edge of the image to 180, and 60 columns from the left to 270.
BOX = [0.1, 0.2, 0.6, 0.9]
GRAY = 128


def batches(color_on):
    """Nine equal images with one bolt, whose pixels are 128."""
    columns = anchors.encode_labels(tf.constant([BOX]), tf.constant([1]))
    labels = dict(zip(("classes", "boxes", "num_matched_boxes"), columns))
    features = {"image": tf.fill([300, 300, 3], GRAY / 255)}
    if color_on == "device":
        changes = tf.constant([0.0, 1.0, 1.0, 0.0])
        image = tf.fill([300, 300, 3], tf.constant(GRAY, tf.uint8))
        features = {"image": image, "color_changes": changes}
    dataset = tf.data.Dataset.from_tensors((features, labels)).repeat()
    return dataset.batch(9, drop_remainder=True)


def watch(folder, color_on="host", every_steps=2):
    """Reads six batches, from that of step 5 on; the last step is 8."""
    labels = categories.LabelMap({3: "bolt"})
    with tf.Graph().as_default():
        pictures = batch_pictures.BatchPictures(every_steps, 5, 8, labels, str(folder))
        return records.elements(pictures.watch(batches(color_on)), 6)


def pictures_in(folder):
    """Dict from step to PNG bytes."""
    with tf.Graph().as_default():
        tf.summary.FileWriterCache.get(str(folder)).flush()
    (path,) = folder.glob("events.out.tfevents.*")
    return {
        event.step: value.image.encoded_image_string
        for event in tf.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == "training_batch"
    }


@pytest.mark.parametrize("color_on", ["host", "device"])
def test_every_second_batch_up_to_the_last_step_is_drawn(tmp_path, caplog, color_on):
    caplog.set_level("INFO", logger="tensorflow")
    elements = watch(tmp_path, color_on)
    assert [features["image"].shape for features, _ in elements] == [
        (9, 300, 300, 3)
    ] * 6
    pictures = pictures_in(tmp_path)
    assert list(pictures) == [5, 7]
    assert (tmp_path / "train_batches.png").read_bytes() == pictures[5]
    assert f"as the network sees it: {tmp_path}/train_batches.png" in caplog.text
    with Image.open(io.BytesIO(pictures[5])) as sheet:
        # Two rows of four panels of 300 pixels, with text above and below.
        assert sheet.size == (4 * 308 + 8, 2 * 348 + 8)
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    panel = pixels[8 + 348 + 20 :][:300, 8 + 3 * 308 :][:, :300]
    assert (panel[5, 5] == GRAY).all()
    # The lower side of the target box.
    assert (panel[int(0.6 * 299), 70:260] == drawing.color_of(0)).all()
    # A default box that is matched lies around it, in a thin line of the same color.
    outside = panel[190:, :, :]
    assert (outside == drawing.color_of(0)).all(axis=-1).any()


def test_what_is_off_draws_nothing_and_the_graph_has_the_same_operations(tmp_path):
    numbers = []
    for every_steps in (0, 1):
        with tf.Graph().as_default() as graph:
            pictures = batch_pictures.BatchPictures(every_steps, 1, 9, None, "none")
            pictures.watch(batches("host"))
            numbers.append(len(graph.get_operations()))
    assert numbers[0] == numbers[1]
    assert len(watch(tmp_path, every_steps=0)) == 6
    assert not list(tmp_path.iterdir())


def test_without_pillow_or_a_writable_folder_there_is_one_line(
    tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").write_text("")
    assert len(watch(tmp_path / "file" / "model")) == 6
    (line,) = [text for text in caplog.messages if "no pictures of" in text]
    assert "no pictures of training batches from step 5 on: NotWritable" in line
    caplog.clear()
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert len(watch(tmp_path)) == 6
    (line,) = [text for text in caplog.messages if "no pictures of" in text]
    assert "pictures of training batches from step 5 on: ModuleNotFoundError" in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
