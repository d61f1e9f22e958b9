"""The predictions of a model for any number of images."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from backend.micro_batches import most_passes_at_once
from backend.runtime import keras, tf

# Images at once: no activations are kept for a gradient. Any number of cores up to 4 divides it.
PREDICTION_BATCH_SIZE = 144


class Predictor:
    """The logits of a model for any number of images, in inference mode.

    A batch is cut into passes_at_once, which must divide it and which run side by side; 0 takes as
    many as suit this device.
    """

    def __init__(
        self,
        model: keras.Model,
        batch_size: int = PREDICTION_BATCH_SIZE,
        passes_at_once: int = 0,
    ):
        self.model = model
        self.batch_size = batch_size
        self.passes_at_once = passes_at_once or most_passes_at_once(batch_size)
        self.graph = tf.function(self.logits, autograph=False)
        self.graph_of_one = tf.function(self.logits_of_one, autograph=False)

    def logits(self, images) -> tf.Tensor:
        """Return the logits of a whole batch, float32 (batch_size, classes)."""
        if self.passes_at_once == 1:
            return self.model(images, training=False)
        pieces = tf.split(images, self.passes_at_once)
        return tf.concat([self.model(piece, training=False) for piece in pieces], axis=0)

    def logits_of_one(self, image) -> tf.Tensor:
        """Return the logits of a single image, float32 (1, classes)."""
        return self.model(image, training=False)

    def __call__(self, images: np.ndarray, weights: Sequence | None = None) -> np.ndarray:
        """Return the logits of images, float32 (count, classes).

        images are 0..255, (count, height, width, channels); weights, if given, stand in for the
        model's own during the call.
        """
        own_weights = self.model.get_weights() if weights is not None else None
        if weights is not None:
            self.model.set_weights(weights)
        try:
            logits = [
                self._batch(images, first) for first in range(0, len(images), self.batch_size)
            ]
        finally:
            if own_weights is not None:
                self.model.set_weights(own_weights)
        return np.concatenate(logits)

    def _batch(self, images: np.ndarray, first: int) -> np.ndarray:
        batch = images[first : first + self.batch_size]
        # One picture answers many times sooner alone than in a batch.
        if len(images) == 1:
            return self.graph_of_one(tf.constant(batch)).numpy()
        missing = self.batch_size - len(batch)
        # Always the same shape: a new one would be traced again, and compiled again by DirectML.
        padded = np.concatenate([batch, np.zeros((missing,) + batch.shape[1:], batch.dtype)])
        return self.graph(tf.constant(padded)).numpy()[: len(batch)]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits, both (count, classes)."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
