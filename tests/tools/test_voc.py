# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pascal VOC folders: boxes, difficult objects, names, ids, and hostile xml."""

import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import commands
import records
from console.errors import UserError
from conversion import pascal_voc, voc_folder
from dataset import categories

WIDTH, HEIGHT = 50, 30


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


class Voc:
    """A folder in VOC's layout."""

    def __init__(self, folder):
        self.folder = folder
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (folder / part).mkdir(parents=True)
        pixels = np.full([HEIGHT, WIDTH, 3], 90, np.uint8)
        self.jpeg = records.encode_image(pixels)

    def add(self, name, xml, file_name=None):
        path = self.folder / "JPEGImages" / (file_name or name + ".jpg")
        path.write_bytes(self.jpeg)
        (self.folder / "Annotations" / f"{name}.xml").write_text(xml, encoding="utf-8")

    def add_set(self, name, lines):
        path = self.folder / "ImageSets" / "Main" / f"{name}.txt"
        path.write_text("\n".join(lines) + "\n")

    def read(self, image_set="trainval", **options):
        folder = voc_folder.find(str(self.folder))
        return pascal_voc.read(folder, image_set, **options)


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


def run(voc, *flags):
    given = [f"--voc_dir={voc.folder}", "--image_set=trainval", "--num_shards=1"]
    given += [f"--output_prefix={voc.folder.parent}/out/voc", *flags]
    return commands.run("create_tf_record.py", given, "/")


def converted(voc):
    """(records by id, json) of a finished run."""
    out = voc.folder.parent / "out"
    shard = "voc-00000-of-00001.tfrecord"
    assert sorted(os.listdir(str(out))) == [
        "instances_voc.json",
        "label_map.json",
        shard,
    ]
    examples = {}
    for line in tf.python_io.tf_record_iterator(str(out / shard)):
        feature = tf.train.Example.FromString(line).features.feature
        examples[int(feature["image/source_id"].bytes_list.value[0])] = feature
    return examples, json.loads((out / "instances_voc.json").read_text())


def test_pixels_that_count_from_one_and_include_both_ends_become_coco_boxes(voc):
    dataset, counts = voc.read()
    boxes = {
        (a["image_id"], a["category_id"]): a["bbox"] for a in dataset["annotations"]
    }
    assert boxes == {
        (12, 12): [0, 0, 50, 30],  # the whole image
        (12, 7): [4.5, 5, 15.5, 24.5],
        (7, 20): [10, 1, 40, 10],  # clipped on the right, from 70 to 50
        (7, 12): [8, 8, 1, 1],  # a single pixel
    }
    areas = sorted(a["area"] for a in dataset["annotations"])
    assert areas == [1, 15.5 * 24.5, 400, 1500]
    assert counts["boxes clipped to their image"] == 1
    names = {c["id"]: c["name"] for c in dataset["categories"]}
    assert len(names) == 20
    assert (names[7], names[12], names[20]) == ("car", "dog", "tvmonitor")


def test_records_and_json_agree_and_keep_the_difficult_flag(voc):
    result = run(voc)
    assert result.returncode == 0, result.stderr
    assert "3 images, 4 boxes, 0 of them crowd" in result.stdout
    assert "1 boxes that are difficult" in result.stdout
    examples, dataset = converted(voc)
    assert list(examples) == [3, 7, 12]
    flags = examples[12]["image/object/difficult"].int64_list.value
    assert list(flags) == [0, 1]
    assert list(examples[12]["image/object/is_crowd"].int64_list.value) == [0, 1]
    texts = examples[12]["image/object/class/text"].bytes_list.value
    assert list(texts) == [b"dog", b"car"]
    ymax = examples[12]["image/object/bbox/ymax"].float_list.value
    np.testing.assert_allclose(ymax, [1, 29.5 / 30], rtol=1e-6)
    images = {image["id"]: image for image in dataset["images"]}
    assert images[12]["file_name"] == "000012.jpg"
    assert (images[12]["width"], images[12]["height"]) == (WIDTH, HEIGHT)
    difficult = [a for a in dataset["annotations"] if a["difficult"]]
    assert [(a["category_id"], a["iscrowd"]) for a in difficult] == [(7, 1)]
    # The categories serve as a label map.
    assert "instances_voc.json: for --val_json_file\n" in result.stdout
    assert "label_map.json: for --label_map\n" in result.stdout
    for name in ("instances_voc.json", "label_map.json"):
        path = str(voc.folder.parent / "out" / name)
        assert categories.read_label_map(path).num_classes == 21
    # A second run may replace both files.
    before = files_of(voc.folder.parent / "out")
    assert run(voc).returncode == 0
    assert files_of(voc.folder.parent / "out") == before


def test_own_names_get_the_same_ids_in_every_image_set(voc, capsys):
    # With VOC's names only, the ids are VOC's own.
    assert len(voc.read()[0]["categories"]) == 20
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
        dataset, _ = voc.read(image_set)
        names = [(c["id"], c["name"]) for c in dataset["categories"]]
        assert names == list(enumerate(expected, 1))
        told = "/Annotations/000021.xml is not one of VOC's names; the 5 names"
        assert told in capsys.readouterr().out


def test_a_broken_annotation_outside_the_set_is_told_where_it_decides(voc):
    voc.add("000020", "<annotation>")
    with pytest.raises(UserError) as told:
        voc.read()
    assert "000020.xml is not a VOC annotation" in str(told.value)
    assert "without --label_map, images outside the set count" in str(told.value)
    assert voc.read(label_map=categories.COCO)[0]["images"]


def test_a_label_map_gives_the_ids_and_other_names_are_left_out_and_counted(voc):
    path = voc.folder.parent / "map.json"
    names = [{"id": 4, "name": "dog"}, {"id": 9, "name": "car"}]
    path.write_text(json.dumps({"categories": names}))
    result = run(voc, f"--label_map={path}")
    assert result.returncode == 0, result.stderr
    assert "3 images, 3 boxes" in result.stdout
    assert "left out: 1 boxes of a category that is not listed" in result.stdout
    examples, dataset = converted(voc)
    labels = examples[12]["image/object/class/label"].int64_list.value
    assert list(labels) == [4, 9]
    assert dataset["categories"] == names


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
    dataset, _ = voc.read("named")
    found = {image["file_name"][:-4]: image["id"] for image in dataset["images"]}
    assert found == dict(zip(names, ids))
    assert [i["id"] for i in dataset["images"]] == sorted(ids)


def test_a_set_of_one_class_has_a_second_column(voc):
    voc.add("my dog", xml_of([]))
    voc.add_set("dog_trainval", ["000012  1", "000007 -1", "my dog  0", "my dog"])
    # Some datasets have no Main.
    sets = voc.folder / "ImageSets"
    (sets / "Main" / "dog_trainval.txt").rename(sets / "dog_trainval.txt")
    files = [image["file_name"] for image in voc.read("dog_trainval")[0]["images"]]
    assert files == ["000007.jpg", "000012.jpg", "my dog.jpg"]


def test_the_xml_chooses_between_two_images_of_one_name(voc):
    voc.add("000030", xml_of([], file_name="000030.png"), "000030.png")
    (voc.folder / "JPEGImages" / "000030.jpg").write_bytes(b"")
    voc.add_set("one", ["000030"])
    assert voc.read("one")[0]["images"][0]["file_name"] == "000030.png"
    voc.add("000030", xml_of([]))
    with pytest.raises(UserError, match="000030.jpg and 000030.png"):
        voc.read("one")


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_without_a_size_in_the_xml_the_size_of_the_image_is_used(voc, size):
    voc.add("000030", xml_of([], size=size))
    voc.add_set("one", ["000030"])
    image = voc.read("one")[0]["images"][0]
    assert (image["width"], image["height"]) == (WIDTH, HEIGHT)


def test_max_images_takes_the_first_by_id_into_the_json_too(voc):
    result = run(voc, "--max_images=2")
    assert "2 images, 2 boxes" in result.stdout
    examples, dataset = converted(voc)
    assert list(examples) == [i["id"] for i in dataset["images"]] == [3, 7]


BOMB = "<!ENTITY a0 'lol'>" + "".join(
    f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 40)
)
BOX = (1, 1, 5, 5)


def declaring(encoding, xml):
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{xml}'


@pytest.mark.parametrize(
    "declared, encoding, name",
    [
        ("gb2312", "gb2312", "安全帽"),
        ("GB2312", "gbk", "朱镕基"),  # GBK under the older name, as Windows writes it
        ("gb18030", "gb18030", "安全帽"),
        ("gbk", "gbk", "猫"),  # its bytes are a letter in UTF-8
        ("big5", "big5", "紅細胞"),
        ("Shift_JIS", "cp932", "①猫"),
        ("windows-1252", "cp1252", "café"),
        ("utf-8", "utf-8-sig", "猫"),
        ("utf-16", "utf-16", "猫"),
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
    assert pascal_voc.read_xml(str(path)).objects == [(name, 0, [1, 1, 5, 5])]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_the_list_of_a_set_may_come_from_another_system(voc, encoding):
    path = voc.folder / "ImageSets" / "Main" / "windows.txt"
    path.write_bytes("000012\r\n000007  1\r\n".encode(encoding))
    images = voc.read("windows")[0]["images"]
    assert [image["id"] for image in images] == [7, 12]
    path.write_bytes("红\n".encode("gbk"))
    with pytest.raises(UserError, match="windows.txt: its text is not UTF-8 .*iconv"):
        voc.read("windows")


@pytest.mark.parametrize(
    "text, message",
    [
        (
            f"<!DOCTYPE x [{BOMB}]><annotation>&a39;</annotation>".encode("utf-16"),
            "it declares a document type",
        ),
        (
            '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
            "<annotation><filename>&e;</filename></annotation>",
            "it declares a document type",
        ),
        ("<annotation>&e;</annotation>", "undefined entity"),
        (declaring("rot13", xml_of([])), "it declares an unknown encoding, rot13"),
        (xml_of([("安全帽", 0, BOX)]).encode("gbk"), "-f GB18030 -t UTF-8"),
        (declaring("utf-8", xml_of([("红", 0, BOX)])).encode("gbk"), "not UTF-8"),
        (
            declaring("gb2312", xml_of([("猫", 0, BOX)])),
            "it declares the encoding gb2312, but its text has another one; save it as",
        ),
        (
            declaring("iso-8859-1", xml_of([("é", 0, BOX)])),
            "it declares the encoding iso-8859-1, but its text has another one",
        ),
        (
            declaring("ascii", xml_of([("é", 0, BOX)])).encode("latin-1"),
            "it declares the encoding ascii, but its text has another one; save it as",
        ),
        ("", "it is empty"),
        ("<annotation>" * 100000, "no element found"),
        ("x" * (2**21 + 1), "it has more than 2097152 bytes"),
        ("<html></html>", "its root element is html, not annotation"),
        (xml_of([("dog", 0, BOX)])[:-30], "is not a VOC annotation: "),
        (xml_of([("dog", 0, (1, "left", 5, 5))]), "bndbox/ymin is 'left', which is"),
        (xml_of([("dog", 0, (1, "1e999", 5, 5))]), "bndbox/ymin is '1e999', which"),
        (xml_of([("dog", 0, (1, "", 5, 5))]), "bndbox/ymin is '', which"),
        (xml_of([("", 0, BOX)]), "an object has no name"),
        (
            "<annotation><object><name>dog</name><polygon/></object></annotation>",
            "its object 'dog' has no bndbox",
        ),
    ],
    ids=(
        "bomb_in_utf_16 external_entity undefined_entity encoding gbk not_utf_8 gb2312 "
        "latin_1 ascii empty deep large "
        "other_root cut word infinite no_side no_name no_box"
    ).split(),
)
def test_hostile_or_broken_xml_is_refused(tmp_path, text, message):
    path = tmp_path / "000012.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as told:
        pascal_voc.read_xml(str(path))
    assert "000012.xml is not a VOC annotation: " in str(told.value)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def remove(name):
    return lambda voc: (voc.folder / name).rename(voc.folder / "elsewhere")


def put_json_of_the_user(voc):
    (voc.folder.parent / "out").mkdir()
    (voc.folder.parent / "out" / "instances_voc.json").write_text('{"images": []}')


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda voc: voc.add("000012", ""), "000012.xml is not a VOC annotation"),
        (remove("Annotations/000012.xml"), "Annotations/000012.xml is missing"),
        (remove("JPEGImages/000012.jpg"), "lists '000012', but "),
        (remove("ImageSets/Main/trainval.txt"), "the folder has: val"),
        (remove("ImageSets"), "the folder has: none"),
        (lambda voc: voc.add_set("trainval", []), "does not list any image"),
        (
            lambda voc: voc.add_set("trainval", ["../../../etc/passwd"]),
            "JPEGImages does not have that image",
        ),
        (remove("JPEGImages"), "expected are JPEGImages and Annotations as"),
        (put_json_of_the_user, "exists and was not written by this tool; move it away"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(voc, spoil, message):
    voc.add_set("val", ["000012"])
    spoil(voc)
    before = files_of(voc.folder.parent / "out")
    result = run(voc)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("create_tf_record.py: --")
    assert message in result.stderr
    assert files_of(voc.folder.parent / "out") == before


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*")}


@pytest.mark.parametrize(
    "part, content",
    [
        ("JPEGImages/{}.jpg", b"\xff\xd8\xff\xe0"),
        ("Annotations/{}.xml", b"no xml"),
        ("Annotations/{}.xml", xml_of([], size=(HEIGHT, WIDTH)).encode()),
    ],
)
def test_all_images_that_cannot_be_used_are_told(voc, part, content):
    for name in ("000003", "000012"):
        (voc.folder / part.format(name)).write_bytes(content)
    result = run(voc)
    assert result.returncode == 2
    *told, last = result.stderr.splitlines()
    assert "000012." in "".join(told)
    assert "000003." in last and "(and 1 more, see above)" in last
    assert not list(voc.folder.parent.glob("out/*"))


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--voc_dir="], "--annotations (COCO) or --voc_dir (Pascal VOC) is missing"),
        (["--annotations=x.json"], "--annotations cannot be used with --voc_dir"),
        (["--label_map=/no/map.json"], "--label_map: cannot read /no/map.json"),
    ],
)
def test_flags_that_contradict_each_other_are_one_line(voc, flags, message):
    result = run(voc, *flags)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
