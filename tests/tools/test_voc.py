# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pascal VOC folders: boxes, difficult objects, names, ids, and hostile xml."""

import json

import numpy as np
import pytest

from console.errors import UserError
from conversion import pascal_voc, shards, voc_folder
from dataset import categories
from own_data import HEIGHT, JPEG, WIDTH, fail, features_of, succeed, xml_of

FLAGS = ["--voc_dir=VOC2007", "--image_set=trainval", "--output_prefix=out/voc"]


class Voc:
    """A folder in VOC's layout."""

    def __init__(self, folder):
        self.folder = folder
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (folder / part).mkdir(parents=True)

    def add(self, name, xml, file_name=None):
        path = self.folder / "JPEGImages" / (file_name or name + ".jpg")
        path.write_bytes(JPEG)
        (self.folder / "Annotations" / f"{name}.xml").write_text(xml, encoding="utf-8")

    def add_set(self, name, lines):
        path = self.folder / "ImageSets" / "Main" / f"{name}.txt"
        path.write_text("\n".join(lines) + "\n")

    def read(self, image_set="trainval", label_map=None):
        folder, unusable = voc_folder.find(str(self.folder)), shards.UnusableImages()
        return pascal_voc.read(folder, image_set, label_map, None, False, unusable)


@pytest.fixture
def voc(tmp_path):
    voc = Voc(tmp_path / "VOC2007")
    voc.add(
        "000012",
        xml_of([("dog", 0, (1, 1, 50, 30)), ("car", 1, ("5.5", 6, 20, 29.5))]),
    )
    voc.add("000007", xml_of([("tvmonitor", 0, (11, 2, 70, 11)), ("dog", 0, (9,) * 4)]))
    voc.add("000003", xml_of([]))
    voc.add_set("trainval", ["000012", "000007.jpg", "", "000003"])
    return voc


def test_pixels_that_count_from_one_and_include_both_ends_become_coco_boxes(voc):
    dataset = voc.read()
    boxes = {
        (a["image_id"], a["category_id"]): a["bbox"] for a in dataset["annotations"]
    }
    assert boxes == {
        (12, 12): [0, 0, 50, 30],  # the whole image
        (12, 7): [4.5, 5, 15.5, 24.5],
        (7, 20): [10, 1, 60, 10],
        (7, 12): [8, 8, 1, 1],  # a single pixel
    }
    names = {c["id"]: c["name"] for c in dataset["categories"]}
    assert len(names) == 20
    assert (names[7], names[12], names[20]) == ("car", "dog", "tvmonitor")


def test_records_and_json_agree_and_keep_the_difficult_flag(voc):
    output = succeed(voc.folder.parent, *FLAGS)
    assert "3 images, 4 boxes, 0 of them crowd" in output
    assert "1 boxes that are difficult" in output
    assert "1 boxes clipped to their image" in output
    out = voc.folder.parent / "out"
    shard = out / "voc-00000-of-00001.tfrecord"
    names = sorted(path.name for path in out.iterdir())
    assert names == ["instances_voc.json", "label_map.json", shard.name]
    dataset = json.loads((out / "instances_voc.json").read_text())
    examples = features_of(shard)
    assert list(examples) == [3, 7, 12]
    assert examples[12]["image/object/difficult"] == [0, 1]
    assert examples[12]["image/object/is_crowd"] == [0, 1]
    assert examples[12]["image/object/class/text"] == [b"dog", b"car"]
    ymax = examples[12]["image/object/bbox/ymax"]
    np.testing.assert_allclose(ymax, [1, 29.5 / 30], rtol=1e-6)
    assert examples[7]["image/object/bbox/xmax"][0] == 1
    clipped = [a for a in dataset["annotations"] if a["category_id"] == 20]
    assert clipped[0]["bbox"] == [10, 1, 40, 10]
    areas = sorted(a["area"] for a in dataset["annotations"])
    assert areas == [1, 15.5 * 24.5, 400, 1500]
    images = {image["id"]: image for image in dataset["images"]}
    assert images[12]["file_name"] == "000012.jpg"
    assert (images[12]["width"], images[12]["height"]) == (WIDTH, HEIGHT)
    difficult = [a for a in dataset["annotations"] if a["difficult"]]
    assert [(a["category_id"], a["iscrowd"]) for a in difficult] == [(7, 1)]
    # The categories serve as a label map.
    for name in names[:2]:
        assert categories.read_label_map(str(out / name)).num_classes == 21


def test_own_names_get_the_same_ids_in_every_image_set(voc, capsys):
    # With VOC's names only, the ids are VOC's own.
    assert len(voc.read()["categories"]) == 20
    assert not capsys.readouterr().out
    voc.add("000020", xml_of([("zebra crossing", 0, (1, 1, 9, 9))]))
    voc.add("000021", xml_of([("bollard", 0, (1, 1, 9, 9))]))
    # With the byte order mark of editors on Windows.
    voc.add_set("a", ["\ufeff000020"])
    voc.add_set("b", ["000021", "000012"])
    for name in ("._000020.xml", "000099.txt"):
        (voc.folder / "Annotations" / name).write_text("no annotation")
    expected = ["bollard", "car", "dog", "tvmonitor", "zebra crossing"]
    # The third set does not contain these names.
    for image_set in ("a", "b", "trainval"):
        dataset = voc.read(image_set)
        names = [(c["id"], c["name"]) for c in dataset["categories"]]
        assert names == list(enumerate(expected, 1))
        told = "/Annotations/000021.xml is not one of VOC's names; the 5 names"
        assert told in capsys.readouterr().out


def test_a_broken_annotation_outside_the_set_is_told_where_it_decides(voc):
    voc.add("000020", "<annotation>")
    with pytest.raises(UserError, match="000020.xml is not a VOC annotation"):
        voc.read()
    path = voc.folder.parent / "map.json"
    path.write_text('{"categories": [{"id": 4, "name": "dog"}]}')
    assert voc.read(label_map=str(path))["images"]


def test_a_label_map_gives_the_ids_and_other_names_are_left_out_and_counted(voc):
    folder = voc.folder.parent
    names = [{"id": 4, "name": "dog"}, {"id": 9, "name": "car"}]
    (folder / "map.json").write_text(json.dumps({"categories": names}))
    output = succeed(folder, *FLAGS, "--label_map=map.json")
    assert "3 images, 3 boxes" in output
    assert "left out: 1 boxes of a category that is not listed" in output
    dataset = json.loads((folder / "out" / "instances_voc.json").read_text())
    assert dataset["categories"] == names
    assert sorted(a["category_id"] for a in dataset["annotations"]) == [4, 4, 9]


@pytest.mark.parametrize(
    "names, ids",
    [
        (["2008_000002", "2007_000027"], [2008000002, 2007000027]),
        (["b", "a7", "0010"], [3, 2, 1]),
        (["07", "7"], [1, 2]),  # both are 7
        (["9" * 16, "1"], [2, 1]),  # too long for pycocotools
    ],
)
def test_image_ids_are_numbers(voc, names, ids):
    for name in names:
        voc.add(name, xml_of([]))
    voc.add_set("named", names)
    dataset = voc.read("named")
    found = {image["file_name"][:-4]: image["id"] for image in dataset["images"]}
    assert found == dict(zip(names, ids))


def test_a_set_of_one_class_has_a_second_column(voc):
    voc.add("my dog", xml_of([]))
    voc.add_set("dog_trainval", ["000012  1", "000007 -1", "my dog  0", "my dog"])
    # Some datasets have no Main.
    sets = voc.folder / "ImageSets"
    (sets / "Main" / "dog_trainval.txt").rename(sets / "dog_trainval.txt")
    files = [image["file_name"] for image in voc.read("dog_trainval")["images"]]
    assert files == ["000012.jpg", "000007.jpg", "my dog.jpg"]


def test_the_xml_chooses_between_two_images_of_one_name(voc):
    voc.add("000030", xml_of([], file_name="000030.png"), "000030.png")
    (voc.folder / "JPEGImages" / "000030.jpg").write_bytes(b"")
    voc.add_set("one", ["000030"])
    assert voc.read("one")["images"][0]["file_name"] == "000030.png"
    voc.add("000030", xml_of([]))
    with pytest.raises(UserError, match="000030.jpg and 000030.png"):
        voc.read("one")


def test_without_a_size_in_the_xml_the_size_of_the_image_is_used(voc):
    voc.add("000030", xml_of([], size=None))
    voc.add("000031", xml_of([], size=(0, 0)))
    voc.add_set("two", ["000030", "000031"])
    for image in voc.read("two")["images"]:
        assert (image["width"], image["height"]) == (WIDTH, HEIGHT)


BOMB = "<!ENTITY a0 'lol'>" + "".join(
    f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 40)
)
EXTERNAL = '<!ENTITY e SYSTEM "file:///etc/passwd">'
BOX = (1, 1, 5, 5)


def declaring(encoding, xml):
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{xml}'


@pytest.mark.parametrize(
    "declared, encoding, name",
    [
        ("gb2312", "gb2312", "安全帽"),
        ("GB2312", "gbk", "朱镕基"),  # GBK under the older name, as Windows writes it
        ("gbk", "gbk", "猫"),  # its bytes are a letter in UTF-8
        ("big5", "big5", "紅細胞"),
        ("Shift_JIS", "cp932", "①猫"),
        ("windows-1252", "cp1252", "café"),
        ("utf-8", "utf-16", "猫"),
        ("utf-16", "utf-8", "猫"),
    ],
)
def test_xml_is_read_in_the_encoding_that_it_declares(
    tmp_path, declared, encoding, name
):
    path = tmp_path / "000012.xml"
    xml = declaring(declared, xml_of([(name, 0, BOX)])).replace("\n", "\r\n")
    path.write_bytes(xml.encode(encoding))
    assert pascal_voc.read_xml(str(path))[2] == [(name, 0, [1, 1, 5, 5])]


def test_the_list_of_a_set_may_come_from_another_system(voc):
    path = voc.folder / "ImageSets" / "Main" / "windows.txt"
    path.write_bytes("000012\r\n000007  1\r\n".encode("utf-16"))
    assert [image["id"] for image in voc.read("windows")["images"]] == [12, 7]
    path.write_bytes("红\n".encode("gbk"))
    with pytest.raises(UserError, match="windows.txt: its text is not UTF-8 .*iconv"):
        voc.read("windows")


@pytest.mark.parametrize(
    "text, message",
    [
        (f"<!DOCTYPE x [{BOMB}]><a>&a39;</a>".encode("utf-16"), "a document type"),
        (f"<!DOCTYPE x [{EXTERNAL}]><annotation>&e;</annotation>", "a document type"),
        ("<annotation>&e;</annotation>", "undefined entity"),
        (declaring("rot13", xml_of([])), "it declares an unknown encoding, rot13"),
        (xml_of([("安全帽", 0, BOX)]).encode("gbk"), "-f GB18030 -t UTF-8"),
        (declaring("gb2312", xml_of([("猫", 0, BOX)])), "gb2312, but its text has"),
        ("", "it is empty"),
        ("<annotation>" * 100000, "no element found"),
        ("x" * (2**21 + 1), "it has more than 2097152 bytes"),
        ("<html></html>", "its root element is html, not annotation"),
        (xml_of([("dog", 0, (1, "left", 5, 5))]), "bndbox/ymin is 'left', which is"),
        (xml_of([("dog", 0, (1, "1e999", 5, 5))]), "bndbox/ymin is '1e999', which"),
        (xml_of([("", 0, BOX)]), "an object has no name"),
        (xml_of([("dog", 0, BOX)]).replace("bndbox", "polygon"), "'dog' has no bndbox"),
    ],
    ids=(
        "bomb_in_utf_16 external_entity undefined_entity encoding gbk gb2312 empty "
        "deep large other_root word infinite no_name no_box"
    ).split(),
)
def test_hostile_or_broken_xml_is_refused(tmp_path, text, message):
    path = tmp_path / "000012.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    start = "000012.xml is not a VOC annotation: .*"
    with pytest.raises(UserError, match=start + message) as told:
        pascal_voc.read_xml(str(path))
    assert "\n" not in str(told.value)


def remove(name):
    return lambda voc: (voc.folder / name).rename(voc.folder / "elsewhere")


def put_fractions(voc):
    objects = [("dog", 0, (0.1, 0.1, 0.9, 0.8))] * 10
    voc.add("000012", xml_of(objects))
    voc.add_set("trainval", ["000012"])


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda voc: voc.add("000012", ""), "000012.xml is not a VOC annotation"),
        (remove("Annotations/000012.xml"), "VOC2007 does not have its xml; add or"),
        (remove("JPEGImages/000012.jpg"), "lists '000012', but VOC2007 does not have"),
        (remove("ImageSets"), "--image_set=trainval: cannot read "),
        (lambda voc: voc.add_set("trainval", []), "does not list any image"),
        (put_fractions, "lie within 0..1"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(voc, spoil, message):
    spoil(voc)
    errors = fail(voc.folder.parent, *FLAGS)
    assert len(errors.splitlines()) == 1
    assert errors.startswith("create_tf_record.py: --")
    assert message in errors
