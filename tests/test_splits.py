"""Validation images: a stratified part of the training images."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.splits import validation_split


def test_validation_split_covers_every_image_once_in_every_class():
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(5), [2, 9, 20, 100, 333]))
    train, validation = validation_split(labels, 0.1, seed=3)
    assert sorted(np.concatenate([train, validation])) == list(range(len(labels)))
    assert (np.diff(train) > 0).all() and (np.diff(validation) > 0).all()
    assert np.bincount(labels[validation]).tolist() == [1, 1, 2, 10, 33]
    again = validation_split(labels, 0.1, seed=3)[1]
    np.testing.assert_array_equal(validation, again)
    assert not np.array_equal(validation, validation_split(labels, 0.1, seed=4)[1])
    for fraction in (0.001, 0.999):
        for part in validation_split(labels, fraction, seed=0):
            assert set(labels[part]) == set(range(5))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_validation_fraction_is_checked(fraction):
    with pytest.raises(ValueError, match="fraction"):
        validation_split(np.arange(10) % 2, fraction, seed=0)


def test_a_class_of_one_image_cannot_be_split():
    with pytest.raises(ValueError, match="class 1 has one image"):
        validation_split(np.array([0, 0, 1]), 0.5, seed=0)
