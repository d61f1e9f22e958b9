"""Random numbers for every purpose: no two purposes, seeds, epochs or steps share any."""

from __future__ import annotations

import hashlib

import numpy as np


def random_stream(seed: int, purpose: str, *numbers: int) -> np.random.RandomState:
    """Return the random numbers of a purpose, such as one step's augmentation.

    They are a function of all arguments. Each purpose, or number, has a stream of its own, in which
    nothing of another can be found: the arguments are mixed by SHA-256, not added.
    """
    return np.random.RandomState(_mixed(seed, purpose, *numbers))


def stream_number(seed: int, purpose: str, *numbers: int) -> int:
    """Return a number in 0..2^30 - 1 that seeds a random stream outside of NumPy.

    Below 2^30, so that adding a small number stays within int32.
    """
    return int(_mixed(seed, purpose, *numbers)[0] >> 2)


def _mixed(*arguments: object) -> np.ndarray:
    digest = hashlib.sha256("/".join(str(each) for each in arguments).encode()).digest()
    return np.frombuffer(digest, "<u4").astype(np.uint32)
