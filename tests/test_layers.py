"""The layers beside those of Keras: the same numbers, and chance that can be repeated."""

from __future__ import annotations

import numpy as np
import pytest

from backend import layers
from backend.layers import (
    LayerNorm,
    Linear,
    SeededDropout,
    StochasticDepth,
    random_numbers_from,
)
from backend.runtime import keras, tf
from tests.helpers import small_model, some_images

pytestmark = pytest.mark.tensorflow_only


def test_linear_and_layer_norm_compute_what_the_keras_layers_compute():
    x = np.random.RandomState(0).normal(3.0, 2.0, (2, 3, 5, 8)).astype(np.float32)
    pairs = (
        (Linear(6), keras.layers.Dense(6)),
        (LayerNorm(epsilon=1e-6), keras.layers.LayerNormalization(epsilon=1e-6)),
    )
    for ours, keras_own in pairs:
        ours(tf.constant(x))
        keras_own(tf.constant(x))
        weights = [np.random.RandomState(1).normal(size=w.shape) for w in ours.get_weights()]
        ours.set_weights(weights)
        keras_own.set_weights(weights)
        found, expected = ours(tf.constant(x)), keras_own(tf.constant(x))
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-5, rtol=1e-4)


def test_dropout_is_a_function_of_the_seed_and_of_the_layer():
    model = small_model(dropout_rate=0.3, stochastic_depth_rate=0.3)
    images = some_images()

    @tf.function
    def outputs(seed):
        with random_numbers_from(seed):
            return model(images, training=True)

    one, same, other = (outputs(tf.constant(seed)).numpy() for seed in ([7, 0], [7, 0], [8, 0]))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3

    ones = tf.ones([64, 64])
    with random_numbers_from(tf.constant([7, 0])):
        drawn = [SeededDropout(0.5)(ones, training=True).numpy() for _ in range(2)]
    assert (drawn[0] != drawn[1]).mean() > 0.3


def test_no_two_draws_of_a_step_share_their_random_numbers():
    """The seeds of passes of 4 images met again in other layers of other passes."""
    numbers = set()
    for first_image in range(0, 64, 4):
        with random_numbers_from(tf.constant([7, first_image])):
            numbers |= {tuple(layers.uniform([4]).numpy()) for _ in range(40)}
    assert len(numbers) == 16 * 40


def test_dropout_keeps_the_mean_and_drops_the_stated_share():
    with random_numbers_from(tf.constant([1, 2])):
        values = SeededDropout(0.25)(tf.ones([200, 200]), training=True).numpy()
        images = StochasticDepth(0.25)(tf.ones([4000, 2, 3]), training=True)
    assert abs((values == 0).mean() - 0.25) < 0.01
    assert abs(values.mean() - 1) < 0.02
    per_image = images.numpy().reshape(4000, -1)
    assert (per_image.min(axis=1) == per_image.max(axis=1)).all()
    assert abs((per_image[:, 0] == 0).mean() - 0.25) < 0.03
