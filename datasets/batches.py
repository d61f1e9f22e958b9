"""The batches of a training: raw uint8 -> shuffle -> batch -> augment the batch -> prefetch.

Every batch is a function of (seed, epoch, step) alone, so that a run can be continued anywhere.
"""

from __future__ import annotations

import functools
from typing import Callable

import numpy as np

from backend.runtime import tf
from datasets.checks import check_seed
from datasets.random_streams import random_stream

AUTOTUNE = tf.data.experimental.AUTOTUNE


def training_batches(
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    augment: Callable,
    seed: int,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    indices: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Return the batches of all epochs from (first_epoch, first_step) on, each epoch shuffled anew.

    images: uint8 (count, height, width, channels), labels: int (count,).
    indices: int, the images to train on, which are gathered batch by batch; None is all.
    augment: (images, labels, seed) -> (images, labels) of a whole batch, in a graph; its seed is
    two int32 numbers drawn from (seed, epoch, step).
    The last, incomplete batch of an epoch is left out. Raises ValueError when there is no other.
    """
    if batch_size < 1:
        raise ValueError(f"BATCH_SIZE is {batch_size}: it must be at least 1.")
    check_seed(seed)
    if indices is None:
        indices = np.arange(len(images))
    if batch_size > len(indices):
        raise ValueError(
            f"BATCH_SIZE {batch_size} is larger than the {len(indices)} training images."
        )
    steps = len(indices) // batch_size

    @functools.lru_cache(maxsize=2)
    def order(epoch):
        return random_stream(seed, "order", epoch).permutation(indices)

    def read(number):
        epoch, step = divmod(int(number), steps)
        chosen = order(epoch)[step * batch_size : (step + 1) * batch_size]
        random = random_stream(seed, "augmentation", epoch, step)
        batch_seed = random.randint(2**31 - 1, size=2, dtype=np.int32)
        return images[chosen], labels[chosen].astype(np.int32), batch_seed

    @tf.autograph.experimental.do_not_convert
    def batch(number):
        batch_images, batch_labels, batch_seed = tf.numpy_function(
            read, [number], [tf.uint8, tf.int32, tf.int32]
        )
        batch_images.set_shape((batch_size,) + images.shape[1:])
        batch_labels.set_shape((batch_size,))
        batch_seed.set_shape((2,))
        return augment(batch_images, batch_labels, batch_seed)

    numbers = tf.data.Dataset.range(first_epoch * steps + first_step, epochs * steps)
    return numbers.map(batch, num_parallel_calls=AUTOTUNE).prefetch(2)
