"""Test images that also stand in the training images, and a model's accuracy without them.

    python -m tools.duplicates RUN_DIR     also draws pairs: RUN_DIR/near_duplicates.png

RUN_DIR is a run's folder, or a folder of runs: then the newest finished one. How images are
compared, and what that misses, is told in near_duplicates.py.
"""

from __future__ import annotations

import argparse
from typing import Sequence

import numpy as np

from backend import environment
from reports.figures import QUIET, new_figure, plain, save_png
from reports.metrics import wilson_interval
from tools.near_duplicates import NEARLY_EQUAL, nearest_training_images
from training.script import run

PICTURE = "near_duplicates.png"
SHOWN_PAIRS = 10


def accuracy_in_words(is_right: np.ndarray) -> str:
    """Return an accuracy with its 95 % interval; is_right is (images,)."""
    low, high = wilson_interval(int(is_right.sum()), len(is_right))
    return (
        f"{100 * is_right.mean():.2f} % ({100 * low:.2f} to {100 * high:.2f} %) of "
        f"{len(is_right):,} images"
    )


def pairs_figure(dataset, tests: np.ndarray, trainings: np.ndarray, similarities, note: str):
    """Return test images over their training images, with true names and similarity."""
    figure, axes = new_figure(104 * len(tests), 262, 2, len(tests), note=note)
    axes = np.reshape(axes, (2, len(tests)))
    for column, (test, training) in enumerate(zip(tests, trainings)):
        for cell, image in (
            (axes[0, column], dataset.x_test[test]),
            (axes[1, column], dataset.x_train[training]),
        ):
            cell.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
            cell.grid(False)
            cell.set_xticks([])
            cell.set_yticks([])
        test_name = plain(dataset.class_names[dataset.y_test[test]])
        training_name = plain(dataset.class_names[dataset.y_train[training]])
        axes[0, column].set_title(test_name, fontsize=11)
        axes[1, column].set_title(f"{similarities[column]:.3f}", fontsize=11, color=QUIET)
        axes[1, column].set_xlabel(training_name, fontsize=11)
    axes[0, 0].set_ylabel("test")
    axes[1, 0].set_ylabel("training")
    return figure


def main(argv: Sequence[str] | None = None) -> list[str]:
    """Run the command line; return the lines printed."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.duplicates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN_DIR", help="a run, or a folder of runs: the newest")
    parser.add_argument(
        "--data-dir", default="", help="where the data set is, if not as in training"
    )
    parser.add_argument(
        "--similarity",
        type=float,
        default=NEARLY_EQUAL,
        help=f"correlation from which images count as one (default: {NEARLY_EQUAL})",
    )
    arguments = parser.parse_args(argv)
    if not 0 < arguments.similarity <= 1:
        raise ValueError(
            f"--similarity is {arguments.similarity}: it must be more than 0 and at most 1."
        )
    environment.preflight()
    environment.select_adapter(environment.DEFAULT_ADAPTER)
    from storage.trained_run import FinishedRun

    finished = FinishedRun(arguments.run)
    dataset = finished.dataset(arguments.data_dir)
    counts = (len(dataset.x_test), len(dataset.x_train))
    print("Comparing {:,} test images with {:,} training images.".format(*counts), flush=True)
    nearest, similarities = nearest_training_images(dataset.x_train, dataset.x_test)
    is_duplicate = similarities >= arguments.similarity
    is_right = finished.probabilities(dataset.x_test).argmax(axis=1) == dataset.y_test
    tests = np.flatnonzero(is_duplicate)
    other_label = (dataset.y_train[nearest[tests]] != dataset.y_test[tests]).sum()
    lines = [
        f"{len(tests):,} of {len(is_right):,} test images ({100 * is_duplicate.mean():.2f} %) "
        f"also stand in the training images of {dataset.name}, {other_label:,} of them "
        "with another label",
        "accuracy on all:             " + accuracy_in_words(is_right),
    ]
    if len(tests):
        lines.append("accuracy on duplicates only: " + accuracy_in_words(is_right[is_duplicate]))
        # From the most to the least similar, evenly.
        tests = tests[np.argsort(-similarities[tests], kind="stable")]
        tests = tests[np.unique(np.linspace(0, len(tests) - 1, SHOWN_PAIRS).round().astype(int))]
        figure = pairs_figure(dataset, tests, nearest[tests], similarities[tests], finished.note)
    if not is_duplicate.all():
        lines.append("accuracy without them:       " + accuracy_in_words(is_right[~is_duplicate]))
    if len(tests):
        lines.append(str(save_png(figure, finished.folder / PICTURE)))
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    run(main)
