"""The gradients that are written out are those that TensorFlow derives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from backend.fast_ops import LayerNormalization, gelu
from backend.runtime import keras, tf


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


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("shape", [(6, 16), (2, 5, 16)])
def test_layer_normalization_and_its_three_gradients(shape, in_graph):
    random = np.random.RandomState(0)
    x = tf.constant(random.normal(3.0, 2.0, shape).astype(np.float32))
    vectors = [random.normal(size=16).astype(np.float32) for _ in range(2)]
    results = []
    for kind in (LayerNormalization, keras.layers.LayerNormalization):
        layer = kind(epsilon=1e-6)
        layer.build(shape)
        layer.set_weights(vectors)
        assert layer.get_config()["epsilon"] == 1e-6
        call = tf.function(layer.call) if in_graph else layer.call
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = call(x)
            weights = np.cos(np.arange(value.numpy().size)).reshape(shape).astype(np.float32)
            total = tf.reduce_sum(value * weights)
        gradients = tape.gradient(total, [x] + layer.trainable_variables)
        results.append([value.numpy()] + [gradient.numpy() for gradient in gradients])
    for found, expected in zip(*results):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)
