"""Test images that also stand in the training images, exactly or nearly so.

What a model answers for them says little about new images. Barz and Denzler 2019, "Do We Train on
Test Data? Purging CIFAR of Near-Duplicates" (arXiv 1902.00423), found 3.3 % of the test images of
CIFAR-10 and 10 % of those of CIFAR-100 by a network's features and by eye. Here pixels are
compared, which finds the same photograph, brighter or sharper, but not one of another cut-out.
"""

from __future__ import annotations

from typing import Iterator

import numpy as np

# From here on, nearly all pairs of CIFAR are one photograph: see docs/what_it_learned.md.
NEARLY_EQUAL = 0.95
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
    # Without rounding, and also those of one colour, which correlate with nothing.
    for test, training in _exact_copies(training_images, test_images):
        indices[test], similarities[test] = training, 1.0
    return indices, similarities


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
