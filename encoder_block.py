"""The encoder of a Vision Transformer: blocks of attention and a feed-forward network.

Attention: Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762).

Two habits keep it fast on DirectML and on the CPU. Inside a block the tokens of all images form
one matrix (batch * tokens, dim), so that every Dense is one plain matrix product. And attention is
reshape and matrix product only: `Einsum`, as in Keras' own MultiHeadAttention, has no DirectML
kernel.
"""

from __future__ import annotations

import math
from typing import Any

from backend.fast_ops import LayerNormalization, gelu
from backend.layers import Dropout
from backend.runtime import keras, tf


def attention_weights(query, key) -> tf.Tensor:
    """Return softmax(query^T key), (batch, heads, tokens, tokens); every row sums to 1.

    query and key are (batch, heads, head_dim, tokens): matrix products with the tokens in their
    rows, where memory is read in order, take half the time that columns of head_dim take.
    """
    scores = tf.matmul(query, key, transpose_a=True)
    # The sum of a row is taken in float32, whatever the model computes in.
    return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), scores.dtype)


@tf.custom_gradient
def attend(query, key, value):
    """Return the values that each query attends to, (batch, heads, head_dim, tokens), all alike.

    The gradient is written out for the sake of the largest tensors: the sums over a row of weights
    are taken from its context instead. Dao et al. 2022 (arXiv 2205.14135), appendix B.2.
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


class MultiHeadSelfAttention(keras.layers.Layer):
    """Let every token look at all tokens of its image: softmax(q k^T / sqrt(head_dim)) v.

    (batch, tokens, dim) -> (batch * tokens, dim); arXiv 1706.03762, section 3.2.
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        _, self.tokens, self.dim = input_shape
        self.head_dim = self.dim // self.num_heads
        self.query_key_value = keras.layers.Dense(3 * self.dim, name="query_key_value")
        self.projection = keras.layers.Dense(self.dim, name="projection")
        super().build(input_shape)

    def heads(self, tokens) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return query / sqrt(head_dim), key and value, each (batch, heads, head_dim, tokens)."""
        query_key_value = self.query_key_value(tf.reshape(tokens, [-1, self.dim]))
        # (batch, tokens, 3 * dim) -> (batch, 3 * dim, tokens): one transposition for all heads.
        query_key_value = tf.transpose(
            tf.reshape(query_key_value, [-1, self.tokens, 3 * self.dim]), [0, 2, 1]
        )
        query, key, value = [
            tf.reshape(part, [-1, self.num_heads, self.head_dim, self.tokens])
            for part in tf.split(query_key_value, 3, axis=1)
        ]
        return query * (1.0 / math.sqrt(self.head_dim)), key, value

    def call(self, tokens):
        context = attend(*self.heads(tokens))
        # (batch, heads, head_dim, tokens) -> (batch * tokens, dim)
        context = tf.transpose(tf.reshape(context, [-1, self.dim, self.tokens]), [0, 2, 1])
        return self.projection(tf.reshape(context, [-1, self.dim]))

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), num_heads=self.num_heads)


class FeedForward(keras.layers.Layer):
    """Two Dense layers with a GELU between them: (batch * tokens, dim) -> same."""

    def __init__(self, hidden_dim: int, dropout_rate: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.dropout_rate = dropout_rate

    def build(self, input_shape):
        dim = int(input_shape[-1])
        self.expand = keras.layers.Dense(self.hidden_dim, name="expand")
        self.dropout = Dropout(self.dropout_rate, name="dropout")
        self.contract = keras.layers.Dense(dim, name="contract")
        super().build(input_shape)

    def call(self, tokens, training=None):
        return self.contract(self.dropout(gelu(self.expand(tokens)), training=training))

    def get_config(self) -> dict[str, Any]:
        return dict(
            super().get_config(), hidden_dim=self.hidden_dim, dropout_rate=self.dropout_rate
        )


class EncoderBlock(keras.layers.Layer):
    """Attention, then a feed-forward network, each on normalised tokens and added to what came in.

    (batch, tokens, dim) -> same
    """

    def __init__(
        self,
        num_heads: int,
        mlp_hidden_dim: int,
        dropout_rate: float = 0.0,
        stochastic_depth_rate: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.mlp_hidden_dim = mlp_hidden_dim
        self.dropout_rate = dropout_rate
        self.stochastic_depth_rate = stochastic_depth_rate

    def build(self, input_shape):
        _, self.tokens, self.dim = input_shape
        self.attention_norm = LayerNormalization(epsilon=1e-6, name="attention_norm")
        self.attention = MultiHeadSelfAttention(self.num_heads, name="attention")
        self.feed_forward_norm = LayerNormalization(epsilon=1e-6, name="feed_forward_norm")
        self.feed_forward = FeedForward(self.mlp_hidden_dim, self.dropout_rate, name="feed_forward")
        self.dropout = Dropout(self.dropout_rate, name="dropout")
        self.stochastic_depth = Dropout(
            self.stochastic_depth_rate, one_choice_per_image=True, name="stochastic_depth"
        )
        super().build(input_shape)

    def call(self, tokens, training=None):
        rows = tf.reshape(tokens, [-1, self.dim])  # (batch * tokens, dim)
        rows = rows + self._residual(
            self.attention(self._normalized_tokens(rows)), training=training
        )
        rows = rows + self._residual(
            self.feed_forward(self.feed_forward_norm(rows), training=training), training=training
        )
        return tf.reshape(rows, [-1, self.tokens, self.dim])

    def attention_weights(self, tokens) -> tf.Tensor:
        """Return the attention weights, (batch, heads, tokens, tokens), for the block's input."""
        normalized = self._normalized_tokens(tf.reshape(tokens, [-1, self.dim]))
        query, key, _ = self.attention.heads(normalized)
        return attention_weights(query, key)

    def _normalized_tokens(self, rows):
        return tf.reshape(self.attention_norm(rows), [-1, self.tokens, self.dim])

    def _residual(self, rows, training):
        rows = self.dropout(rows, training=training)
        if not self.stochastic_depth_rate:
            return rows
        tokens = tf.reshape(rows, [-1, self.tokens, self.dim])
        return tf.reshape(self.stochastic_depth(tokens, training=training), [-1, self.dim])

    def get_config(self) -> dict[str, Any]:
        return dict(
            super().get_config(),
            num_heads=self.num_heads,
            mlp_hidden_dim=self.mlp_hidden_dim,
            dropout_rate=self.dropout_rate,
            stochastic_depth_rate=self.stochastic_depth_rate,
        )


def encoder(
    tokens,
    number_of_layers: int,
    num_heads: int,
    mlp_hidden_dim: int,
    dropout_rate: float = 0.0,
    stochastic_depth_rate: float = 0.0,
) -> tf.Tensor:
    """Pass tokens (batch, tokens, dim) through all blocks and the last norm: same shape."""
    for number in range(1, number_of_layers + 1):
        tokens = EncoderBlock(
            num_heads,
            mlp_hidden_dim,
            dropout_rate=dropout_rate,
            # The deeper the block, the more often it is skipped: arXiv 1603.09382, equation 4.
            stochastic_depth_rate=stochastic_depth_rate * number / number_of_layers,
            name=f"block_{number}",
        )(tokens)
    return LayerNormalization(epsilon=1e-6, name="final_norm")(tokens)
