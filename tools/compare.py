"""Is one model better than another? Runs side by side, on one page.

    python -m tools.compare RUN_DIR RUN_DIR ... --output compare.html

Each RUN_DIR is a run's folder, or a folder of runs: then the newest finished one. All must have
been tested on the same images.

Accuracies have Wilson's 95 % intervals. Whether a difference is significant is McNemar's test
("Note on the sampling error of the difference between correlated proportions or percentages", 1947)
in its exact form: of the test images that one model gets right and the other wrong, each would have
half if the two were equally good.
"""

from __future__ import annotations

import argparse
import html
import math
from itertools import combinations
from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np

from backend import environment
from reports.figures import (
    FIGURE_CSS,
    LINE,
    SERIES,
    figure_to_html,
    image_to_uri,
    new_figure,
    plain,
    set_title,
)
from reports.metrics import wilson_interval
from reports.report import PAGE_CSS
from storage.files import write_text
from training.script import run

SIGNIFICANCE = 0.05
SHOWN_CLASSES = 20
SHOWN_IMAGES = 12
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

CSS = """
.runs { width: 100%; } .runs td, .runs th { white-space: nowrap; padding: .375rem 1rem .375rem 0; }
.runs thead th { color: var(--quiet); } .number { text-align: right; }
.scroll { overflow-x: auto; margin-top: 1.5rem; }
.key { display: inline-block; min-width: 1.5rem; font-weight: 700; }
h3 { font-size: 1rem; font-weight: 600; margin: 2rem 0 .75rem; }
"""


class Contestant(NamedTuple):
    """A run with what it answered: `is_right` and `predictions` are (test images,)."""

    letter: str
    name: str
    results: dict
    history: list[dict]
    parameters: int
    multiply_adds: int
    predictions: np.ndarray
    confidences: np.ndarray
    is_right: np.ndarray

    @property
    def accuracy(self) -> float:
        return float(self.is_right.mean())

    @property
    def colour(self) -> str:
        return SERIES[LETTERS.index(self.letter) % len(SERIES)]


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    first_only images are right for the first model only, second_only for the second only. p is the
    probability that fair coins, one for each of these images, fall as unevenly as that or more so.
    """
    total, fewer = first_only + second_only, min(first_only, second_only)
    if min(first_only, second_only) < 0:
        raise ValueError(f"{first_only} and {second_only}: counts cannot be negative.")
    # By logarithms, because 2 ** total has no place in a float.
    logarithms = [
        math.lgamma(total + 1)
        - math.lgamma(heads + 1)
        - math.lgamma(total - heads + 1)
        - total * math.log(2)
        for heads in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logarithms))


def multiply_adds(model) -> int:
    """Return the multiplications with addition that one image takes: matrix products, convolutions.

    Two of what is usually called a FLOP. Everything else, such as norms, is a few percent.
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


def read_contestants(folders: Sequence[str], data_dir: str):
    """Return the contestants, best first, with test images, labels and class names.

    Raises ValueError where the runs were not tested on the same images.
    """
    from storage.trained_run import FinishedRun

    if not 2 <= len(folders) <= len(LETTERS):
        raise ValueError(f"{len(folders)} runs: give 2 to {len(LETTERS)}.")
    contestants, images, labels, names = [], None, None, None
    for folder in folders:
        finished = FinishedRun(folder)
        dataset = finished.dataset(data_dir)
        if labels is None:
            images, labels, names = dataset.x_test, dataset.y_test, dataset.class_names
            first = finished
        same = np.array_equal(labels, dataset.y_test) and names == dataset.class_names
        if same and images.shape == dataset.x_test.shape:
            same = np.array_equal(images, dataset.x_test)
        if not same:
            raise ValueError(
                "{} and {} were not tested on the same images: {} and {}.".format(
                    first.folder, finished.folder, first.results["dataset"], dataset.name
                )
            )
        probabilities = finished.probabilities(dataset.x_test)
        predictions = probabilities.argmax(axis=1)
        contestants.append(
            Contestant(
                letter="",
                name=finished.name,
                results=finished.results,
                history=finished.history(),
                parameters=int(finished.results["parameters"]),
                multiply_adds=multiply_adds(finished.model),
                predictions=predictions,
                confidences=probabilities.max(axis=1),
                is_right=predictions == labels,
            )
        )
    contestants.sort(key=lambda contestant: -contestant.accuracy)
    contestants = [c._replace(letter=letter) for letter, c in zip(LETTERS, contestants)]
    return contestants, images, labels, names


def verdict(better: Contestant, worse: Contestant, comparisons: int) -> list[str]:
    """Return a row of the table of differences: who, by how much, p, and the answer in words."""
    only_better = int((better.is_right & ~worse.is_right).sum())
    only_worse = int((worse.is_right & ~better.is_right).sum())
    p = mcnemar(only_better, only_worse)
    # Of many comparisons some would look significant by chance: Bonferroni.
    is_significant = p < SIGNIFICANCE / comparisons
    answer = "yes" if is_significant else "no: this may be chance"
    return [
        f"{better.letter} better than {worse.letter}?",
        f"{100 * (better.accuracy - worse.accuracy):+.2f} points",
        f"{only_better:,}",
        f"{only_worse:,}",
        f"{p:.2g}" if p >= 1e-12 else "less than 1e-12",
        answer,
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int]) -> str:
    """Return a table; columns of `words` are aligned left, those of numbers right."""

    def row(cells, tag):
        return "<tr>{}</tr>".format(
            "".join(
                "<{0}{1}>{2}</{0}>".format(tag, "" if i in words else ' class="number"', cell)
                for i, cell in enumerate(cells)
            )
        )

    body = "".join(row(cells, "td") for cells in rows)
    table = '<table class="runs"><thead>{}</thead><tbody>{}</tbody></table>'
    return '<div class="scroll">{}</div>'.format(table.format(row(head, "th"), body))


def _key(contestant: Contestant) -> str:
    return f'<span class="key" style="color:{contestant.colour}">{contestant.letter}</span>'


def _runs_table(contestants: Sequence[Contestant]) -> str:
    head = ["run", "test accuracy", "95 % interval", "parameters", "FLOPs per image", "epochs"]
    head += ["images/s", "minutes", "device"]
    rows = []
    for each in contestants:
        low, high = wilson_interval(int(each.is_right.sum()), len(each.is_right))
        rows.append(
            [
                # In two lines, or the table would be wider than the page.
                _key(each) + "<br>".join(html.escape(each.name).split("/")),
                f"<b>{100 * each.accuracy:.2f} %</b>",
                f"{100 * low:.2f} to {100 * high:.2f} %",
                f"{each.parameters:,}",
                f"{2 * each.multiply_adds / 1e6:,.1f} M",
                "{}".format(each.results["epochs"]),
                "{:,.0f}".format(each.results["images_per_second"]),
                "{:,.1f}".format(each.results["train_minutes"]),
                html.escape(str(each.results["device"])),
            ]
        )
    return _table(head, rows, words=(0, 8))


def loss_figure(contestants: Sequence[Contestant], note: str):
    """Return the validation loss of all runs over the minutes of training."""
    figure, axes = new_figure(760, 320, note=note)
    for each in contestants:
        minutes = np.cumsum([row["seconds"] for row in each.history]) / 60
        losses = [row["validation_loss"] for row in each.history]
        marker = "o" if len(losses) < 3 else None
        label = "{}  {}".format(each.letter, each.name.split("/")[0])
        axes.plot(minutes, losses, color=each.colour, marker=marker, label=plain(label))
    axes.set_xlabel("minutes of training")
    axes.set_xlim(left=0)
    axes.legend(loc="upper right", frameon=False, fontsize=11)
    set_title(axes, "Validation loss")
    return figure


def class_figure(contestants, labels: np.ndarray, class_names: Sequence[str], note: str):
    """Return accuracy per class, one bar for each run; of many classes, the most different ones."""
    shares = np.array(
        [
            [
                each.is_right[labels == c].mean() if (labels == c).any() else 0
                for each in contestants
            ]
            for c in range(len(class_names))
        ]
    )
    order = np.argsort(-np.ptp(shares, axis=1), kind="stable")[:SHOWN_CLASSES]
    order = order[np.argsort(shares[order].mean(axis=1), kind="stable")]
    height = 0.8 / len(contestants)
    figure, axes = new_figure(760, 60 + len(order) * (12 + 11 * len(contestants)), note=note)
    places = np.arange(len(order))
    for number, each in enumerate(contestants):
        offset = (len(contestants) - 1) / 2 - number
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


def disagreements(winner: Contestant, loser: Contestant, images, labels, class_names) -> str:
    """Return the images that one run gets right and the other wrong, surest mistakes first."""
    chosen = np.flatnonzero(winner.is_right & ~loser.is_right)
    count = len(chosen)
    chosen = chosen[np.argsort(-loser.confidences[chosen], kind="stable")][:SHOWN_IMAGES]
    tiles = [
        f'<figure><img alt="test image {i}" '
        f'src="{image_to_uri(images[i])}"><figcaption>{html.escape(class_names[labels[i]])}<br><span class="wrong">{html.escape(class_names[loser.predictions[i]])}</span>'
        "</figcaption></figure>"
        for i in chosen
    ]
    title = f"{winner.letter} right, {loser.letter} wrong: {count:,} images"
    return '<h3>{}</h3><div class="mistakes">{}</div>'.format(title, "".join(tiles))


def page(contestants, images, labels, class_names) -> str:
    """Return the page that compares the runs, as HTML."""
    pairs = list(combinations(contestants, 2))
    note = "stand-in data" if any(each.results.get("stand_in") for each in contestants) else ""
    verdicts = [verdict(better, worse, len(pairs)) for better, worse in pairs]
    head = [
        "",
        "difference",
        "right only for the first",
        "only for the second",
        "p",
        "significant?",
    ]
    correction = ""
    if len(pairs) > 1:
        correction = (
            f" With {len(pairs)} comparisons, p has to be below "
            f"{SIGNIFICANCE / len(pairs):.2g} (Bonferroni)."
        )
    best, second = contestants[:2]
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Comparison of {len(contestants)} runs</title>",
        f"<style>{FIGURE_CSS}{PAGE_CSS}{CSS}</style></head><body>",
        "<h1>{} runs on the same {:,} test images{}</h1>".format(
            len(contestants), len(labels), " of " + note if note else ""
        ),
        _runs_table(contestants),
        "<h2>Is the difference significant?</h2><p>McNemar's exact test, on the images that only "
        "one of the two gets right. It knows one training of each: another seed may differ by more."
        f"{correction}</p>",
        _table(head, verdicts, words=(0, 5)),
        "<h2>Loss over time</h2>",
        figure_to_html(loss_figure(contestants, note), "Validation loss over minutes"),
        "<h2>Classes</h2>",
        figure_to_html(class_figure(contestants, labels, class_names, note), "Accuracy per class"),
        "<h2>Where they disagree</h2><p>The true class, and under it the wrong answer; the surest "
        "mistakes first.</p>",
        disagreements(best, second, images, labels, class_names),
        disagreements(second, best, images, labels, class_names),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> Path:
    """Run the command line; return the page written."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", metavar="RUN_DIR", nargs="+", help="runs, or folders of runs")
    parser.add_argument(
        "--data-dir", default="", help="where the data set is, if not as in training"
    )
    parser.add_argument("--output", default="compare.html", help="(default: compare.html)")
    arguments = parser.parse_args(argv)
    environment.preflight()
    environment.select_adapter(environment.DEFAULT_ADAPTER)
    contestants, images, labels, class_names = read_contestants(arguments.runs, arguments.data_dir)
    write_text(arguments.output, page(contestants, images, labels, class_names))
    for each in contestants:
        print(f"{each.letter}  {100 * each.accuracy:.2f} %  {each.name}")
    pairs = list(combinations(contestants, 2))
    for better, worse in pairs:
        question, difference, _, _, p, answer = verdict(better, worse, len(pairs))
        print(f"{question}  {difference}, p = {p}: {answer}")
    print(arguments.output)
    return Path(arguments.output)


if __name__ == "__main__":
    run(main)
