"""The convolutional network that Vision Transformers are compared with and distilled from.

Method: He et al. 2015, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), section
4.2: a ResNet of 6n + 2 layers for small images, whose shortcuts have no parameters (option A).
"""

from __future__ import annotations

from typing import Any, Sequence

from backend.runtime import keras, tf
from vit_model import PixelNormalization, logits_layer


def convolution(filters: int, stride: int, name: str) -> keras.layers.Conv2D:
    """Return a 3 x 3 convolution without bias: the normalisation after it has one."""
    return keras.layers.Conv2D(
        filters,
        3,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )


def batch_normalization(name: str) -> keras.layers.BatchNormalization:
    """Return a batch normalisation (arXiv 1502.03167) whose averages follow within 10 batches."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


class ResidualBlock(keras.layers.Layer):
    """Two convolutions added to what came in: relu(x + norm(conv(relu(norm(conv(x)))))).

    (batch, height, width, channels) -> (batch, height / stride, width / stride, filters)
    """

    def __init__(self, filters: int, stride: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.stride = stride

    def build(self, input_shape):
        self.added_channels = self.filters - int(input_shape[-1])
        self.convolution_1 = convolution(self.filters, self.stride, "convolution_1")
        self.norm_1 = batch_normalization("norm_1")
        self.convolution_2 = convolution(self.filters, 1, "convolution_2")
        self.norm_2 = batch_normalization("norm_2")
        super().build(input_shape)

    def call(self, images, training=None):
        change = self.norm_1(self.convolution_1(images), training=training)
        change = self.norm_2(self.convolution_2(tf.nn.relu(change)), training=training)
        return tf.nn.relu(self.shortcut(images) + change)

    def shortcut(self, images) -> tf.Tensor:
        """Return every stride-th pixel, with channels of zeros for the new ones."""
        if self.stride > 1:
            images = tf.nn.max_pool2d(images, ksize=1, strides=self.stride, padding="SAME")
        if self.added_channels:
            images = tf.pad(images, [[0, 0], [0, 0], [0, 0], [0, self.added_channels]])
        return images

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), filters=self.filters, stride=self.stride)


def resnet(
    image_shape: Sequence[int],
    number_of_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    number_of_layers: int = 20,
    filters: int = 16,
) -> keras.Model:
    """Build a ResNet of number_of_layers = 6n + 2 layers from images to logits.

    Pixels 0..255, (batch, height, width, channels) -> logits (batch, number_of_classes). Three
    stages of n blocks have filters, 2 * filters and 4 * filters channels on the image's full, half
    and quarter size. image_shape is (height, width, channels); mean and std are per channel on the
    scale 0..255. Raises ValueError for another number of layers and for filters below 1.
    """
    blocks, remainder = divmod(number_of_layers - 2, 6)
    if blocks < 1 or remainder:
        raise ValueError(
            f"NUMBER_OF_LAYERS is {number_of_layers}: a ResNet of this form has 6n + 2, such as "
            "8, 20 or 56."
        )
    if filters < 1:
        raise ValueError(f"FILTERS is {filters}: it must be at least 1.")
    inputs = keras.Input(shape=tuple(image_shape), name="pixels")
    images = PixelNormalization(mean, std, name="pixel_normalization")(inputs)
    images = convolution(filters, 1, "convolution")(images)
    images = batch_normalization("norm")(images)
    images = keras.layers.ReLU(name="relu")(images)
    for stage in range(3):
        for number in range(blocks):
            images = ResidualBlock(
                filters * 2**stage,
                stride=2 if stage and not number else 1,
                name=f"stage_{stage + 1}_block_{number + 1}",
            )(images)
    vector = keras.layers.GlobalAveragePooling2D(name="mean")(images)
    logits = logits_layer(number_of_classes)(vector)
    return keras.Model(inputs, logits, name="resnet")
