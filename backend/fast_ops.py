"""GELU, layer normalisation and attention, with their gradients written out.

TensorFlow derives a gradient operation by operation, and DirectML pays for every operation that it
starts. Written as one formula each, these need about half as many, for the same numbers.
"""

from __future__ import annotations

import math

from backend.runtime import tf


def gelu(x) -> tf.Tensor:
    """Return x * CDF(x) of the standard normal, by the error function (arXiv 1606.08415)."""

    # Inside a plain function, which Keras can name in a layer's config.
    @tf.custom_gradient
    def product(x):
        cdf = 0.5 + 0.5 * tf.math.erf(x * math.sqrt(0.5))

        def gradient(upstream):
            density = tf.exp(-0.5 * tf.square(x)) * (1.0 / math.sqrt(2.0 * math.pi))
            return upstream * (cdf + x * density)

        return x * cdf, gradient

    return product(x)


def normalize(x, gamma, beta, epsilon: float) -> tf.Tensor:
    """Return layer normalisation over the last axis: (..., dim) -> same; gamma, beta: (dim,).

    Ba et al. 2016, arXiv 1607.06450, section 3.
    """

    @tf.custom_gradient
    def normalized(x, gamma, beta):
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        inverse = tf.math.rsqrt(variance + epsilon)
        normal = centred * inverse

        def gradient(upstream):
            rows = list(range(len(x.shape) - 1))
            by_normal = upstream * normal
            scaled = upstream * gamma
            # A change of the mean or of the deviation has no effect on the output: subtract both.
            mean = tf.reduce_mean(scaled, axis=-1, keepdims=True)
            stretch = tf.reduce_mean(by_normal * gamma, axis=-1, keepdims=True)
            return (
                inverse * (scaled - mean - normal * stretch),
                tf.reduce_sum(by_normal, axis=rows),
                tf.reduce_sum(upstream, axis=rows),
            )

        return normal * gamma + beta, gradient

    return normalized(x, gamma, beta)


def attention_weights(query, key) -> tf.Tensor:
    """Return softmax(query^T key), (batch, heads, tokens, tokens); every row sums to 1.

    query and key are (batch, heads, head_dim, tokens): with the tokens in the rows a matrix product
    reads memory in order, which takes half the time.
    """
    scores = tf.matmul(query, key, transpose_a=True)
    # Rows are summed in float32, also where the model computes in float16.
    return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), scores.dtype)


@tf.custom_gradient
def attend(query, key, value):
    """Return the values that each query attends to; all four (batch, heads, head_dim, tokens).

    The gradient needs the sum over each row of weights * (their gradient). It is taken from the
    much smaller context instead: Dao et al. 2022 (arXiv 2205.14135), appendix B.2.
    """
    weights = attention_weights(query, key)
    context = tf.matmul(value, weights, transpose_b=True)

    def gradient(upstream):
        row_sums = tf.reduce_sum(upstream * context, axis=2)  # (batch, heads, tokens)
        by_weights = tf.matmul(upstream, value, transpose_a=True)
        by_scores = weights * (by_weights - tf.expand_dims(row_sums, axis=3))
        return (
            tf.matmul(key, by_scores, transpose_b=True),
            tf.matmul(query, by_scores),
            tf.matmul(upstream, weights),
        )

    return context, gradient
