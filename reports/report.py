"""The page that a finished run leaves behind: report.html, one file, no scripts, no network.

It is made from the test images with their labels and probabilities and from the run's own records.
An image, its true name and its predicted name are always read at one and the same index.
"""

from __future__ import annotations

import html
import json
import math
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

from reports.figures import (
    FIGURE_CSS,
    INK,
    QUIET,
    RIGHT,
    TRAINING,
    VALIDATION,
    WRONG,
    draw_curves,
    figure_to_html,
    heat_image,
    image_to_uri,
    new_figure,
    plain,
    set_title,
)
from reports.metrics import (
    confusion_matrix,
    most_confident_mistakes,
    most_confused_pairs,
    wilson_interval,
)
from storage.files import write_text

# A confusion matrix of more classes has cells too small for names and numbers.
NAMED_CLASSES = 20
NAN = float("nan")


def _column(history: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    values = np.array([row.get(name, NAN) for row in history], dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def _curves(history: Sequence[Mapping[str, float]], best_epoch: float, note: str) -> str:
    epochs = _column(history, "epoch")
    best = np.flatnonzero(epochs == best_epoch)[:1]
    panels = (
        ("Accuracy", "{:.4g} %", 100, ("accuracy", "validation_accuracy")),
        ("Loss", "{:.4g}", 1, ("loss", "validation_loss")),
        ("Learning rate", "{:g}", 1, ("learning_rate",)),
        ("Throughput", "{:,.0f}", 1, ("images_per_second",)),
    )
    parts = []
    for title, form, factor, names in panels:
        values = [factor * _column(history, name) for name in names]
        if len(names) == 1:
            curves = [("", values[0], INK)]
        else:
            curves = [("training", values[0], TRAINING), ("validation", values[1], VALIDATION)]
        remark = "images per second" if title == "Throughput" else ""
        margins = (52, 72, 42, 58 if note else 34)
        figure, axes = new_figure(430, 250 if len(curves) > 1 else 190, margins=margins, note=note)
        draw_curves(axes, epochs, curves)
        axes.yaxis.set_major_formatter(lambda value, _, form=form: form.format(value))
        axes.set_xlabel("epoch")
        if len(curves) == 1 and axes.lines:
            # From zero, so that noise looks no larger than it is.
            axes.set_ylim(bottom=0)
        if len(best) and axes.lines:
            axes.axvline(best_epoch, color=QUIET, linewidth=0.8, dashes=(2, 3), zorder=1)
            best_value = values[-1][best[0]]
            if len(curves) > 1 and np.isfinite(best_value):
                axes.plot(
                    best_epoch, best_value, "o", color=VALIDATION, markersize=5.5, clip_on=False
                )
                remark = f"epoch {best_epoch:g}: {form.format(best_value)}"
        set_title(axes, title, remark)
        parts.append(figure_to_html(figure, title + " per epoch"))
    return '<div class="pair">{}</div>'.format("".join(parts))


def _matrix_figure(matrix: np.ndarray, class_names: Sequence[str], note: str) -> str:
    number_of_classes = len(matrix)
    rows = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(number_of_classes, dtype=bool)
    right = np.where(diagonal, rows, 0)
    wrong = np.where(diagonal, 0, rows)
    # Wrong answers are few: on the scale of the right ones they would be invisible.
    wrong = np.sqrt(wrong / max(wrong.max(), 1e-9))
    side = 620 if 10 < number_of_classes <= NAMED_CLASSES else 520
    figure, axes = new_figure(side, side, note=note)
    image = heat_image([(0.75 * right, RIGHT), (0.9 * wrong, WRONG)])
    axes.imshow(image, interpolation="none")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(number_of_classes > NAMED_CLASSES)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if number_of_classes <= NAMED_CLASSES:
        names = [plain(name if len(name) <= 16 else name[:15] + "…") for name in class_names]
        axes.set_xticks(range(number_of_classes))
        axes.set_yticks(range(number_of_classes))
        axes.set_xticklabels(names, rotation=45, ha="right", rotation_mode="anchor", color=INK)
        axes.set_yticklabels(names, color=INK)
        size = 12 if number_of_classes <= 10 else 9
        for true in range(number_of_classes):
            for answer in np.flatnonzero(matrix[true]):
                axes.text(
                    answer,
                    true,
                    str(matrix[true, answer]),
                    ha="center",
                    va="center",
                    fontsize=size,
                    color=INK,
                )
    wide = " wide" if side == 620 else ""
    return '<div class="cells{}">{}</div>'.format(wide, figure_to_html(figure, "Confusion matrix"))


PAGE_CSS = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.25rem 4rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
  Arial, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h1 { font-size: 1rem; font-weight: 600; margin: 0; }
h2 { font-size: 1.125rem; font-weight: 600; margin: 3.5rem 0 .25rem; }
p { margin: 0; max-width: 44rem; }
.quiet, h2 + p { color: var(--quiet); }
h2 + p { font-size: .875rem; margin-bottom: 1.25rem; }
@media (min-width: 56rem) { .banner { position: sticky; top: 0; z-index: 1; } }
.banner { margin: 0 0 1.5rem; padding: .875rem 1.25rem; max-width: none;
  background: #b3261e; color: #fff; border-radius: .375rem; }
.banner strong { display: block; font-size: 1.375rem; line-height: 1.25; }
.notice { border-left: 3px solid var(--wrong); padding: .25rem .875rem; margin: 0 0 1rem; }
.headline { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 1.5rem;
  margin: .75rem 0 0; }
.headline b { font-size: clamp(3.25rem, 12vw, 5.5rem); font-weight: 600; line-height: 1.1;
  letter-spacing: -.03em; white-space: nowrap; }
.headline b small { font-size: .5em; font-weight: 400; letter-spacing: 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr));
  gap: 1rem 1.5rem; margin: 1.75rem 0 0; padding: 1.25rem 0 0; border-top: 1px solid var(--line); }
.facts dt { color: var(--quiet); font-size: .8125rem; }
.facts dd { margin: 0; }
.facts .long { grid-column: span 2; }
.facts .wide { grid-column: 1 / -1; }
code { font: .875rem/1.5 ui-monospace, "Cascadia Mono", Consolas, Menlo, monospace; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 1.75rem 2.5rem; }
.matrix { display: grid; grid-template-columns: minmax(0, 38rem) minmax(0, 1fr); gap: 1.5rem 2.5rem;
  align-items: start; }
@media (max-width: 56rem) { .matrix { grid-template-columns: minmax(0, 1fr); } }
.cells { min-width: 0; overflow-x: auto; }
.cells.wide svg { min-width: 34rem; }
table { border-collapse: collapse; font-size: .875rem; }
td, th { padding: .25rem 1rem .25rem 0; text-align: left; vertical-align: top; font-weight: 400; }
tr + tr td, tr + tr th { border-top: 1px solid var(--line); }
.pairs { width: 100%; }
.pairs caption { text-align: left; font-weight: 600; padding-bottom: .375rem; }
.pairs td:last-child { text-align: right; padding-right: 0; white-space: nowrap; }
.wrong { color: var(--wrong); }
.classes { list-style: none; margin: 0; padding: 0; columns: 15rem; column-gap: 2.5rem;
  font-size: .875rem; }
.classes.few { columns: 24rem; }
.classes li { display: grid; grid-template-columns: minmax(0, 7.5rem) 1fr 3.75rem; gap: .5rem;
  align-items: center; break-inside: avoid; line-height: 1.625rem; }
.classes .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.classes .share { text-align: right; white-space: nowrap; }
.bar { position: relative; height: .5rem; background: var(--line); border-radius: 1px; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--right); border-radius: 1px; }
.bar u { position: absolute; top: 50%; height: 1px; background: var(--ink); }
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr));
  gap: 1.25rem 1rem; }
.mistakes figure { margin: 0; font-size: .8125rem; line-height: 1.35; min-width: 0; }
.mistakes img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  image-rendering: pixelated; border-radius: .25rem; margin-bottom: .375rem; }
details { margin-top: 3.5rem; }
summary { cursor: pointer; font-size: 1.125rem; font-weight: 600; }
details table { margin-top: .75rem; width: 100%; }
details th { color: var(--quiet); width: 35%; }
footer { margin-top: 3.5rem; color: var(--quiet); font-size: .8125rem; }
"""


def _text(value: object) -> str:
    """Return any setting or fact as escaped text; what was not measured is a dash."""
    if value is None or (isinstance(value, (float, np.floating)) and not math.isfinite(value)):
        return "–"
    if isinstance(value, (dict, list, tuple)):
        value = json.dumps(value, default=str, ensure_ascii=False)
    return html.escape(str(value))


def _float(value: object) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return NAN


def _number(value: object, form: str) -> str:
    """Return a formatted number, or a dash when there is none."""
    number = _float(value)
    return form.format(number) if math.isfinite(number) else "–"


def _percent(share: object, digits: int = 1) -> str:
    text = _number(share, f"{{:.{digits}%}}")
    return text.replace("%", "\u00a0%")


def _notices(results: Mapping, measured: float, total: int, not_finite: int) -> str:
    parts = []
    if results.get("stand_in"):
        parts.append(
            '<p class="banner" role="alert"><strong>Stand-in data: these are not real results'
            "</strong>The data set asked for could not be loaded, so this run was trained and "
            "tested on drawn shapes. No number on this page says anything about real images.</p>"
        )
    if not results.get("finished", True):
        parts.append('<p class="notice">This run was stopped before its last epoch.</p>')
    if not_finite:
        parts.append(
            f'<p class="notice">The model answered NaN for {not_finite:,} of {total:,} test '
            "images; "
            "what is counted for them means nothing.</p>"
        )
    reported = _float(results.get("test_accuracy"))
    # Two passes over the test set may round a few near-ties differently, not more.
    if abs(reported - measured) > 0.002 + 1 / total:
        parts.append(
            f'<p class="notice">The run reports {_percent(reported, 2)} test accuracy, but the '
            "answers shown on this "
            f"page make it {_percent(measured, 2)}. One of them is wrong.</p>"
        )
    return "".join(parts)


def _headline(
    results: Mapping, data_name: object, correct: int, total: int, number_of_classes: int
) -> str:
    low, high = wilson_interval(correct, total)
    lines = [f"{_percent(low, 2)} to {_percent(high, 2)} with 95 % confidence"]
    lines.append(f"{correct:,} of {total:,} test images right")
    if number_of_classes > 5:
        top5 = _percent(results.get("test_top5_accuracy"), 2)
        lines.append(f"top-5 {top5}")
    lines.append("loss {}".format(_number(results.get("test_loss"), "{:.4f}")))
    accuracy = _percent(results.get("test_accuracy"), 2)
    return (
        '<div class="headline"><b>{}</b><div><h1>test accuracy on {}</h1>'
        '<p class="quiet">{}</p></div></div>'
    ).format(
        accuracy.replace("\u00a0%", "<small>\u00a0%</small>"),
        _text(data_name),
        "<br>".join([lines[0], " · ".join(lines[1:])]),
    )


def _facts(settings: Mapping, results: Mapping) -> str:
    stand_in = results.get("stand_in")
    facts = [
        ("Data set", _text(results.get("dataset")) + (", stand-in" if stand_in else "")),
        ("Parameters", _number(results.get("parameters"), "{:,.0f}")),
        (
            "Epochs",
            "{}, best {}".format(_text(results.get("epochs")), _text(results.get("best_epoch"))),
        ),
        ("Training time", _number(results.get("train_minutes"), "{:,.1f} min")),
        ("Images per second", _number(results.get("images_per_second"), "{:,.0f}")),
        ("Images seen", _number(results.get("images_seen"), "{:,.0f}")),
        ("Seed", _text(results.get("seed"))),
        ("Device", _text(results.get("device"))),
        ("Runtime", _text(results.get("runtime"))),
        ("Commit", _text(str(settings.get("git_commit") or "–")[:12])),
    ]
    cells = [
        "<div{}><dt>{}</dt><dd>{}</dd></div>".format(
            ' class="long"' if name == "Runtime" else "", name, value
        )
        for name, value in facts
    ]
    if settings.get("command"):
        command = settings["command"]
        command = command if isinstance(command, str) else " ".join(map(str, command))
        cells.append(
            f'<div class="wide"><dt>Repeat it</dt><dd><code>{_text(command)}</code></dd></div>'
        )
    return '<dl class="facts">{}</dl>'.format("".join(cells))


def _class_bars(matrix: np.ndarray, class_names: Sequence[str]) -> str:
    totals = matrix.sum(axis=1)
    shares = np.diag(matrix) / np.maximum(totals, 1)
    items = []
    # Classes without test images have no accuracy: they come last.
    for c in sorted(range(len(matrix)), key=lambda c: (totals[c] == 0, -shares[c], c)):
        low, high = wilson_interval(matrix[c, c], totals[c])
        bar = (
            f'<i style="width:{100 * shares[c]:.1f}%"></i><u '
            f'style="left:{100 * low:.1f}%;right:{100 - 100 * high:.1f}%"></u>'
        )
        items.append(
            '<li title="{0}: {1:,} of {2:,} right"><span class="name">{0}</span>'
            '<span class="bar">{3}</span><span class="share">{4}</span></li>'.format(
                _text(class_names[c]),
                matrix[c, c],
                totals[c],
                bar if totals[c] else "",
                _percent(shares[c] if totals[c] else NAN),
            )
        )
    few = " few" if len(matrix) <= NAMED_CLASSES else ""
    return '<ul class="classes{}">{}</ul>'.format(few, "".join(items))


def _pairs(matrix: np.ndarray, class_names: Sequence[str]) -> str:
    totals = matrix.sum(axis=1)
    rows = [
        f"<tr><td>{_text(class_names[true])} → <span "
        f'class="wrong">{_text(class_names[answer])}</span></td><td>{images:,} of '
        f"{totals[true]:,}</td></tr>"
        for true, answer, images in most_confused_pairs(matrix)
    ]
    if not rows:
        return ""
    caption = "<caption>Most confused</caption>"
    return '<table class="pairs">{}{}</table>'.format(caption, "".join(rows))


def _mistakes(images, labels, probabilities, class_names) -> str:
    tiles = []
    for i in most_confident_mistakes(labels, probabilities):
        answer = probabilities[i].argmax()
        tiles.append(
            f'<figure title="test image {i}"><img alt="test image {i}" '
            f'src="{image_to_uri(images[i])}"><figcaption>{_text(class_names[labels[i]])}<br>'
            f'<span class="wrong">{_text(class_names[answer])}</span> '
            f"{_percent(probabilities[i, answer])}</figcaption></figure>"
        )
    if not tiles:
        all_right = bool((probabilities.argmax(axis=-1) == labels).all())
        reason = "every answer is right" if all_right else "no wrong answer has a probability"
        return f'<p class="quiet">None: {reason}.</p>'
    return '<div class="mistakes">{}</div>'.format("".join(tiles))


def _check(images, labels, probabilities, class_names) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"images are {images.dtype} {images.shape}, expected uint8 (images, height, width, "
            "1 or 3)"
        )
    if not len(images) == len(labels) == len(probabilities) or not len(images):
        raise ValueError(
            f"{len(images)} images, {len(labels)} labels and {len(probabilities)} rows of "
            "probabilities: expected equally many, at least "
            "one"
        )
    if probabilities.shape != (len(images), len(class_names)):
        raise ValueError(
            f"probabilities have shape {probabilities.shape}, expected ({len(images)}, "
            f"{len(class_names)}) for {len(class_names)} class names"
        )
    seen = probabilities[np.isfinite(probabilities)]
    if len(seen) and not -0.01 <= seen.min() <= seen.max() <= 1.01:
        raise ValueError(
            f"probabilities reach from {seen.min():.3g} to {seen.max():.3g}, expected 0 to 1 "
            "(are these logits?)"
        )


def write_report(
    run_dir: str | Path,
    settings: Mapping,
    results: Mapping,
    history: Sequence[Mapping[str, float]],
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> Path:
    """Write run_dir/report.html and return its path.

    Args:
      settings: name to value of every constant, plus command, git_commit and versions.
      results: as in results.json; rates are shares in 0..1, times are minutes.
      history: as `read_history` returns it; numbers may be NaN, columns may be missing.
      images: test images, uint8, shape (images, height, width, 1 or 3).
      labels: true classes, integers, shape (images,).
      probabilities: the best weights' softmax outputs, float, shape (images, classes).
      class_names: one name per class.

    Raises:
      ValueError: shapes, types or ranges that do not fit together.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    probabilities = np.asarray(probabilities)
    class_names = [str(name) for name in class_names]
    _check(images, labels, probabilities, class_names)
    run_dir = Path(run_dir)

    matrix = confusion_matrix(labels, probabilities.argmax(axis=-1), len(class_names))
    correct, total = int(np.trace(matrix)), len(labels)
    not_finite = int((~np.isfinite(probabilities).all(axis=-1)).sum())
    name = f"{run_dir.resolve().parent.name} / {run_dir.resolve().name}"
    note = "stand-in data" if results.get("stand_in") else ""
    data_name = note or results.get("dataset")
    title = "{} on {}".format(_percent(results.get("test_accuracy"), 2), _text(data_name))
    rows = [f"<tr><th>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in settings.items()]
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{FIGURE_CSS}{PAGE_CSS}</style></head><body>",
        _notices(results, correct / total, total, not_finite),
        f'<p class="quiet">{html.escape(name)}</p>',
        _headline(results, data_name, correct, total, len(class_names)),
        _facts(settings, results),
        "<h2>Training</h2><p>The dotted line is the epoch whose weights were kept and tested.</p>",
        _curves(history, _float(results.get("best_epoch")), note),
        "<h2>Accuracy per class</h2><p>On the test set, best first. The thin line is the 95&nbsp;% "
        "interval: classes whose lines overlap may well be equally hard.</p>",
        _class_bars(matrix, class_names),
        "<h2>What is taken for what</h2><p>Row: true class. Column: the model's answer. Grey: "
        "right. Red: wrong, on a scale of its own.</p>",
        "<div "
        f'class="matrix">{_matrix_figure(matrix, class_names, note)}{_pairs(matrix, class_names)}</div>',
        "<h2>Most confident mistakes</h2><p>The true class, and under it the model's answer with "
        "its probability.</p>",
        _mistakes(images, labels, probabilities, class_names),
        "<details><summary>All settings</summary><table>{}</table></details>".format("".join(rows)),
        "</body></html>\n",
    ]
    path = run_dir / "report.html"
    write_text(path, "\n".join(parts))
    return path
