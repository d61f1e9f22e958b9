"""Is one model better than another? Runs side by side, on one page.

    python -m tools.compare RUN_DIR RUN_DIR ... --output compare.html

Each RUN_DIR is a run's folder, or a folder of runs: then the newest finished one. All must have
been tested on the same images.

Accuracies have Wilson's 95 % intervals. Whether a difference is significant is decided by McNemar's
test ("Note on the sampling error of the difference between correlated proportions or percentages",
1947) in its exact form: if two models were equally good, each would be the correct one for half of
the test images that only one of them classifies correctly.
"""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import numpy as np

from reports.figures import (
    LINE,
    SERIES,
    css_colour,
    figure_to_svg,
    new_figure,
    plain,
    set_title,
)
from reports.metrics import wilson_interval
from reports.pages import write_page
from reports.report import Mistake, mistakes
from tools.command_line import finished_run, tool_parser
from training.script import run

SIGNIFICANCE = 0.05
SHOWN_CLASSES = 20
SHOWN_IMAGES = 12
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class ComparedRun(NamedTuple):
    """A run with its predictions for the test images, each array (images,) or (images, classes)."""

    letter: str
    name: str
    results: dict[str, Any]
    history: list[dict[str, float]]
    parameters: int
    multiply_adds: int
    probabilities: np.ndarray
    is_right: np.ndarray

    @property
    def accuracy(self) -> float:
        return float(self.is_right.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy."""
        return wilson_interval(int(self.is_right.sum()), len(self.is_right))

    @property
    def colour(self) -> str:
        return SERIES[LETTERS.index(self.letter) % len(SERIES)]

    @property
    def css_colour(self) -> str:
        return css_colour(self.colour)


class Comparison(NamedTuple):
    """Whether one run is better than another: McNemar's p-value, and whether it is small enough.

    only_better and only_worse count the test images that only this one of the two gets right.
    """

    better: ComparedRun
    worse: ComparedRun
    only_better: int
    only_worse: int
    p: float
    is_significant: bool

    @property
    def question(self) -> str:
        return f"{self.better.letter} better than {self.worse.letter}?"

    @property
    def difference_in_points(self) -> str:
        return f"{100 * (self.better.accuracy - self.worse.accuracy):+.2f} points"

    @property
    def p_in_words(self) -> str:
        return f"{self.p:.2g}" if self.p >= 1e-12 else "less than 1e-12"

    @property
    def answer(self) -> str:
        return "yes" if self.is_significant else "no: this may be chance"


class Disagreement(NamedTuple):
    """The `count` test images that one run classifies correctly and another does not."""

    winner: ComparedRun
    loser: ComparedRun
    count: int
    mistakes: list[Mistake]


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    first_only images are classified correctly by the first model only, second_only by the second
    only. p is the probability that as many tosses of a fair coin split at least as unevenly.
    Raises ValueError for negative counts.
    """
    total, fewer = first_only + second_only, min(first_only, second_only)
    if fewer < 0:
        raise ValueError(f"{first_only} and {second_only}: counts cannot be negative.")
    # By logarithms, because 2 ** total does not fit into a float.
    logarithms = [
        math.lgamma(total + 1)
        - math.lgamma(heads + 1)
        - math.lgamma(total - heads + 1)
        - total * math.log(2)
        for heads in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logarithms))


def multiply_adds(model) -> int:
    """Return the multiply-adds of matrix products and convolutions for one image.

    One is two FLOPs. Everything else, such as norms, adds a few percent.
    """
    from backend.runtime import tf

    shape = (1,) + tuple(model.input_shape[1:])
    function = tf.function(lambda images: model(images, training=False))
    graph = function.get_concrete_function(tf.TensorSpec(shape, tf.float32)).graph
    total = 0
    for operation in graph.get_operations():
        kind = operation.type
        if kind not in ("MatMul", "BatchMatMul", "BatchMatMulV2", "Conv2D"):
            continue
        first, second = (tensor.shape.as_list() for tensor in list(operation.inputs)[:2])
        results = int(np.prod(operation.outputs[0].shape.as_list()))
        if kind == "Conv2D":
            total += results * int(np.prod(second[:3]))
        else:
            flag = "transpose_a" if kind == "MatMul" else "adj_x"
            total += results * first[-2 if operation.get_attr(flag) else -1]
    return total


def read_runs(folders: Sequence[str], data_dir: str = ""):
    """Return the runs, best first, with test images, labels and class names.

    Raises ValueError where the runs were not tested on the same images.
    """
    if not 2 <= len(folders) <= len(LETTERS):
        raise ValueError(f"{len(folders)} runs: give 2 to {len(LETTERS)}.")
    runs, first, test_set = [], None, None
    for folder in folders:
        finished = finished_run(folder)
        dataset = finished.dataset(data_dir)
        if test_set is None:
            first, test_set = finished, dataset
        elif not _have_same_test_images(test_set, dataset):
            raise ValueError(
                f"{first.folder} and {finished.folder} were not tested on the same images: "
                f"{first.results['dataset']} and {dataset.name}."
            )
        probabilities = finished.probabilities(dataset.x_test)
        runs.append(
            ComparedRun(
                letter="",
                name=finished.name,
                results=finished.results,
                history=finished.history(),
                parameters=int(finished.results["parameters"]),
                multiply_adds=multiply_adds(finished.model),
                probabilities=probabilities,
                is_right=probabilities.argmax(axis=1) == dataset.y_test,
            )
        )
    runs.sort(key=lambda each: -each.accuracy)
    runs = [each._replace(letter=letter) for letter, each in zip(LETTERS, runs)]
    return runs, test_set.x_test, test_set.y_test, test_set.class_names


def _have_same_test_images(first, second) -> bool:
    return (
        first.class_names == second.class_names
        and np.array_equal(first.y_test, second.y_test)
        and np.array_equal(first.x_test, second.x_test)
    )


def compare(better: ComparedRun, worse: ComparedRun, comparisons: int = 1) -> Comparison:
    """Return whether the difference of two runs is significant, as one of several comparisons."""
    only_better = int((better.is_right & ~worse.is_right).sum())
    only_worse = int((worse.is_right & ~better.is_right).sum())
    p = mcnemar(only_better, only_worse)
    # Of many comparisons some would look significant by chance: Bonferroni.
    return Comparison(better, worse, only_better, only_worse, p, p < SIGNIFICANCE / comparisons)


def compare_all(runs: Sequence[ComparedRun]) -> list[Comparison]:
    """Return the comparison of every pair of runs; runs are sorted, best first."""
    pairs = list(combinations(runs, 2))
    return [compare(better, worse, len(pairs)) for better, worse in pairs]


def loss_figure(runs: Sequence[ComparedRun], note: str):
    """Return the validation loss of all runs over the minutes of training."""
    figure, axes = new_figure(760, 320, note=note)
    for each in runs:
        minutes = np.cumsum([row["seconds"] for row in each.history]) / 60
        losses = [row["validation_loss"] for row in each.history]
        marker = "o" if len(losses) < 3 else None
        label = f"{each.letter}  {each.name.split('/')[0]}"
        axes.plot(minutes, losses, color=each.colour, marker=marker, label=plain(label))
    axes.set_xlabel("minutes of training")
    axes.set_xlim(left=0)
    axes.legend(loc="upper right", frameon=False, fontsize=11)
    set_title(axes, "Validation loss")
    return figure


def class_figure(
    runs: Sequence[ComparedRun], labels: np.ndarray, class_names: Sequence[str], note: str
):
    """Return accuracy per class, one bar for each run; of many classes, the most different ones."""
    shares = np.array(
        [
            [each.is_right[labels == c].mean() if (labels == c).any() else 0 for each in runs]
            for c in range(len(class_names))
        ]
    )
    order = np.argsort(-np.ptp(shares, axis=1), kind="stable")[:SHOWN_CLASSES]
    order = order[np.argsort(shares[order].mean(axis=1), kind="stable")]
    height = 0.8 / len(runs)
    figure, axes = new_figure(760, 60 + len(order) * (12 + 11 * len(runs)), note=note)
    places = np.arange(len(order))
    for number, each in enumerate(runs):
        offset = (len(runs) - 1) / 2 - number
        axes.barh(
            places + offset * height,
            100 * shares[order, number],
            height=0.85 * height,
            color=each.colour,
            label=each.letter,
        )
    axes.set_yticks(places)
    axes.set_yticklabels([plain(class_names[c]) for c in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.grid(False)
    axes.grid(True, axis="x", color=LINE)
    axes.set_xlim(0, 100)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    remark = "" if len(order) == len(class_names) else "the most different of all classes"
    set_title(axes, "Accuracy per class (%)", remark)
    return figure


def disagreement(
    winner: ComparedRun,
    loser: ComparedRun,
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Disagreement:
    """Return the images that one run gets right and the other wrong, confident mistakes first."""
    chosen = np.flatnonzero(winner.is_right & ~loser.is_right)
    count = len(chosen)
    confidences = loser.probabilities[chosen].max(axis=1)
    chosen = chosen[np.argsort(-confidences, kind="stable")][:SHOWN_IMAGES]
    shown = mistakes(chosen, images, labels, loser.probabilities, class_names)
    return Disagreement(winner, loser, count, shown)


def write_comparison(
    path: str | Path,
    runs: Sequence[ComparedRun],
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Path:
    """Write the page that compares the runs, which are sorted, best first; return its path."""
    note = "stand-in data" if any(each.results.get("stand_in") for each in runs) else ""
    comparisons = compare_all(runs)
    best, second = runs[:2]
    test_set = (images, labels, class_names)
    return write_page(
        path,
        "compare.html",
        runs=runs,
        note=note,
        test_images=len(labels),
        comparisons=comparisons,
        significance=SIGNIFICANCE / len(comparisons),
        losses=figure_to_svg(loss_figure(runs, note), "Validation loss over minutes"),
        classes=figure_to_svg(class_figure(runs, labels, class_names, note), "Accuracy per class"),
        disagreements=[
            disagreement(best, second, *test_set),
            disagreement(second, best, *test_set),
        ],
    )


def main(argv: Sequence[str] | None = None) -> Path:
    """Run the command line; return the page written."""
    parser = tool_parser("compare", __doc__)
    parser.add_argument("runs", metavar="RUN_DIR", nargs="+", help="runs, or folders of runs")
    parser.add_argument("--output", default="compare.html", help="(default: compare.html)")
    arguments = parser.parse_args(argv)
    runs, *test_set = read_runs(arguments.runs, arguments.data_dir)
    path = write_comparison(arguments.output, runs, *test_set)
    for each in runs:
        print(f"{each.letter}  {100 * each.accuracy:.2f} %  {each.name}")
    for each in compare_all(runs):
        print(f"{each.question}  {each.difference_in_points}, p = {each.p_in_words}: {each.answer}")
    print(path)
    return path


if __name__ == "__main__":
    run(main)
