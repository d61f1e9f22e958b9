"""Random augmentations of whole image batches, every image drawing its own parameters.

Each augmentation is a function `(images, seed, magnitudes ...) -> images`: (batch, height, width,
channels), uint8 or float in 0..255, of which shape, dtype and range are kept. `seed` is two
integers; the same seed gives the same pixels, eagerly, in a `tf.function` and in `Dataset.map`.
`probability` is the share of the images that are changed; a magnitude of 0 changes none.

What a function below draws is not yet an image but one small thing for each image:

    geometric  a 3 x 3 matrix from output to input positions, in pixels from the image's centre
    colour     a 4 x 4 matrix from input to output (red, green, blue, 1)
    erasing    a map of the pixels that are lost
    mixing     a map of each pixel's share that comes from another image of the batch

so that a list of augmentations is two products of matrices before any pixel is touched:
`augmentation_pipeline` resamples images once and recolours them once, however long the list.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import numbers
import zlib
from typing import Callable, Sequence, Union

import numpy as np

from backend.runtime import tf

Seed = Union[tf.Tensor, Sequence[int]]

# Name -> public function, in the order of this file; filled by `_augmentation`.
_AUGMENTATIONS = {}


def _augmentation(stage: str, **limits) -> Callable:
    """Make a function that draws for `stage` usable alone, as `images -> images`.

    `limits` gives the smallest and largest value that each magnitude accepts.
    """

    def decorate(draw):
        signature = inspect.signature(draw)

        @tf.autograph.experimental.do_not_convert
        @functools.wraps(draw)
        def alone(*arguments, **keywords):
            call = signature.bind(*arguments, **keywords)
            call.apply_defaults()
            magnitudes = dict(call.arguments)
            images, seed = magnitudes.pop("images"), magnitudes.pop("seed")
            labels = magnitudes.pop("labels", None)
            _check_magnitudes(alone, magnitudes)
            images, labels = _augment([(alone, magnitudes)], images, labels, seed)
            return images if labels is None else (images, labels)

        alone.draw, alone.stage, alone.limits = draw, stage, dict(limits, probability=(0, 1))
        alone.defaults = {key: signature.parameters[key].default for key in alone.limits}
        _AUGMENTATIONS[draw.__name__] = alone
        return alone

    return decorate


def _draw(images, seed, probability, count):
    """Return `chosen`, 1 for images to change and 0 for others, and `count` values in -1..1.

    All are float32 (batch,). The values of an image that is not chosen are 0, and every
    augmentation does nothing at 0.
    """
    uniform = tf.random.stateless_uniform([tf.shape(images)[0], 1 + count], seed)
    chosen = tf.cast(uniform[:, :1] < probability, tf.float32)
    return tf.unstack(tf.concat([chosen, chosen * (2 * uniform[:, 1:] - 1)], axis=1), axis=1)


def _matrices(*terms):
    """Return identity + sum of amount (batch,) * direction (n, n): float32 (batch, n, n)."""
    directions = [np.array(direction, np.float32) for _, direction in terms]
    amounts = [tf.reshape(amount, [-1, 1, 1]) for amount, _ in terms]
    return tf.eye(len(directions[0])) + sum(a * d for a, d in zip(amounts, directions))


def _rotation_matrices(angle, generator):
    """Return the rotations by `angle` (batch,) radians that `generator` begins (Rodrigues)."""
    generator = np.array(generator, np.float32)
    return _matrices((tf.sin(angle), generator), (1 - tf.cos(angle), generator @ generator))


def _shift_matrices(x, y):
    """Return the translations by `x` and `y` (batch,) pixels."""
    return _matrices((x, [[0, 0, 1], [0, 0, 0], [0, 0, 0]]), (y, [[0, 0, 0], [0, 0, 1], [0, 0, 0]]))


@_augmentation("geometric", degrees=(0, 180))
def random_rotation(
    images: tf.Tensor, seed: Seed, degrees: float = 15.0, probability: float = 1.0
) -> tf.Tensor:
    """Rotate about the centre by an angle within +-`degrees`."""
    _, amount = _draw(images, seed, probability, 1)
    return _rotation_matrices(math.radians(degrees) * amount, [[0, -1, 0], [1, 0, 0], [0, 0, 0]])


@_augmentation("geometric", degrees=(0, 40))
def random_shear(
    images: tf.Tensor, seed: Seed, degrees: float = 10.0, probability: float = 1.0
) -> tf.Tensor:
    """Tilt each axis on its own by an angle within +-`degrees`."""
    _, x, y = _draw(images, seed, probability, 2)
    angle = math.radians(degrees)
    return _matrices(
        (tf.tan(angle * x), [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
        (tf.tan(angle * y), [[0, 0, 0], [1, 0, 0], [0, 0, 0]]),
    )


@_augmentation("geometric", fraction=(0, 4))
def random_zoom(
    images: tf.Tensor, seed: Seed, fraction: float = 0.1, probability: float = 1.0
) -> tf.Tensor:
    """Magnify by a factor between 1 / (1 + `fraction`) and 1 + `fraction`, log-uniform."""
    _, amount = _draw(images, seed, probability, 1)
    # Not exp(...) - 1: graphs would replace it by this and differ from eager execution.
    growth = tf.math.expm1(math.log1p(fraction) * amount)
    return _matrices((growth, np.diag([1, 1, 0])))


@_augmentation("geometric", fraction=(0, 1))
def random_translation(
    images: tf.Tensor, seed: Seed, fraction: float = 0.1, probability: float = 1.0
) -> tf.Tensor:
    """Shift along each axis within +-`fraction` of the image's width and height."""
    height, width = images.shape.as_list()[1:3]
    _, x, y = _draw(images, seed, probability, 2)
    return _shift_matrices(fraction * width * x, fraction * height * y)


@_augmentation("geometric", padding=(0, 1000))
def random_crop(
    images: tf.Tensor, seed: Seed, padding: int = 4, probability: float = 1.0
) -> tf.Tensor:
    """Pad each side by `padding` pixels and crop to the old size: shift by whole pixels."""
    _, x, y = _draw(images, seed, probability, 2)
    x, y = (tf.floor((amount + 1) / 2 * (2 * padding + 1)) - padding for amount in (x, y))
    return _shift_matrices(x, y)


@_augmentation("geometric", vertical=(False, True))
def random_flip(
    images: tf.Tensor, seed: Seed, vertical: bool = False, probability: float = 0.5
) -> tf.Tensor:
    """Mirror left to right, or top to bottom instead with `vertical=True`."""
    (chosen,) = _draw(images, seed, probability, 0)
    return _matrices((chosen, np.diag([0, -2, 0] if vertical else [-2, 0, 0])))


@_augmentation("colour", fraction=(0, 1))
def random_contrast(
    images: tf.Tensor, seed: Seed, fraction: float = 0.3, probability: float = 1.0
) -> tf.Tensor:
    """Scale the distance from mid-grey (127.5) by a factor within 1 +- `fraction`."""
    _, amount = _draw(images, seed, probability, 1)
    from_grey = [[1, 0, 0, -127.5], [0, 1, 0, -127.5], [0, 0, 1, -127.5], [0, 0, 0, 0]]
    return _matrices((fraction * amount, from_grey))


@_augmentation("colour", fraction=(0, 1))
def random_brightness(
    images: tf.Tensor, seed: Seed, fraction: float = 0.2, probability: float = 1.0
) -> tf.Tensor:
    """Add a value within +-`fraction` of the whole range, that is +-255 * `fraction`."""
    _, amount = _draw(images, seed, probability, 1)
    lift = [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    return _matrices((255 * fraction * amount, lift))


@_augmentation("colour", fraction=(0, 1))
def random_saturation(
    images: tf.Tensor, seed: Seed, fraction: float = 0.3, probability: float = 1.0
) -> tf.Tensor:
    """Scale the distance from the pixel's own grey (luma, ITU-R BT.601) by 1 +- `fraction`."""
    _, amount = _draw(images, seed, probability, 1)
    luma = [[0.299, 0.587, 0.114, 0]] * 3 + [[0, 0, 0, 1]]
    return _matrices((fraction * amount, np.eye(4) - luma))


@_augmentation("colour", degrees=(0, 180))
def random_hue(
    images: tf.Tensor, seed: Seed, degrees: float = 15.0, probability: float = 1.0
) -> tf.Tensor:
    """Turn the colour circle, about the axis of greys, by an angle within +-`degrees`."""
    _, amount = _draw(images, seed, probability, 1)
    grey_axis = np.array([[0, -1, 1, 0], [1, 0, -1, 0], [-1, 1, 0, 0], [0, 0, 0, 0]])
    return _rotation_matrices(math.radians(degrees) * amount, grey_axis / math.sqrt(3))


def _box(images, x, y, width, height):
    """Return 1 inside a box and 0 outside: float32 (batch, image height, image width, 1).

    `x`, `y` (batch,) in -1..1 place its centre in the image, which cuts off what sticks out.
    """

    def span(length, centre, extent):
        positions = tf.range(length, dtype=tf.float32) + 0.5
        distances = tf.abs(positions - (centre[:, None] + 1) / 2 * length)
        return tf.cast(distances < extent[:, None] / 2, tf.float32)

    rows, columns = images.shape.as_list()[1:3]
    return span(rows, y, height)[:, :, None, None] * span(columns, x, width)[:, None, :, None]


@_augmentation("erasing", size=(0, 1000))
def random_erasing(
    images: tf.Tensor, seed: Seed, size: int = 8, probability: float = 1.0
) -> tf.Tensor:
    """Paint a square of `size` pixels, centred anywhere in the image, with the image's mean.

    Cutout (DeVries & Taylor 2017, arXiv 1708.04552, section 3.2).
    """
    chosen, x, y = _draw(images, seed, probability, 2)
    return _box(images, x, y, size * chosen, size * chosen)


@functools.lru_cache(maxsize=None)
def _beta_quantiles(alpha):
    """Return 4096 equally likely values of Beta(alpha, alpha), ascending, float32."""
    # Only uniform numbers can be drawn from a seed on every runtime: look their quantiles up.
    sample = np.random.RandomState(0).beta(alpha, alpha, size=2**20)
    return np.sort(sample).reshape(4096, -1).mean(axis=1).astype(np.float32)


def _draw_shares(images, seed, alpha, probability, count):
    """Return shares (batch,) of Beta(alpha, alpha), 0 where not chosen, and `count` values."""
    chosen, amount, *values = _draw(images, seed, probability, 1 + count)
    quantiles = tf.constant(_beta_quantiles(alpha))
    return [chosen * tf.gather(quantiles, tf.cast((amount + 1) * 2048, tf.int32))] + values


@_augmentation("mixing", alpha=(0.01, 100))
def mixup(
    images: tf.Tensor, labels: tf.Tensor, seed: Seed, alpha: float = 0.2, probability: float = 1.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Blend each image with its neighbour in the batch by a share of Beta(alpha, alpha).

    `labels`, float (batch, classes), blend likewise; returns (images, labels).
    Zhang et al. 2018, arXiv 1710.09412, section 2.
    """
    (share,) = _draw_shares(images, seed, alpha, probability, 0)
    return tf.reshape(share, [-1, 1, 1, 1])


@_augmentation("mixing", alpha=(0.01, 100))
def cutmix(
    images: tf.Tensor, labels: tf.Tensor, seed: Seed, alpha: float = 1.0, probability: float = 1.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Paste a box of the neighbour in the batch, whose area is a share of Beta(alpha, alpha).

    `labels`, float (batch, classes), blend by the area really pasted; returns (images, labels).
    Yun et al. 2019, arXiv 1905.04899, section 3.1.
    """
    share, x, y = _draw_shares(images, seed, alpha, probability, 2)
    height, width = images.shape.as_list()[1:3]
    return _box(images, x, y, tf.sqrt(share) * width, tf.sqrt(share) * height)


def _augment(steps, images, labels, seed):
    """Apply `steps`, pairs of (public function, magnitudes), to images and labels."""
    images = tf.convert_to_tensor(images)
    _check_images(images)
    drawn = {"geometric": [], "colour": [], "erasing": [], "mixing": []}
    # The CPU's work: DirectML cannot warp, and a GPU may round the matrices' products coarsely.
    with tf.device("CPU:0"):
        seed = tf.cast(seed, tf.int32)
        seed.shape.assert_is_compatible_with([2])
        for function, magnitudes in steps:
            # Two augmentations of one list must not draw the same numbers.
            salt = zlib.crc32(function.__name__.encode()) >> 1
            own_seed = tf.bitwise.bitwise_xor(seed, [0, salt])
            inputs = (images, labels) if function.stage == "mixing" else (images,)
            drawn[function.stage].append(function.draw(*inputs, own_seed, **magnitudes))

        pixels = tf.cast(images, tf.float32)
        if drawn["geometric"]:
            # A position of the output passes backwards through the list.
            pixels = _warp(pixels, functools.reduce(tf.matmul, drawn["geometric"]))
        if drawn["colour"]:
            pixels = _recolour(pixels, functools.reduce(tf.matmul, reversed(drawn["colour"])))
        for holes in drawn["erasing"]:
            mean = tf.reduce_mean(pixels, axis=[1, 2], keepdims=True)
            pixels = pixels * (1 - holes) + mean * holes
        for shares in drawn["mixing"]:
            pixels, labels = _mix(pixels, labels, shares)

        pixels = tf.clip_by_value(pixels, 0.0, 255.0)
        # A cast to integers cuts off; half a level more makes it round.
        pixels = tf.cast(pixels + 0.5 if images.dtype.is_integer else pixels, images.dtype)
    pixels.set_shape(images.shape)
    return pixels, labels


def _check_images(images):
    """Raise ValueError unless `images` are a batch of colour or greyscale images."""
    shape = images.shape
    known = shape.ndims == 4 and None not in shape.as_list()[1:] and shape.as_list()[3] in (1, 3)
    if not known or not (images.dtype == tf.uint8 or images.dtype.is_floating):
        wanted = "uint8 or float images (batch, height, width, 1 or 3 channels)"
        raise ValueError(f"expected {wanted}, got {images.dtype.name} {shape}")


def _warp(pixels, matrices):
    """Resample (batch, height, width, channels) at `matrices` (batch, 3, 3), bilinearly.

    Beyond its edges an image goes on as its own reflection.
    """
    height, width = pixels.shape.as_list()[1:3]
    if not hasattr(tf.raw_ops, "ImageProjectiveTransformV3"):
        return _warp_on_tensorflow_1(pixels, matrices, height, width)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=_between_corners(matrices, height, width),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _warp_on_tensorflow_1(pixels, matrices, height, width):
    """Do the same with an operation that knows no reflection: reflect first, as far as needed."""
    from tensorflow.contrib.image import transform

    edge = np.array([[width], [height]], np.float32) / 2
    corners = np.concatenate([edge * [[-1, -1, 1, 1], [-1, 1, -1, 1]], np.ones([1, 4])])
    reached = tf.abs(tf.matmul(matrices, tf.constant(corners, tf.float32))[:, :2])
    padding = tf.math.ceil(tf.maximum(tf.reduce_max(reached - edge), 0))
    for axis, length in ((1, height), (2, width)):
        positions = tf.cast(tf.range(-padding, length + padding), tf.int32) % (2 * length)
        pixels = tf.gather(pixels, tf.minimum(positions, 2 * length - 1 - positions), axis=axis)
    matrices += padding * np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]], np.float32)
    return transform(pixels, _between_corners(matrices, height, width), "BILINEAR", [height, width])


def _between_corners(matrices, height, width):
    """Move the origin of `matrices` from centre to corner: (batch, 8), as the operations want."""
    x, y = (width - 1) / 2, (height - 1) / 2
    from_corner = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]], np.float32)
    to_corner = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float32)
    return tf.reshape(to_corner @ (matrices @ from_corner), [-1, 9])[:, :8]


def _recolour(pixels, matrices):
    """Map every pixel of (batch, height, width, 1 or 3) by `matrices` (batch, 4, 4)."""
    channels = pixels.shape.as_list()[3]
    linear, offset = matrices[:, :channels, :3], matrices[:, None, :channels, 3]
    if channels == 1:
        # Grey is red = green = blue.
        linear = tf.reduce_sum(linear, axis=2, keepdims=True)
    rows = tf.reshape(pixels, [tf.shape(pixels)[0], -1, channels])  # (batch, pixels, channels)
    return tf.reshape(tf.matmul(rows, linear, transpose_b=True) + offset, tf.shape(pixels))


def _mix(pixels, labels, shares):
    """Give images and labels the next one's `shares`: (batch, 1 or height, 1 or width, 1)."""
    labels = tf.convert_to_tensor(labels)
    if labels.shape.ndims != 2 or not labels.dtype.is_floating:
        wanted = "float labels (batch, classes)"
        raise ValueError(f"mixing needs {wanted}, got {labels.dtype.name} {labels.shape}")
    label_shares = tf.cast(tf.reduce_mean(shares, axis=[1, 2]), labels.dtype)  # (batch, 1)
    return tuple(
        own * (1 - share) + tf.roll(own, 1, axis=0) * share
        for own, share in ((pixels, shares), (labels, label_shares))
    )


def augmentation_pipeline(
    specifications: Sequence[str], number_of_classes: int | None = None
) -> Callable:
    """Return `(images, labels, seed) -> (images, labels)` that does all of `specifications`.

    A specification is an augmentation's name with any of its keywords: "random_flip",
    "cutmix(alpha=1.0, probability=0.5)". Geometric ones act first, then those of colour, each in
    the order of the list, then erasing, then mixing. Labels are int (batch,) and stay so, unless
    the list mixes: then they come back as float32 (batch, number_of_classes) that sum to 1.
    Raises ValueError for a specification that cannot be done, before any image is seen.
    """
    steps = _parse_all(specifications)
    mixes = mixes_labels(specifications)
    if mixes and not number_of_classes:
        raise ValueError(f"mixing labels needs number_of_classes, got {number_of_classes}")

    @tf.autograph.experimental.do_not_convert
    def augment(images, labels, seed):
        if not steps:
            return images, labels
        if mixes and tf.convert_to_tensor(labels).dtype.is_integer:
            labels = tf.one_hot(tf.cast(labels, tf.int32), number_of_classes)
        return _augment(steps, images, labels, seed)

    return augment


def mixes_labels(specifications: Sequence[str]) -> bool:
    """Return whether `augmentation_pipeline(specifications)` gives soft labels."""
    return any(function.stage == "mixing" for function, _ in _parse_all(specifications))


def _parse_all(specifications):
    """Return (public function, magnitudes) of each specification, or raise ValueError."""
    if isinstance(specifications, str):
        raise ValueError(f"expected a list of augmentations, got {specifications!r}")
    steps = [_parse(specification) for specification in specifications]
    names = [function.__name__ for function, _ in steps]
    if len(set(names)) < len(names):
        raise ValueError(f"each augmentation may be listed once, got {', '.join(names)}")
    return steps


def _parse(specification):
    """Return (public function, all its magnitudes) of "name" or "name(keyword=value, ...)"."""
    try:
        tree = ast.parse(specification.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        name = call.func.id
        given = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
    except (AttributeError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        name = None
    if name not in _AUGMENTATIONS:
        names = ", ".join(_AUGMENTATIONS)
        raise ValueError(
            f"augmentation {specification!r}: expected NAME or NAME(keyword=value, ...) of {names}"
        )
    function = _AUGMENTATIONS[name]
    repeated = len(given) < len(call.keywords)
    if call.args or repeated or not set(given) <= set(function.defaults):
        raise ValueError(f"augmentation {specification!r}: expected {_usage(function)}")
    magnitudes = dict(function.defaults, **given)
    _check_magnitudes(function, magnitudes)
    return function, magnitudes


def _usage(function):
    """Return what a public function accepts: "random_crop(padding=0..1000, probability=0..1)"."""
    limits = [f"{key}={low}..{high}" for key, (low, high) in function.limits.items()]
    return f"{function.__name__}({', '.join(limits)})"


def _check_magnitudes(function, magnitudes):
    """Raise ValueError unless each magnitude is of its default's kind and within its limits."""
    for key, value in magnitudes.items():
        kind, (lowest, highest) = type(function.defaults[key]), function.limits[key]
        number = {bool: bool, int: numbers.Integral, float: numbers.Real}[kind]
        # To Python a truth value is a number too.
        fits = isinstance(value, number) and isinstance(value, bool) == (kind is bool)
        if not fits or not lowest <= value <= highest:
            found = f"{function.__name__}({key}={value!r})"
            raise ValueError(f"augmentation {found!r}: expected {_usage(function)}")
