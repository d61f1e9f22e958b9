"""Images per second of the default augmentations: whole batches, per-image `map`, per-sample code.

    python -m benchmarks.input_pipeline [--json FILE]

All do what AUGMENTATIONS of train_cifar10.py says, shuffle and batch, and train nothing:

    whole batches          this project's pipeline: one warp and one colour matrix for each image
    per-image map, merged  the same, called for one image at a time by Dataset.map
    per-image map          one transformation after the other, for one image at a time
    per-image tf.image     the same as one would write it with tf.image, warps only where needed
    Pillow                 per-sample Python, as torchvision's transforms are; one core

Images per second and core come from the processor time used, so a busy machine disturbs them less.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Callable, Iterator

import numpy as np
from PIL import Image, ImageEnhance

import train_cifar10
from backend.runtime import runtime_name, tf
from benchmarks import timing
from data_augmentations import augmentation_pipeline
from datasets.batches import AUTOTUNE, training_batches
from storage import files

BATCH_SIZE = 512


def whole_batches(images: np.ndarray, labels: np.ndarray) -> Iterator:
    """Return the batches that a training gets."""
    augment = augmentation_pipeline(train_cifar10.AUGMENTATIONS)
    return iter(training_batches(images, labels, BATCH_SIZE, augment, 0, 10**6))


def one_by_one(augmenters) -> Callable:
    """Return what puts one image, as a batch of one, through every augmenter."""

    def augment(number, pixels, label):
        seed = tf.cast(tf.stack([number, number]), tf.int32)
        pixels, label = pixels[None], label[None]
        for augmenter in augmenters:
            pixels, label = augmenter(pixels, label, seed)
        return pixels[0], label[0]

    return augment


def tf_image_sample(_, pixels, label):
    """Augment one image as one would with tf.image."""

    def between(low, high):
        return tf.random.uniform([], low, high)

    def warped(pixels, a, b, d, e):
        # About the centre: what the matrix moves it by is taken back.
        c, f = width / 2 * (1 - a - b), height / 2 * (1 - d - e)
        matrix = tf.stack([a, b, c, d, e, f, 0.0, 0.0])
        if not hasattr(tf.raw_ops, "ImageProjectiveTransformV3"):
            from tensorflow.contrib.image import transform

            return transform(pixels, matrix, "BILINEAR")
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels[None],
            transforms=matrix[None],
            output_shape=[height, width],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="REFLECT",
        )[0]

    height, width, channels = pixels.shape.as_list()
    pixels = tf.image.random_flip_left_right(pixels)
    pixels = tf.pad(pixels, [[4, 4], [4, 4], [0, 0]], "SYMMETRIC")
    pixels = tf.cast(tf.image.random_crop(pixels, [height, width, channels]), tf.float32) / 255
    angle = between(-10.0, 10.0) * math.pi / 180
    pixels = warped(pixels, tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))
    pixels = warped(pixels, 1.0, tf.tan(between(-0.17, 0.17)), tf.tan(between(-0.17, 0.17)), 1.0)
    zoom = 1.1 ** between(-1.0, 1.0)
    pixels = warped(pixels, zoom, 0.0, 0.0, zoom)
    pixels = tf.image.random_contrast(pixels, 0.7, 1.3)
    pixels = tf.clip_by_value(tf.image.random_brightness(pixels, 0.2), 0.0, 1.0)
    pixels = tf.image.random_hue(tf.image.random_saturation(pixels, 0.7, 1.3), 15 / 360)
    return tf.cast(tf.clip_by_value(pixels, 0.0, 1.0) * 255 + 0.5, tf.uint8), label


def image_by_image(images: np.ndarray, labels: np.ndarray, augment: Callable) -> Iterator:
    """Return batches of images that went through `augment` one by one."""
    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images)).repeat()
    numbers = tf.data.Dataset.range(10**9)
    data = tf.data.Dataset.zip((numbers, data)).map(
        lambda number, image: augment(number, *image), num_parallel_calls=AUTOTUNE
    )
    return iter(data.batch(BATCH_SIZE, drop_remainder=True).prefetch(2))


def pillow_sample(pixels: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Augment one image as a list of torchvision transforms would."""
    image = Image.fromarray(pixels)
    width, height = image.size
    if random.rand() < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    padded = Image.fromarray(np.pad(np.asarray(image), ((4, 4), (4, 4), (0, 0)), mode="symmetric"))
    x, y = random.randint(0, 9, 2)
    image = padded.crop((x, y, x + width, y + height))
    image = image.rotate(random.uniform(-10, 10), resample=Image.BILINEAR)
    shear_x, shear_y = np.tan(np.radians(random.uniform(-10, 10, 2)))
    zoom = 1.1 ** random.uniform(-1, 1)
    for matrix in ((1, shear_x, shear_y, 1), (zoom, 0, 0, zoom)):
        a, b, d, e = matrix
        # About the centre: what the matrix moves it by is taken back.
        c, f = width / 2 * (1 - a - b), height / 2 * (1 - d - e)
        image = image.transform(image.size, Image.AFFINE, (a, b, c, d, e, f), Image.BILINEAR)
    image = ImageEnhance.Contrast(image).enhance(random.uniform(0.7, 1.3))
    image = ImageEnhance.Brightness(image).enhance(random.uniform(0.8, 1.2))
    image = ImageEnhance.Color(image).enhance(random.uniform(0.7, 1.3))
    hue, saturation, value = image.convert("HSV").split()
    shift = int(random.uniform(-15, 15) / 360 * 256)
    hue = Image.fromarray((np.asarray(hue).astype(np.int16) + shift).astype(np.uint8))
    return np.asarray(Image.merge("HSV", (hue, saturation, value)).convert("RGB"))


def pillow_batches(images: np.ndarray, labels: np.ndarray) -> Iterator:
    """Return batches of images that per-sample Python code augmented."""
    random = np.random.RandomState(0)
    while True:
        chosen = random.randint(0, len(images), BATCH_SIZE)
        yield np.stack([pillow_sample(images[i], random) for i in chosen]), labels[chosen]


def measured(batches: Iterator, seconds: float) -> dict[str, float]:
    """Return images per second, and per second of processor time, over about so many seconds."""
    for _ in range(4):
        next(batches)
    images, wall, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        next(batches)
        images += BATCH_SIZE
    wall, used = time.perf_counter() - wall, time.process_time() - used
    return {"per_second": images / wall, "per_core": images / used}


def main(argv=None) -> None:
    """Measure, print a table and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each pipeline")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn")
    parser.add_argument("--json", help="file to write the figures to")
    arguments = parser.parse_args(argv)
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (10000, 32, 32, 3)).astype(np.uint8)
    labels = random.randint(0, 10, 10000).astype(np.int32)
    names = train_cifar10.AUGMENTATIONS
    pipelines = {
        "whole batches": lambda: whole_batches(images, labels),
        "per-image map, merged": lambda: image_by_image(
            images, labels, one_by_one([augmentation_pipeline(names)])
        ),
        "per-image map": lambda: image_by_image(
            images, labels, one_by_one([augmentation_pipeline([name]) for name in names])
        ),
        "per-image tf.image": lambda: image_by_image(images, labels, tf_image_sample),
        "Pillow": lambda: pillow_batches(images, labels),
    }
    rounds = {name: [] for name in pipelines}
    for _ in range(arguments.rounds):
        for name, start in pipelines.items():
            # Started anew for each turn: a pipeline works ahead, also while others are measured.
            rounds[name].append(measured(start(), arguments.seconds))
    figures = dict(timing.machine(), runtime=runtime_name(), rows={})
    print("{runtime}; {processor}, {cores} cores, load {load_before}".format(**figures))
    print("| pipeline | images/s | images/s and core | whole batches by it, per core |")
    print("|---|---|---|---|")
    for name, values in rounds.items():
        row = {key: float(np.median([v[key] for v in values])) for key in values[0]}
        row["ratio"] = float(
            np.median(
                [a["per_core"] / b["per_core"] for a, b in zip(rounds["whole batches"], values)]
            )
        )
        figures["rows"][name] = row
        print("| {} | {per_second:.0f} | {per_core:.0f} | {ratio:.1f} x |".format(name, **row))
    if arguments.json:
        files.write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
