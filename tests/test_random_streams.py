"""No two purposes, seeds, epochs or steps share their random numbers."""

from __future__ import annotations

import itertools
import re

import numpy as np

from datasets.random_streams import random_stream, stream_number
from datasets.splits import sample_per_class, validation_split
from tests.helpers import ROOT

ROOMS = ("backend", "datasets", "models", "storage", "reports", "training", "tools", "recipes")
SOURCES = [
    path.read_text(encoding="utf-8") for room in ROOMS for path in (ROOT / room).glob("*.py")
]
PURPOSES = sorted(
    {
        name
        for text in SOURCES
        for name in re.findall(r'(?:stream|number)\([^()]*?, f?"(.+?)"', text)
    }
)


def test_every_stream_of_the_product_is_known_here():
    assert PURPOSES == sorted(
        "augmentation|dropout|images per class|initial weights|order|samples|"
        "synthetic {part}|validation".split("|")
    )


def test_all_pairs_of_streams_are_independent():
    streams = [
        random_stream(seed, purpose, *numbers).uniform(-1, 1, 2000)
        for seed in (0, 1, 2, 32)
        for purpose in PURPOSES
        for numbers in ((), (0,), (1,), (0, 0), (0, 1), (1, 0))
    ]
    correlations = np.corrcoef(streams)[np.triu_indices(len(streams), 1)]
    # 18,336 pairs: by chance the largest is about 4.2 standard deviations of 1 / sqrt(2000).
    assert np.abs(correlations).max() < 5.5 / np.sqrt(2000)
    assert abs(correlations.std() * np.sqrt(2000) - 1) < 0.05
    # Nor is one a later part of another.
    values = np.concatenate(streams)
    assert len(np.unique(values)) == len(values)


def test_seeds_do_not_share_their_dropout():
    """Each pass of a batch and each draw in it takes a number counted on from the seed's."""
    counted = np.add.outer(np.arange(0, 512, 32), 65537 * np.arange(1, 40)).ravel()
    firsts = [stream_number(seed, "dropout") for seed in range(200)]
    assert 0 <= min(firsts) and max(firsts) < 2**30
    numbers = np.add.outer(firsts, counted).ravel()
    assert len(np.unique(numbers)) == len(numbers)


def test_what_a_sample_trains_on_is_not_what_the_whole_run_validates_on():
    labels = np.arange(10000) % 10
    for seed, other in itertools.product((0, 1), (0, 1)):
        sample = sample_per_class(labels, 100, seed)
        validation = validation_split(labels, 0.1, other)[1]
        # 100 of 1,000 by chance, give or take 9.5.
        assert 60 < len(np.intersect1d(sample, validation)) < 140
