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
from dataset import categories
from evaluation import analysis, first_images, report, summaries

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
        self.result = analysis.analyze(self.coco, self.judgement)
        os.remove(str(folder / "val.json"))
        report.write(
            str(self.folder),
            STEP,
            self.coco,
            self.judgement,
            self.result,
            str(self.model_dir),
            str(folder / "val*"),
            set(),
        )

    def read(self, name):
        return (self.folder / name).read_bytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return Written(tmp_path_factory.mktemp("report"), DETECTIONS)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_large(tmp_path_factory.mktemp("large"))


class Page(html.parser.HTMLParser):
    """Texts, boxes of images, and what the page refers to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.texts, self.boxes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs[key] for key in ("src", "href") if key in attrs]
        if tag == "figure":
            self.boxes.append([])
        elif tag == "rect" and "data-s" in attrs:
            xywh = [float(attrs[key]) for key in ("x", "y", "width", "height")]
            self.boxes[-1].append((attrs["class"], attrs["data-s"], xywh))

    def handle_data(self, data):
        self.texts.append(data.strip())


def images_of(page):
    """Images embedded in a page, as Pillow's."""
    links = [link for link in Page(page).links if link.startswith("data:image/")]
    contents = [base64.b64decode(link.split(",", 1)[1]) for link in links]
    return [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]


def test_all_files_are_there_and_nothing_else(written):
    names = ["detections-500.json", "metrics-500.json", "categories-500.csv"]
    assert set(os.listdir(str(written.folder))) == {*names, "report-500.html"}


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
    # From 0.71 to 0.8, two of four objects are found, and nothing is false.
    assert metrics["best_score"] == 0.76
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
    assert all(re.match("data:image/jpeg|#m", link) for link in page.links)
    assert "://" not in re.sub('base64,[^"]*', "", text) and "<link" not in text
    assert NAMES[7] in page.texts and '<img src="x">' not in text
    assert any("model <1>" in part for part in page.texts)
    assert any("12 <b>.jpg" in part for part in page.texts)
    ap = f"{written.judgement.figures['COCO/AP']:.3f}"
    assert page.texts.count(ap) >= 2


def test_the_page_names_the_best_score_and_what_is_wrong(written):
    page = Page(written.read("report-500.html").decode())
    text = " ".join(filter(None, page.texts))
    assert (
        "F1 is best at score 0.76: 50% of the objects are found (recall), and " in text
    )
    assert "100% of the detections are right (precision)" in text
    # AP50 is 67/101 for bolts and 0 for nuts. The bolt in place of the nut costs all of
    # the nuts' AP50. Next comes the bolt that nothing detects, with 34 of 101 places.
    assert "cost most AP50 are wrong class (0.500) and missed (0.168)" in text
    # The matrix: two bolts are found, a bolt and a nut are missed.
    assert f"missed bolt 2 1 {NAMES[7]} 1 background" in text
    assert "Categories without ground truth: 1" in text


def test_worst_image_comes_first_with_its_boxes(written):
    text = written.read("report-500.html").decode()
    # 13 has neither ground truth nor detections.
    assert re.findall(r'quiet">image (\d+), \d+ &lt;b&gt;', text) == ["12", "14", "11"]
    assert re.findall("<b>F1 (.*?)</b>", text) == [
        "0.00: 0 right, 0 false, 1 missed",
        "0.00: 0 right, 0 false, 1 missed",
        "1.00: 2 right, 0 false, 0 missed",
    ]
    assert Page(text).boxes == [
        [
            ("truth missed", "0", [10, 100, 100, 150]),
            ("wrong hidden", "0.7", [10, 100, 100, 150]),
        ],
        [("truth missed", "0", [5, 5, 20, 30])],
        [
            ("truth", "0.9", [20, 30, 60, 50]),
            ("truth", "0.8", [120, 30, 60, 50]),
            ("background hidden", "0.1234", [0, 0, 10, 9]),
            ("right", "0.8", [121, 31, 60, 50]),
            ("right", "0.9", [20, 30, 60, 50]),
        ],
    ]
    assert [image.size for image in images_of(text)] == [
        (150, 300),
        (48, 64),
        (200, 120),
    ]


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
    assert images_of(page) == []
    assert "No detection is right. This page counts from score 0.3." in page
    assert metrics["best_score"] is None


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
    scores = result.judgement, result.result
    summaries.write(str(tmp_path), 500, result.coco, *scores, pattern, set())
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
    for step, score in ((500, written.result.score), (600, 0.3)):
        summaries.write(
            str(tmp_path),
            step,
            written.coco,
            written.judgement,
            written.result._replace(score=score),
            pattern,
            {14},
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
        for point, color in (
            ((79, 60), first_images.RIGHT_COLOR),
            ((180, 60), first_images.RIGHT_COLOR),
            ((77, 60), first_images.FOUND_COLOR),
        ):
            # JPEG blurs colors over two pixels.
            assert np.abs(np.array(drawn.getpixel(point)) - color).max() < 110
    # The false detection is below the best score, and above the other one.
    colors = (first_images.MISSED_COLOR, first_images.FALSE_COLOR)
    for image, color_at_109 in zip(run.Images("detections/12"), colors):
        drawn = Image.open(io.BytesIO(image.encoded_image_string))
        for point, color in (
            ((109, 180), color_at_109),
            ((107, 180), first_images.MISSED_COLOR),
            ((60, 60), (60, 60, 60)),
        ):
            assert np.abs(np.array(drawn.getpixel(point)) - color).max() < 110


def in_browser(page, folder, script, width=1200):
    """Opens a page in chromium; returns what a script's function `look` returns."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("no chromium here; apt-get install chromium")
    script = f"""<script>{script}
        onload = () => parent.document.title =
            "found:" + JSON.stringify(look()) + ":";
        </script>"""
    # Windows have a least width; frames do not.
    frame = f'<iframe width={width} height=900 srcdoc="{html.escape(page + script)}">'
    path = folder / "page.html"
    path.write_text(f"<title>-</title>{frame}</iframe>")
    result = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        + [f"--user-data-dir={folder / 'profile'}", "--window-size=1300,900"]
        + [path.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
    )
    title = re.search("<title>found:(.*?):</title>", result.stdout)
    assert title, result.stderr[-2000:]
    return json.loads(html.unescape(title.group(1)))


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_a_real_browser_shows_and_sorts_the_images(written, tmp_path, width):
    # Sets the tools of the page, and returns the texts of the images that are shown.
    script = """
    function texts(order, category, score) {
      Object.assign(get("order"), {value: order});
      Object.assign(get("category"), {value: category});
      Object.assign(get("score"), {value: score});
      get("order").oninput();
      return [...document.querySelectorAll("figure")].filter(f => f.offsetHeight).map(
        f => f.querySelector("figcaption").innerText.replace("\\n", " "));
    }
    function look() {
      return {
        sizes: [...document.images].map(i => [i.naturalWidth, i.naturalHeight]),
        plots: [...document.querySelectorAll(".panel svg")].map(
          s => s.getBoundingClientRect().height),
        width: innerWidth,
        fits: document.documentElement.scrollWidth <= innerWidth,
        start: texts("worst", "", 0.76),
        best: texts("best", "", 0.5),
        surest: texts("surest", "", 0.1),
        nuts: texts("worst", "7", 0.1),
        readout: get("readout").innerText,
        shown: document.querySelectorAll(".frame rect:not(.hidden)").length,
      };
    }"""
    page = written.read("report-500.html").decode()
    found = in_browser(page, tmp_path, script, width)
    assert found["sizes"] == [[150, 300], [48, 64], [200, 120]]
    assert found["width"] == width
    assert found["fits"], "the page is wider than the window"
    # Three plots and the loss; two of each category.
    assert len(found["plots"]) == 8 and min(found["plots"]) > 100
    names = [f"image {i}, {i} <b>.jpg" for i in (11, 12, 14)]
    missed = "F1 0.00: 0 right, 0 false, 1 missed "
    false = "F1 0.00: 0 right, 1 false, 1 missed "
    right = "F1 1.00: 2 right, 0 false, 0 missed "
    assert found["start"] == [missed + names[1], missed + names[2], right + names[0]]
    assert found["best"] == [right + names[0], false + names[1], missed + names[2]]
    assert [text[-15:] for text in found["surest"]] == [
        names[i][-15:] for i in (1, 0, 2)
    ]
    assert found["nuts"] == [
        "F1 0.00: 0 right, 0 false, 1 missed " + names[1],
        "F1 0.00: 0 right, 1 false, 0 missed " + names[0],
    ]
    assert found["readout"] == (
        "0.10: precision 0.00, recall 0.00, F1 0.00; 1 detections of 1 objects"
    )
    assert found["shown"] == 8


def write_large(folder, num_images=150):
    """Writes the report of COCO's 80 categories and pictures with much detail."""
    random, names = np.random.RandomState(3), list(categories.COCO.names)
    pixels = random.randint(0, 256, [8, 30, 40, 3]).astype(np.uint8)
    pictures = [
        records.encode_image(p.repeat(16, 0).repeat(16, 1), "jpeg") for p in pixels
    ]
    made = [records.record(i, pictures[i % 8]) for i in range(num_images)]
    records.write(folder / "val", made)
    boxes = np.concatenate(
        [
            random.uniform(0, 400, [num_images, 60, 2]),
            np.full([num_images, 60, 2], 80.0),
        ],
        axis=2,
    )
    # The first eight detections of an image are right.
    annotations = [
        {"id": 8 * i + k, "image_id": i, "category_id": names[(i + k) % 80]}
        for i in range(num_images)
        for k in range(8)
    ]
    for a in annotations:
        a["bbox"] = boxes[a["image_id"], a["id"] % 8].tolist()
        a["id"] += 1
    dataset = {
        "images": [{"id": i, "width": 640, "height": 480} for i in range(num_images)],
        "annotations": annotations,
        "categories": categories.COCO.entries(),
    }
    coco = coco_metric.to_coco(dataset)
    scores = np.linspace(0.99, 0.1, 60)
    found = {
        i: detections_of(i, boxes[i], scores, [names[(i + k) % 80] for k in range(60)])
        for i in range(num_images)
    }
    judgement = coco_metric.judge(found, coco)
    report.write(
        str(folder / "eval"),
        1,
        coco,
        judgement,
        analysis.analyze(coco, judgement),
        str(folder),
        str(folder / "val"),
        set(),
    )
    return (folder / "eval" / "report-1.html").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_a_page_of_80_categories_is_small_and_shown_at_once(large, tmp_path, width):
    assert len(large) < 5_000_000
    script = """
    function look() {
      document.querySelectorAll("details").forEach(d => d.open = true);
      return {
        fits: document.documentElement.scrollWidth <= innerWidth,
        plots: document.querySelectorAll(".panel svg").length,
        rows: document.querySelectorAll(".matrix tr").length,
        images: document.images.length,
        ms: performance.now(),
      };
    }"""
    found = in_browser(large.decode(), tmp_path, script, width)
    assert found["fits"], "the page is wider than the window"
    # Two plots of each category and of all, and the sizes.
    assert found["plots"] == 2 * 80 + 3
    # The head, the categories and background.
    assert found["rows"] == 82
    assert 30 < found["images"] <= 100
    assert found["ms"] < 2000
