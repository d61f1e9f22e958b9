"""Copies of training images are found, and accuracy is told with and without them."""

from __future__ import annotations

import numpy as np
import pytest

from storage.trained_run import FinishedRun
from tools import duplicates
from tools.duplicates import nearest_training_images, similarity_of_duplicates


def test_duplicates_are_found_whatever_their_brightness_and_nothing_else_is():
    random = np.random.RandomState(0)
    training = random.randint(40, 200, (60, 32, 32, 3)).astype(np.uint8)
    test = random.randint(40, 200, (20, 32, 32, 3)).astype(np.uint8)
    test[3] = training[41]
    test[7] = (0.8 * training[5].astype(float) + 30).astype(np.uint8)
    test[11] = 90
    test[13] = training[17] = 50
    indices, similarities = nearest_training_images(training, test)
    assert set(np.flatnonzero(similarities > 0.95)) == {3, 7, 13}
    assert (indices[3], indices[7], indices[13]) == (41, 5, 17)
    # Not nearly: --similarity 1 asks for exact copies.
    assert set(np.flatnonzero(similarities >= 1)) == {3, 13}
    with pytest.raises(ValueError, match="(32, 32, 3).*(28, 28, 1)"):
        nearest_training_images(training, np.zeros((1, 28, 28, 1), np.uint8))


@pytest.mark.parametrize("likeness", [0.1, 0.5])
@pytest.mark.parametrize("copies", [0, 12])
def test_the_threshold_is_told_by_how_alike_the_images_of_a_set_are(likeness, copies):
    """Images of which all look alike are no duplicates; a slightly changed copy is one."""
    random = np.random.RandomState(0)
    common = random.normal(size=(1, 16, 16, 1))

    def draw(count):
        own = random.normal(size=(count, 16, 16, 1))
        pixels = likeness**0.5 * common + (1 - likeness) ** 0.5 * own
        return np.clip(128 + 30 * pixels, 0, 255).astype(np.uint8)

    training, test = draw(300), draw(200)
    changed = np.arange(copies)
    noise = random.randint(-2, 3, test[changed].shape)
    test[changed] = np.clip(training[100 + changed].astype(int) + noise, 0, 255)
    test[50] = training[7]
    similarities = nearest_training_images(training, test)[1]
    least = similarity_of_duplicates(similarities)
    assert set(np.flatnonzero(similarities >= least)) == {*changed, 50}
    assert similarity_of_duplicates(np.ones(5)) == 1


def test_accuracy_is_told_with_and_without_duplicates(runs):
    lines = duplicates.main([str(runs["cnn"]), "--similarity", "0.5"])
    run = FinishedRun(runs["cnn"])
    total = len(run.dataset().y_test)
    count, without = (
        int(line.split(" images")[0].split()[-1].replace(",", "")) for line in lines[2:4]
    )
    assert 0 < count < total and count + without == total
    assert "exact copies" in lines[0] and "at least 0.500" in lines[0]
    assert f"{100 * run.results['test_accuracy']:.2f} %" in lines[1]
    assert (runs["cnn"] / "near_duplicates.png").is_file()
    with pytest.raises(ValueError, match="--similarity"):
        duplicates.main([str(runs["cnn"]), "--similarity", "0"])
