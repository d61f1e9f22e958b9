"""The Vision Transformer, from top to bottom in the order in which an image passes through it.

    pixels -> normalisation -> patches -> projection -> class token -> positions
           -> number_of_layers times (attention, feed-forward) -> representation -> head -> logits

Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words" (arXiv 2010.11929), section 3.1. Tokens are
(batch, tokens, dim) throughout. DirectML has no kernel for Einsum, the heart of Keras' own
attention, so all mathematics here is reshape, transpose and matrix product.
"""

from __future__ import annotations

import math
from typing import Any, Iterable, Sequence

from backend.fast_ops import attend, attention_weights, gelu
from backend.layers import LayerNorm, Linear, SeededDropout, StochasticDepth
from backend.runtime import keras, tf

# ------------------------------------------------------------------------- from pixels to tokens


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
    """Cut images into flattened patches, row by row; a stride below the size lets them overlap.

    (batch, height, width, channels) -> (batch, tokens, patch_size * patch_size * channels);
    arXiv 2010.11929, section 3.1: x_p.
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
    """Project every patch linearly: (batch, tokens, values) -> (batch, tokens, dim).

    arXiv 2010.11929, equation 1: x_p E.
    """

    def __init__(self, embedding_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.projection = Linear(embedding_dim, name="projection")

    def call(self, patches):
        return self.projection(patches)

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), embedding_dim=self.embedding_dim)


def patch_stem(images, embedding_dim: int, patch_size: int, patch_stride: int) -> tf.Tensor:
    """Cut out patches and project each linearly: images -> tokens."""
    patches = PatchExtraction(patch_size, patch_stride, name="patch_extraction")(images)
    return PatchProjection(embedding_dim, name="patch_projection")(patches)


def patch_convolution_stem(
    images, embedding_dim: int, patch_size: int, patch_stride: int
) -> tf.Tensor:
    """Do the same by one convolution without bias, as many implementations do."""
    features = keras.layers.Conv2D(
        embedding_dim, patch_size, strides=patch_stride, use_bias=False, name="patch_convolution"
    )(images)
    return _places_as_tokens(features)


def convolutional_stem(images, embedding_dim: int, patch_size: int, patch_stride: int) -> tf.Tensor:
    """Convolve and pool until one token is left for each square of patch_stride pixels.

    patch_stride is a power of two; patch_size is not used. Hassani et al. 2021 (arXiv 2104.05704),
    section 3.1, and Xiao et al. 2021 (arXiv 2106.14881).
    """
    halvings = int(math.log2(patch_stride))
    for number in range(1, halvings + 1):
        channels = embedding_dim if number == halvings else embedding_dim // 2
        images = keras.layers.Conv2D(
            channels, 3, padding="same", activation="relu", name=f"convolution_{number}"
        )(images)
        images = keras.layers.MaxPool2D(3, strides=2, padding="same", name=f"pooling_{number}")(
            images
        )
    return _places_as_tokens(images)


def _places_as_tokens(features) -> tf.Tensor:
    _, rows, columns, dim = features.shape
    return keras.layers.Reshape((rows * columns, dim), name="tokens")(features)


# From images to tokens: (images, embedding_dim, patch_size, patch_stride) -> tokens.
STEMS = {
    "patches": patch_stem,
    "patch_convolution": patch_convolution_stem,
    "convolutional": convolutional_stem,
}


class ClassToken(keras.layers.Layer):
    """Put one learned token before all others: (batch, tokens, dim) -> (batch, 1 + tokens, dim).

    arXiv 2010.11929, equation 1: x_class.
    """

    def build(self, input_shape):
        self.token = self.add_weight(
            name="token", shape=(1, 1, int(input_shape[-1])), initializer="zeros"
        )
        super().build(input_shape)

    def call(self, tokens):
        # One copy for every image, by a product instead of tile or broadcast.
        copies = tf.ones_like(tokens[:, :1, :]) * self.token
        return tf.concat([copies, tokens], axis=1)


class PositionEmbedding(keras.layers.Layer):
    """Add a learned vector for each position: (batch, tokens, dim) -> same.

    The vectors start as random numbers of deviation stddev, or as zeros where that is 0.
    arXiv 2010.11929, equation 1: E_pos.
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


# ----------------------------------------------------------------------------------- the encoder


class MultiHeadSelfAttention(keras.layers.Layer):
    """Let every token look at all tokens of its image: softmax(q k^T / sqrt(head_dim)) v.

    (batch, tokens, dim) -> same. Vaswani et al. 2017, "Attention Is All You Need" (arXiv
    1706.03762), section 3.2; arXiv 2010.11929, appendix A.
    """

    def __init__(self, num_heads: int, dropout_rate: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate

    def build(self, input_shape):
        _, self.tokens, self.dim = input_shape
        self.head_dim = self.dim // self.num_heads
        self.query_key_value = Linear(3 * self.dim, name="query_key_value")
        self.projection = Linear(self.dim, name="projection")
        self.dropout = SeededDropout(self.dropout_rate, name="dropout")
        super().build(input_shape)

    def heads(self, x) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return query / sqrt(head_dim), key and value, each (batch, heads, head_dim, tokens)."""
        # One transposition for all three and all heads: (batch, 3 * dim, tokens).
        query_key_value = tf.transpose(self.query_key_value(x), [0, 2, 1])
        query, key, value = [
            tf.reshape(part, [-1, self.num_heads, self.head_dim, self.tokens])
            for part in tf.split(query_key_value, 3, axis=1)
        ]
        return query * (1.0 / math.sqrt(self.head_dim)), key, value

    def call(self, x, training=None):
        context = attend(*self.heads(x))  # (batch, heads, head_dim, tokens)
        context = tf.reshape(context, [-1, self.dim, self.tokens])
        context = tf.transpose(context, [0, 2, 1])  # (batch, tokens, dim)
        return self.dropout(self.projection(context), training)

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), num_heads=self.num_heads, dropout_rate=self.dropout_rate)


class FeedForward(keras.layers.Layer):
    """Work on each token alone: expand, GELU, contract. (batch, tokens, dim) -> same.

    arXiv 1706.03762, section 3.3, with GELU as in arXiv 2010.11929, section 3.1.
    """

    def __init__(self, hidden_dim: int, dropout_rate: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.dropout_rate = dropout_rate

    def build(self, input_shape):
        self.expand = Linear(self.hidden_dim, name="expand")
        self.contract = Linear(int(input_shape[-1]), name="contract")
        self.dropout = SeededDropout(self.dropout_rate, name="dropout")
        super().build(input_shape)

    def call(self, x, training=None):
        hidden = self.dropout(gelu(self.expand(x)), training)  # (batch, tokens, hidden_dim)
        return self.dropout(self.contract(hidden), training)

    def get_config(self) -> dict[str, Any]:
        return dict(
            super().get_config(), hidden_dim=self.hidden_dim, dropout_rate=self.dropout_rate
        )


class EncoderBlock(keras.layers.Layer):
    """Add to the tokens what attention, then what the feed-forward network makes of them.

    (batch, tokens, dim) -> same; pre-norm, arXiv 2010.11929, equations 2 and 3.
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
        self.attention_norm = LayerNorm(epsilon=1e-6, name="attention_norm")
        self.attention = MultiHeadSelfAttention(self.num_heads, self.dropout_rate, name="attention")
        self.feed_forward_norm = LayerNorm(epsilon=1e-6, name="feed_forward_norm")
        self.feed_forward = FeedForward(self.mlp_hidden_dim, self.dropout_rate, name="feed_forward")
        self.drop_path = StochasticDepth(self.stochastic_depth_rate, name="drop_path")
        super().build(input_shape)

    def call(self, x, training=None):
        x = x + self.drop_path(self.attention(self.attention_norm(x), training), training)
        x = x + self.drop_path(self.feed_forward(self.feed_forward_norm(x), training), training)
        return x

    def attention_weights(self, x) -> tf.Tensor:
        """Return the attention weights, (batch, heads, tokens, tokens), for the block's input."""
        query, key, _ = self.attention.heads(self.attention_norm(x))
        return attention_weights(query, key)

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
            dropout_rate,
            # The deeper the block, the more often it is skipped: arXiv 1603.09382, equation 4.
            stochastic_depth_rate * number / number_of_layers,
            name=f"block_{number}",
        )(tokens)
    return LayerNorm(epsilon=1e-6, name="final_norm")(tokens)


# ------------------------------------------------------------------------- from tokens to logits


class FirstToken(keras.layers.Layer):
    """Take the first token: (batch, tokens, dim) -> (batch, dim)."""

    def call(self, tokens):
        return tokens[:, 0]


class OtherTokens(keras.layers.Layer):
    """Leave out the first token: (batch, 1 + tokens, dim) -> (batch, tokens, dim)."""

    def call(self, tokens):
        return tokens[:, 1:]


class SequencePooling(keras.layers.Layer):
    """Average the tokens by learned importance: (batch, tokens, dim) -> (batch, dim).

    Hassani et al. 2021, "Escaping the Big Data Paradigm" (arXiv 2104.05704), section 3.2.
    """

    def build(self, input_shape):
        _, self.tokens, self.dim = input_shape
        # No bias: softmax cancels what all tokens have in common, so it could not learn.
        self.importance = Linear(1, use_bias=False, name="importance")
        super().build(input_shape)

    def call(self, tokens):
        scores = tf.reshape(self.importance(tokens), [-1, 1, self.tokens])
        pooled = tf.matmul(tf.nn.softmax(scores), tokens)  # (batch, 1, dim)
        return tf.reshape(pooled, [-1, self.dim])


def flatten(tokens) -> tf.Tensor:
    """Put all tokens one after the other: (batch, tokens * dim)."""
    return keras.layers.Flatten(name="flatten")(tokens)


def mean_pooling(tokens) -> tf.Tensor:
    """Average all tokens: (batch, dim); arXiv 2010.11929, appendix D.3."""
    return keras.layers.GlobalAveragePooling1D(name="mean")(tokens)


def class_token(tokens) -> tf.Tensor:
    """Take the class token: (batch, dim); arXiv 2010.11929, equation 4."""
    return FirstToken(name="first_token")(tokens)


def sequence_pooling(tokens) -> tf.Tensor:
    """Average all tokens by learned importance: (batch, dim)."""
    return SequencePooling(name="sequence_pooling")(tokens)


# From tokens to the one vector per image that the head classifies.
REPRESENTATIONS = {
    "flatten": flatten,
    "mean": mean_pooling,
    "class_token": class_token,
    "sequence_pooling": sequence_pooling,
}
# With a distillation token: the layer that learns the labels, and the one that learns the teacher.
CLASS_LOGITS, DISTILLATION_LOGITS = "class_logits", "distillation_logits"


def logits_layer(number_of_classes: int, name: str = "logits") -> keras.layers.Layer:
    """Return the last layer of any model, in float32 also where the others compute in float16."""
    return keras.layers.Dense(number_of_classes, name=name, dtype="float32")


def head_layer_names(model: keras.Model) -> set[str]:
    """Return the names of the head's layers with weights: those over one vector per image.

    The head belongs to the classes of one data set, and fine-tuning replaces it: arXiv 2010.11929,
    section 3.2. All other layers, of any model here, work on tokens or on maps of features.
    """
    return {layer.name for layer in model.layers if layer.weights and len(layer.input_shape) == 2}


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
    distillation_token the logits are the mean of two layers', CLASS_LOGITS and DISTILLATION_LOGITS:
    Touvron et al. 2020, DeiT (arXiv 2012.12877), section 4. Raises ValueError, naming the numbers,
    for sizes that do not fit together.
    """
    check_arguments(locals())
    pixels = keras.Input(shape=tuple(image_shape), name="pixels")
    images = PixelNormalization(mean, std, name="pixel_normalization")(pixels)
    tokens = STEMS[stem](images, embedding_dim, patch_size, patch_stride)  # (batch, tokens, dim)
    if representation == "class_token":
        tokens = ClassToken(name="class_token")(tokens)
    if distillation_token:
        tokens = ClassToken(name="distillation_token")(tokens)
    tokens = PositionEmbedding(position_stddev, name="position_embedding")(tokens)
    tokens = SeededDropout(dropout_rate, name="embedding_dropout")(tokens)
    tokens = encoder(
        tokens, number_of_layers, num_heads, mlp_hidden_dim, dropout_rate, stochastic_depth_rate
    )
    if distillation_token:
        distilled, tokens = FirstToken(name="distilled")(tokens), OtherTokens(name="others")(tokens)
    vector = REPRESENTATIONS[representation](tokens)  # (batch, values)
    for number, hidden_dim in enumerate(head_hidden_dims, start=1):
        vector = keras.layers.Dense(hidden_dim, gelu, name=f"head_hidden_{number}")(vector)
        vector = SeededDropout(head_dropout_rate, name=f"head_dropout_{number}")(vector)
    if distillation_token:
        both = [
            logits_layer(number_of_classes, CLASS_LOGITS)(vector),
            logits_layer(number_of_classes, DISTILLATION_LOGITS)(distilled),
        ]
        logits = keras.layers.Average(name="logits", dtype="float32")(both)
    else:
        logits = logits_layer(number_of_classes)(vector)
    return keras.Model(pixels, logits, name="vision_transformer")


# ------------------------------------------------------------- which arguments fit together

# Upper limit, so that a typo cannot exhaust memory.
LARGEST_SIZE = 16384


def token_grid(
    image_shape: Sequence[int], patch_size: int, patch_stride: int, stem: str = "patches"
) -> tuple[int, int]:
    """Return the rows and columns of patches; ValueError if they do not cover the image exactly."""
    if stem == "convolutional":
        # One token stands for each square of patch_stride pixels.
        patch_size = patch_stride
    for side in image_shape[:2]:
        if patch_size > side or (side - patch_size) % patch_stride:
            raise ValueError(
                f"PATCH_SIZE {patch_size} with PATCH_STRIDE {patch_stride} does not cover an image "
                f"side of {side} pixels: {side} - {patch_size} must be a multiple of "
                f"{patch_stride}. Change them, or the side by IMAGE_SIZE."
            )
    rows, columns = [(side - patch_size) // patch_stride + 1 for side in image_shape[:2]]
    return rows, columns


def check_arguments(arguments: dict[str, Any]) -> None:
    """Raise ValueError, naming the constants, for arguments that no vision_transformer can have."""
    sizes = (
        "number_of_classes patch_size patch_stride number_of_layers embedding_dim num_heads "
        "mlp_hidden_dim head_hidden_dims"
    )
    check_sizes(**{name: arguments[name] for name in sizes.split()})
    check_rates(**{name: arguments[name] for name in arguments if name.endswith("_rate")})
    check_heads(arguments["embedding_dim"], arguments["num_heads"])
    stem, patch_stride = arguments["stem"], arguments["patch_stride"]
    check_choice("STEM", stem, STEMS)
    check_choice("REPRESENTATION", arguments["representation"], REPRESENTATIONS)
    if stem == "convolutional" and not (patch_stride > 1 and math.log2(patch_stride).is_integer()):
        raise ValueError(
            f"PATCH_STRIDE is {patch_stride}: the convolutional stem needs a power of two >= 2."
        )
    token_grid(arguments["image_shape"], arguments["patch_size"], patch_stride, stem)


def check_sizes(**sizes: int | Sequence[int]) -> None:
    """Raise ValueError, naming the size, for one outside 1 to LARGEST_SIZE."""
    for name, value in sizes.items():
        for size in value if isinstance(value, (list, tuple)) else (value,):
            if not 1 <= size <= LARGEST_SIZE:
                raise ValueError(f"{name.upper()} is {size}: it must be 1 to {LARGEST_SIZE}.")


def check_rates(**rates: float) -> None:
    """Raise ValueError, naming the rate, for one that is not a probability below 1."""
    for name, rate in rates.items():
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"{name.upper()} is {rate}: it must be at least 0 and less than 1.")


def check_heads(embedding_dim: int, num_heads: int) -> None:
    """Raise ValueError unless the numbers of a token can be divided among the heads."""
    if embedding_dim % num_heads:
        raise ValueError(
            f"EMBEDDING_DIM {embedding_dim} is not divisible by NUM_HEADS {num_heads}."
        )


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError for a word that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: choose one of {', '.join(choices)}.")
