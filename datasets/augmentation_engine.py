"""What augmentations are made of: random numbers, matrices, and single passes over the pixels.

An augmentation in data_augmentations.py draws one small tensor for each image of a batch. Its
decorator says what that tensor is, and so when and how it acts on the pixels:

    geometric  Matrices (batch, 3, 3): from output to input positions (x, y, 1), in pixels from the
               image's centre. A list of augmentations is multiplied and images resampled once.
    colour     Matrices (batch, 4, 4): from input to output (red, green, blue, 1), 0..255. A list
               is multiplied and images recoloured once.
    erasing    Masks (batch, height, width, 1): 1 where a pixel is lost, 0 elsewhere.
    mixing     Shares (batch, 1 or height, 1 or width, 1): of each pixel, what comes from the next
               image of the batch.

The decorator also adds the argument `probability`, checks magnitudes against their limits, and
makes the augmentation a function of images that can be called alone.
"""

from __future__ import annotations

import ast
import functools
import inspect
import numbers
import zlib
from typing import Any, Callable, NamedTuple, Sequence, Union

import numpy as np

from backend.runtime import tf

Seed = Union[tf.Tensor, Sequence[int]]
Matrices = Masks = Shares = tf.Tensor

# ---- Drawing ----


class Draw:
    """The random numbers of one augmentation for one batch: a function of its seed.

    batch (a scalar tensor), height and width tell the size of the images.
    """

    def __init__(self, images: tf.Tensor, seed: tf.Tensor):
        self.batch = tf.shape(images)[0]
        self.height, self.width = images.shape.as_list()[1:3]
        self._seed, self._calls, self._lots = seed, 0, None

    def uniform(self) -> tf.Tensor:
        """Return a number in -1..1 for each image: float32 (batch,)."""
        return self.uniforms(1)[0]

    def uniforms(self, count: int) -> list[tf.Tensor]:
        """Return so many independent numbers in -1..1 for each image: each float32 (batch,)."""
        # Every call draws other numbers.
        seed = tf.bitwise.bitwise_xor(self._seed, [self._calls, 0]) if self._calls else self._seed
        self._calls += 1
        numbers_0_to_1 = tf.random.stateless_uniform([self.batch, 1 + count], seed)
        if self._lots is None:
            self._lots = numbers_0_to_1[:, 0]
        return tf.unstack(2 * numbers_0_to_1[:, 1:] - 1, num=count, axis=1)

    def chosen(self, probability: float) -> tf.Tensor:
        """Return which images are changed: bool (batch,)."""
        if self._lots is None:
            self.uniforms(0)
        return self._lots < probability


def beta(uniform: tf.Tensor, alpha: float) -> tf.Tensor:
    """Return numbers of Beta(alpha, alpha), float32 (batch,), for uniform ones in -1..1."""
    quantiles = tf.constant(_beta_quantiles(alpha))
    return tf.gather(quantiles, tf.cast((uniform + 1) * 2048, tf.int32))


@functools.lru_cache(maxsize=None)
def _beta_quantiles(alpha):
    """Return 4096 equally likely values of Beta(alpha, alpha), ascending, float32."""
    # Only uniform numbers can be drawn from a seed on every runtime.
    sample = np.random.RandomState(0).beta(alpha, alpha, size=2**20)
    return np.sort(sample).reshape(4096, -1).mean(axis=1).astype(np.float32)


def identity_plus(*terms: tuple[tf.Tensor, Any]) -> Matrices:
    """Return identity + the sum of amount (batch,) * direction (n, n): float32 (batch, n, n)."""
    directions = [np.array(direction, np.float32) for _, direction in terms]
    amounts = [tf.reshape(amount, [-1, 1, 1]) for amount, _ in terms]
    return tf.eye(len(directions[0])) + sum(a * d for a, d in zip(amounts, directions))


def rotation(angle: tf.Tensor, generator=((0, -1, 0), (1, 0, 0), (0, 0, 0))) -> Matrices:
    """Return rotations by angle (batch,) radians in the plane of the generator (Rodrigues)."""
    generator = np.array(generator, np.float32)
    return identity_plus((tf.sin(angle), generator), (1 - tf.cos(angle), generator @ generator))


def translation(x: tf.Tensor, y: tf.Tensor) -> Matrices:
    """Return translations by x and y (batch,) pixels."""
    return identity_plus(
        (x, [[0, 0, 1], [0, 0, 0], [0, 0, 0]]), (y, [[0, 0, 0], [0, 0, 1], [0, 0, 0]])
    )


def boxes(draw: Draw, x: tf.Tensor, y: tf.Tensor, width, height) -> Masks:
    """Return 1 inside a box and 0 outside: float32 (batch, image height, image width, 1).

    x, y (batch,) in -1..1 place its centre in the image, which cuts off what sticks out; width and
    height, (batch,) or numbers, are in pixels.
    """

    def span(length, centre, extent):
        positions = tf.range(length, dtype=tf.float32) + 0.5
        distances = tf.abs(positions - (centre[:, None] + 1) / 2 * length)
        return tf.cast(distances < tf.reshape(extent, [-1, 1]) / 2, tf.float32)

    rows, columns = span(draw.height, y, height), span(draw.width, x, width)
    return rows[:, :, None, None] * columns[:, None, :, None]


# ---- Declaring augmentations ----


class Augmentation(NamedTuple):
    """An entry of AUGMENTATIONS: draw(Draw, magnitudes ...) gives the tensor of its stage.

    defaults and limits, (lowest, highest), are those of the magnitudes and of probability.
    """

    name: str
    stage: str
    draw: Callable[..., tf.Tensor]
    defaults: dict[str, Any]
    limits: dict[str, tuple]

    @property
    def usage(self) -> str:
        """What it accepts: "random_crop(padding=0..1000, probability=0..1)"."""
        limits = [f"{key}={low}..{high}" for key, (low, high) in self.limits.items()]
        return f"{self.name}({', '.join(limits)})"

    def check(self, magnitudes: dict[str, Any]) -> None:
        """Raise ValueError unless each is of its default's kind and within its limits."""
        for key, value in magnitudes.items():
            kind, (lowest, highest) = type(self.defaults[key]), self.limits[key]
            number = {bool: bool, int: numbers.Integral, float: numbers.Real}[kind]
            # In Python a bool is a number too.
            fits = isinstance(value, number) and isinstance(value, bool) == (kind is bool)
            if not fits or not lowest <= value <= highest:
                found = f"{self.name}({key}={value!r})"
                raise ValueError(f"augmentation {found!r}: expected {self.usage}")

    def draw_for_chosen(self, images: tf.Tensor, seed: tf.Tensor, magnitudes: dict) -> tf.Tensor:
        """Draw, and leave the images alone that `probability` does not choose."""
        magnitudes = dict(magnitudes)
        probability = magnitudes.pop("probability")
        # Two augmentations of one list must not draw the same numbers.
        salt = zlib.crc32(self.name.encode()) >> 1
        draw = Draw(images, tf.bitwise.bitwise_xor(seed, [0, salt]))
        drawn = self.draw(draw, **magnitudes)
        chosen = draw.chosen(probability)
        if self.stage in ("geometric", "colour"):
            unchanged = tf.eye(drawn.shape.as_list()[-1])
            return tf.compat.v2.where(chosen[:, None, None], drawn, unchanged)
        return drawn * tf.cast(chosen, tf.float32)[:, None, None, None]


# Name -> augmentation, in the order of data_augmentations.py.
AUGMENTATIONS: dict[str, Augmentation] = {}


def _augmentation(stage: str, probability: float = 1.0, **limits) -> Callable:
    """Return the decorator that makes a function of Draw and magnitudes an augmentation.

    probability is the default of that argument; limits gives (lowest, highest) of each magnitude.
    """

    def decorate(draw):
        parameters = list(inspect.signature(draw).parameters.values())[1:]
        defaults = {parameter.name: parameter.default for parameter in parameters}
        augmentation = Augmentation(
            draw.__name__,
            stage,
            draw,
            dict(defaults, probability=probability),
            dict(limits, probability=(0, 1)),
        )
        AUGMENTATIONS[augmentation.name] = augmentation
        return _callable_alone(augmentation, parameters)

    return decorate


geometric = functools.partial(_augmentation, "geometric")
colour = functools.partial(_augmentation, "colour")
erasing = functools.partial(_augmentation, "erasing")
mixing = functools.partial(_augmentation, "mixing")


def _callable_alone(augmentation: Augmentation, parameters: list[inspect.Parameter]) -> Callable:
    """Return the function (images, [labels,] seed, magnitudes ..., probability) -> the same."""

    def parameter(name, annotation, default=inspect.Parameter.empty):
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Parameter(name, kind, annotation=annotation, default=default)

    mixes = augmentation.stage == "mixing"
    inputs = ["images", "labels"] if mixes else ["images"]
    signature = inspect.Signature(
        [parameter(name, "tf.Tensor") for name in inputs]
        + [parameter("seed", "Seed")]
        + parameters
        + [parameter("probability", "float", augmentation.defaults["probability"])],
        return_annotation="tuple[tf.Tensor, tf.Tensor]" if mixes else "tf.Tensor",
    )

    @tf.autograph.experimental.do_not_convert
    @functools.wraps(augmentation.draw)
    def alone(*arguments, **keywords):
        call = signature.bind(*arguments, **keywords)
        call.apply_defaults()
        magnitudes = dict(call.arguments)
        images, seed = magnitudes.pop("images"), magnitudes.pop("seed")
        labels = magnitudes.pop("labels", None)
        augmentation.check(magnitudes)
        images, labels = augment([(augmentation, magnitudes)], images, labels, seed)
        return (images, labels) if mixes else images

    alone.__signature__ = signature
    alone.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    alone.__annotations__["return"] = signature.return_annotation
    return alone


def parse(specifications: Sequence[str]) -> list[tuple[Augmentation, dict[str, Any]]]:
    """Return (augmentation, all its magnitudes) of each "name" or "name(keyword=value, ...)".

    Raises ValueError for one that does not exist, is repeated or has other magnitudes.
    """
    if isinstance(specifications, str):
        raise ValueError(f"expected a list of augmentations, got {specifications!r}")
    steps = [_parse(specification) for specification in specifications]
    names = [augmentation.name for augmentation, _ in steps]
    if len(set(names)) < len(names):
        raise ValueError(f"each augmentation may be listed once, got {', '.join(names)}")
    return steps


def _parse(specification):
    try:
        tree = ast.parse(specification.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        name = call.func.id
        given = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
    except (AttributeError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        name = None
    if name not in AUGMENTATIONS:
        names = ", ".join(AUGMENTATIONS)
        raise ValueError(
            f"augmentation {specification!r}: expected NAME or NAME(keyword=value, ...) of {names}"
        )
    augmentation = AUGMENTATIONS[name]
    repeated = len(given) < len(call.keywords)
    if call.args or repeated or not set(given) <= set(augmentation.defaults):
        raise ValueError(f"augmentation {specification!r}: expected {augmentation.usage}")
    magnitudes = dict(augmentation.defaults, **given)
    augmentation.check(magnitudes)
    return augmentation, magnitudes


# ---- Acting on pixels ----


def augment(
    steps: Sequence[tuple[Augmentation, dict[str, Any]]], images, labels, seed: Seed
) -> tuple[tf.Tensor, Any]:
    """Apply parsed augmentations to images (batch, height, width, 1 or 3), uint8 or float 0..255.

    Mixing needs float labels (batch, classes); without it they are returned as they are.
    """
    images = tf.convert_to_tensor(images)
    _check_images(images)
    drawn = {"geometric": [], "colour": [], "erasing": [], "mixing": []}
    # On the CPU: DirectML cannot warp, and a GPU may round the products of matrices coarsely.
    with tf.device("CPU:0"):
        seed = tf.cast(seed, tf.int32)
        seed.shape.assert_is_compatible_with([2])
        for augmentation, magnitudes in steps:
            drawn[augmentation.stage].append(augmentation.draw_for_chosen(images, seed, magnitudes))

        pixels = tf.cast(images, tf.float32)
        if drawn["geometric"]:
            # A position of the output passes backwards through the list.
            pixels = warp(pixels, functools.reduce(tf.matmul, drawn["geometric"]))
        if drawn["colour"]:
            pixels = recolour(pixels, functools.reduce(tf.matmul, reversed(drawn["colour"])))
        for holes in drawn["erasing"]:
            mean = tf.reduce_mean(pixels, axis=[1, 2], keepdims=True)
            pixels = pixels * (1 - holes) + mean * holes
        if drawn["mixing"]:
            pixels, labels = mix(pixels, labels, one_of(drawn["mixing"], seed))

        pixels = tf.clip_by_value(pixels, 0.0, 255.0)
        # A cast to integers truncates; half a level more makes it round.
        pixels = tf.cast(pixels + 0.5 if images.dtype.is_integer else pixels, images.dtype)
    pixels.set_shape(images.shape)
    return pixels, labels


def one_of(drawn: Sequence[Shares], seed: tf.Tensor) -> Shares:
    """Return what one of several augmentations that mix has drawn: each is as likely for a batch.

    Mixed twice, an image would hold three. Recipes with mixup and cutmix, such as that of DeiT
    (Touvron et al. 2020, arXiv 2012.12877, section 6), choose one of them too.
    """
    if len(drawn) == 1:
        return drawn[0]
    # No augmentation draws from the seed itself.
    lot = tf.random.stateless_uniform([], seed)
    chosen = tf.cast(lot * len(drawn), tf.int32)
    return sum(
        shares * tf.cast(tf.equal(chosen, number), tf.float32)
        for number, shares in enumerate(drawn)
    )


def _check_images(images):
    """Raise ValueError unless `images` are a batch of colour or greyscale images."""
    shape = images.shape
    known = shape.ndims == 4 and None not in shape.as_list()[1:] and shape.as_list()[3] in (1, 3)
    if not known or not (images.dtype == tf.uint8 or images.dtype.is_floating):
        wanted = "uint8 or float images (batch, height, width, 1 or 3 channels)"
        raise ValueError(f"expected {wanted}, got {images.dtype.name} {shape}")


def warp(pixels: tf.Tensor, matrices: Matrices) -> tf.Tensor:
    """Resample float32 (batch, height, width, channels) at matrices (batch, 3, 3), bilinearly.

    Beyond its edges an image continues as its own reflection.
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
    """Warp with an operation that cannot reflect: reflect first, as far as needed."""
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
    """Move the origin of matrices from centre to corner: (batch, 8), as TensorFlow wants them."""
    x, y = (width - 1) / 2, (height - 1) / 2
    from_corner = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]], np.float32)
    to_corner = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float32)
    return tf.reshape(to_corner @ (matrices @ from_corner), [-1, 9])[:, :8]


def recolour(pixels: tf.Tensor, matrices: Matrices) -> tf.Tensor:
    """Map every pixel of float32 (batch, height, width, 1 or 3) by matrices (batch, 4, 4)."""
    channels = pixels.shape.as_list()[3]
    linear, offset = matrices[:, :channels, :3], matrices[:, None, :channels, 3]
    if channels == 1:
        # Grey is red = green = blue.
        linear = tf.reduce_sum(linear, axis=2, keepdims=True)
    rows = tf.reshape(pixels, [tf.shape(pixels)[0], -1, channels])  # (batch, pixels, channels)
    return tf.reshape(tf.matmul(rows, linear, transpose_b=True) + offset, tf.shape(pixels))


def mix(pixels: tf.Tensor, labels: tf.Tensor, shares: Shares) -> tuple[tf.Tensor, tf.Tensor]:
    """Give each image and its label, float (batch, classes), the next one's share of the pixels."""
    labels = tf.convert_to_tensor(labels)
    if labels.shape.ndims != 2 or not labels.dtype.is_floating:
        wanted = "float labels (batch, classes)"
        raise ValueError(f"mixing needs {wanted}, got {labels.dtype.name} {labels.shape}")
    label_shares = tf.cast(tf.reduce_mean(shares, axis=[1, 2]), labels.dtype)  # (batch, 1)
    return tuple(
        own * (1 - share) + tf.roll(own, 1, axis=0) * share
        for own, share in ((pixels, shares), (labels, label_shares))
    )
