"""Test images that are also among the training images, and a model's accuracy without them.

    python -m tools.duplicates RUN_DIR     also draws pairs: RUN_DIR/near_duplicates.png

RUN_DIR is a run's folder, or a folder of runs: then the newest finished one.

What a model predicts for such images says little about new ones. Barz and Denzler 2019, "Do We
Train on Test Data? Purging CIFAR of Near-Duplicates" (arXiv 1902.00423), found 3.3 % of the test
images of CIFAR-10 and 10 % of those of CIFAR-100 by a network's features and by eye. Here pixels
are compared, which finds the same photograph, brighter or sharper, but not another crop of it.
"""

from __future__ import annotations

from typing import Iterator, Sequence

import numpy as np

from reports.figures import QUIET, new_figure, plain, save_png, show_image
from reports.metrics import wilson_interval
from tools.command_line import dataset_of, finished_run, say, tool_parser
from training.script import run

PICTURE = "near_duplicates.png"
SHOWN_PAIRS = 10
# How far below the usual distance of a test image from its nearest training image that of a
# near-duplicate is, in robust standard deviations of the logarithm. On CIFAR-10 that makes a
# correlation of 0.954, and from 0.95 on nearly all pairs are one photograph (see
# docs/what_it_learned.md); on MNIST, where many digits look alike and none is a copy, 0.988.
OUTLYING = 5.5
# Pixels of a side, number of training images to compare in full, test images at once.
SMALL_SIDE = 16
CANDIDATES = 4
BLOCK = 500


def nearest_training_images(
    training_images: np.ndarray, test_images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each test image the most similar training image and how similar the two are.

    Images are uint8 (count, height, width, channels) of one shape. The indices are int (test,), the
    similarities float32 (test,): the correlation of all pixel values, 1 for images that are equal
    but for brightness and contrast. Only the best few by a small grey version are compared in full.
    """
    if training_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"training images are {training_images.shape[1:]}, test images "
            f"{test_images.shape[1:]} (height, width, channels)"
        )
    small_training, small_test = _small_grey(training_images), _small_grey(test_images)
    count = min(CANDIDATES, len(training_images))
    indices = np.zeros(len(test_images), int)
    similarities = np.zeros(len(test_images), np.float32)
    for first in range(0, len(test_images), BLOCK):
        part = slice(first, first + BLOCK)
        likeness = small_test[part] @ small_training.T
        candidates = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        own = _normalized(test_images[part])
        others = _normalized(training_images[candidates.ravel()])
        others = others.reshape(len(own), count, -1)
        correlations = (others * own[:, None]).sum(axis=-1)
        best = correlations.argmax(axis=1)
        rows = np.arange(len(own))
        indices[part], similarities[part] = candidates[rows, best], correlations[rows, best]
    # Exactly 1, without rounding, even for images of one colour, which correlate with nothing.
    for test, training in _exact_copies(training_images, test_images):
        indices[test], similarities[test] = training, 1.0
    return indices, similarities


def similarity_of_duplicates(similarities: np.ndarray) -> float:
    """Return from which similarity on two images are one, told by those of the set itself.

    similarities (test,) are those of each test image to its nearest training image. Images of one
    kind may all be alike; what lies OUTLYING robust standard deviations (Rousseeuw and Croux 1993,
    "Alternatives to the Median Absolute Deviation") nearer than is usual is a copy. Exact copies
    are left out, for many of them would make themselves the usual.
    """
    distances = 1 - similarities[similarities < 1].astype(np.float64)
    if not len(distances):
        return 1.0
    logarithms = np.log(np.maximum(distances, 1e-6))
    usual = np.median(logarithms)
    deviation = 1.4826 * np.median(np.abs(logarithms - usual))
    return float(1 - np.exp(usual - OUTLYING * deviation)) if deviation else 1.0


def _exact_copies(
    training_images: np.ndarray, test_images: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Yield (index of test image, index of training image) of images that are equal."""
    places = {hash(image.tobytes()): index for index, image in enumerate(training_images)}
    for test, image in enumerate(test_images):
        training = places.get(hash(image.tobytes()))
        if training is not None and np.array_equal(image, training_images[training]):
            yield test, training


def _small_grey(images: np.ndarray) -> np.ndarray:
    """Return normalised grey versions of about SMALL_SIDE pixels a side: (count, pixels)."""
    step = max(1, min(images.shape[1:3]) // SMALL_SIDE)
    rows, columns = images.shape[1] // step, images.shape[2] // step
    small = [
        images[first : first + BLOCK, : rows * step, : columns * step]
        .reshape(-1, rows, step, columns, step, images.shape[3])
        .mean(axis=(2, 4, 5), dtype=np.float32)
        for first in range(0, len(images), BLOCK)
    ]
    return _normalized(np.concatenate(small))


def _normalized(images: np.ndarray) -> np.ndarray:
    """Return images as rows of mean 0 and length 1, (count, values); flat ones stay 0."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


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
        upper, lower = axes[:, column]
        for cell, image in ((upper, dataset.x_test[test]), (lower, dataset.x_train[training])):
            show_image(cell, image)
        upper.set_title(plain(dataset.class_names[dataset.y_test[test]]), fontsize=11)
        lower.set_title(f"{similarities[column]:.3f}", fontsize=11, color=QUIET)
        lower.set_xlabel(plain(dataset.class_names[dataset.y_train[training]]), fontsize=11)
    axes[0, 0].set_ylabel("test")
    axes[1, 0].set_ylabel("training")
    return figure


def main(argv: Sequence[str] | None = None) -> list[str]:
    """Run the command line; return the lines printed."""
    parser = tool_parser("duplicates", __doc__)
    parser.add_argument("run", metavar="RUN_DIR", help="a run, or a folder of runs: the newest")
    parser.add_argument(
        "--similarity",
        type=float,
        default=None,
        help="correlation from which images count as one (default: told by the set itself)",
    )
    arguments = parser.parse_args(argv)
    if arguments.similarity is not None and not 0 < arguments.similarity <= 1:
        raise ValueError(
            f"--similarity is {arguments.similarity}: it must be more than 0 and at most 1."
        )
    finished = finished_run(arguments.run)
    dataset = dataset_of(finished, arguments.data_dir)
    print(
        f"Comparing {len(dataset.x_test):,} test images with {len(dataset.x_train):,} training "
        "images.",
        flush=True,
    )
    nearest, similarities = nearest_training_images(dataset.x_train, dataset.x_test)
    least = arguments.similarity or similarity_of_duplicates(similarities)
    is_duplicate = similarities >= least
    is_copy = np.zeros(len(similarities), bool)
    is_copy[[test for test, _ in _exact_copies(dataset.x_train, dataset.x_test)]] = True
    is_right = finished.probabilities(dataset.x_test).argmax(axis=1) == dataset.y_test
    tests = np.flatnonzero(is_duplicate)
    other_label = (dataset.y_train[nearest[tests]] != dataset.y_test[tests]).sum()
    lines = [
        f"{len(tests):,} of {len(is_right):,} test images ({100 * is_duplicate.mean():.2f} %) "
        f"are also among the training images of {dataset.name}, {other_label:,} of them with "
        f"another label: {is_copy.sum():,} exact copies, {(is_duplicate & ~is_copy).sum():,} that "
        f"look alike (a correlation of at least {least:.3f})",
        f"accuracy on all:             {accuracy_in_words(is_right)}",
    ]
    if len(tests):
        lines.append(f"accuracy on duplicates only: {accuracy_in_words(is_right[is_duplicate])}")
    if not is_duplicate.all():
        lines.append(f"accuracy without them:       {accuracy_in_words(is_right[~is_duplicate])}")
    if len(tests):
        # From the most to the least similar, evenly.
        tests = tests[np.argsort(-similarities[tests], kind="stable")]
        tests = tests[np.unique(np.linspace(0, len(tests) - 1, SHOWN_PAIRS).round().astype(int))]
        figure = pairs_figure(dataset, tests, nearest[tests], similarities[tests], finished.note)
        lines.append(str(save_png(figure, finished.folder / PICTURE)))
    say(lines)
    return lines


if __name__ == "__main__":
    run(main)
