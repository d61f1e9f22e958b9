"""The synthetic data sets: small pictures of ten shapes in ten colours, drawn from a seed.

Tests, demonstrations and first runs without internet train on them. Position, size, rotation,
colour, background gradient and noise are random, so that a model has to learn the shape.
"""

from __future__ import annotations

import math

import numpy as np

from datasets.random_streams import random_stream


def _circle(x, y):
    return np.hypot(x, y) - 0.85


def _ring(x, y):
    return np.abs(np.hypot(x, y) - 0.72) - 0.22


def _square(x, y):
    return np.maximum(np.abs(x), np.abs(y)) - 0.72


def _triangle(x, y):
    return np.maximum(-y, 0.866 * np.abs(x) + 0.5 * y) - 0.5


def _cross(x, y):
    longer, shorter = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(longer - 0.95, shorter - 0.28)


def _star(x, y):
    # A point of a pentagram lies inside at least four of its five edges.
    angles = [math.pi * (0.5 + 0.4 * edge) for edge in range(5)]
    edges = np.stack([math.cos(angle) * x - math.sin(angle) * y for angle in angles])
    return np.partition(edges, 3, axis=0)[3] - 0.32


def _crescent(x, y):
    return np.maximum(np.hypot(x, y) - 0.95, 0.8 - np.hypot(x - 0.5, y))


def _heart(x, y):
    x = np.abs(x)
    diamond = 0.707 * (x + np.abs(y + 0.2)) - 0.5
    return np.minimum(diamond, np.hypot(x - 0.354, y - 0.154) - 0.5)


def _stripes(x, y):
    bars = np.abs(np.mod(y / 0.56 + 0.5, 1.0) - 0.5) * 0.56 - 0.14
    return np.maximum(bars, np.maximum(np.abs(x), np.abs(y)) - 0.75)


def _dots(x, y):
    return np.hypot(np.abs(x) - 0.55, y) - 0.4


# Each function gives the distance to the outline (negative inside) of a shape of radius 1.
SHAPES = (_circle, _ring, _square, _triangle, _cross, _star, _crescent, _heart, _stripes, _dots)
SHAPE_NAMES = tuple(shape.__name__[1:] for shape in SHAPES)

COLOURS = {
    "red": (225, 45, 45),
    "orange": (245, 145, 30),
    "yellow": (250, 230, 60),
    "green": (45, 180, 60),
    "cyan": (60, 215, 225),
    "blue": (60, 95, 245),
    "purple": (150, 65, 215),
    "pink": (250, 140, 195),
    "white": (240, 240, 240),
    "brown": (150, 100, 60),
}

COLOUR_AND_SHAPE_NAMES = tuple(f"{colour} {shape}" for shape in SHAPE_NAMES for colour in COLOURS)

TRAIN_COUNT = 10000
TEST_COUNT = 2000
# The largest rotation of a shape to either side, and its radius as a share of the image's side.
MAX_ROTATION_DEGREES = 15.0
RADIUS_RANGE = (0.3, 0.45)


def draw_images(
    shapes: np.ndarray, colours: np.ndarray, image_size: int, random: np.random.RandomState
) -> np.ndarray:
    """Draw one shape per image, anti-aliased, on a dark gradient with noise.

    shapes and colours: int (count,), indices into SHAPES and COLOURS.
    Returns uint8 (count, image_size, image_size, 3).
    """
    count = len(shapes)

    def uniform(low, high, *shape):
        return random.uniform(low, high, (count,) + shape)

    def unit_vector(angle):
        # Only float64 gives the same image in every version of NumPy.
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    radius = uniform(*RADIUS_RANGE, 1, 1).astype(np.float32) * image_size
    turn = np.deg2rad(MAX_ROTATION_DEGREES)
    cosine, sine = unit_vector(uniform(-turn, turn, 1, 1))
    # The whole shape stays inside the image.
    centre = uniform(-1, 1, 2, 1, 1).astype(np.float32) * (image_size / 2 - radius)[:, None]
    pixel = np.arange(image_size, dtype=np.float32) - (image_size - 1) / 2
    across = (pixel[None, None, :] - centre[:, 0]) / radius  # (count, 1, width)
    up = (centre[:, 1] - pixel[None, :, None]) / radius  # (count, height, 1)
    x = cosine * across + sine * up  # (count, height, width)
    y = cosine * up - sine * across

    distance = np.empty_like(x)
    for index, shape in enumerate(SHAPES):
        chosen = shapes == index
        distance[chosen] = shape(x[chosen], y[chosen])
    coverage = np.clip(0.5 - distance * radius, 0, 1)[..., None]

    start, end = uniform(0, 90, 2, 1, 1, 3).astype(np.float32).swapaxes(0, 1)
    cosine, sine = unit_vector(uniform(0, 2 * np.pi, 1, 1))
    gradient = 0.5 + (cosine * pixel + sine * pixel[:, None]) / (1.5 * image_size)
    image = start + (end - start) * gradient[..., None]
    inks = np.array(list(COLOURS.values()), np.float32)[colours]
    inks += uniform(-15, 15, 3).astype(np.float32)
    image += coverage * (inks[:, None, None] - image)
    image += random.randint(-12, 13, image.shape, dtype=np.int8)
    return np.clip(image, 0, 255).astype(np.uint8)


def draw_dataset(
    seed: int, image_shape: tuple[int, int, int] = (32, 32, 3), label_colours: bool = False
) -> dict[str, np.ndarray]:
    """Draw a balanced data set: x_train, y_train, x_test, y_test.

    Images are uint8 (count,) + image_shape, squares of side height, grey for one channel. Labels,
    int32 (count,), are the shape, or with label_colours shape * 10 + colour. The test images do not
    depend on the seed.
    """
    arrays = {}
    for part, count, part_seed in (("train", TRAIN_COUNT, seed), ("test", TEST_COUNT, 0)):
        random = random_stream(part_seed, f"synthetic {part}")
        # All shapes in all colours, equally often, also where colour is not part of the label.
        kinds = random.permutation(np.arange(count) % (len(SHAPES) * len(COLOURS)))
        shapes, colours = np.divmod(kinds, len(COLOURS))
        images = np.empty((count,) + tuple(image_shape), np.uint8)
        # In portions, because the drawing works on float images.
        for start in range(0, count, 1000):
            portion = slice(start, start + 1000)
            drawn = draw_images(shapes[portion], colours[portion], image_shape[0], random)
            is_colour = image_shape[2] == 3
            images[portion] = drawn if is_colour else drawn.mean(axis=-1, keepdims=True)
        arrays["x_" + part] = images
        arrays["y_" + part] = (kinds if label_colours else shapes).astype(np.int32)
    return arrays
