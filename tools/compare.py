"""Runs side by side, on one page: what differs between them, and whether it makes a difference.

    python -m tools.compare RUN_DIR RUN_DIR ... --output compare.html

Each RUN_DIR is a run's folder, or a folder of runs: then the newest finished one. All must have
been tested on the same images.

Runs of the same settings but for SEED are one method. Whether a method is better than another is
tested where both were trained with two seeds or more (Welch's t over the seeds). Of methods that
were trained once each, McNemar's test tells whether two sets of weights differ on these test
images; another training of the same two methods may differ by more, which is not tested.

Cost is counted in minutes and in FLOPs: minutes of different hours or machines are not comparable.
"""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import numpy as np

from backend.plain_text import one_line
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
from reports.pages import DASH, number, write_page
from reports.report import Mistake, mistakes, short_commit
from reports.significance import mcnemar, welch
from tools.command_line import finished_run, tool_parser
from tools.methods import differences, grouped, method_settings
from training.script import run

SIGNIFICANCE = 0.05
SHOWN_CLASSES = 20
SHOWN_IMAGES = 12
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# The gradients of a network take about twice the multiply-adds of its forward pass; one is 2 FLOPs.
TRAINING_FLOPS_PER_MULTIPLY_ADD = 3 * 2
ABOUT_COST = (
    "Minutes of different hours or machines are not comparable: whatever else a machine did counts "
    "in them. FLOPs are: three forward passes for each image seen, without a teacher's."
)


class ComparedRun(NamedTuple):
    """A run with its predictions for the test images, each array (images,) or (images, classes).

    letter is that of its method, followed by a number where the method has several runs.
    """

    letter: str
    name: str
    settings: dict[str, Any]
    commit: str
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
    def training_flops(self) -> float:
        return self.flops_of(float(self.results.get("images_seen", math.nan)))

    def flops_of(self, images):
        """Return the FLOPs of training on so many images."""
        return TRAINING_FLOPS_PER_MULTIPLY_ADD * self.multiply_adds * images

    @property
    def colour(self) -> str:
        return SERIES[LETTERS.index(self.letter[0]) % len(SERIES)]

    @property
    def css_colour(self) -> str:
        return css_colour(self.colour)


class Method(NamedTuple):
    """The runs of the same settings but for SEED, best first."""

    letter: str
    runs: list[ComparedRun]

    @property
    def accuracies(self) -> list[float]:
        """The accuracy of each seed; several runs of one seed are not independent: their mean."""
        by_seed: dict[Any, list[float]] = {}
        for each in self.runs:
            by_seed.setdefault(each.results.get("seed"), []).append(each.accuracy)
        return [float(np.mean(values)) for values in by_seed.values()]

    @property
    def seeds(self) -> int:
        return len(self.accuracies)

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds; NaN for one."""
        return float(np.std(self.accuracies, ddof=1)) if self.seeds > 1 else math.nan

    @property
    def css_colour(self) -> str:
        return self.runs[0].css_colour

    @property
    def in_words(self) -> str:
        seeds = f"{self.seeds} seeds" if self.seeds > 1 else "1 seed"
        spread = f", standard deviation {100 * self.deviation:.2f}" if self.seeds > 1 else ""
        return f"{seeds}: mean {100 * self.mean:.2f} %{spread}"


class Comparison(NamedTuple):
    """A question about two methods, the test that answers it, and whether its p is small enough.

    p is NaN where nothing could be tested.
    """

    better: Method
    worse: Method
    question: str
    test: str
    p: float
    significance: float

    @property
    def difference_in_points(self) -> str:
        return f"{100 * (self.better.mean - self.worse.mean):+.2f} points"

    @property
    def is_significant(self) -> bool:
        return self.p < self.significance

    @property
    def p_in_words(self) -> str:
        if math.isnan(self.p):
            return DASH
        return f"{self.p:.2g}" if self.p >= 1e-12 else "less than 1e-12"

    @property
    def answer(self) -> str:
        if math.isnan(self.p):
            return "not tested"
        return "yes" if self.is_significant else "no: this may be chance"


class Disagreement(NamedTuple):
    """The `count` test images that one run classifies correctly and another does not."""

    winner: ComparedRun
    loser: ComparedRun
    count: int
    mistakes: list[Mistake]


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
    """Return the methods, best first, with test images, labels and class names.

    Raises ValueError where the runs were not tested on the same images.
    """
    if len(folders) < 2:
        raise ValueError("1 run: give 2 or more.")
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
                settings=method_settings(finished.settings),
                commit=short_commit(finished.settings.get("git_commit") or ""),
                results=finished.results,
                history=finished.history(),
                parameters=int(finished.results["parameters"]),
                multiply_adds=multiply_adds(finished.model),
                probabilities=probabilities,
                is_right=probabilities.argmax(axis=1) == dataset.y_test,
            )
        )
    return methods_of(runs), test_set.x_test, test_set.y_test, test_set.class_names


def _have_same_test_images(first, second) -> bool:
    return (
        first.class_names == second.class_names
        and np.array_equal(first.y_test, second.y_test)
        and np.array_equal(first.x_test, second.x_test)
    )


def methods_of(runs: Sequence[ComparedRun]) -> list[Method]:
    """Return the methods that runs are of, lettered from the best to the worst.

    Raises ValueError for more methods than letters.
    """
    groups = [
        sorted((runs[index] for index in group), key=lambda each: -each.accuracy)
        for group in grouped([each.settings for each in runs])
    ]
    if len(groups) > len(LETTERS):
        raise ValueError(f"{len(groups)} different settings: compare at most {len(LETTERS)}.")
    groups.sort(key=lambda group: -Method("", group).mean)
    methods = []
    for letter, group in zip(LETTERS, groups):
        labels = [f"{letter}{n}" if len(group) > 1 else letter for n in range(1, len(group) + 1)]
        named = [each._replace(letter=label) for each, label in zip(group, labels)]
        methods.append(Method(letter, named))
    return methods


def compare(better: Method, worse: Method, significance: float = SIGNIFICANCE) -> Comparison:
    """Return whether the difference of two methods may be chance.

    Over seeds where both have several; for one run of each, whether their weights differ.
    """
    a, b = better.letter, worse.letter
    over_seeds = f"{a} better than {b}?"
    seeds = f"n = {better.seeds} and {worse.seeds} seeds"
    if min(better.seeds, worse.seeds) > 1:
        found = welch(better.accuracies, worse.accuracies)
        test = f"Welch's t = {found.t:.2f}, {found.degrees:.1f} degrees of freedom, {seeds}"
        if math.isnan(found.p):
            test = f"no spread over the seeds, {seeds}"
        return Comparison(better, worse, over_seeds, test, found.p, significance)
    if len(better.runs) + len(worse.runs) > 2:
        return Comparison(better, worse, over_seeds, f"{seeds}", math.nan, significance)
    (one,), (other,) = better.runs, worse.runs
    only_better = int((one.is_right & ~other.is_right).sum())
    only_worse = int((other.is_right & ~one.is_right).sum())
    return Comparison(
        better,
        worse,
        f"weights of {a} better than those of {b} on these images?",
        f"McNemar, {only_better:,} images only {a} has right, {only_worse:,} only {b}",
        mcnemar(only_better, only_worse),
        significance,
    )


def compare_all(methods: Sequence[Method]) -> list[Comparison]:
    """Return the comparison of every pair of methods, which are sorted, best first."""
    comparisons = [compare(better, worse) for better, worse in combinations(methods, 2)]
    tested = sum(not math.isnan(each.p) for each in comparisons)
    # Of many comparisons some would look significant by chance: Bonferroni.
    return [each._replace(significance=SIGNIFICANCE / max(tested, 1)) for each in comparisons]


def not_tested(methods: Sequence[Method]) -> str:
    """Return what the tests say nothing about, or ""."""
    if len(methods) == 1:
        return "All runs have the same settings: they are trainings of one method, not rivals."
    once = [each.letter for each in methods if each.seeds == 1]
    if not once:
        return ""
    return (
        f"Not tested: whether the settings of {', '.join(once)} are better or worse than others. "
        "One training of a method says nothing about the next, which may differ by more than the "
        "rivals do: train each with several seeds (--seed 1, --seed 2, ...)."
    )


def method_differences(methods: Sequence[Method]) -> list[tuple[str, list[str]]]:
    """Return what differs between methods, (name, value of each): settings, then the commits."""
    commits = [
        {"commit": ", ".join(sorted({each.commit or "unknown" for each in method.runs}))}
        for method in methods
    ]
    return differences([each.runs[0].settings for each in methods]) + differences(commits)


def with_unit(count: float) -> str:
    """Return a large count with a unit: 1.5e12 is "1.5 T"; a dash for NaN."""
    for unit, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{number(count / 1e6, '.3g')} M" if count == count else DASH


def loss_figure(methods: Sequence[Method], note: str, over_flops: bool = False):
    """Return the validation loss of all runs over the minutes of training, or over its FLOPs."""
    figure, axes = new_figure(760, 320, note=note)
    for method in methods:
        for each in method.runs:
            seconds = np.array([row["seconds"] for row in each.history])
            images = seconds * [row["images_per_second"] for row in each.history]
            cost = (
                each.flops_of(np.cumsum(images)) / 1e12 if over_flops else np.cumsum(seconds) / 60
            )
            losses = [row["validation_loss"] for row in each.history]
            marker = "o" if len(losses) < 3 else None
            label = (
                f"{method.letter}  {each.name.split('/')[0]}" if each is method.runs[0] else None
            )
            label = plain(label) if label else None
            axes.plot(cost, losses, color=each.colour, marker=marker, label=label)
    axes.set_xlabel("10¹² FLOPs of training" if over_flops else "minutes of training")
    axes.set_xlim(left=0)
    axes.legend(loc="upper right", frameon=False, fontsize=11)
    set_title(axes, f"Validation loss over {'FLOPs' if over_flops else 'minutes'}")
    return figure


def class_figure(
    methods: Sequence[Method], labels: np.ndarray, class_names: Sequence[str], note: str
):
    """Return the mean accuracy per class, a bar for each method; of many, the most different."""
    shares = np.array(
        [
            [np.mean([r.is_right[labels == c] for r in each.runs]) for each in methods]
            if (labels == c).any()
            else [0.0] * len(methods)
            for c in range(len(class_names))
        ]
    )
    order = np.argsort(-np.ptp(shares, axis=1), kind="stable")[:SHOWN_CLASSES]
    order = order[np.argsort(shares[order].mean(axis=1), kind="stable")]
    height = 0.8 / len(methods)
    figure, axes = new_figure(760, 60 + len(order) * (12 + 11 * len(methods)), note=note)
    places = np.arange(len(order))
    for place, each in enumerate(methods):
        offset = (len(methods) - 1) / 2 - place
        axes.barh(
            places + offset * height,
            100 * shares[order, place],
            height=0.85 * height,
            color=each.runs[0].colour,
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
    methods: Sequence[Method],
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Path:
    """Write the page that compares the methods, which are sorted, best first; return its path."""
    runs = [each for method in methods for each in method.runs]
    note = "stand-in data" if any(each.results.get("stand_in") for each in runs) else ""
    comparisons = compare_all(methods)
    # The best runs of the two best methods, or the two best of the only one.
    best, second = [method.runs[0] for method in methods[:2]] if methods[1:] else runs[:2]
    test_set = (images, labels, class_names)
    figures = [loss_figure(methods, note), loss_figure(methods, note, over_flops=True)]
    return write_page(
        path,
        "compare.html",
        methods=methods,
        runs=runs,
        note=note,
        test_images=len(labels),
        differences=method_differences(methods),
        comparisons=comparisons,
        tested=sum(not math.isnan(each.p) for each in comparisons),
        not_tested=not_tested(methods),
        about_cost=ABOUT_COST,
        with_unit=with_unit,
        losses=[figure_to_svg(each, "Validation loss over its cost") for each in figures],
        classes=figure_to_svg(
            class_figure(methods, labels, class_names, note), "Accuracy per class"
        ),
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
    methods, *test_set = read_runs(arguments.runs, arguments.data_dir)
    path = write_comparison(arguments.output, methods, *test_set)
    for name, values in method_differences(methods):
        pairs = (f"{each.letter} {value}" for each, value in zip(methods, values))
        print(one_line(f"differs: {name}: {' | '.join(pairs)}"))
    for method in methods:
        print(f"{method.letter}  {method.in_words}")
        for each in method.runs:
            minutes = number(each.results.get("train_minutes"), ",.1f")
            cost = f"{with_unit(each.training_flops)}FLOP, {minutes} min"
            seed = each.results.get("seed", DASH)
            accuracy = f"{100 * each.accuracy:.2f} %"
            print(
                f"   {each.letter:<3} {accuracy}  {one_line(f'{each.name}, seed {seed}, {cost}')}"
            )
    for each in compare_all(methods):
        p = "" if math.isnan(each.p) else f", p = {each.p_in_words}"
        print(f"{each.question}  {each.difference_in_points} ({each.test}{p}): {each.answer}")
    for sentence in filter(None, [not_tested(methods), ABOUT_COST]):
        print(sentence)
    print(path)
    return path


if __name__ == "__main__":
    run(main)
