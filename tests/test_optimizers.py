"""The update rules do what their papers say, and the learning rate goes where it should."""

from __future__ import annotations

import numpy as np
import pytest

from backend.optimizers import clip_by_global_norm, optimizer_for
from backend.runtime import keras, tf

STEPS = 5


def gradients_of(step):
    random = np.random.RandomState(step)
    return [random.normal(size=(3, 2)).astype(np.float32), random.normal(size=2).astype(np.float32)]


def start():
    return [tf.Variable(value) for value in gradients_of(100)]


def train(optimizer, rate=0.01):
    apply = tf.function(optimizer.apply)
    for step in range(STEPS):
        apply(
            [tf.constant(g) for g in gradients_of(step)],
            tf.constant(rate, tf.float32),
            tf.constant(step),
        )
    return [variable.numpy() for variable in optimizer.variables]


def adam_in_numpy(weight_decay, rate=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Algorithm 1 of arXiv 1412.6980 in its `efficient` form, decay of arXiv 1711.05101."""
    values = [variable.numpy().astype(np.float64) for variable in start()]
    first, second = [0, 0], [0, 0]
    for step in range(STEPS):
        corrected = rate * np.sqrt(1 - beta_2 ** (step + 1)) / (1 - beta_1 ** (step + 1))
        for i, gradient in enumerate(gradients_of(step)):
            if values[i].ndim > 1:
                values[i] = values[i] * (1 - rate * weight_decay)
            first[i] = beta_1 * first[i] + (1 - beta_1) * gradient
            second[i] = beta_2 * second[i] + (1 - beta_2) * gradient**2
            values[i] = values[i] - corrected * first[i] / (np.sqrt(second[i]) + epsilon)
    return values


def sgd_in_numpy(weight_decay, rate=0.01, momentum=0.9):
    values = [variable.numpy().astype(np.float64) for variable in start()]
    velocities = [0, 0]
    for step in range(STEPS):
        for i, gradient in enumerate(gradients_of(step)):
            decay = weight_decay if values[i].ndim > 1 else 0
            velocities[i] = momentum * velocities[i] - rate * (gradient + decay * values[i])
            values[i] = values[i] + velocities[i]
    return values


@pytest.mark.parametrize(
    "name, weight_decay, expected",
    [
        ("adam", 0.0, adam_in_numpy(0.0)),
        # adam has no weight decay, whatever the constant says.
        ("adam", 0.5, adam_in_numpy(0.0)),
        ("adamw", 0.5, adam_in_numpy(0.5)),
        ("sgd", 0.0, sgd_in_numpy(0.0)),
        ("sgd", 0.5, sgd_in_numpy(0.5)),
    ],
)
def test_updates_agree_with_an_independent_numpy_implementation(name, weight_decay, expected):
    values = train(optimizer_for(name, start(), weight_decay, momentum=0.9))
    for value, wanted in zip(values, expected):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, keras_name", [("adam", "Adam"), ("sgd", "SGD")])
def test_updates_agree_with_keras(name, keras_name):
    family = getattr(keras.optimizers, "legacy", keras.optimizers)
    arguments = {"momentum": 0.9} if name == "sgd" else {}
    optimizer = getattr(family, keras_name)(learning_rate=0.01, **arguments)
    variables = start()
    for step in range(STEPS):
        optimizer.apply_gradients(zip([tf.constant(g) for g in gradients_of(step)], variables))
    for value, wanted in zip(train(optimizer_for(name, start(), 0.0, 0.9)), variables):
        np.testing.assert_allclose(value, wanted.numpy(), rtol=1e-5, atol=1e-6)


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match="lion.*adam, adamw, sgd"):
        optimizer_for("lion", start(), 0.0, 0.9)


def test_clipping_shortens_long_gradients_only():
    gradients = [tf.constant(g) for g in gradients_of(0)]
    length = np.sqrt(sum((g.numpy() ** 2).sum() for g in gradients))
    for longest in (length / 3, length * 3):
        clipped = clip_by_global_norm(gradients, float(longest))
        expected = min(1.0, longest / length)
        for gradient, result in zip(gradients, clipped):
            np.testing.assert_allclose(result.numpy(), gradient.numpy() * expected, rtol=1e-5)
