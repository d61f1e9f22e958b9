"""GELU and layer normalisation with their gradients written out.

TensorFlow derives a gradient operation by operation, and DirectML pays for each one that it
starts. Written as one formula, these two need half of them, for the same numbers.
"""

from __future__ import annotations

import math

from backend.runtime import keras, tf


def gelu(x: tf.Tensor) -> tf.Tensor:
    """Return x * CDF(x) of the standard normal, by the error function (arXiv 1606.08415)."""

    @tf.custom_gradient
    def product(x):
        cdf = 0.5 + 0.5 * tf.math.erf(x * math.sqrt(0.5))

        def gradient(upstream):
            density = tf.exp(-0.5 * tf.square(x)) * (1.0 / math.sqrt(2.0 * math.pi))
            return upstream * (cdf + x * density)

        return x * cdf, gradient

    return product(x)


class LayerNormalization(keras.layers.LayerNormalization):
    """The Keras layer over the last axis: (..., dim) -> same. Ba et al. 2016, arXiv 1607.06450."""

    def call(self, inputs):
        @tf.custom_gradient
        def normalize(x, gamma, beta):
            centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
            variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
            inverse = tf.math.rsqrt(variance + self.epsilon)
            normal = centred * inverse

            def gradient(upstream):
                rows = list(range(len(x.shape) - 1))
                by_normal = upstream * normal
                scaled = upstream * gamma
                # What would move the mean or stretch the deviation has no effect: it is taken out.
                mean = tf.reduce_mean(scaled, axis=-1, keepdims=True)
                stretch = tf.reduce_mean(by_normal * gamma, axis=-1, keepdims=True)
                return (
                    inverse * (scaled - mean - normal * stretch),
                    tf.reduce_sum(by_normal, axis=rows),
                    tf.reduce_sum(upstream, axis=rows),
                )

            return normal * gamma + beta, gradient

        # In float32 also where the model computes in float16, whose squares overflow at 256.
        outputs = normalize(
            tf.cast(inputs, tf.float32),
            tf.convert_to_tensor(self.gamma),
            tf.convert_to_tensor(self.beta),
        )
        return tf.cast(outputs, inputs.dtype)
