"""Dropout and stochastic depth whose random choices are a pure function of the training step.

A training step runs the model inside `random_numbers_from(seed)`, and every draw made meanwhile
takes the next stream of that seed. Nothing random is ever stored, so a resumed run draws what an
uninterrupted one would have drawn.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

from backend.runtime import keras, tf

_open_streams: list[_Streams] = []


class _Streams:
    """Count the draws of one forward pass, so that no two layers share their random numbers."""

    def __init__(self, seed: tf.Tensor):
        self.seed = seed
        self.draws = 0

    def next_seed(self) -> tf.Tensor:
        self.draws += 1
        # The first number is the step's own. The second separates the draws within the step, and by
        # far, because that of each gradient pass is a little further on.
        return self.seed + [0, 65537 * self.draws]


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


class Dropout(keras.layers.Layer):
    """Zero a random share of the values while training, and scale up the others.

    With one_choice_per_image whole images are kept or dropped. On a residual branch that is
    stochastic depth: Huang et al. 2016 (arXiv 1603.09382), section 3.
    """

    def __init__(self, rate: float, one_choice_per_image: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.one_choice_per_image = one_choice_per_image

    def call(self, inputs, training=None):
        if not self.rate:
            return inputs

        def dropped():
            shape = tf.shape(inputs)
            if self.one_choice_per_image:
                shape = tf.concat([shape[:1], tf.ones_like(shape[1:])], axis=0)
            keep = tf.floor(uniform(shape) + (1.0 - self.rate))
            return inputs * (tf.cast(keep, inputs.dtype) * (1.0 / (1.0 - self.rate)))

        return keras.backend.in_train_phase(dropped, lambda: inputs + 0.0, training=training)

    def get_config(self) -> dict[str, Any]:
        return dict(
            super().get_config(), rate=self.rate, one_choice_per_image=self.one_choice_per_image
        )
