"""The page that a finished run leaves behind: report.html, one file, no scripts, no network.

It is made from the test images with their labels and probabilities and from the run's own records.
An image, its true name and its predicted name are always read at one and the same index.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np
from markupsafe import Markup

from reports.figures import (
    INK,
    QUIET,
    RIGHT,
    TRAINING,
    VALIDATION,
    WRONG,
    draw_curves,
    figure_to_svg,
    heat_image,
    image_to_uri,
    new_figure,
    plain,
    set_title,
)
from reports.metrics import (
    balance,
    class_scores,
    confusion_matrix,
    most_confident_mistakes,
    most_confused_pairs,
    wilson_interval,
)
from reports.pages import DASH, to_float, write_page

# A confusion matrix of more classes has cells too small for names and numbers.
NAMED_CLASSES = 20
# CSS pixels of its sides: the wide one has room for the numbers of 11 to NAMED_CLASSES classes.
MATRIX_SIDE, WIDE_MATRIX_SIDE = 520, 620


def _column(history: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    """Return a column of the history, (epochs,), with NaN for what is missing or infinite."""
    values = np.array([row.get(name, math.nan) for row in history], dtype=float)
    return np.where(np.isfinite(values), values, math.nan)


def curve_figures(
    history: Sequence[Mapping[str, float]], best_epoch: float, note: str
) -> list[Markup]:
    """Return the curves over the epochs, as SVG: accuracy, loss, learning rate and throughput."""
    epochs = _column(history, "epoch")
    best = np.flatnonzero(epochs == best_epoch)[:1]
    panels = (
        ("Accuracy", ".4g", " %", 100, ("accuracy", "validation_accuracy")),
        ("Loss", ".4g", "", 1, ("loss", "validation_loss")),
        ("Learning rate", "g", "", 1, ("learning_rate",)),
        ("Throughput", ",.0f", "", 1, ("images_per_second",)),
    )
    svgs = []
    for title, form, unit, factor, names in panels:
        values = [factor * _column(history, name) for name in names]
        if len(names) == 1:
            curves = [("", values[0], INK)]
        else:
            curves = [("training", values[0], TRAINING), ("validation", values[1], VALIDATION)]
        remark = "images per second" if title == "Throughput" else ""
        margins = (52, 72, 42, 58 if note else 34)
        figure, axes = new_figure(430, 250 if len(curves) > 1 else 190, margins=margins, note=note)
        draw_curves(axes, epochs, curves)
        axes.yaxis.set_major_formatter(
            lambda value, _, form=form, unit=unit: format(value, form) + unit
        )
        axes.set_xlabel("epoch")
        if len(curves) == 1 and axes.lines:
            # From zero, so that noise looks no larger than it is.
            axes.set_ylim(bottom=0)
        if len(best) and axes.lines:
            axes.axvline(best_epoch, color=QUIET, linewidth=0.8, dashes=(2, 3), zorder=1)
            value = values[-1][best[0]]
            if len(curves) > 1 and np.isfinite(value):
                axes.plot(best_epoch, value, "o", color=VALIDATION, markersize=5.5, clip_on=False)
                remark = f"epoch {best_epoch:g}: {value:{form}}{unit}"
        set_title(axes, title, remark)
        svgs.append(figure_to_svg(figure, f"{title} per epoch"))
    return svgs


def is_wide(number_of_classes: int) -> bool:
    """Return whether the confusion matrix needs more room than a phone has."""
    return 10 < number_of_classes <= NAMED_CLASSES


def matrix_figure(matrix: np.ndarray, class_names: Sequence[str], note: str) -> Markup:
    """Return a confusion matrix (true classes, predicted classes) of counts, as SVG."""
    number_of_classes = len(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(number_of_classes, dtype=bool)
    right = np.where(diagonal, shares, 0)
    wrong = np.where(diagonal, 0, shares)
    # Mistakes are few: on the scale of the correct predictions they would be invisible.
    wrong = np.sqrt(wrong / max(wrong.max(), 1e-9))
    side = WIDE_MATRIX_SIDE if is_wide(number_of_classes) else MATRIX_SIDE
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
        for true, predicted in np.argwhere(matrix):
            count = str(matrix[true, predicted])
            axes.text(predicted, true, count, ha="center", va="center", fontsize=size, color=INK)
    return figure_to_svg(figure, "Confusion matrix")


class ClassAccuracy(NamedTuple):
    """How many test images of a class were classified correctly, with the 95 % interval."""

    name: str
    correct: int
    total: int
    accuracy: float
    low: float
    high: float


class Confusion(NamedTuple):
    """How many of the `total` test images of one class were taken for another."""

    true_name: str
    predicted_name: str
    images: int
    total: int


class Mistake(NamedTuple):
    """One test image, by its index and as a `data:` address, that was classified wrongly."""

    index: int
    address: str
    true_name: str
    predicted_name: str
    probability: float


def class_accuracies(matrix: np.ndarray, class_names: Sequence[str]) -> list[ClassAccuracy]:
    """Return the accuracies of all classes, best first; classes without test images come last."""
    accuracies = []
    for name, correct, total in zip(class_names, np.diag(matrix), matrix.sum(axis=1)):
        share = correct / total if total else math.nan
        accuracies.append(
            ClassAccuracy(name, correct, total, share, *wilson_interval(correct, total))
        )
    return sorted(accuracies, key=lambda each: -each.accuracy if each.total else 1)


def confusions(matrix: np.ndarray, class_names: Sequence[str]) -> list[Confusion]:
    """Return the most frequent confusions, the most frequent first."""
    totals = matrix.sum(axis=1)
    return [
        Confusion(class_names[true], class_names[predicted], images, totals[true])
        for true, predicted, images in most_confused_pairs(matrix)
    ]


def mistakes(
    indices: Sequence[int],
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> list[Mistake]:
    """Return the test images of these indices with their true and their predicted names.

    images (count, height, width, channels), labels (count,) and probabilities (count, classes) are
    of the same images in the same order: all of a mistake is read at one and the same index.
    """
    return [
        Mistake(
            i,
            image_to_uri(images[i]),
            class_names[labels[i]],
            class_names[probabilities[i].argmax()],
            probabilities[i].max(),
        )
        for i in indices
    ]


def short_commit(commit: str) -> str:
    """Return the start of a commit, with the + of one that had uncommitted changes."""
    return commit[:12] + ("+" if len(commit) > 12 and commit.endswith("+") else "")


def _not_repeatable(settings: Mapping[str, Any]) -> list[str]:
    """Return, as sentences, what another run of the same command may do differently."""
    sentences = []
    if to_float(settings.get("TIME_LIMIT_MINUTES")) > 0:
        sentences.append(
            f"Under its time limit of {to_float(settings['TIME_LIMIT_MINUTES']):g} minutes the "
            "learning rate and the end follow the clock: the steps, and so the weights, cannot be "
            "repeated exactly, not even on this machine."
        )
    if str(settings.get("git_commit") or "").endswith("+"):
        sentences.append(
            "Files differed from the commit (+): what was edited besides constants is not recorded."
        )
    return sentences


def _check(images, labels, probabilities, class_names) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"images are {images.dtype} {images.shape}, expected uint8 (images, height, width, "
            "1 or 3)"
        )
    if not len(images) == len(labels) == len(probabilities) or not len(images):
        raise ValueError(
            f"{len(images)} images, {len(labels)} labels and {len(probabilities)} rows of "
            "probabilities: expected equally many, at least one"
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
    settings: Mapping[str, Any],
    results: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> Path:
    """Write run_dir/report.html and return its path.

    Args:
      settings: name to value of every constant, plus command, changed_constants and git_commit.
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
    folder = run_dir.resolve()
    matrix = confusion_matrix(labels, probabilities.argmax(axis=-1), len(class_names))
    correct, total = int(np.trace(matrix)), len(labels)
    overall = balance(matrix)
    accuracy = to_float(results.get("test_accuracy"))
    note = "stand-in data" if results.get("stand_in") else ""
    shown = most_confident_mistakes(labels, probabilities)
    return write_page(
        run_dir / "report.html",
        "report.html",
        run_name=f"{folder.parent.name} / {folder.name}",
        data_name=note or results.get("dataset"),
        settings=settings,
        not_repeatable=_not_repeatable(settings),
        commit=short_commit(str(settings.get("git_commit") or DASH)),
        results=results,
        accuracy=accuracy,
        correct=correct,
        total=total,
        interval=wilson_interval(correct, total),
        not_finite=int((~np.isfinite(probabilities).all(axis=-1)).sum()),
        # Two passes over the test set may round a few near-ties differently, not more.
        contradicts=abs(accuracy - correct / total) > 0.002 + 1 / total,
        curves=curve_figures(history, to_float(results.get("best_epoch")), note),
        balance=overall,
        majority_name=class_names[overall.majority_class],
        classes=class_accuracies(matrix, class_names),
        scores=list(zip(class_names, class_scores(matrix))),
        few_classes=len(class_names) <= NAMED_CLASSES,
        matrix=matrix_figure(matrix, class_names, note),
        wide_matrix=is_wide(len(class_names)),
        pairs=confusions(matrix, class_names),
        mistakes=mistakes(shown, images, labels, probabilities, class_names),
    )
