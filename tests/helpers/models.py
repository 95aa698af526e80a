# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""An untrained model that detects some objects, and the evaluation's results for it."""

import json
import pathlib

import numpy as np
import tensorflow.compat.v1 as tf

import commands
import dataset_parser
import records
import ssd_architecture
import ssd_model
from dataset import categories
from devices import base, selection
from evaluation import postprocess

# Ids with gaps, so that classes and ids cannot be confused.
LABELS = categories.LabelMap({3: "bolt", 7: "nut", 20: "screw", 41: "washer"})
# Heights and widths of the pictures.
SIZES = ((120, 200), (333, 250), (300, 300), (61, 480), (500, 40))

BEST_SCORE = 0.35

# Chosen by trial: each picture has some dozen detections, with scores up to 0.6.
_BACKGROUND_BIAS = 7.5
_LAST_SCALE = 5.0
_SMALLEST_GAMMA = 0.3


def make(folder):
    """Fills a folder with a model and all that belongs to it; for made_once.

    model is a folder with model.ckpt-12, whose evaluation has its best F1 at
    BEST_SCORE, labels.json its label map, export its export (raw.pb: batches of 2),
    pictures a folder with a picture of each of SIZES, and expected.json what `expected`
    returns.
    """
    for name in ("model", "pictures", "evaluation"):
        (folder / name).mkdir()
    checkpoint = write_checkpoint(folder / "model")
    (folder / "model" / "eval").mkdir()
    metrics = {"step": 12, "best_score": BEST_SCORE}
    (folder / "model" / "eval" / "metrics-12.json").write_text(json.dumps(metrics))
    labels = write_label_map(folder / "labels.json")
    # TensorFlow would take these names for patterns.
    (folder / "model").rename(folder / "model [1]")
    flags = ["--model=model [1]", "--output_dir=export*?", f"--label_map={labels}"]
    result = commands.run("export_model.py", flags + ["--batch_size=2"], folder)
    assert result.returncode == 0, result.stderr
    assert "model [1]/model.ckpt-12: exported to export*?" in result.stdout
    assert result.stdout.endswith(
        ": atc --framework=3 '--model=export*?/raw.pb' "
        "'--output=export*?/ssd_resnet34' --input_format=NHWC "
        "--input_shape=input:2,300,300,3 "
        "'--out_nodes=class_logits:0;box_offsets:0' --soc_version=Ascend310P3\n"
    )
    (folder / "model [1]").rename(folder / "model")
    (folder / "export*?").rename(folder / "export")
    paths = write_pictures(folder / "pictures")
    detections = evaluate(checkpoint, paths, folder / "evaluation")
    rows = {path: to_rows(d) for path, d in zip(paths, detections)}
    # Only pictures with several classes can tell whether the order is right.
    assert all(len({row[0] for row in some}) > 1 for some in rows.values())
    (folder / "expected.json").write_text(json.dumps(rows))


def expected(folder):
    """Dict from the path of each picture of `make` to its detections, see `to_rows`."""
    return json.loads((folder / "expected.json").read_text())


def to_rows(detection, label_map=LABELS):
    """Rows [category id, score, ymin, xmin, ymax, xmax] of a postprocess.Detector."""
    return [
        [label_map.category_of_class(class_number), score] + box
        for class_number, score, box in zip(
            detection["classes"].tolist(),
            detection["scores"].tolist(),
            detection["boxes"].tolist(),
        )
    ]


def write_checkpoint(folder, label_map=LABELS, step=12):
    """Writes model.ckpt-STEP with equal random weights; returns its prefix, str."""
    random = np.random.RandomState(7)
    with tf.Graph().as_default(), tf.Session() as session:
        ssd_architecture.ssd(
            tf.zeros([1, 300, 300, 3]), False, num_classes=label_map.num_classes
        )
        tf.train.get_or_create_global_step().load(step, session)
        for variable in tf.global_variables():
            if variable.dtype.base_dtype == tf.float32:
                value = _weights(variable, random, label_map.num_classes)
                variable.load(value, session)
        return tf.train.Saver().save(
            session,
            str(folder / "model.ckpt"),
            global_step=step,
            write_meta_graph=False,
        )


def save(path, values):
    """Saves a dict of arrays by name as a checkpoint."""
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in values.items():
            tf.get_variable(name, initializer=value)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(path), write_meta_graph=False)


def _weights(variable, random, num_classes):
    name, shape = variable.op.name, variable.shape.as_list()
    x = random.standard_normal(shape).astype(np.float32)
    kind = name.split("/")[-1]
    if kind == "kernel":
        is_last = "class_net" in name or "box_net" in name
        return x * np.sqrt(2 / np.prod(shape[:-1])) * (_LAST_SCALE if is_last else 1)
    if kind == "gamma":
        return _SMALLEST_GAMMA + 0.1 * np.abs(x)
    if kind == "moving_variance":
        return 1 + 0.1 * np.abs(x)
    x *= 0.1
    if "class_net" in name:
        # Most default boxes are background.
        x.reshape([-1, num_classes])[:, 0] += _BACKGROUND_BIAS
    return x


def check_same(found, expected, limit=1e-4):
    """Compares rows of numbers in any order, because scores may almost tie."""
    assert len(found) == len(expected)
    found, expected = np.array(found), np.array(expected)
    if len(found):
        apart = np.abs(found[:, None] - expected).max(axis=2)
        assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < limit


def picture(size, seed=0):
    """uint8 [height, width, 3] with rectangles of all colors."""
    random = np.random.RandomState(seed)
    pixels = np.full(tuple(size) + (3,), random.randint(256, size=3), np.uint8)
    for _ in range(12):
        ends = np.sort([random.randint(side + 1, size=2) for side in size])
        (top, bottom), (left, right) = ends
        pixels[top:bottom, left:right] = random.randint(256, size=3)
    return pixels


def write_label_map(path, label_map=LABELS):
    """Writes a json for --label_map; returns its path."""
    path.write_bytes(label_map.to_json())
    return str(path)


def write_pictures(folder):
    """Writes a JPEG or PNG of each of SIZES; returns their paths."""
    paths = []
    for number, size in enumerate(SIZES):
        kind = "png" if number % 2 else "jpeg"
        path = folder / f"{number}.{kind}"
        path.write_bytes(records.encode_image(picture(size, number), kind))
        paths.append(str(path))
    return paths


def annotations_of(detections, first_id):
    """Annotations of a json: every other detection, a little to the right of it.

    Args:
      detections: list of dict, see `evaluate`, of the images 0, 1, ...
      first_id: int, the id of the first annotation.
    """
    annotations = []
    for image_id, (found, size) in enumerate(zip(detections, SIZES)):
        for box, number in list(zip(found["boxes"], found["classes"]))[::2]:
            ymin, xmin, ymax, xmax = box.astype(float) * [*size, *size]
            x = xmin + 0.01 * size[1]
            annotations.append(
                {
                    "id": first_id + len(annotations),
                    "image_id": image_id,
                    "category_id": LABELS.category_of_class(number),
                    "bbox": [x, ymin, xmax - xmin, ymax - ymin],
                }
            )
    return annotations


def evaluate(checkpoint_path, paths, folder, label_map=LABELS, batch_size=2):
    """Detects as --mode=eval does, from TFRecords, in float32.

    Returns:
      list of dict, see postprocess.Detector, one for each of paths.
    """
    rows = [
        records.record(i, pathlib.Path(path).read_bytes())
        for i, path in enumerate(paths)
    ]
    records.write(folder / "val.tfrecord", rows)
    device = selection.create("cpu", base.Options("must_keep_origin_dtype"))
    reader = dataset_parser.SSDInputReader(str(folder / "val.tfrecord"), False)
    params = dict(ssd_model.DEFAULT_PARAMS, num_classes=label_map.num_classes)
    estimator = device.predictor(ssd_model.ssd_model_fn, str(folder), params)
    batches = estimator.predict(
        lambda: reader({"batch_size": batch_size, "label_map": label_map}),
        checkpoint_path=checkpoint_path,
        yield_single_examples=False,
    )
    detector = postprocess.Detector()
    return [detection for batch in batches for detection in detector(batch)]
