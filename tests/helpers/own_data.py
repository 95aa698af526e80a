# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small datasets with images of 50 x 30, and what the converter makes of them."""

import io
import json

import tensorflow.compat.v1 as tf
from PIL import Image

import commands

WIDTH, HEIGHT = 50, 30
BOX = [10.5, 5, 20, 20]


def encode_image(kind="JPEG"):
    output = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(output, kind)
    return output.getvalue()


JPEG = encode_image()


def succeed(cwd, *flags):
    """Runs the converter; returns what it prints."""
    result = commands.run("create_tf_record.py", ["--num_shards=1", *flags], cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


def fail(cwd, *flags):
    """Runs the converter, which must change no file; returns the lines of its error."""
    before = files_of(cwd)
    result = commands.run("create_tf_record.py", ["--num_shards=1", *flags], cwd)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("create_tf_record.py: ")
    assert files_of(cwd) == before
    return result.stderr


def files_of(folder):
    """Dict from the path of each file and folder to its content."""
    return {p: p.is_file() and p.read_bytes() for p in folder.rglob("*")}


def xml_of(objects, size=(WIDTH, HEIGHT), file_name="x.jpg"):
    """The xml of objects: (name, difficult, (xmin, ymin, xmax, ymax)) as in VOC."""
    text = [f"<annotation><filename>{file_name}</filename>"]
    if size is not None:
        text.append(f"<size><width>{size[0]}</width><height>{size[1]}</height></size>")
    for name, difficult, box in objects:
        sides = "".join(
            f"<{side}>{value}</{side}>"
            for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box)
        )
        text.append(
            f"<object><name>{name}</name><difficult>{difficult}</difficult>"
            # A part has its own name and box.
            "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
            f"<bndbox>{sides}</bndbox></object>"
        )
    return "".join(text) + "</annotation>"


def add_image(name, image_dir, xml_dir, *categories):
    """Writes an image and an xml in which each of the categories has one box."""
    for folder in (image_dir, xml_dir):
        folder.mkdir(parents=True, exist_ok=True)
    (image_dir / f"{name}.jpg").write_bytes(JPEG)
    objects = [(category, 0, (11, 6, 30, 25)) for category in categories]
    (xml_dir / f"{name}.xml").write_text(xml_of(objects))


def write_coco(path, categories, boxes):
    """Writes a json and its images; boxes: list of (image id, category id, bbox)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = sorted({image_id for image_id, _, _ in boxes})
    for image_id in images:
        (path.parent / f"{image_id}.jpg").write_bytes(JPEG)
    dataset = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "width": WIDTH, "height": HEIGHT}
            for i in images
        ],
        # The ids start at 0, as Roboflow numbers them.
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": box}
            for n, (i, c, box) in enumerate(boxes)
        ],
        "categories": [
            entry if isinstance(entry, dict) else {"id": n, "name": entry}
            for n, entry in enumerate(categories, 1)
        ],
    }
    path.write_text(json.dumps(dataset))


def features_of(path):
    """Dict from image id to dict of the features of all records in a shard."""
    examples = {}
    for line in tf.python_io.tf_record_iterator(str(path)):
        feature = tf.train.Example.FromString(line).features.feature
        values = {}
        for name in feature:
            kind = feature[name].WhichOneof("kind")
            values[name] = list(getattr(feature[name], kind).value) if kind else []
        examples[int(values["image/source_id"][0])] = values
    return examples
