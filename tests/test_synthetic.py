"""The synthetic data sets: drawn from a seed, balanced, and only solved by their shapes."""

from __future__ import annotations

import numpy as np
import pytest

from datasets import synthetic
from datasets.dataset import load_dataset


@pytest.fixture(scope="module")
def synthetic_dataset():
    return load_dataset("synthetic")


def test_synthetic_is_deterministic_and_its_test_set_fixed(synthetic_dataset):
    for seed in (0, 1):
        drawn = synthetic.draw_dataset(seed)
        loaded = load_dataset("synthetic", seed=seed)
        np.testing.assert_array_equal(loaded.x_train, drawn["x_train"])
        assert np.array_equal(synthetic_dataset.x_train, drawn["x_train"]) == (seed == 0)
        np.testing.assert_array_equal(synthetic_dataset.x_test, drawn["x_test"])


def test_synthetic_is_balanced_and_no_image_occurs_twice(synthetic_dataset):
    assert synthetic_dataset.image_shape == (32, 32, 3) and not synthetic_dataset.is_stand_in
    assert np.bincount(synthetic_dataset.y_train).tolist() == [1000] * 10
    assert np.bincount(synthetic_dataset.y_test).tolist() == [200] * 10
    images = np.concatenate([synthetic_dataset.x_train, synthetic_dataset.x_test])
    assert len({image.tobytes() for image in images}) == 12000


def test_synthetic_shape_is_not_given_away_by_colour_or_place(synthetic_dataset):
    # The best that mean colour and brightest place can do is far below what a shape tells.
    def features(images):
        bright = images.astype(np.float32).sum(axis=-1) ** 2
        return np.concatenate(
            [images.mean(axis=(1, 2)), bright.mean(axis=1).argmax(1)[:, None]], axis=1
        )

    train, test = (
        features(synthetic_dataset.x_train[:2000]),
        features(synthetic_dataset.x_test[:500]),
    )
    nearest = ((test[:, None] - train[None]) ** 2).sum(-1).argmin(1)
    assert (synthetic_dataset.y_train[nearest] == synthetic_dataset.y_test[:500]).mean() < 0.5


def test_synthetic100_names_colour_and_shape():
    dataset = load_dataset("synthetic100", images_per_class=2)
    assert dataset.number_of_classes == 100
    assert dataset.class_names[0] == "red circle" and dataset.class_names[99] == "brown dots"
    red_circles = dataset.x_train[dataset.y_train == 0].astype(int)
    reddest = (red_circles[..., 0] - red_circles[..., 1:].max(-1)).max()
    assert reddest > 120


def test_every_shape_lies_inside_its_radius():
    # A shape cut off by the image border could not be told from another one.
    x, y = np.meshgrid(np.linspace(-2, 2, 201), np.linspace(-2, 2, 201))
    for shape in synthetic.SHAPES:
        inside = shape(x, y) < 0
        assert inside.any() and np.hypot(x, y)[inside].max() < 1.05, shape.__name__
