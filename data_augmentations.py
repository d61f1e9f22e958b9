"""Random augmentations of whole image batches, every image drawing its own parameters.

A script lists them by name:    AUGMENTATIONS = ("random_flip", "random_rotation(degrees=10)")
Alone they are called so:       random_rotation(images, seed, degrees=10.0)

Images are (batch, height, width, channels), uint8 or float in 0..255; shape, dtype and range are
kept. `seed` is two integers; the same seed gives the same pixels, eagerly, in a `tf.function` and
in `Dataset.map`. Every augmentation also takes `probability`, the share of the images that are
changed, by default 1. A magnitude of 0 changes none.

A function below does not touch pixels. It draws one small tensor for each image: the matrix of its
geometry or colour, the mask of the pixels that are lost, or the share of another image. A list of
augmentations becomes a product of matrices, so that `augmentation_pipeline` resamples images once
and recolours them once, however long the list. datasets/augmentation_engine.py does that, and
says what the decorators and the tensors mean.
"""

from __future__ import annotations

import math
from typing import Callable, Sequence

import numpy as np

from backend.runtime import tf
from datasets import augmentation_engine as engine
from datasets.augmentation_engine import (
    Draw,
    Masks,
    Matrices,
    Shares,
    beta,
    boxes,
    colour,
    erasing,
    geometric,
    identity_plus,
    mixing,
    rotation,
    translation,
)


@geometric(degrees=(0, 180))
def random_rotation(draw: Draw, degrees: float = 15.0) -> Matrices:
    """Rotate about the centre by an angle within +-`degrees`."""
    return rotation(math.radians(degrees) * draw.uniform())


@geometric(degrees=(0, 40))
def random_shear(draw: Draw, degrees: float = 10.0) -> Matrices:
    """Tilt each axis on its own by an angle within +-`degrees`."""
    x, y = (tf.tan(math.radians(degrees) * amount) for amount in draw.uniforms(2))
    return identity_plus(
        (x, [[0, 1, 0], [0, 0, 0], [0, 0, 0]]), (y, [[0, 0, 0], [1, 0, 0], [0, 0, 0]])
    )


@geometric(fraction=(0, 4))
def random_zoom(draw: Draw, fraction: float = 0.1) -> Matrices:
    """Magnify by a factor between 1 / (1 + `fraction`) and 1 + `fraction`, log-uniform."""
    # Not exp(...) - 1: graphs would replace it by this and differ from eager execution.
    growth = tf.math.expm1(math.log1p(fraction) * draw.uniform())
    return identity_plus((growth, np.diag([1, 1, 0])))


@geometric(fraction=(0, 1))
def random_translation(draw: Draw, fraction: float = 0.1) -> Matrices:
    """Shift along each axis within +-`fraction` of the image's width and height."""
    x, y = draw.uniforms(2)
    return translation(fraction * draw.width * x, fraction * draw.height * y)


@geometric(padding=(0, 1000))
def random_crop(draw: Draw, padding: int = 4) -> Matrices:
    """Pad each side by `padding` pixels and crop to the old size: shift by whole pixels."""
    x, y = draw.uniforms(2)
    return translation(
        *(tf.floor((amount + 1) / 2 * (2 * padding + 1)) - padding for amount in (x, y))
    )


@geometric(vertical=(False, True), probability=0.5)
def random_flip(draw: Draw, vertical: bool = False) -> Matrices:
    """Mirror left to right, or top to bottom with `vertical=True`; by default half the images."""
    mirror = np.diag([1, -1, 1] if vertical else [-1, 1, 1])
    return tf.tile(tf.constant(mirror[None], tf.float32), [draw.batch, 1, 1])


@colour(fraction=(0, 1))
def random_contrast(draw: Draw, fraction: float = 0.3) -> Matrices:
    """Scale the distance from mid-grey (127.5) by a factor within 1 +- `fraction`."""
    from_grey = [[1, 0, 0, -127.5], [0, 1, 0, -127.5], [0, 0, 1, -127.5], [0, 0, 0, 0]]
    return identity_plus((fraction * draw.uniform(), from_grey))


@colour(fraction=(0, 1))
def random_brightness(draw: Draw, fraction: float = 0.2) -> Matrices:
    """Add a value within +-`fraction` of the whole range, that is +-255 * `fraction`."""
    lift = [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    return identity_plus((255 * fraction * draw.uniform(), lift))


@colour(fraction=(0, 1))
def random_saturation(draw: Draw, fraction: float = 0.3) -> Matrices:
    """Scale the distance from the pixel's own grey (luma, ITU-R BT.601) by 1 +- `fraction`."""
    luma = [[0.299, 0.587, 0.114, 0]] * 3 + [[0, 0, 0, 1]]
    return identity_plus((fraction * draw.uniform(), np.eye(4) - luma))


@colour(degrees=(0, 180))
def random_hue(draw: Draw, degrees: float = 15.0) -> Matrices:
    """Turn the colour circle, about the axis of greys, by an angle within +-`degrees`."""
    grey_axis = np.array([[0, -1, 1, 0], [1, 0, -1, 0], [-1, 1, 0, 0], [0, 0, 0, 0]])
    return rotation(math.radians(degrees) * draw.uniform(), grey_axis / math.sqrt(3))


@erasing(size=(0, 1000))
def random_erasing(draw: Draw, size: int = 8) -> Masks:
    """Paint a square of `size` pixels, centred anywhere in the image, with the image's mean.

    Cutout (DeVries & Taylor 2017, arXiv 1708.04552, section 3.2).
    """
    x, y = draw.uniforms(2)
    return boxes(draw, x, y, float(size), float(size))


@mixing(alpha=(0.01, 100))
def mixup(draw: Draw, alpha: float = 0.2) -> Shares:
    """Blend each image with its neighbour in the batch by a share of Beta(alpha, alpha).

    Alone: mixup(images, labels, seed) -> (images, labels); float labels (batch, classes) blend
    likewise. Zhang et al. 2018, arXiv 1710.09412, section 2.
    """
    return beta(draw.uniform(), alpha)[:, None, None, None]


@mixing(alpha=(0.01, 100))
def cutmix(draw: Draw, alpha: float = 1.0) -> Shares:
    """Paste a box of the neighbour in the batch, whose area is a share of Beta(alpha, alpha).

    Alone: cutmix(images, labels, seed) -> (images, labels); float labels (batch, classes) blend by
    the area really pasted. Yun et al. 2019, arXiv 1905.04899, section 3.1.
    """
    amount, x, y = draw.uniforms(3)
    side = tf.sqrt(beta(amount, alpha))
    return boxes(draw, x, y, side * draw.width, side * draw.height)


def augmentation_pipeline(
    specifications: Sequence[str], number_of_classes: int | None = None
) -> Callable:
    """Return `(images, labels, seed) -> (images, labels)` that does all of `specifications`.

    A specification is an augmentation's name with any of its keywords: "random_flip",
    "cutmix(alpha=1.0, probability=0.5)". Geometric ones act first, then those of colour, each in
    the order of the list, then erasing, then mixing: of several that mix, one for each batch, by
    lot. Labels are int (batch,) and stay so, unless
    the list mixes: then they come back as float32 (batch, number_of_classes) that sum to 1.
    Raises ValueError for a specification that cannot be done, before any image is seen.
    """
    steps = engine.parse(specifications)
    mixes = mixes_labels(specifications)
    if mixes and not number_of_classes:
        raise ValueError(f"mixing labels needs number_of_classes, got {number_of_classes}")

    @tf.autograph.experimental.do_not_convert
    def augment(images, labels, seed):
        if not steps:
            return images, labels
        if mixes and tf.convert_to_tensor(labels).dtype.is_integer:
            labels = tf.one_hot(tf.cast(labels, tf.int32), number_of_classes)
        return engine.augment(steps, images, labels, seed)

    return augment


def mixes_labels(specifications: Sequence[str]) -> bool:
    """Return whether `augmentation_pipeline(specifications)` gives soft labels."""
    return any(augmentation.stage == "mixing" for augmentation, _ in engine.parse(specifications))
