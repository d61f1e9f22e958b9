"""Which images are for training, validation and test: stratified, a function of the seed."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from datasets.checks import check_seed
from datasets.random_streams import random_stream


def sample_per_class(labels: np.ndarray, images_per_class: int, seed: int) -> np.ndarray:
    """Return sorted indices of a random sample of at most images_per_class images of each class."""
    chosen = []
    for label in np.unique(labels):
        random = random_stream(seed, "images per class", label)
        shuffled = random.permutation(np.flatnonzero(labels == label))
        chosen.append(shuffled[:images_per_class])
    return np.sort(np.concatenate(chosen))


def validation_split(
    labels: np.ndarray, fraction: float, seed: int, class_names: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted indices (train, validation) that hold the same fraction of each class.

    Every class has at least one image on both sides. Raises ValueError for a fraction outside
    (0, 1) and for a class of one image, by its name where class_names are given.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the validation fraction is {fraction}: it must be between 0 and 1.")
    check_seed(seed)
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        if len(indices) < 2:
            raise ValueError(
                f"class {class_names[label] if class_names else label} has one image: at least "
                "two are needed to hold one out."
            )
        count = min(max(int(round(fraction * len(indices))), 1), len(indices) - 1)
        random = random_stream(seed, "validation", label)
        held_out[random.permutation(indices)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
