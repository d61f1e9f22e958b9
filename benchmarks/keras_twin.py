"""The default Vision Transformer as the Keras documentation would write it, for comparison."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from backend.fast_ops import gelu
from backend.runtime import keras, runtime_name, tf
from benchmarks import timing

layers = keras.layers
STOCK_GELU = "gelu" if hasattr(keras.activations, "gelu") else gelu


class Patches(layers.Layer):
    """Cut images into 64 flattened patches of 4 x 4 pixels."""

    def call(self, images):
        patches = tf.image.extract_patches(
            images, [1, 4, 4, 1], [1, 4, 4, 1], [1, 1, 1, 1], padding="VALID"
        )
        return tf.reshape(patches, [-1, 64, 48])


class AddPositions(layers.Layer):
    """Add an embedding of each position."""

    def build(self, input_shape):
        self.embedding = layers.Embedding(64, 64)
        super().build(input_shape)

    def call(self, tokens):
        return tokens + self.embedding(tf.range(64))


class Attention(layers.Layer):
    """Stand in for MultiHeadAttention on TensorFlow 1.15.8, which has none."""

    def build(self, input_shape):
        self.query, self.key, self.value, self.projection = [layers.Dense(64) for _ in range(4)]
        super().build(input_shape)

    def call(self, tokens):
        def heads(x):
            return tf.transpose(tf.reshape(x, [-1, 64, 8, 8]), [0, 2, 1, 3])

        query, key, value = heads(self.query(tokens)), self.key(tokens), self.value(tokens)
        scores = tf.matmul(query, heads(key), transpose_b=True) / np.float32(np.sqrt(8))
        context = tf.matmul(tf.nn.softmax(scores), heads(value))
        return self.projection(tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, 64, 64]))


def attention(tokens):
    """Attend with the runtime's own layer where it has one."""
    if hasattr(layers, "MultiHeadAttention"):
        return layers.MultiHeadAttention(num_heads=8, key_dim=8)(tokens, tokens)
    return Attention()(tokens)


def keras_twin(mean: Sequence[float], std: Sequence[float]) -> keras.Model:
    """Build the twin: pixels (batch, 32, 32, 3) 0..255 -> logits (batch, 10)."""
    inputs = keras.Input((32, 32, 3))
    scale, offset = 1 / np.float32(std), -np.float32(mean) / np.float32(std)
    images = layers.Lambda(lambda pixels: tf.cast(pixels, tf.float32) * scale + offset)(inputs)
    tokens = AddPositions()(layers.Dense(64)(Patches()(images)))
    for _ in range(8):
        normalized = layers.LayerNormalization(epsilon=1e-6)(tokens)
        tokens = layers.Add()([tokens, attention(normalized)])
        normalized = layers.LayerNormalization(epsilon=1e-6)(tokens)
        hidden = layers.Dense(256, activation=STOCK_GELU)(normalized)
        tokens = layers.Add()([tokens, layers.Dense(64)(hidden)])
    context = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(tokens))
    context = layers.Dense(512, activation=STOCK_GELU)(context)
    context = layers.Dense(256, activation=STOCK_GELU)(context)
    return keras.Model(inputs, layers.Dense(10)(context))


def take_weights(twin: keras.Model, named_weights: Sequence[tuple[str, np.ndarray]]) -> None:
    """Give the twin the weights of our model, whose query, key and value share one matrix."""
    values = []  # type: List[np.ndarray]
    for name, value in named_weights:
        values.extend(np.split(value, 3, axis=-1) if "query_key_value" in name else [value])
    shapes = [weight.shape.as_list() for weight in twin.weights]
    twin.set_weights([value.reshape(shape) for value, shape in zip(_in_order(values), shapes)])


def _in_order(values: list[np.ndarray]) -> list[np.ndarray]:
    """Put (query, key, value) kernels and their biases into pairs, as layers list them."""
    ordered, index = [], 0
    while index < len(values):
        triple = values[index : index + 6]
        is_attention = len(triple) == 6 and [v.shape for v in triple] == 3 * [(64, 64)] + 3 * [
            (64,)
        ]
        if is_attention:
            ordered.extend(triple[i] for i in (0, 3, 1, 4, 2, 5))
        else:
            ordered.append(values[index])
        index += 6 if is_attention else 1
    return ordered


def contender(
    images: np.ndarray,
    labels: np.ndarray,
    mean: Sequence[float],
    std: Sequence[float],
    named_weights: Sequence[tuple[str, np.ndarray]],
) -> dict[str, Callable]:
    """Return what can be called, as default_model.contender does; and a large matrix product."""
    twin = keras_twin(mean, std)
    take_weights(twin, named_weights)
    twin.compile(
        optimizer=getattr(keras.optimizers, "legacy", keras.optimizers).Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    pixels, classes = tf.constant(images), tf.constant(labels)
    matrix = tf.constant(timing.square_matrix())
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
    return {
        "runtime": runtime_name,
        "parameters": twin.count_params,
        "training": lambda: float(twin.train_on_batch(pixels, classes)[0]),
        # On TensorFlow 1.15.8 it returns a tensor.
        "inference": lambda: np.asarray(twin.predict_on_batch(images)),
        "product": lambda: float(product()),
    }
