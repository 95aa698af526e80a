# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page of a report: one HTML file that needs no other file and no network."""

import base64
import html
import time

from evaluation import report_images

# Of the twelve figures: what each one is, as pycocotools' table has it.
_MEANINGS = {
    "AP": ("precision", "0.50 to 0.95", "all", 100),
    "AP50": ("precision", "0.50", "all", 100),
    "AP75": ("precision", "0.75", "all", 100),
    "APs": ("precision", "0.50 to 0.95", "small, below 32² pixels", 100),
    "APm": ("precision", "0.50 to 0.95", "medium, 32² to 96² pixels", 100),
    "APl": ("precision", "0.50 to 0.95", "large, above 96² pixels", 100),
    "ARmax1": ("recall", "0.50 to 0.95", "all", 1),
    "ARmax10": ("recall", "0.50 to 0.95", "all", 10),
    "ARmax100": ("recall", "0.50 to 0.95", "all", 100),
    "ARs": ("recall", "0.50 to 0.95", "small, below 32² pixels", 100),
    "ARm": ("recall", "0.50 to 0.95", "medium, 32² to 96² pixels", 100),
    "ARl": ("recall", "0.50 to 0.95", "large, above 96² pixels", 100),
}
_HEADLINES = ("AP", "AP50", "AP75", "ARmax100")
_PLOT_NAMES = {"precision-recall": "Precision and recall", "loss": "Training loss"}

_STYLE = """
body { font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, "Noto Sans CJK SC",
  sans-serif; color: #1c2530; background: #f4f6f8; margin: 0; }
main { max-width: 1160px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 8px 0 0; }
h2 { font-size: 20px; margin: 36px 0 12px; }
h3 { font-size: 16px; margin: 24px 0 10px; }
p { margin: 6px 0; }
.quiet { color: #5b6875; }
.path { overflow-wrap: anywhere; }
.cards { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 18px; }
.card, .panel { background: #fff; border: 1px solid #dde3e9; border-radius: 8px; }
.card { padding: 12px 16px; min-width: 100px; }
.card b { display: block; font-size: 26px; line-height: 1.25; }
.panel { padding: 10px 14px; overflow-x: auto; }
.lacks { background: #fff6df; border: 1px solid #ecd28b; border-radius: 8px;
  padding: 8px 14px; margin-top: 16px; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; border-bottom: 2px solid #c8d0d8; padding: 5px 10px; }
td { border-bottom: 1px solid #edf0f3; padding: 3px 10px; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.bar { width: 34%; }
.bar i { display: block; height: 11px; background: #3b7dd8; border-radius: 3px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr));
  gap: 16px; }
.plots img { width: 100%; height: auto; }
.pictures { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); }
figure { margin: 0; background: #fff; border: 1px solid #dde3e9; border-radius: 8px;
  overflow: hidden; }
figure img { display: block; width: 100%; height: 270px; object-fit: contain;
  background: #1c2530; }
figcaption { padding: 8px 12px 10px; overflow-wrap: anywhere; }
.legend span { white-space: nowrap; margin-right: 20px; }
.legend i { display: inline-block; width: 20px; height: 10px; margin-right: 6px;
  box-sizing: border-box; }
"""


def decimal(number):
    """Gives a figure of 0..1 with three decimals; a dash for -1, no ground truth."""
    return "-" if number < 0 else f"{number:.3f}"


def render(step, model_dir, judgement, pngs, pictures, lacks):
    """Makes the page.

    Args:
      step: int, of the checkpoint.
      model_dir: str.
      judgement: coco_metric.Judgement.
      pngs: dict from "precision-recall" and "loss", or some of them, to PNG bytes.
      pictures: list of report_images.Picture.
      lacks: list of str, what the page lacks.

    Returns:
      str, HTML.
    """
    title = f"SSD-ResNet34, evaluation of step {step}"
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="quiet path">{_escape(model_dir)}, '
        f"{time.strftime('%Y-%m-%d %H:%M %Z')}</p>",
        _cards(judgement),
    ]
    if lacks:
        text = _escape("This page lacks " + " and ".join(lacks) + ".")
        parts.append(f'<p class="lacks">{text}</p>')
    parts += [_figures(judgement.figures), _plots(pngs), _gallery(pictures)]
    parts.append(_categories(judgement.categories))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def _escape(text):
    return html.escape(str(text), quote=True)


def _cards(judgement):
    figures = {name.split("/")[-1]: x for name, x in judgement.figures.items()}
    cards = [(decimal(figures[name]), name) for name in _HEADLINES]
    categories = judgement.categories
    cards += [
        (f"{len(judgement.images):,}", "images"),
        (f"{sum(c.boxes for c in categories):,}", "ground truth boxes"),
        (f"{sum(c.detections for c in categories):,}", "detections"),
    ]
    inner = "".join(
        f'<div class="card"><b>{value}</b><span class="quiet">{name}</span></div>'
        for value, name in cards
    )
    return f'<div class="cards">{inner}</div>'


def _table(head, rows):
    """Head: (text, class) pairs; rows: lists of cells, HTML already."""
    classes = [f' class="{kind}"' if kind else "" for _, kind in head]
    lines = [f"<th{kind}>{text}</th>" for kind, (text, _) in zip(classes, head)]
    body = "\n".join(
        "<tr>" + "".join(f"<td{c}>{x}</td>" for c, x in zip(classes, row)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="panel"><table><thead><tr>{"".join(lines)}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _figures(figures):
    head = [("Figure", ""), ("Value", "number"), ("Average", ""), ("IoU", "")]
    head += [("Objects", ""), ("Detections an image", "number")]
    rows = []
    for name, value in figures.items():
        name = name.split("/")[-1]
        average, iou, objects, most = _MEANINGS[name]
        rows.append(
            [f"<b>{name}</b>", decimal(value), average, iou, objects, f"at most {most}"]
        )
    note = '<p class="quiet">0 to 1, more is better; -: no ground truth of this kind.'
    return f"<h2>COCO's figures</h2>{_table(head, rows)}{note}</p>"


def _data_uri(kind, data):
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _plots(pngs):
    if not pngs:
        return ""
    inner = "".join(
        f'<div class="panel"><img alt="{_PLOT_NAMES[name]}" '
        f'src="{_data_uri("png", png)}"></div>'
        for name, png in pngs.items()
    )
    return f'<h2>Plots</h2><div class="plots">{inner}</div>'


def _gallery(pictures):
    if not pictures:
        return ""
    parts = [f"<h2>Images</h2>{_legend()}"]
    for is_best, title in ((True, "Best"), (False, "Worst")):
        chosen = [picture for picture in pictures if picture.is_best == is_best]
        if chosen:
            inner = "".join(_picture(picture) for picture in chosen)
            parts.append(f'<h3>{title}</h3><div class="pictures">{inner}</div>')
    return "\n".join(parts)


def _legend():
    least = report_images.SHOWN_SCORE
    entries = [
        (report_images.RIGHT, 3, f"right detection (score at least {least})"),
        (report_images.FALSE, 3, "false detection"),
        (report_images.FOUND, 5, "ground truth that was found"),
        (report_images.MISSED, 5, "ground truth that was missed"),
    ]
    spans = "".join(
        f'<span><i style="border:{width}px solid rgb{color}"></i>{text}</span>'
        for color, width, text in entries
    )
    return (
        f'<p class="legend">{spans}</p><p class="quiet">Right: same category and '
        "IoU at least 0.5. Images are ordered by F1 = 2 right / (2 right + false + "
        "missed).</p>"
    )


def _picture(picture):
    counts, name = picture.counts, _escape(picture.name)
    return (
        f'<figure><img alt="image {picture.image_id}" '
        f'src="{_data_uri("jpeg", picture.jpeg)}"><figcaption>'
        f"<b>F1 {counts.f1:.2f}</b>: {counts.right} right, {counts.false} false, "
        f'{counts.missed} missed<br><span class="quiet">image {picture.image_id}'
        f"{', ' + name if name else ''}</span></figcaption></figure>"
    )


def _categories(categories):
    head = [("Category", ""), ("Id", "number"), ("AP", "number"), ("", "bar")]
    head += [("AP50", "number"), ("Ground truth boxes", "number")]
    head += [("Detections", "number")]
    rows = []
    for category in sorted(categories, key=lambda c: (-c.ap, c.name)):
        width = 100 * max(category.ap, 0)
        rows.append(
            [_escape(category.name), str(category.id), decimal(category.ap)]
            + [f'<i style="width:{width:.1f}%"></i>', decimal(category.ap50)]
            + [f"{category.boxes:,}", f"{category.detections:,}"]
        )
    return f"<h2>Categories, by AP</h2>{_table(head, rows)}"
