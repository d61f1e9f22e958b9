"""The Vision Transformer, from top to bottom in the order in which an image passes through it.

    image -> patches -> projection -> + positions -> blocks -> representation -> head -> logits

Method: Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words" (arXiv 2010.11929), section 3.1,
with pre-norm blocks. The blocks themselves stand in encoder_block.py.
"""

from __future__ import annotations

import math
from typing import Any, Sequence

from backend.fast_ops import gelu
from backend.layers import Dropout
from backend.runtime import keras, tf
from encoder_block import encoder

STEMS = ("patches", "patch_convolution", "convolutional")
REPRESENTATIONS = ("flatten", "mean", "class_token", "sequence_pooling")
# A slip of the finger shall not fill the memory.
LARGEST_SIZE = 16384


class PixelNormalization(keras.layers.Layer):
    """Turn raw pixels 0..255, uint8 or float, into floats of mean 0 and deviation 1 per channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs):
        super().__init__(**kwargs)
        self.mean = [float(value) for value in mean]
        self.std = [float(value) for value in std]

    def call(self, images):
        # One multiplication and one addition, whatever the type of the pixels was.
        scale = tf.constant([1.0 / value for value in self.std])
        offset = tf.constant([-mean / std for mean, std in zip(self.mean, self.std)])
        return tf.cast(images, tf.float32) * scale + offset

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), mean=self.mean, std=self.std)


class PatchExtraction(keras.layers.Layer):
    """Cut images into flattened patches, row by row; they overlap where the stride is smaller.

    (batch, height, width, channels) -> (batch, tokens, patch_size * patch_size * channels)
    """

    def __init__(self, patch_size: int, patch_stride: int, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size
        self.patch_stride = patch_stride

    def call(self, images):
        patches = tf.image.extract_patches(
            images,
            sizes=[1, self.patch_size, self.patch_size, 1],
            strides=[1, self.patch_stride, self.patch_stride, 1],
            rates=[1, 1, 1, 1],
            padding="VALID",
        )  # (batch, rows, columns, patch_size * patch_size * channels)
        _, rows, columns, values = patches.shape
        return tf.reshape(patches, [-1, rows * columns, values])

    def get_config(self) -> dict[str, Any]:
        return dict(
            super().get_config(), patch_size=self.patch_size, patch_stride=self.patch_stride
        )


class PatchProjection(keras.layers.Layer):
    """Project every flattened patch linearly: (batch, tokens, values) -> (batch, tokens, dim)."""

    def __init__(self, embedding_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.projection = keras.layers.Dense(embedding_dim, name="projection")

    def build(self, input_shape):
        _, self.tokens, self.values = input_shape
        super().build(input_shape)

    def call(self, patches):
        tokens = self.projection(tf.reshape(patches, [-1, self.values]))
        return tf.reshape(tokens, [-1, self.tokens, self.embedding_dim])

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), embedding_dim=self.embedding_dim)


class ClassToken(keras.layers.Layer):
    """Put one learnable token before all others.

    (batch, tokens, dim) -> (batch, 1 + tokens, dim)
    """

    def build(self, input_shape):
        self.token = self.add_weight(
            name="token", shape=(1, 1, int(input_shape[-1])), initializer="zeros"
        )
        super().build(input_shape)

    def call(self, tokens):
        # One product instead of tile or broadcast: a copy of the token for every image.
        copies = tf.ones_like(tokens[:, :1, :]) * self.token
        return tf.concat([copies, tokens], axis=1)


class FirstToken(keras.layers.Layer):
    """Take the class token after the blocks: (batch, tokens, dim) -> (batch, dim)."""

    def call(self, tokens):
        return tokens[:, 0]


class OtherTokens(keras.layers.Layer):
    """Leave out the first token: (batch, 1 + tokens, dim) -> (batch, tokens, dim)."""

    def call(self, tokens):
        return tokens[:, 1:]


class PositionEmbedding(keras.layers.Layer):
    """Add a learnable vector for each position: (batch, tokens, dim) -> same.

    The vectors start as random numbers of deviation stddev, or as zeros where that is 0.
    """

    def __init__(self, stddev: float = 0.02, **kwargs):
        super().__init__(**kwargs)
        self.stddev = stddev

    def build(self, input_shape):
        self.positions = self.add_weight(
            name="positions",
            shape=(1, int(input_shape[1]), int(input_shape[2])),
            initializer=keras.initializers.TruncatedNormal(stddev=self.stddev),
        )
        super().build(input_shape)

    def call(self, tokens):
        return tokens + self.positions

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), stddev=self.stddev)


class SequencePooling(keras.layers.Layer):
    """Average the tokens by learned importance: (batch, tokens, dim) -> (batch, dim).

    Hassani et al. 2021, "Escaping the Big Data Paradigm" (arXiv 2104.05704), section 3.2.
    """

    def build(self, input_shape):
        _, self.tokens, self.dim = input_shape
        # No bias: softmax takes out what all tokens have in common, so that it could not learn.
        self.importance = keras.layers.Dense(1, use_bias=False, name="importance")
        super().build(input_shape)

    def call(self, tokens):
        scores = self.importance(tf.reshape(tokens, [-1, self.dim]))  # (batch * tokens, 1)
        weights = tf.nn.softmax(tf.reshape(scores, [-1, 1, self.tokens]))
        return tf.reshape(tf.matmul(weights, tokens), [-1, self.dim])


def patch_stem(images, embedding_dim: int, patch_size: int, patch_stride: int) -> tf.Tensor:
    """Turn images into tokens (batch, tokens, dim): cut out patches and project each linearly."""
    patches = PatchExtraction(patch_size, patch_stride, name="patch_extraction")(images)
    return PatchProjection(embedding_dim, name="patch_projection")(patches)


def patch_convolution_stem(
    images, embedding_dim: int, patch_size: int, patch_stride: int
) -> tf.Tensor:
    """Do the same by one convolution without bias: arXiv 2010.11929 in many implementations."""
    images = keras.layers.Conv2D(
        embedding_dim, patch_size, strides=patch_stride, use_bias=False, name="patch_convolution"
    )(images)
    _, rows, columns, _ = images.shape
    return keras.layers.Reshape((rows * columns, embedding_dim), name="tokens")(images)


def convolutional_stem(images, embedding_dim: int, patch_size: int, patch_stride: int) -> tf.Tensor:
    """Turn images into tokens (batch, tokens, dim): one convolution and pooling per halving.

    The grid is that of patches with patch_stride, which has to be a power of two; patch_size is not
    used. arXiv 2104.05704, section 3.1, and Xiao et al. 2021 (arXiv 2106.14881).
    """
    halvings = int(round(math.log(patch_stride, 2)))
    if halvings < 1 or 2**halvings != patch_stride:
        raise ValueError(
            f"PATCH_STRIDE is {patch_stride}: the convolutional stem needs a power of two from "
            "2 on."
        )
    for number in range(1, halvings + 1):
        channels = embedding_dim if number == halvings else embedding_dim // 2
        images = keras.layers.Conv2D(
            channels, 3, padding="same", activation="relu", name=f"convolution_{number}"
        )(images)
        images = keras.layers.MaxPool2D(3, strides=2, padding="same", name=f"pooling_{number}")(
            images
        )
    _, rows, columns, _ = images.shape
    return keras.layers.Reshape((rows * columns, embedding_dim), name="tokens")(images)


def token_grid(
    image_shape: Sequence[int], patch_size: int, patch_stride: int, stem: str = "patches"
) -> tuple[int, int]:
    """Return the rows and columns of patches; ValueError if they do not cover the image exactly."""
    if stem == "convolutional":
        # Its convolutions halve the image; one token stands for each square of patch_stride pixels.
        patch_size = patch_stride
    sides = []
    for side in image_shape[:2]:
        if patch_size > side or (side - patch_size) % patch_stride:
            raise ValueError(
                f"PATCH_SIZE {patch_size} with PATCH_STRIDE {patch_stride} does not cover an "
                f"image side of {side} pixels: "
                f"{side} - {patch_size} must be a multiple of {patch_stride}. Change them, or "
                "the side by IMAGE_SIZE."
            )
        sides.append((side - patch_size) // patch_stride + 1)
    return sides[0], sides[1]


def vision_transformer(
    image_shape: Sequence[int],
    number_of_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    patch_size: int = 4,
    patch_stride: int = 4,
    number_of_layers: int = 8,
    embedding_dim: int = 64,
    num_heads: int = 8,
    mlp_hidden_dim: int = 256,
    head_hidden_dims: Sequence[int] = (512, 256),
    stem: str = "patches",
    representation: str = "flatten",
    dropout_rate: float = 0.0,
    head_dropout_rate: float = 0.0,
    stochastic_depth_rate: float = 0.0,
    position_stddev: float = 0.02,
    distillation_token: bool = False,
) -> keras.Model:
    """Build a Vision Transformer from images to logits.

    Pixels 0..255, (batch, height, width, channels) -> logits (batch, number_of_classes).
    image_shape is (height, width, channels); mean and std are per channel on the scale 0..255; the
    rates are probabilities; position_stddev is the deviation that positions start with. With a
    distillation_token the logits are the mean of two layers', class_logits and distillation_logits:
    Touvron et al. 2020, DeiT (arXiv 2012.12877), section 4. Raises ValueError, naming the numbers,
    for sizes that do not fit together.
    """
    check_sizes(
        patch_size=patch_size,
        patch_stride=patch_stride,
        number_of_layers=number_of_layers,
        embedding_dim=embedding_dim,
        num_heads=num_heads,
        mlp_hidden_dim=mlp_hidden_dim,
        number_of_classes=number_of_classes,
    )
    for hidden_dim in head_hidden_dims:
        check_sizes(head_hidden_dims=hidden_dim)
    check_rates(
        dropout_rate=dropout_rate,
        head_dropout_rate=head_dropout_rate,
        stochastic_depth_rate=stochastic_depth_rate,
    )
    check_heads(embedding_dim, num_heads)
    stems = dict(zip(STEMS, (patch_stem, patch_convolution_stem, convolutional_stem)))
    _check_choice("STEM", stem, stems)
    _check_choice("REPRESENTATION", representation, REPRESENTATIONS)
    token_grid(image_shape, patch_size, patch_stride, stem)

    inputs = keras.Input(shape=tuple(image_shape), name="pixels")
    images = PixelNormalization(mean, std, name="pixel_normalization")(inputs)
    tokens = stems[stem](images, embedding_dim, patch_size, patch_stride)
    if representation == "class_token":
        tokens = ClassToken(name="class_token")(tokens)
    if distillation_token:
        tokens = ClassToken(name="distillation_token")(tokens)
    tokens = PositionEmbedding(position_stddev, name="position_embedding")(tokens)
    tokens = Dropout(dropout_rate, name="embedding_dropout")(tokens)
    tokens = encoder(
        tokens, number_of_layers, num_heads, mlp_hidden_dim, dropout_rate, stochastic_depth_rate
    )
    if distillation_token:
        distilled, tokens = FirstToken(name="distilled")(tokens), OtherTokens(name="others")(tokens)
    context = represent(tokens, representation)
    for number, hidden_dim in enumerate(head_hidden_dims, start=1):
        context = keras.layers.Dense(hidden_dim, activation=gelu, name=f"head_hidden_{number}")(
            context
        )
        context = Dropout(head_dropout_rate, name=f"head_dropout_{number}")(context)
    if distillation_token:
        heads = ((context, "class_logits"), (distilled, "distillation_logits"))
        both = [logits_layer(number_of_classes, name)(vector) for vector, name in heads]
        logits = keras.layers.Average(name="logits", dtype="float32")(both)
    else:
        logits = logits_layer(number_of_classes)(context)
    return keras.Model(inputs, logits, name="vision_transformer")


def logits_layer(number_of_classes: int, name: str = "logits") -> keras.layers.Layer:
    """Return the last layer, in float32 also where the others compute in float16."""
    return keras.layers.Dense(number_of_classes, name=name, dtype="float32")


def represent(tokens, representation: str) -> tf.Tensor:
    """Return the one vector per image, (batch, values), that the head classifies."""
    if representation == "flatten":
        return keras.layers.Flatten(name="flatten")(tokens)
    if representation == "mean":
        return keras.layers.GlobalAveragePooling1D(name="mean")(tokens)
    if representation == "class_token":
        return FirstToken(name="first_token")(tokens)
    return SequencePooling(name="sequence_pooling")(tokens)


def check_sizes(**sizes: int) -> None:
    """Raise ValueError, naming the size, for one outside 1 to LARGEST_SIZE."""
    for name, size in sizes.items():
        if not 1 <= size <= LARGEST_SIZE:
            raise ValueError(f"{name.upper()} is {size}: it must be 1 to {LARGEST_SIZE}.")


def check_heads(embedding_dim: int, num_heads: int) -> None:
    """Raise ValueError unless each head gets as many numbers of a token as the others."""
    if embedding_dim % num_heads:
        raise ValueError(
            f"EMBEDDING_DIM {embedding_dim} is not divisible by NUM_HEADS {num_heads}."
        )


def check_rates(**rates: float) -> None:
    """Raise ValueError, naming the rate, for one that is not a probability below 1."""
    for name, rate in rates.items():
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"{name.upper()} is {rate}: it must be at least 0 and less than 1.")


def _check_choice(name: str, value: str, choices) -> None:
    if value not in choices:
        raise ValueError("{} is {!r}: choose one of {}.".format(name, value, ", ".join(choices)))
