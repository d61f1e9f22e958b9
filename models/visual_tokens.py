"""A transformer over visual tokens: convolutions, a tokenizer, encoder blocks.

    image -> convolutions -> 8 x 8 features -> tokenizer -> 16 tokens -> blocks -> mean -> logits

Method: Wu et al. 2020, "Visual Transformers: Token-based Image Representation and Processing for
Computer Vision" (arXiv 2006.03677), section 3.1.1: the filter-based tokenizer.
"""

from __future__ import annotations

from typing import Any, Sequence

from backend.layers import Linear, SeededDropout
from backend.runtime import keras, tf
from models.resnet import batch_normalization, convolution
from vit_model import (
    PatchProjection,
    PixelNormalization,
    PositionEmbedding,
    check_heads,
    check_rates,
    check_sizes,
    encoder,
    logits_layer,
    mean_pooling,
)


class FilterTokenizer(keras.layers.Layer):
    """Summarise features in a few tokens, each the mean of the places that its filter selects.

    (batch, height, width, channels) -> (batch, number_of_tokens, channels):
    softmax over all places of (features * filters), transposed, times features.
    """

    def __init__(self, number_of_tokens: int, **kwargs):
        super().__init__(**kwargs)
        self.number_of_tokens = number_of_tokens

    def build(self, input_shape):
        _, rows, columns, self.channels = input_shape
        self.places = rows * columns
        self.filters = Linear(self.number_of_tokens, use_bias=False, name="filters")
        super().build(input_shape)

    def attention(self, features) -> tf.Tensor:
        """Return the share of every place in every token, (batch, tokens, places)."""
        scores = self.filters(features)  # (batch, height, width, tokens)
        scores = tf.reshape(scores, [-1, self.places, self.number_of_tokens])
        return tf.nn.softmax(tf.transpose(scores, [0, 2, 1]))

    def call(self, features):
        places = tf.reshape(features, [-1, self.places, self.channels])
        return tf.matmul(self.attention(features), places)

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), number_of_tokens=self.number_of_tokens)


def visual_token_transformer(
    image_shape: Sequence[int],
    number_of_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    convolution_filters: Sequence[int] = (32, 64, 64, 128),
    convolution_strides: Sequence[int] = (1, 2, 1, 2),
    number_of_tokens: int = 16,
    number_of_layers: int = 4,
    embedding_dim: int = 128,
    num_heads: int = 4,
    mlp_hidden_dim: int = 256,
    dropout_rate: float = 0.0,
    stochastic_depth_rate: float = 0.0,
) -> keras.Model:
    """Build a visual-token transformer from images to logits.

    Pixels 0..255, (batch, height, width, channels) -> logits (batch, number_of_classes).
    image_shape is (height, width, channels); mean and std are per channel on the scale 0..255; the
    rates are probabilities. Raises ValueError, naming the numbers, for sizes that do not fit
    together.
    """
    if not convolution_filters or len(convolution_filters) != len(convolution_strides):
        raise ValueError(
            f"CONVOLUTION_FILTERS are {list(convolution_filters)} and CONVOLUTION_STRIDES "
            f"{list(convolution_strides)}: give one stride for each convolution, and at least one."
        )
    check_sizes(
        convolution_filters=convolution_filters,
        convolution_strides=convolution_strides,
        number_of_tokens=number_of_tokens,
        number_of_layers=number_of_layers,
        embedding_dim=embedding_dim,
        num_heads=num_heads,
        mlp_hidden_dim=mlp_hidden_dim,
    )
    check_heads(embedding_dim, num_heads)
    check_rates(dropout_rate=dropout_rate, stochastic_depth_rate=stochastic_depth_rate)
    inputs = keras.Input(shape=tuple(image_shape), name="pixels")
    features = PixelNormalization(mean, std, name="pixel_normalization")(inputs)
    pairs = zip(convolution_filters, convolution_strides)
    for number, (filters, stride) in enumerate(pairs, start=1):
        features = convolution(filters, stride, f"convolution_{number}")(features)
        features = batch_normalization(f"norm_{number}")(features)
        features = keras.layers.ReLU(name=f"relu_{number}")(features)
    tokens = FilterTokenizer(number_of_tokens, name="tokenizer")(features)
    tokens = PatchProjection(embedding_dim, name="token_projection")(tokens)
    # Which filter a token comes from: without it the blocks could not tell them apart.
    tokens = PositionEmbedding(name="token_embedding")(tokens)
    tokens = SeededDropout(dropout_rate, name="embedding_dropout")(tokens)
    tokens = encoder(
        tokens, number_of_layers, num_heads, mlp_hidden_dim, dropout_rate, stochastic_depth_rate
    )
    logits = logits_layer(number_of_classes)(mean_pooling(tokens))
    return keras.Model(inputs, logits, name="visual_token_transformer")
