# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The converter on the datasets people have: layouts, splits, and files beside shards.

Images are 50 x 30.
"""

import errno
import fcntl
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import commands
import records

JPEG = records.encode_image(np.full([30, 50, 3], 90, np.uint8))


def convert(cwd, *flags):
    """Runs the converter with one shard; returns (status, output, errors)."""
    given = ["--num_shards=1", "--workers=2", *flags]
    result = commands.run("create_tf_record.py", given, cwd)
    return result.returncode, result.stdout, result.stderr


def succeed(cwd, *flags):
    status, output, errors = convert(cwd, *flags)
    assert status == 0, errors
    return output


def fail(cwd, *flags):
    """Runs the converter, which must end with one line and write nothing."""
    before = contents(cwd)
    status, _, errors = convert(cwd, *flags)
    assert status == 2
    assert errors.splitlines()[-1].startswith("create_tf_record.py: ")
    assert contents(cwd) == before
    return errors


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def xml_of(*names):
    box = "<xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>25</ymax>"
    objects = (
        f"<object><name>{name}</name><bndbox>{box}</bndbox></object>" for name in names
    )
    size = "<size><width>50</width><height>30</height></size>"
    return f"<annotation>{size}{''.join(objects)}</annotation>"


def add(name, image_dir, xml_dir, *categories):
    """Adds an image and its xml to two folders."""
    for folder in (image_dir, xml_dir):
        folder.mkdir(parents=True, exist_ok=True)
    (image_dir / f"{name}.jpg").write_bytes(JPEG)
    (xml_dir / f"{name}.xml").write_text(xml_of(*categories))


def write_coco(folder, categories, boxes, file_name="_annotations.coco.json"):
    """Writes a json and its images; boxes: list of (image id, category id, bbox)."""
    folder.mkdir(parents=True, exist_ok=True)
    images = sorted({image_id for image_id, _, _ in boxes})
    for image_id in images:
        (folder / f"{image_id}.jpg").write_bytes(JPEG)
    dataset = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "width": 50, "height": 30}
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
    (folder / file_name).write_text(json.dumps(dataset))
    return folder / file_name


def read(path):
    return json.loads(path.read_text())


def ids_of(folder, name):
    """The image ids in the only shard of a set, and the json's, which are the same."""
    lines = tf.python_io.tf_record_iterator(f"{folder}/{name}-00000-of-00001.tfrecord")
    features = [tf.train.Example.FromString(line).features.feature for line in lines]
    ids = [int(f["image/source_id"].bytes_list.value[0]) for f in features]
    assert [i["id"] for i in read(folder / f"instances_{name}.json")["images"]] == ids
    return ids


BOX = [10.5, 5, 20, 20]


@pytest.mark.parametrize(
    "images, xmls",
    [(".", "."), ("images", "annotations"), ("Images", "Annotations")],
)
def test_folders_of_images_and_xml_files_are_read_whole(tmp_path, images, xmls):
    folder = tmp_path / "data set [1]"
    for name, category in (("b 1", "ant"), ("b 2", "bee"), ("a", "ant")):
        add(name, folder / images, folder / xmls, category)
    (folder / images / "new.JPG").write_bytes(JPEG)
    for name in ("._a.jpg", ".DS_Store", "classes.txt", "Thumbs.db"):
        (folder / images / name).write_bytes(b"?")
    (folder / images / "old").mkdir()
    (folder / xmls / "._a.xml").write_bytes(b"?")
    output = succeed(tmp_path, f"--voc_dir={folder}", "--output_prefix=out/train")
    assert "all 3 images with an xml are used" in output
    assert "left out: 1 image (new.JPG) without an xml" in output
    assert "passed over 3 names (Thumbs.db, ...), not an image file" in output
    dataset = read(tmp_path / "out" / "instances_train.json")
    assert [i["file_name"] for i in dataset["images"]] == [
        "a.jpg",
        "b 1.jpg",
        "b 2.jpg",
    ]
    boxes = [(a["category_id"], a["bbox"]) for a in dataset["annotations"]]
    assert boxes == [(number, [10, 5, 20, 20]) for number in (1, 1, 2)]
    names = [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}]
    assert read(tmp_path / "out" / "label_map.json") == {"categories": names}


def test_folders_that_cannot_be_read_are_told_with_the_layouts(tmp_path):
    flags = ["--output_prefix=out/train", "--voc_dir=VOCdevkit"]
    assert "cannot read the folder VOCdevkit: No such file" in fail(tmp_path, *flags)
    voc = tmp_path / "VOCdevkit" / "VOC2007"
    add("a", voc / "JPEGImages", voc / "Annotations", "cat")
    errors = fail(tmp_path, *flags)
    assert "no images in VOCdevkit (it has the folders VOC2007); expected" in errors
    (voc / "Annotations" / "a.xml").unlink()
    errors = fail(tmp_path, flags[0], "--voc_dir=VOCdevkit/VOC2007")
    assert "none of the 1 images in VOCdevkit/VOC2007/JPEGImages has an xml" in errors
    errors = fail(tmp_path, flags[0], f"--voc_dir={voc}", "--image_set=val")
    assert "has: none; without --image_set all images are used" in errors


def test_roboflow_json_needs_no_image_dir_and_its_group_is_no_category(tmp_path):
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 1, "name": "cells", "supercategory": "cells"},
        {"id": 2, "name": "RBC", "supercategory": "cells"},
    ]
    for part, boxes in (
        ("train", [(0, 1, BOX), (0, 2, [-5, 0, 20, 40]), (1, 2, BOX)]),
        ("valid", [(0, 2, BOX)]),
    ):
        path = write_coco(tmp_path / "cells" / part, categories, boxes)
        output = succeed(
            tmp_path,
            f"--annotations={path.relative_to(tmp_path)}",
            f"--output_prefix=data/{part}",
        )
        assert "category 0, 'cells', is the group of the others" in output
    train = read(tmp_path / "data" / "instances_train.json")
    assert [(a["id"], a["category_id"], a["bbox"]) for a in train["annotations"]] == [
        (1, 1, BOX),
        # Clipped to the image.
        (2, 2, [0, 0, 15, 30]),
        (3, 2, BOX),
    ]
    assert [a["area"] for a in train["annotations"]] == [400, 450, 400]
    names = [{"id": 1, "name": "cells"}, {"id": 2, "name": "RBC"}]
    assert read(tmp_path / "data" / "label_map.json") == {"categories": names}
    assert train["categories"] == names
    assert ids_of(tmp_path / "data", "valid") == [0]


def test_json_beside_the_shards_has_the_numbers_of_coco(tmp_path, coco_sample):
    succeed(
        tmp_path,
        f"--annotations={coco_sample}/instances.json",
        f"--image_dir={coco_sample}/images",
        "--output_prefix=train2017",
    )
    written = read(tmp_path / "instances_train2017.json")
    with open(f"{coco_sample}/instances.json") as file:
        source = json.load(file)

    def numbers(dataset):
        keys = ("image_id", "category_id", "bbox", "area", "iscrowd")
        return sorted([a[key] for key in keys] for a in dataset["annotations"])

    assert len(numbers(written)) == 939
    assert numbers(written) == numbers(source)
    sizes = [
        {(i["id"], i["file_name"], i["width"], i["height"]) for i in dataset["images"]}
        for dataset in (written, source)
    ]
    assert sizes[0] == sizes[1]
    assert len(written["categories"]) == 80


def test_areas_that_are_not_positive_become_those_of_the_boxes(tmp_path):
    path = write_coco(tmp_path, ["cat"], [(n, 1, BOX) for n in range(4)], "all.json")
    dataset = read(path)
    for annotation, area in zip(dataset["annotations"], (0, -1, None, 150)):
        annotation["area"] = area
    path.write_text(json.dumps(dataset))
    output = succeed(tmp_path, "--annotations=all.json", "--output_prefix=out/val")
    assert "2 areas that are not positive (that of the box is stored)" in output
    written = read(tmp_path / "out" / "instances_val.json")["annotations"]
    assert [box["area"] for box in written] == [400, 400, 400, 150]


@pytest.mark.parametrize("is_voc", [False, True])
def test_validation_split_is_stratified_by_the_rarest_category(tmp_path, is_voc):
    # 40 images show a cat, ten of them a dog as well; five others show nothing.
    shown = {n: ["cat", "dog"][: 1 + (n > 30)] for n in range(1, 41)}
    shown.update((n, []) for n in range(41, 46))
    folder = tmp_path / "own"
    if is_voc:
        for n, names in shown.items():
            add(f"{n:02d}", folder, folder, *names)
        source = "--voc_dir=own"
    else:
        numbers = {"cat": 1, "dog": 2}
        boxes = [(n, numbers[c], BOX) for n in shown for c in shown[n]]
        # An image of no known category has no box that counts.
        boxes += [(n, 9, BOX) for n in range(41, 46)]
        write_coco(folder, ["cat", "dog"], boxes)
        source = "--annotations=own/_annotations.coco.json"
    flags = [source, "--val_fraction=0.2", "--output_prefix=data/train", "--seed=3"]
    output = succeed(tmp_path, *flags)
    data = tmp_path / "data"
    train, val = ids_of(data, "train"), ids_of(data, "val")
    assert sorted(train + val) == list(shown)
    # The same in every version of Python; 6 of 30 cats, 2 of 10 dogs, 1 of 5 others.
    assert val == [2, 4, 9, 11, 14, 20, 35, 36, 41]
    assert "data/train: 36 images" in output and "data/val: 9 images" in output
    digits = "02d" if is_voc else "d"
    assert (data / "val.txt").read_text() == "".join(f"{n:{digits}}\n" for n in val)
    assert len((data / "train.txt").read_text().splitlines()) == 36
    before = contents(data)
    succeed(tmp_path, *flags)
    assert contents(data) == before
    succeed(tmp_path, *flags[:3])
    assert ids_of(data, "val") != val
    # Lists that the user wrote or changed are not replaced.
    (data / "val.txt").write_text("mine\n")
    assert "data/val.txt exists and was not written by this" in fail(tmp_path, *flags)


def test_categories_that_one_set_lacks_are_told_and_one_image_is_trained_on(tmp_path):
    boxes = [(n, 1, BOX) for n in range(9)] + [(9, 2, BOX)]
    write_coco(tmp_path, ["cat", "dog"], boxes, "all.json")
    flags = ["--annotations=all.json", "--output_prefix=out/train2017"]
    output = succeed(tmp_path, *flags, "--val_fraction=0.3")
    assert "out/val2017 has no box of: dog" in output
    assert "train2017 has no box" not in output
    assert len(ids_of(tmp_path / "out", "val2017")) == 3
    assert 9 in ids_of(tmp_path / "out", "train2017")


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--val_fraction=1"], "--val_fraction=1: must be less than 1"),
        (["--val_fraction=nan"], "--val_fraction=nan: must be less than 1"),
        (["--val_fraction=0.1"], "the 2 images are too few to choose a validation"),
        (["--val_fraction=0.5", "--output_prefix=o/all"], "must start with 'train'"),
        (["--output_prefix=out/"], "--output_prefix=out/: must be the folder and the"),
        (["--output_prefix="], "--output_prefix=: must be the folder and the start"),
        (["--output_prefix=obs://bucket/train"], "--output_prefix=obs://bucket/train:"),
        (["--image_dir=s3://bucket/images"], "--image_dir=s3://bucket/images: must be"),
        (["--annotations=gs://b/a.json"], "--annotations=gs://b/a.json: must be a lo"),
        (["--annotations=", "--voc_dir=hdfs://a/VOC"], "--voc_dir=hdfs://a/VOC: must"),
        (["--label_map=s3://bucket/map.json"], "--label_map=s3://bucket/map.json: mu"),
    ],
)
def test_flags_that_cannot_be_right_are_told_before_anything_is_made(
    tmp_path, flags, message
):
    write_coco(tmp_path, ["cat"], [(1, 1, BOX), (2, 1, BOX)], "all.json")
    given = ["--annotations=all.json", "--output_prefix=out/train", *flags]
    assert message in fail(tmp_path, *given)
    assert sorted(os.listdir(str(tmp_path))) == ["1.jpg", "2.jpg", "all.json"]


@pytest.mark.parametrize("is_voc", [False, True])
def test_skip_unusable_leaves_out_and_names_missing_and_broken_images(tmp_path, is_voc):
    folder = tmp_path / "own"
    if is_voc:
        for n in range(1, 9):
            add(str(n), folder, folder, "cat")
        (folder / "3.xml").write_text("<annotation>")
        source, broken = (
            "--voc_dir=own",
            ["2.jpg is cut", "3.xml is not", "7.xml has no"],
        )
    else:
        write_coco(folder, ["cat"], [(n, 1, BOX) for n in range(1, 9)])
        (folder / "3.jpg").write_bytes(b"text")
        source = "--annotations=own/_annotations.coco.json"
        broken = ["2.jpg is cut off", "3.jpg is not an image", "7.jpg, image 7, is mis"]
    (folder / "2.jpg").write_bytes(JPEG[:-9])
    (folder / "7.jpg").unlink()
    flags = [source, "--output_prefix=out/train"]
    assert "up to N out with --skip_unusable=N" in fail(tmp_path, *flags)
    errors = fail(tmp_path, *flags, "--skip_unusable=2")
    assert all(text in errors for text in broken)
    assert "(and 2 more, see above); more than --skip_unusable=2 images" in errors
    output = succeed(tmp_path, *flags, "--skip_unusable=3")
    assert "left out: 3 images (--skip_unusable):" in output
    assert all(text in output for text in broken)
    assert "out/train: 5 images, 5 boxes" in output
    # The ids of a VOC folder are those of the images that exist.
    assert ids_of(tmp_path / "out", "train") == [1, 4, 5, 6, 8]
    succeed(tmp_path, *flags, "--skip_unusable=3", "--val_fraction=0.4")
    assert len(ids_of(tmp_path / "out", "val")) in (1, 2)


def test_skip_unusable_does_not_write_shards_without_images(tmp_path):
    write_coco(tmp_path, ["cat"], [(1, 1, BOX)], "all.json")
    (tmp_path / "1.jpg").write_bytes(b"text")
    flags = ["--annotations=all.json", "--output_prefix=out/train", "--skip_unusable=9"]
    assert "1.jpg is not an image that Pillow" in fail(tmp_path, *flags)
    (tmp_path / "1.jpg").unlink()
    assert "no image is left; nothing was written" in fail(tmp_path, *flags)


def test_all_wrong_entries_of_a_json_are_listed_up_to_20(tmp_path):
    path = write_coco(tmp_path, ["cat"], [(n, 1, BOX) for n in range(30)], "all.json")
    dataset = read(path)
    for annotation in dataset["annotations"][:3]:
        annotation["bbox"] = [1, 2, 3]
    path.write_text(json.dumps(dataset))
    flags = ["--annotations=all.json", "--output_prefix=out/train"]
    lines = fail(tmp_path, *flags).splitlines()
    assert len([line for line in lines if "not a list of four numbers" in line]) == 3
    for image in dataset["images"][:25]:
        del image["width"]
    path.write_text(json.dumps(dataset))
    lines = fail(tmp_path, *flags).splitlines()
    assert len([line for line in lines if "has no width" in line]) == 20
    assert "(and 24 more, the first 19 of them above)" in lines[-1]
    errors = fail(tmp_path, f"--annotations={write_moved(tmp_path)}", *flags[1:])
    assert "none of the 3 images is in --image_dir=moved; give the folder" in errors


def write_moved(tmp_path):
    """Writes a json whose images are elsewhere; returns its path from there."""
    path = write_coco(tmp_path / "moved", ["cat"], [(n, 1, BOX) for n in range(3)])
    for image in path.parent.glob("*.jpg"):
        image.unlink()
    return path.relative_to(tmp_path)


@pytest.mark.parametrize(
    "categories, message",
    [
        (["Cat", "dog", "cat "], "not at all: 'Cat' (id 1), 'cat ' (id 3); give each"),
        (["hot dog", "hotdog"], "'hot dog' (id 1), 'hotdog' (id 2)"),
        (["cat", "cat"], "'cat' (id 1), 'cat' (id 2)"),
        (["caf\u00e9", "cafe\u0301"], "(id 1), 'cafe\u0301' (id 2)"),
    ],
)
def test_categories_of_a_json_that_differ_in_case_or_spaces_are_refused(
    tmp_path, categories, message
):
    write_coco(tmp_path, categories, [(1, 1, BOX)], "all.json")
    errors = fail(tmp_path, "--annotations=all.json", "--output_prefix=out/train")
    assert message in errors


def test_names_in_xml_files_that_differ_in_case_or_spaces_are_refused(tmp_path):
    folder = tmp_path / "own"
    for name, category in (("1", "Cat"), ("2", "cat"), ("3", "dog"), ("4", "D og")):
        add(name, folder, folder, category)
    flags = ["--voc_dir=own", "--output_prefix=out/train"]
    errors = fail(tmp_path, *flags)
    assert "'Cat' (own/1.xml), 'cat' (own/2.xml)" in errors
    assert "'D og' (own/4.xml), 'dog' (own/3.xml)" in errors
    # A label map that lists one of them does not silently drop the other.
    path = tmp_path / "map.json"
    path.write_text(
        '{"categories": [{"id": 1, "name": "cat"}, {"id": 4, "name": "D og"}]}'
    )
    errors = fail(tmp_path, *flags, "--label_map=map.json")
    assert "'cat' (id 1 in the label map), 'Cat' (own/1.xml)" in errors


def test_later_voc_conversions_into_a_folder_take_the_ids_of_the_first(tmp_path):
    for folder, names in (
        ("a", ["dog", "zebra"]),
        ("b", ["zebra"]),
        ("c", ["ant", "zebra"]),
    ):
        add("1", tmp_path / folder, tmp_path / folder, *names)
    succeed(tmp_path, "--voc_dir=a", "--output_prefix=out/train")
    succeed(tmp_path, "--voc_dir=b", "--output_prefix=out/val")
    (box,) = read(tmp_path / "out" / "instances_val.json")["annotations"]
    assert box["category_id"] == 2
    flags = ["--voc_dir=c", "--output_prefix=out/test"]
    errors = fail(tmp_path, *flags)
    assert "'ant' in c/1.xml is missing in out/label_map.json; the shards of" in errors
    succeed(tmp_path, *flags, "--label_map=out/label_map.json")
    (box,) = read(tmp_path / "out" / "instances_test.json")["annotations"]
    assert box["category_id"] == 2
    # A label map of TensorFlow's Object Detection API counts as well.
    (tmp_path / "api").mkdir()
    text = "item { id: 1 name: 'ant' } item { id: 7 name: 'zebra' }"
    (tmp_path / "api" / "label_map.pbtxt").write_text(text)
    output = succeed(tmp_path, flags[0], "--output_prefix=api/test")
    assert "api/label_map.pbtxt: for --label_map" in output
    boxes = read(tmp_path / "api" / "instances_test.json")["annotations"]
    assert [box["category_id"] for box in boxes] == [1, 7]
    assert not (tmp_path / "api" / "label_map.json").exists()
    (tmp_path / "map.json").write_text('{"categories": [{"id": 1, "name": "bee"}]}')
    other = ["--output_prefix=other/test", "--label_map=map.json"]
    errors = fail(tmp_path, flags[0], *other)
    assert "--voc_dir=c: no box counts: there are 2 boxes of a category" in errors
    (tmp_path / "map.json").write_text('{"categories": [{"id": 1, "name": "ant"}]}')
    errors = fail(tmp_path, *flags, "--label_map=map.json")
    assert "category 1 is 'ant', but 'dog' in out/label_map.json" in errors


def test_json_whose_categories_contradict_the_label_map_is_refused(tmp_path):
    write_coco(tmp_path, ["cat", "dog"], [(1, 1, BOX)], "a.json")
    write_coco(tmp_path, ["dog", "dog 2", "cow"], [(1, 1, BOX)], "b.json")
    succeed(tmp_path, "--annotations=a.json", "--output_prefix=out/train")
    errors = fail(tmp_path, "--annotations=b.json", "--output_prefix=out/val")
    assert "category 1 is 'dog', but 'cat' in out/label_map.json (and 2 more" in errors
    assert "category 3 is 'cow', but missing in out/label_map.json" in errors
    (tmp_path / "out" / "label_map.json").write_text("{")
    errors = fail(tmp_path, "--annotations=a.json", "--output_prefix=out/train")
    assert "--output_prefix: cannot read out/label_map.json" in errors


def test_json_of_the_user_is_never_replaced(tmp_path):
    path = write_coco(tmp_path, ["cat"], [(1, 1, BOX)], "instances_train.json")
    before = path.read_bytes()
    flags = [f"--annotations={path}", f"--output_prefix={tmp_path}/train"]
    output = succeed(tmp_path, *flags)
    assert "instances_train.json: left as it is, because it is --annotations" in output
    assert path.read_bytes() == before
    errors = fail(tmp_path, *flags, "--val_fraction=0.5")
    assert "instances_train.json is --annotations; move it away" in errors
    # Another json of that name is in the way.
    other = write_coco(tmp_path, ["cat"], [(1, 1, BOX), (2, 1, BOX)], "other.json")
    errors = fail(tmp_path, f"--annotations={other}", flags[1])
    assert "instances_train.json exists and was not written by this tool" in errors


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EBADF])
def test_file_system_without_locks_is_written_to(tmp_path, monkeypatch, number):
    def flock(*unused):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    write_coco(tmp_path, ["cat"], [(1, 1, BOX)], "all.json")
    succeed(tmp_path, "--annotations=all.json", "--output_prefix=out/train")
    assert ids_of(tmp_path / "out", "train") == [1]


def test_output_folder_that_is_a_file_is_one_line(tmp_path):
    write_coco(tmp_path, ["cat"], [(1, 1, BOX)], "all.json")
    (tmp_path / "out").write_text("")
    errors = fail(tmp_path, "--annotations=all.json", "--output_prefix=out/train")
    assert "cannot write out/.partial-train: Not a directory" in errors
