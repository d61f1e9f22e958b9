"""How a batch is cut into passes on the device that trains or predicts.

A GPU takes a batch in one pass. A CPU takes it in small ones, a core each: activations that stay in
the cache, and operations that do not wait for each other, make it nearly twice as fast.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from backend.runtime import cpu_cores, has_gpu, share_threads

# About so many images per gradient pass on a CPU: few enough that activations stay in its cache.
CPU_MICRO_BATCH_SIZE = 32
# Mean and deviation of fewer images are so noisy that batch normalisation costs accuracy: ResNet-8
# in batches of 8 has 44.3 % whole, 42.9 % in pieces of 4 and 35.8 % in pieces of 2.
FEWEST_NORMALISED = 32
# Each pass is traced by itself: more would make start-up slow on a CPU of many cores.
MOST_PASSES_AT_ONCE = 4


class GradientPasses(NamedTuple):
    """Images in each pass, and how many passes run side by side."""

    images: int
    at_once: int


def gradient_passes(batch_size: int, micro_batch_size: int, fewest: int = 1) -> GradientPasses:
    """Return the passes that a batch is cut into on this device.

    micro_batch_size is the images of each pass; 0 = all of the batch, -1 = what suits the device,
    but at least `fewest` images or, of a smaller batch, all. Raises ValueError for one that does
    not divide batch_size.
    """
    images = micro_batch_size
    if images == -1 and not has_gpu():
        return _passes_on_cores(batch_size, fewest)
    images = images if images > 0 else batch_size
    if batch_size % images:
        raise ValueError(f"MICRO_BATCH_SIZE is {images}: it must divide BATCH_SIZE {batch_size}.")
    return GradientPasses(images, most_passes_at_once(batch_size // images))


def most_passes_at_once(parts: int) -> int:
    """Return how many of so many equal parts run at a time: one on a GPU, at most one per core."""
    most = 1 if has_gpu() else min(cpu_cores(), MOST_PASSES_AT_ONCE)
    return max(number for number in range(1, most + 1) if parts % number == 0)


def _passes_on_cores(batch_size: int, fewest: int) -> GradientPasses:
    """Return passes of about CPU_MICRO_BATCH_SIZE images that keep as many cores busy as can be."""
    fewest = min(fewest, batch_size)
    possible = [images for images in range(fewest, batch_size + 1) if batch_size % images == 0]
    at_once = max(most_passes_at_once(batch_size // images) for images in possible)
    share = batch_size // at_once
    sizes = [images for images in possible if share % images == 0]
    # Twice as large is as far off as half as large: 509 images, a prime number, stay together.
    nearest = min(sizes, key=lambda images: abs(math.log(images / CPU_MICRO_BATCH_SIZE)))
    return GradientPasses(nearest, at_once)


def share_cores(batch_size: int, micro_batch_size: int) -> None:
    """Give each gradient pass one core where there are as many, before TensorFlow starts.

    Operations that share all cores, one after the other, waste more time on waiting.
    """
    # (The model, which may want larger passes, is not built yet.)
    at_once = gradient_passes(batch_size, micro_batch_size).at_once
    if at_once > 1 and at_once >= cpu_cores():
        share_threads(1)
