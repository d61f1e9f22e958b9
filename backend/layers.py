"""The layers that Keras has too, in the form that DirectML and exact resuming ask for.

Linear and LayerNorm need fewer operations than Dense and LayerNormalization. What SeededDropout and
StochasticDepth drop is a pure function of the training step: a step runs the model inside
`random_numbers_from(seed)`, and every draw made meanwhile takes the next stream of that seed.
Nothing random is ever stored, so a resumed run draws what an uninterrupted one would have drawn.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

from backend.fast_ops import normalize
from backend.runtime import keras, tf


class Linear(keras.layers.Dense):
    """Dense over the last axis, (..., values) -> (..., units), as one plain matrix product.

    Keras' own adds a dozen operations on shapes where there are more than two axes.
    """

    def call(self, inputs):
        rows = super().call(tf.reshape(inputs, [-1, inputs.shape[-1]]))
        return tf.reshape(rows, [-1, *inputs.shape[1:-1], self.units])


class LayerNorm(keras.layers.LayerNormalization):
    """Layer normalisation over the last axis, in float32 whatever the model computes in."""

    def call(self, inputs):
        # The squares of float16 numbers overflow from 256 on.
        outputs = normalize(
            tf.cast(inputs, tf.float32),
            tf.convert_to_tensor(self.gamma),
            tf.convert_to_tensor(self.beta),
            self.epsilon,
        )
        return tf.cast(outputs, inputs.dtype)


class SeededDropout(keras.layers.Layer):
    """Set a random share of the values to zero while training, and scale up the others.

    Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
    """

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, inputs, training=None):
        if not self.rate:
            return inputs
        return keras.backend.in_train_phase(
            lambda: self.drop(inputs), lambda: inputs + 0.0, training=training
        )

    def drop(self, inputs) -> tf.Tensor:
        """Return the inputs with a random choice for each value."""
        return inputs * self.choices(tf.shape(inputs), inputs.dtype)

    def choices(self, shape, dtype) -> tf.Tensor:
        """Return random factors: 0 for the dropped share `rate`, 1 / (1 - rate) for the others."""
        keep = tf.floor(uniform(shape) + (1.0 - self.rate))
        return tf.cast(keep, dtype) * (1.0 / (1.0 - self.rate))

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), rate=self.rate)


class StochasticDepth(SeededDropout):
    """Drop a residual branch as a whole, for random images of a batch, while training.

    Huang et al. 2016 (arXiv 1603.09382), section 3.
    """

    def drop(self, inputs) -> tf.Tensor:
        """Return the inputs, (batch, ...), with a random choice for each image."""
        rows = tf.reshape(inputs, [-1, inputs.shape[1:].num_elements()])  # (batch, values)
        rows = rows * self.choices([tf.shape(rows)[0], 1], inputs.dtype)
        return tf.reshape(rows, [-1, *inputs.shape[1:]])


@contextlib.contextmanager
def random_numbers_from(seed: tf.Tensor) -> Iterator[None]:
    """Make every `uniform` call in this block a function of seed, int32 (2,): (step, run)."""
    _open_streams.append(_Streams(seed))
    try:
        yield
    finally:
        _open_streams.pop()


def uniform(shape) -> tf.Tensor:
    """Return float32 numbers in [0, 1) of the given shape; outside a block, unrepeatable ones."""
    if not _open_streams:
        return tf.random.uniform(shape)
    # The raw op, because TensorFlow-DirectML has a kernel for it and not for its successors.
    return tf.raw_ops.StatelessRandomUniform(
        shape=shape, seed=_open_streams[-1].next_seed(), dtype=tf.float32
    )


class _Streams:
    """Count the draws of one forward pass, so that no two layers share their random numbers."""

    def __init__(self, seed: tf.Tensor):
        self.seed = seed
        self.draws = 0

    def next_seed(self) -> tf.Tensor:
        self.draws += 1
        # The first number is the step's own. The second separates the draws within the step, by far
        # more than the gradient passes of a step are apart.
        return self.seed + [0, 65537 * self.draws]


_open_streams: list[_Streams] = []
