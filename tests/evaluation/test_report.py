# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of a report have the right content, and a real browser shows the page."""

import base64
import csv
import html
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
from evaluation import analysis, report, summaries

Image = pytest.importorskip("PIL.Image")

# Not COCO's, with special characters of HTML and CSV.
NAMES = {4: "bolt", 7: '<img src="x">, "nut" & co', 9: "never seen"}
SIZES = {11: (120, 200), 12: (300, 150), 13: (90, 160), 14: (64, 48)}  # height, width
STEP = 500


# Image 11 has two bolts, 12 a nut, 13 nothing, 14 a bolt and a crowd of nuts.
BOXES = [
    (11, 4, [20, 30, 60, 50], 0),
    (11, 4, [120, 30, 60, 50], 0),
    (12, 7, [10, 100, 100, 150], 0),
    (14, 4, [5, 5, 20, 30], 0),
    (14, 7, [0, 0, 48, 64], 1),
]


def to_coco():
    names = ("image_id", "category_id", "bbox", "iscrowd")
    dataset = {
        "images": [
            {"id": i, "file_name": f"{i} <b>.jpg", "height": h, "width": w}
            for i, (h, w) in SIZES.items()
        ],
        "annotations": [
            dict(zip(names, values), id=number)
            for number, values in enumerate(BOXES, 1)
        ],
        "categories": [{"id": i, "name": name} for i, name in NAMES.items()],
    }
    return coco_metric.to_coco(dataset)


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
    """Writes the report of some detections on the four images.

    The detections of another COCO are of images in a file "val" of the folder.
    """

    def __init__(self, folder, detections, only_predicted=False, coco=None):
        model_dir = folder / "model <1>"
        self.folder = model_dir / "eval"
        model_dir.mkdir()
        with tf.Graph().as_default():
            writer = tf.summary.FileWriter(str(model_dir))
            for step, loss in ((1, 20.0), (101, 8.0)):
                value = tf.Summary.Value(tag="loss", simple_value=loss)
                writer.add_summary(tf.Summary(value=[value]), step)
            writer.close()
        if not coco:
            make_records(folder / "val")
        self.judgement = coco_metric.judge(
            {d.image_id: d for d in detections}, coco or to_coco(), only_predicted
        )
        self.results = analysis.Results(
            STEP,
            str(model_dir),
            str(folder / "val*"),
            self.judgement,
            analysis.analyze(self.judgement),
        )
        report.write(self.results)
        self.page = self.read("report-500.html").decode()

    def read(self, name):
        return (self.folder / name).read_bytes()

    def read_json(self, name):
        return json.loads(self.read(name).decode())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return Written(tmp_path_factory.mktemp("report"), DETECTIONS)


def text_of(page):
    """The text that a page shows, in one line."""
    page = re.sub("<(style|script)>.*?</|<[^>]*>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(page).split())


def links_of(page):
    return re.findall(r'(?:src|href)="([^"]*)"', page)


def images_of(page):
    """Images embedded in a page, as Pillow's."""
    links = [link for link in links_of(page) if link.startswith("data:image/")]
    contents = [base64.b64decode(link.split(",", 1)[1]) for link in links]
    return [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]


def test_the_files_hold_detections_and_figures(written):
    names = ["detections-500.json", "metrics-500.json", "categories-500.csv"]
    assert set(os.listdir(str(written.folder))) == {*names, "report-500.html"}
    detections = written.read_json("detections-500.json")
    assert len(detections) == 4
    assert detections[2] == {
        **{"image_id": 11, "category_id": 7, "score": 0.123456},
        "bbox": [0, 0, 9.98765, 9],
    }
    metrics = written.read_json("metrics-500.json")
    assert (metrics["step"], metrics["images"], metrics["detections"]) == (500, 4, 4)
    figures = written.judgement.figures
    assert metrics["metrics"] == {k.split("/")[1]: v for k, v in figures.items()}
    # From 0.71 to 0.8, two of four objects are found, and nothing is false.
    assert metrics["best_score"] == 0.76
    # Two of three bolts, then a false one; COCO takes recall 0, 0.01, ... 0.66.
    bolt = metrics["categories"][0]
    assert bolt.pop("AP") < bolt.pop("AP50") == pytest.approx(67 / 101)
    assert bolt == {"id": 4, "name": "bolt", "boxes": 3, "detections": 3}
    rows = list(csv.reader(written.read("categories-500.csv").decode().splitlines()))
    assert rows[0] == ["id", "name", "AP", "AP50", "boxes", "detections"]
    assert rows[1][3:] == [f"{67 / 101:.6f}", "3", "3"]
    assert rows[2] == ["7", NAMES[7], "0.000000", "0.000000", "1", "1"]
    assert rows[3] == ["9", "never seen", "", "", "0", "0"]
    # The log lists only categories with ground truth.
    table = report.category_table(written.judgement.categories).splitlines()
    assert len(table) == 3 and len({len(line) for line in table}) == 1
    assert table[1].split()[0] == "bolt"
    assert table[1].split()[2:] == ["0.663", "3", "3"]


def test_the_page_needs_no_other_file_and_escapes_names(written):
    page = written.page
    assert all(re.match("data:image/jpeg|#m", link) for link in links_of(page))
    assert "://" not in re.sub('base64,[^"]*', "", page) and "<link" not in page
    assert '<img src="x">' not in page
    for text in (NAMES[7], "model <1>", "12 <b>.jpg"):
        assert text in text_of(page)


def test_the_page_names_the_best_score_and_what_is_wrong(written):
    text = text_of(written.page)
    # AP50 is 67/101 for bolts and 0 for nuts. The bolt in place of the nut costs all of
    # the nuts' AP50. Next comes the bolt that nothing detects, with 34 of 101 places.
    for part in (
        "F1 is best at score 0.76: 50% of the objects are found (recall), and 100% of "
        "the detections are right (precision)",
        "cost most AP50 are wrong class (0.500) and missed (0.168)",
        # Two bolts are found, a bolt and a nut are not.
        f"{NAMES[7]} background bolt 2 1 {NAMES[7]} 1 background Rows are the ground",
        "Categories without ground truth: 1 never seen Curves",
        "AP50 0.332 precision 0.50 all at most 100 AP75",
        "ARmax10 0.317 recall 0.50 to 0.95 all at most 10 ARmax100",
        "ARs 0.000 recall 0.50 to 0.95 small, below 32² pixels at most 100",
    ):
        assert part in text, part


def test_worst_image_comes_first_with_its_boxes(written):
    text = written.page
    # 13 has neither ground truth nor detections.
    assert re.findall(r'quiet">image (\d+), \d+ &lt;b&gt;', text) == ["12", "14", "11"]
    assert re.findall("<b>F1 (.*?)</b>", text) == [
        "0.00: 0 right, 0 false, 1 missed",
        "0.00: 0 right, 0 false, 1 missed",
        "1.00: 2 right, 0 false, 0 missed",
    ]
    pattern = 'class="([a-z ]+)" data-c="[^"]*" data-s="([^"]*)" x="([^"]*)" '
    figures = text.split("<figure>")[1:]
    assert [re.findall(pattern, figure) for figure in figures] == [
        [
            ("truth missed", "0", "10.0"),
            ("wrong hidden", "0.7", "10.0"),
        ],
        [("truth missed", "0", "5.0")],
        [
            ("truth", "0.9", "20.0"),
            ("truth", "0.8", "120.0"),
            ("background hidden", "0.1234", "0.0"),
            ("right", "0.8", "121.0"),
            ("right", "0.9", "20.0"),
        ],
    ]
    assert 'x="121.0" y="31.0" width="60.0" height="50.0"' in text
    sizes = [(150, 300), (48, 64), (200, 120)]
    assert [image.size for image in images_of(text)] == sizes


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
    metrics = result.read_json("metrics-500.json")
    assert (metrics["images"], metrics["metrics"]["AP"]) == (images, ap)
    assert metrics["best_score"] is None
    assert result.read_json("detections-500.json") == []
    assert (result.page.count(">-</td>") >= 12) == (ap == -1)
    assert images_of(result.page) == []
    assert "No detection is right. This page counts from score 0.3." in result.page


def test_the_json_for_coco_has_the_figures_of_the_evaluation(tmp_path):
    # Scores that six decimals could not tell apart, the better ones wrong.
    scores = 1 - np.arange(1, 21) * 2.0**-24
    boxes = [[300, 200, 5, 5]] * 18 + [[20, 30, 60, 50], [120, 30, 60, 50.0625]]
    result = Written(tmp_path, [detections_of(11, boxes, scores, [4] * 20)])
    coco = result.judgement.coco_gt
    # As COCO's server reads it.
    found = coco.loadRes(str(result.folder / "detections-500.json"))
    evaluation = COCOeval(coco, found, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    metrics = result.read_json("metrics-500.json")["metrics"]
    assert 0 < metrics["AP"] < 0.5
    assert list(metrics.values()) == evaluation.stats.tolist()


def test_without_matplotlib_and_pillow_the_rest_is_written(
    tmp_path, monkeypatch, caplog
):
    for name in ("matplotlib.figure", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    caplog.set_level("INFO")
    result = Written(tmp_path, DETECTIONS)
    names = ["detections-500.json", "metrics-500.json", "categories-500.csv"]
    assert {*names, "report-500.html"} == set(os.listdir(str(result.folder)))
    lacks = r"images or plots, which need Pillow and matplotlib \(import of .+\)"
    assert re.search(f"report-500.html, but without {lacks}$", caplog.text, re.M)
    assert re.search(f"This page lacks {lacks}\\.</p>", result.page)
    assert links_of(result.page) == []
    summaries.write(result.results)
    run = event_accumulator.EventAccumulator(str(result.folder)).Reload()
    assert run.Tags()["images"] == [] and "COCO/AP" in run.Tags()["scalars"]


def test_tensorboard_shows_curves_and_the_same_images_of_all_evaluations(
    written, tmp_path
):
    for step, score in ((500, 0.76), (600, 0.3)):
        changed = written.results.analysis._replace(score=score)
        summaries.write(
            written.results._replace(
                step=step,
                model_dir=str(tmp_path),
                analysis=changed,
                repeated_ids=frozenset([14]),
            )
        )
    run = event_accumulator.EventAccumulator(str(tmp_path / "eval")).Reload()
    figures = written.judgement.figures
    tags = list(figures) + ["category_AP/bolt", f"category_AP/{NAMES[7]}"]
    assert sorted(run.Tags()["scalars"]) == sorted(tags)
    points = [(p.step, p.value) for p in run.Scalars("COCO/AP50")]
    # Two of three bolts at recall 0, 0.01, ... 0.66; no nut.
    expected = pytest.approx(67 / 101 / 2)
    assert points == [(500, expected), (600, expected)]
    assert [p.value for p in run.Scalars(f"category_AP/{NAMES[7]}")] == [0, 0]
    images = [f"detections/{i}" for i in (11, 12, 13)]
    assert sorted(run.Tags()["images"]) == images
    colors = {
        (11, (79, 60)): [summaries.RIGHT_COLOR] * 2,
        (11, (180, 60)): [summaries.RIGHT_COLOR] * 2,
        (11, (77, 60)): [summaries.FOUND_COLOR] * 2,
        # The false detection is below the best score, and above the other one.
        (12, (109, 180)): [summaries.MISSED_COLOR, summaries.FALSE_COLOR],
        (12, (107, 180)): [summaries.MISSED_COLOR] * 2,
        (12, (60, 60)): [(60, 60, 60)] * 2,
    }
    for (image_id, point), expected in colors.items():
        for image, color in zip(run.Images(f"detections/{image_id}"), expected):
            assert (image.height, image.width) == SIZES[image_id]
            drawn = Image.open(io.BytesIO(image.encoded_image_string))
            # JPEG blurs colors over two pixels.
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
def test_a_real_browser_shows_and_sorts_the_images(written, tmp_path):
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
        start: texts("worst", "", 0.76),
        best: texts("best", "", 0.5),
        surest: texts("surest", "", 0.1),
        nuts: texts("worst", "7", 0.1),
        readout: get("readout").innerText,
        shown: document.querySelectorAll(".frame rect:not(.hidden)").length,
      };
    }"""
    found = in_browser(written.page, tmp_path, script)
    assert found["sizes"] == [[150, 300], [48, 64], [200, 120]]
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


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A page of COCO's 80 categories and pictures with much detail."""
    folder, num_images = tmp_path_factory.mktemp("large"), 150
    random, names = np.random.RandomState(3), list(categories.COCO.names)
    pixels = random.randint(0, 256, [8, 30, 40, 3]).astype(np.uint8)
    pictures = [
        records.encode_image(p.repeat(16, 0).repeat(16, 1), "jpeg") for p in pixels
    ]
    made = [records.record(i, pictures[i % 8]) for i in range(num_images)]
    records.write(folder / "val", made)
    corners = random.uniform(0, 400, [num_images, 60, 2])
    boxes = np.concatenate([corners, np.full_like(corners, 80)], axis=2)

    def category_ids(image_id, number):
        return [names[(image_id + k) % 80] for k in range(number)]

    # The first eight detections of an image are right.
    annotations = [
        dict(id=8 * i + k + 1, image_id=i, category_id=c, bbox=boxes[i, k].tolist())
        for i in range(num_images)
        for k, c in enumerate(category_ids(i, 8))
    ]
    dataset = {
        "images": [{"id": i, "width": 640, "height": 480} for i in range(num_images)],
        "annotations": annotations,
        "categories": categories.COCO.entries(),
    }
    scores = np.linspace(0.99, 0.1, 60)
    found = [
        detections_of(i, boxes[i], scores, category_ids(i, 60))
        for i in range(num_images)
    ]
    return Written(folder, found, coco=coco_metric.to_coco(dataset)).page


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_a_page_of_80_categories_is_small_and_shown_at_once(large, tmp_path, width):
    assert len(large.encode()) < 5_000_000
    script = """
    function look() {
      document.querySelectorAll("details").forEach(d => d.open = true);
      return {
        width: innerWidth,
        fits: document.documentElement.scrollWidth <= innerWidth,
        plots: document.querySelectorAll(".panel svg").length,
        rows: document.querySelectorAll(".matrix tr").length,
        images: document.images.length,
        ms: performance.now(),
      };
    }"""
    found = in_browser(large, tmp_path, script, width)
    assert found["width"] == width
    assert found["fits"], "the page is wider than the window"
    # Two plots of each category and of all, the sizes and the loss.
    assert found["plots"] == 2 * 80 + 4
    # The head, the categories and background.
    assert found["rows"] == 82
    assert 30 < found["images"] <= 100
    assert found["ms"] < 2000
