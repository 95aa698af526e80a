# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of a report have the right content, and a real browser shows the page."""

import base64
import csv
import html.parser
import io
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from pycocotools.cocoeval import COCOeval
from tensorboard.backend.event_processing import event_accumulator

import coco_metric
import records
from evaluation import report, report_images, summaries

Image = pytest.importorskip("PIL.Image")

# Not COCO's, with special characters of HTML and CSV.
NAMES = {4: "bolt", 7: '<img src="x">, "nut" & co', 9: "never seen"}
SIZES = {11: (120, 200), 12: (300, 150), 13: (90, 160), 14: (64, 48)}  # height, width
STEP = 500


def make_json(path):
    """Image 11 has two bolts, 12 a nut, 13 nothing, 14 a bolt and a crowd of nuts."""
    boxes = [
        (11, 4, [20, 30, 60, 50], 0),
        (11, 4, [120, 30, 60, 50], 0),
        (12, 7, [10, 100, 100, 150], 0),
        (14, 4, [5, 5, 20, 30], 0),
        (14, 7, [0, 0, 48, 64], 1),
    ]
    names = ("image_id", "category_id", "bbox", "iscrowd")
    dataset = {
        "images": [
            {"id": i, "file_name": f"{i} <b>.jpg", "height": h, "width": w}
            for i, (h, w) in SIZES.items()
        ],
        "annotations": [
            dict(zip(names, values), id=number)
            for number, values in enumerate(boxes, 1)
        ],
        "categories": [{"id": i, "name": name} for i, name in NAMES.items()],
    }
    path.write_text(json.dumps(dataset))


def make_records(path):
    made = []
    for image_id, (height, width) in SIZES.items():
        pixels = np.full([height, width, 3], 60, np.uint8)
        kind = "png" if image_id == 12 else "jpeg"
        made.append(records.record(image_id, records.encode_image(pixels, kind)))
    records.write(path, made[:1])
    # The evaluation need not have read all records, because of --eval_samples.
    records.write(f"{path}-2", made[1:] + [b"\xff"])


def detections_of(image_id, boxes_xywh, scores, category_ids):
    return coco_metric.Detections(
        image_id,
        np.array(boxes_xywh, np.float64).reshape(-1, 4),
        np.array(scores, np.float64),
        np.array(category_ids, np.int64),
    )


DETECTIONS = [
    # Both bolts, and a false nut of low score.
    detections_of(
        11,
        [[20, 30, 60, 50], [121, 31, 60, 50], [0, 0, 9.98765, 9]],
        [0.9, 0.8, 0.123456],
        [4, 4, 7],
    ),
    # A bolt where the nut is.
    detections_of(12, [[10, 100, 100, 150]], [0.7], [4]),
    detections_of(13, [], [], []),
    detections_of(14, [], [], []),
]


class Written:
    """Writes the report of some detections on the four images."""

    def __init__(self, folder, detections, only_predicted=False):
        self.folder, self.model_dir = folder / "eval", folder / "model <1>"
        self.model_dir.mkdir()
        with tf.Graph().as_default():
            writer = tf.summary.FileWriter(str(self.model_dir))
            for step, loss in ((1, 20.0), (101, 8.0)):
                value = tf.Summary.Value(tag="loss", simple_value=loss)
                writer.add_summary(tf.Summary(value=[value]), step)
            writer.close()
        make_json(folder / "val.json")
        make_records(folder / "val")
        self.coco = coco_metric.create_coco(str(folder / "val.json"))
        self.judgement = coco_metric.judge(
            {d.image_id: d for d in detections}, self.coco, only_predicted
        )
        os.remove(str(folder / "val.json"))
        report.write(
            str(self.folder),
            STEP,
            self.coco,
            self.judgement,
            str(self.model_dir),
            str(folder / "val*"),
            set(),
        )

    def read(self, name):
        return (self.folder / name).read_bytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return Written(tmp_path_factory.mktemp("report"), DETECTIONS)


class Page(html.parser.HTMLParser):
    """Tags, texts and what the page refers to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data.strip())


def images_of(page):
    """Images embedded in a page, as Pillow's."""
    links = Page(page).links
    assert all(link.startswith("data:image/") for link in links)
    contents = [base64.b64decode(link.split(",", 1)[1]) for link in links]
    return [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]


def test_all_files_are_there_and_nothing_else(written):
    names = ["detections-500.json", "metrics-500.json", "categories-500.csv"]
    names += ["precision-recall-500.png", "loss-500.png", "report-500.html"]
    assert sorted(os.listdir(str(written.folder))) == sorted(names)


def test_detections_are_in_cocos_results_format(written):
    results = json.loads(written.read("detections-500.json").decode())
    assert results[1] == {
        "image_id": 11,
        "category_id": 4,
        "bbox": [121, 31, 60, 50],
        "score": 0.8,
    }
    assert results[2]["bbox"] == [0, 0, 9.98765, 9]
    assert [type(results[0][key]) for key in ("image_id", "category_id")] == [int] * 2
    assert len(results) == 4
    # As COCO's server reads it.
    loaded = written.coco.loadRes(str(written.folder / "detections-500.json"))
    assert len(loaded.anns) == 4


def test_metrics_are_the_figures(written):
    metrics = json.loads(written.read("metrics-500.json").decode())
    assert (metrics["step"], metrics["images"], metrics["detections"]) == (500, 4, 4)
    figures = written.judgement.figures
    assert metrics["metrics"] == {k.split("/")[1]: v for k, v in figures.items()}
    assert len(metrics["metrics"]) == 12
    bolt = metrics["categories"][0]
    assert (bolt["id"], bolt["name"], bolt["boxes"]) == (4, "bolt", 3)
    # Two of three bolts, then a false one; COCO takes recall 0, 0.01, ... 0.66.
    assert bolt["AP50"] == pytest.approx(67 / 101)


def test_the_table_of_categories_is_a_file_and_text(written):
    lines = written.read("categories-500.csv").decode().splitlines()
    rows = list(csv.reader(lines))
    assert rows[0] == ["id", "name", "AP", "AP50", "boxes", "detections"]
    assert rows[1][3:] == [f"{67 / 101:.6f}", "3", "3"]
    assert rows[2] == ["7", NAMES[7], "0.000000", "0.000000", "1", "1"]
    assert rows[3] == ["9", "never seen", "", "", "0", "0"]
    table = report.category_table(written.judgement.categories).splitlines()
    assert table[2].split()[0] == "bolt"
    assert table[2].split()[2:] == ["0.663", "3", "3"]
    assert table[4].split() == ["never", "seen", "-", "-", "0", "0"]
    assert len({len(line) for line in table}) == 1


def test_the_page_needs_no_other_file_and_escapes_names(written):
    text = written.read("report-500.html").decode()
    page = Page(text)
    assert not {"script", "link", "iframe", "b.jpg"} & set(page.tags)
    assert "://" not in re.sub('base64,[^"]*', "", text)
    assert NAMES[7] in page.texts
    assert any("model <1>" in part for part in page.texts)
    assert any("12 <b>.jpg" in part for part in page.texts)
    ap = f"{written.judgement.figures['COCO/AP']:.3f}"
    assert page.texts.count(ap) >= 2


def test_best_image_comes_first_and_boxes_have_their_colors(written):
    page = written.read("report-500.html").decode()
    names = re.findall(r'quiet">image (\d+), \d+ &lt;b&gt;', page)
    # 13 has neither ground truth nor detections; 12 is wrong twice.
    assert names == ["11", "14", "12"]
    plot, _, first, _, worst = images_of(page)
    assert min(plot.size) > 300 and len(plot.getcolors(1 << 20)) > 10
    assert first.size == (200, 120)
    assert worst.size == (150, 300)
    for image, point, color in (
        (first, (79, 60), report_images.RIGHT_COLOR),
        (first, (180, 60), report_images.RIGHT_COLOR),
        (first, (77, 60), report_images.FOUND_COLOR),
        (worst, (109, 180), report_images.FALSE_COLOR),
        (worst, (107, 180), report_images.MISSED_COLOR),
        (worst, (60, 60), (60, 60, 60)),
    ):
        # JPEG blurs colors over two pixels.
        near = np.abs(np.array(image.getpixel(point)) - color).max()
        assert near < 110, (point, image.getpixel(point), color)


@pytest.mark.parametrize(
    "detections, only_predicted, images, ap",
    [
        ([], False, 4, 0),
        # An image without ground truth.
        ([detections_of(13, [], [], [])], True, 1, -1),
    ],
)
def test_a_report_without_detections(tmp_path, detections, only_predicted, images, ap):
    result = Written(tmp_path, detections, only_predicted)
    metrics = json.loads(result.read("metrics-500.json").decode())
    assert (metrics["images"], metrics["metrics"]["AP"]) == (images, ap)
    assert json.loads(result.read("detections-500.json").decode()) == []
    page = result.read("report-500.html").decode()
    assert (page.count(">-</td>") > 12) == (ap == -1)
    # The two plots.
    assert len(images_of(page)) == 2


def test_the_json_for_coco_has_the_figures_of_the_evaluation(tmp_path):
    # Scores that six decimals could not tell apart, the better ones wrong.
    scores = 1 - np.arange(1, 21) * 2.0**-24
    boxes = [[300, 200, 5, 5]] * 18 + [[20, 30, 60, 50], [120, 30, 60, 50.0625]]
    result = Written(tmp_path, [detections_of(11, boxes, scores, [4] * 20)])
    found = result.coco.loadRes(json.loads(result.read("detections-500.json").decode()))
    evaluation = COCOeval(result.coco, found, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    metrics = json.loads(result.read("metrics-500.json").decode())["metrics"]
    assert 0 < metrics["AP"] < 0.5
    assert list(metrics.values()) == evaluation.stats.tolist()


def test_without_matplotlib_and_pillow_the_rest_is_written(
    tmp_path, monkeypatch, caplog
):
    for name in ("matplotlib.figure", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    caplog.set_level("INFO")
    result = Written(tmp_path, DETECTIONS)
    pattern = str(tmp_path / "val*")
    summaries.write(str(tmp_path), 500, result.coco, result.judgement, pattern, set())
    run = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert run.Tags()["images"] == [] and "COCO/AP" in run.Tags()["scalars"]
    names = ["detections-500.json", "metrics-500.json", "categories-500.csv"]
    assert {*names, "report-500.html"} == set(os.listdir(str(result.folder)))
    lacks = r"images or plots, which need Pillow and matplotlib \(import of .+\)"
    assert re.search(f"report-500.html, but without {lacks}$", caplog.text, re.M)
    page = result.read("report-500.html").decode()
    assert re.search(f"This page lacks {lacks}\\.</p>", page)
    assert Page(page).links == []


def test_tensorboard_shows_curves_and_the_same_images_of_all_evaluations(
    written, tmp_path
):
    pattern = str(written.model_dir.parent / "val*")
    for step in (500, 600):
        summaries.write(
            str(tmp_path), step, written.coco, written.judgement, pattern, {14}
        )
    run = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    figures = written.judgement.figures
    tags = list(figures) + ["category_AP/bolt", f"category_AP/{NAMES[7]}"]
    assert sorted(run.Tags()["scalars"]) == sorted(tags)
    points = [(p.step, p.value) for p in run.Scalars("COCO/AP50")]
    # Two of three bolts at recall 0, 0.01, ... 0.66; no nut.
    expected = pytest.approx(67 / 101 / 2)
    assert points == [(500, expected), (600, expected)]
    assert [p.value for p in run.Scalars(f"category_AP/{NAMES[7]}")] == [0, 0]
    images = ["detections/11", "detections/12", "detections/13"]
    assert sorted(run.Tags()["images"]) == images
    for image in run.Images("detections/11"):
        assert (image.width, image.height) == (200, 120)
        drawn = Image.open(io.BytesIO(image.encoded_image_string))
        near = np.array(drawn.getpixel((79, 60))) - report_images.RIGHT_COLOR
        assert np.abs(near).max() < 110


@pytest.mark.slow
def test_a_real_browser_shows_every_image(written, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("no chromium here; apt-get install chromium")
    # The browser itself says how large each image became.
    script = """<script>onload = () => {
        const sizes = [...document.images].map(
            i => [i.naturalWidth, i.naturalHeight, i.width, i.height, i.complete]);
        const fits = document.body.scrollWidth <= innerWidth;
        document.title = "sizes:" + sizes.join(";") + ":" + fits; }</script>"""
    page = tmp_path / "page.html"
    page.write_text(written.read("report-500.html").decode() + script)
    result = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        + [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,900"]
        + ["--virtual-time-budget=5000", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    title = re.search("<title>sizes:(.*?):(.*?)</title>", result.stdout)
    assert title, result.stderr[-2000:]
    sizes = [entry.split(",") for entry in title.group(1).split(";")]
    assert [size[:2] for size in sizes[2:]] == [
        ["200", "120"],
        ["48", "64"],
        ["150", "300"],
    ]
    for size in sizes:
        assert size[4] == "true" and min(int(side) for side in size[:4]) > 40
    assert title.group(2) == "true", "the page is wider than the window"
