# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The converter on datasets people have: layouts, splits, and files beside shards."""

import json

import pytest

from own_data import (
    BOX,
    JPEG,
    add_image,
    fail,
    features_of,
    files_of,
    succeed,
    write_coco,
)

COCO_FLAGS = ["--annotations=all.json", "--output_prefix=out/train"]


def read(path):
    return json.loads(path.read_text())


def ids_of(folder, name):
    """The image ids in the only shard of a set, and the json's, which are the same."""
    ids = list(features_of(folder / f"{name}-00000-of-00001.tfrecord"))
    assert [i["id"] for i in read(folder / f"instances_{name}.json")["images"]] == ids
    return ids


@pytest.mark.parametrize(
    "images, xmls",
    [(".", "."), ("images", "annotations"), ("Images", "Annotations")],
)
def test_folders_of_images_and_xml_files_are_read_whole(tmp_path, images, xmls):
    folder = tmp_path / "data set [1]"
    for name, category in (("b 1", "ant"), ("b 2", "bee"), ("a", "ant")):
        add_image(name, folder / images, folder / xmls, category)
    (folder / images / "new.JPG").write_bytes(JPEG)
    for name in ("._a.jpg", ".DS_Store", "classes.txt", "Thumbs.db"):
        (folder / images / name).write_bytes(b"?")
    (folder / images / "old").mkdir()
    (folder / xmls / "._a.xml").write_bytes(b"?")
    output = succeed(tmp_path, f"--voc_dir={folder}", "--output_prefix=out/train")
    assert "all 3 images with an xml are used" in output
    assert "left out: 1 images without an xml, for example new.JPG" in output
    assert "3 names that are not image files, for example Thumbs.db" in output
    dataset = read(tmp_path / "out" / "instances_train.json")
    names = [image["file_name"] for image in dataset["images"]]
    assert names == ["a.jpg", "b 1.jpg", "b 2.jpg"]
    boxes = [(a["category_id"], a["bbox"]) for a in dataset["annotations"]]
    assert boxes == [(number, [10, 5, 20, 20]) for number in (1, 1, 2)]
    names = [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}]
    assert read(tmp_path / "out" / "label_map.json") == {"categories": names}


def test_folders_that_cannot_be_read_are_told_with_the_layouts(tmp_path):
    flags = ["--output_prefix=out/train", "--voc_dir=VOCdevkit"]
    assert "cannot read the folder VOCdevkit: No such file" in fail(tmp_path, *flags)
    voc = tmp_path / "VOCdevkit" / "VOC2007"
    add_image("a", voc / "JPEGImages", voc / "Annotations", "cat")
    errors = fail(tmp_path, *flags)
    assert "no images in VOCdevkit (it has the folders VOC2007); expected" in errors
    (voc / "Annotations" / "a.xml").unlink()
    errors = fail(tmp_path, flags[0], "--voc_dir=VOCdevkit/VOC2007")
    assert "none of the 1 images in VOCdevkit/VOC2007/JPEGImages has an xml" in errors


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
        path = f"cells/{part}/_annotations.coco.json"
        write_coco(tmp_path / path, categories, boxes)
        flags = [f"--annotations={path}", f"--output_prefix=data/{part}"]
        assert "0, 'cells', is the group of the others" in succeed(tmp_path, *flags)
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
    source = f"--annotations={coco_sample}/instances.json"
    flags = [source, f"--image_dir={coco_sample}/images", "--output_prefix=train2017"]
    assert "128 images, 939 boxes, 10 of them crowd" in succeed(tmp_path, *flags)
    expected = read(tmp_path / coco_sample / "instances.json")
    written = read(tmp_path / "instances_train2017.json")
    for section, keys in (
        ("annotations", ("image_id", "category_id", "bbox", "area", "iscrowd")),
        ("images", ("id", "file_name", "width", "height")),
        ("categories", ("id", "name")),
    ):
        found, numbers = (
            sorted([entry[key] for key in keys] for entry in dataset[section])
            for dataset in (written, expected)
        )
        assert found == numbers


@pytest.mark.parametrize("is_voc", [False, True])
def test_validation_split_is_stratified_by_the_rarest_category(tmp_path, is_voc):
    # 40 images show a cat, ten of them a dog as well; five others show nothing.
    shown = {n: ["cat", "dog"][: 1 + (n > 30)] for n in range(1, 41)}
    shown.update((n, []) for n in range(41, 46))
    folder = tmp_path / "own"
    if is_voc:
        for n, names in shown.items():
            add_image(f"{n:02d}", folder, folder, *names)
        source = "--voc_dir=own"
    else:
        numbers = {"cat": 1, "dog": 2}
        boxes = [(n, numbers[c], BOX) for n in shown for c in shown[n]]
        # An image of no known category has no box that counts.
        boxes += [(n, 9, BOX) for n in range(41, 46)]
        write_coco(folder / "all.json", ["cat", "dog"], boxes)
        source = "--annotations=own/all.json"
    flags = [source, "--output_prefix=data/train", "--val_fraction=0.2", "--seed=3"]
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
    before = files_of(data)
    succeed(tmp_path, *flags)
    assert files_of(data) == before
    succeed(tmp_path, *flags[:3])
    assert ids_of(data, "val") != val
    # The json of one set can be converted again, and is left as it is.
    before = (data / "instances_train.json").read_bytes()
    source = "--annotations=data/instances_train.json"
    succeed(tmp_path, source, "--image_dir=own", flags[1])
    assert (data / "instances_train.json").read_bytes() == before
    # Lists that the user wrote or changed are not replaced.
    (data / "val.txt").write_text("mine\n")
    assert "data/val.txt exists and was not written by this" in fail(tmp_path, *flags)
    # The validation set would stay, and its images would be trained on as well.
    (data / "train.txt").unlink()
    errors = fail(tmp_path, *flags[:2])
    assert "repeat --val_fraction, or move the files of both sets away" in errors


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--val_fraction=1"], "--val_fraction=1: must be at least 0 and less than 1"),
        (["--val_fraction=nan"], "--val_fraction=nan: must be at least 0"),
        (["--val_fraction=0.1"], "the 2 images are too few to choose a validation"),
        (["--val_fraction=0.5", "--output_prefix=o/all"], "must start with 'train'"),
        (["--annotations="], "--annotations (COCO) or --voc_dir (Pascal VOC) is mis"),
        (["--voc_dir=own"], "--annotations cannot be used with --voc_dir; leave it"),
        (["--output_prefix=out/"], "--output_prefix=out/: must be the folder and the"),
        (["--output_prefix=all.json/x"], "cannot write all.json: File exists"),
        (["--output_prefix=obs://bucket/train"], "--output_prefix=obs://bucket/train:"),
        (["--image_dir=s3://bucket/images"], "--image_dir=s3://bucket/images: must be"),
        (["--annotations=", "--voc_dir=hdfs://a/VOC"], "--voc_dir=hdfs://a/VOC: must"),
    ],
)
def test_flags_that_cannot_be_right_are_told_before_anything_is_made(
    tmp_path, flags, message
):
    write_coco(tmp_path / "all.json", ["cat"], [(1, 1, BOX), (2, 1, BOX)])
    assert message in fail(tmp_path, *COCO_FLAGS, *flags)


@pytest.mark.parametrize("is_voc", [False, True])
def test_skip_unusable_leaves_out_and_names_missing_and_broken_images(tmp_path, is_voc):
    folder = tmp_path / "own"
    if is_voc:
        for n in range(1, 9):
            add_image(str(n), folder, folder, "cat")
        (folder / "3.xml").write_text("<annotation>")
        source = "--voc_dir=own"
        broken = ["2.jpg is cut", "3.xml is not", "7.xml has no"]
    else:
        write_coco(folder / "all.json", ["cat"], [(n, 1, BOX) for n in range(1, 9)])
        (folder / "3.jpg").write_bytes(b"text")
        source = "--annotations=own/all.json"
        broken = ["2.jpg is cut off", "3.jpg is not an image", "7.jpg, image 7, is mis"]
    (folder / "2.jpg").write_bytes(JPEG[:-9])
    (folder / "7.jpg").unlink()
    flags = [source, "--output_prefix=out/train"]
    assert "up to N out with --skip_unusable=N" in fail(tmp_path, *flags)
    errors = fail(tmp_path, *flags, "--skip_unusable=2")
    assert all(text in errors for text in broken)
    assert "(and 2 more, see above); add or repair it" in errors
    output = succeed(tmp_path, *flags, "--skip_unusable=3")
    assert "left out: 3 images (--skip_unusable):" in output
    assert all(text in output for text in broken)
    assert "out/train: 5 images, 5 boxes" in output
    # The ids of a VOC folder are those of the images that exist.
    assert ids_of(tmp_path / "out", "train") == [1, 4, 5, 6, 8]
    succeed(tmp_path, *flags, "--skip_unusable=3", "--val_fraction=0.4")
    assert len(ids_of(tmp_path / "out", "val")) in (1, 2)


def test_skip_unusable_does_not_write_shards_without_images(tmp_path):
    write_coco(tmp_path / "all.json", ["cat"], [(1, 1, BOX)])
    (tmp_path / "1.jpg").unlink()
    errors = fail(tmp_path, *COCO_FLAGS, "--skip_unusable=9")
    assert "but not all images; nothing was written" in errors


def test_all_wrong_entries_of_a_json_are_listed_up_to_20(tmp_path):
    path = tmp_path / "all.json"
    write_coco(path, ["cat"], [(n, 1, BOX) for n in range(30)])
    dataset = read(path)
    for annotation in dataset["annotations"][:3]:
        annotation["bbox"] = [1, 2, 3]
    path.write_text(json.dumps(dataset))
    assert fail(tmp_path, *COCO_FLAGS).count("not a list of four numbers") == 3
    for image in dataset["images"][:25]:
        del image["width"]
    path.write_text(json.dumps(dataset))
    errors = fail(tmp_path, *COCO_FLAGS)
    assert errors.count("width must be an integer from 1") == 20
    assert "(and 24 more, the first 19 of them above)" in errors


@pytest.mark.parametrize(
    "categories, message",
    [
        (["Cat", "dog", "cat "], "not at all: 'Cat' (id 1), 'cat ' (id 3); give each"),
        (["hot dog", "hotdog"], "'hot dog' (id 1), 'hotdog' (id 2)"),
        (["caf\u00e9", "cafe\u0301"], "(id 1), 'cafe\u0301' (id 2)"),
    ],
)
def test_categories_of_a_json_that_differ_in_case_or_spaces_are_refused(
    tmp_path, categories, message
):
    write_coco(tmp_path / "all.json", categories, [(1, 1, BOX)])
    assert message in fail(tmp_path, *COCO_FLAGS)


def test_names_in_xml_files_that_differ_in_case_or_spaces_are_refused(tmp_path):
    folder = tmp_path / "own"
    for name, category in (("1", "Cat"), ("2", "cat"), ("3", "dog"), ("4", "D og")):
        add_image(name, folder, folder, category)
    flags = ["--voc_dir=own", "--output_prefix=out/train"]
    errors = fail(tmp_path, *flags)
    assert "'Cat' (own/1.xml), 'cat' (own/2.xml)" in errors
    assert "'D og' (own/4.xml), 'dog' (own/3.xml)" in errors
    # A label map that lists one of them does not silently drop the other.
    path = tmp_path / "map.json"
    names = [{"id": 1, "name": "cat"}, {"id": 4, "name": "D og"}]
    path.write_text(json.dumps({"categories": names}))
    errors = fail(tmp_path, *flags, "--label_map=map.json")
    assert "'cat' (id 1 in the label map), 'Cat' (own/1.xml)" in errors


def test_later_voc_conversions_into_a_folder_take_the_ids_of_the_first(tmp_path):
    for name, names in (("a", "dog zebra"), ("b", "zebra"), ("c", "ant zebra")):
        add_image("1", tmp_path / name, tmp_path / name, *names.split())
    succeed(tmp_path, "--voc_dir=a", "--output_prefix=out/train")
    succeed(tmp_path, "--voc_dir=b", "--output_prefix=out/val")
    (box,) = read(tmp_path / "out" / "instances_val.json")["annotations"]
    assert box["category_id"] == 2
    flags = ["--voc_dir=c", "--output_prefix=out/test"]
    errors = fail(tmp_path, *flags)
    assert "3 is 'ant', but missing in out/label_map.json; the shards of one" in errors
    succeed(tmp_path, *flags, "--label_map=out/label_map.json")
    (box,) = read(tmp_path / "out" / "instances_test.json")["annotations"]
    assert box["category_id"] == 2
    # A label map of TensorFlow's Object Detection API counts as well.
    (tmp_path / "api").mkdir()
    text = "item { id: 1 name: 'ant' } item { id: 7 name: 'zebra' }"
    (tmp_path / "api" / "label_map.pbtxt").write_text(text)
    succeed(tmp_path, flags[0], "--output_prefix=api/test")
    boxes = read(tmp_path / "api" / "instances_test.json")["annotations"]
    assert [box["category_id"] for box in boxes] == [1, 7]
    assert not (tmp_path / "api" / "label_map.json").exists()
    (tmp_path / "map.json").write_text('{"categories": [{"id": 1, "name": "bee"}]}')
    other = ["--output_prefix=other/test", "--label_map=map.json"]
    errors = fail(tmp_path, flags[0], *other)
    assert "--voc_dir: no box counts: there are 2 boxes of a category" in errors
    (tmp_path / "map.json").write_text('{"categories": [{"id": 1, "name": "ant"}]}')
    errors = fail(tmp_path, *flags, "--label_map=map.json")
    assert "category 1 is 'ant', but 'dog' in out/label_map.json" in errors


def test_json_whose_categories_contradict_the_label_map_is_refused(tmp_path):
    write_coco(tmp_path / "all.json", ["cat", "dog"], [(1, 1, BOX)])
    write_coco(tmp_path / "b.json", ["dog", "dog 2", "cow"], [(1, 1, BOX)])
    succeed(tmp_path, *COCO_FLAGS)
    errors = fail(tmp_path, "--annotations=b.json", "--output_prefix=out/val")
    assert "category 1 is 'dog', but 'cat' in out/label_map.json (and 2 more" in errors
    assert "category 3 is 'cow', but missing in out/label_map.json" in errors
    (tmp_path / "out" / "label_map.json").write_text("{")
    errors = fail(tmp_path, *COCO_FLAGS)
    assert "--output_prefix: cannot read out/label_map.json" in errors


def test_json_of_the_user_is_never_replaced(tmp_path):
    path = tmp_path / "instances_train.json"
    write_coco(path, ["cat"], [(1, 1, BOX)])
    before = path.read_bytes()
    flags = ["--annotations=instances_train.json", "--output_prefix=train"]
    succeed(tmp_path, *flags)
    assert path.read_bytes() == before
    errors = fail(tmp_path, *flags, "--val_fraction=0.5")
    assert "instances_train.json is --annotations; move it away" in errors
    # Another json of that name is in the way.
    write_coco(tmp_path / "other.json", ["cat"], [(1, 1, BOX), (2, 1, BOX)])
    errors = fail(tmp_path, "--annotations=other.json", flags[1])
    assert "instances_train.json exists and was not written by this tool" in errors


def test_split_does_not_replace_sets_that_were_made_without_it(tmp_path):
    write_coco(tmp_path / "own" / "all.json", ["cat"], [(n, 1, BOX) for n in (1, 2, 3)])
    source = "--annotations=own/all.json"
    succeed(tmp_path, source, "--output_prefix=data/val")
    errors = fail(tmp_path, source, "--output_prefix=data/train", "--val_fraction=0.4")
    assert "data/instances_val.json is of a set that was made without" in errors


def test_set_without_a_box_that_counts_is_told(tmp_path):
    path = tmp_path / "all.json"
    write_coco(path, ["cat"], [(1, 1, BOX)])
    path.write_text(path.read_text().replace('"bbox"', '"iscrowd": 1, "bbox"'))
    output = succeed(tmp_path, *COCO_FLAGS)
    assert "no box counts: training or evaluation will refuse this set" in output
