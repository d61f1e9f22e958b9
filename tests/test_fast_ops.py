"""The gradients that are written out are those that TensorFlow derives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from backend.fast_ops import attend, gelu, normalize
from backend.runtime import tf

pytestmark = pytest.mark.tensorflow_only


def values_and_gradients(function, *inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
        # Another weight for every number, so that no gradient is hidden by a sum.
        weights = np.cos(np.arange(int(np.prod(value.shape)))).reshape(value.shape)
        total = tf.reduce_sum(value * weights.astype(np.float32))
    return [value.numpy()] + [gradient.numpy() for gradient in tape.gradient(total, inputs)]


def derived_gelu(x):
    return 0.5 * x * (1.0 + tf.math.erf(x / math.sqrt(2.0)))


@pytest.mark.parametrize("in_graph", [False, True])
def test_gelu_and_its_gradient(in_graph):
    function = tf.function(gelu) if in_graph else gelu
    x = tf.constant(np.linspace(-12, 12, 481).astype(np.float32))
    for found, expected in zip(
        values_and_gradients(function, x), values_and_gradients(derived_gelu, x)
    ):
        np.testing.assert_allclose(found, expected, atol=2e-6, rtol=1e-5)


def derived_layer_norm(x, gamma, beta):
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-6) * gamma + beta


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("shape", [(6, 16), (2, 5, 16)])
def test_layer_normalization_and_its_three_gradients(shape, in_graph):
    random = np.random.RandomState(0)
    inputs = [
        tf.constant(random.normal(mean, 2.0, size).astype(np.float32))
        for mean, size in ((3.0, shape), (0.0, 16), (0.0, 16))
    ]

    def function(x, gamma, beta):
        return normalize(x, gamma, beta, epsilon=1e-6)

    for found, expected in zip(
        values_and_gradients(tf.function(function) if in_graph else function, *inputs),
        values_and_gradients(derived_layer_norm, *inputs),
    ):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)


def derived_attention(query, key, value):
    weights = tf.nn.softmax(tf.matmul(query, key, transpose_a=True))
    return tf.matmul(value, weights, transpose_b=True)


@pytest.mark.parametrize("in_graph", [False, True])
def test_attention_and_its_three_gradients(in_graph):
    random = np.random.RandomState(0)
    inputs = [tf.constant(random.normal(size=(2, 3, 4, 5)).astype(np.float32)) for _ in range(3)]
    for found, expected in zip(
        values_and_gradients(tf.function(attend) if in_graph else attend, *inputs),
        values_and_gradients(derived_attention, *inputs),
    ):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-4)
