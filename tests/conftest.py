"""Puts the modules of the project within reach of the tests, and keeps them fast and repeatable."""

from __future__ import annotations

import functools
import os
import random
import sys

import numpy as np
import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# As if the user had chosen: scripts called in this process come after TensorFlow was imported.
os.environ.setdefault("DML_VISIBLE_DEVICES", "0")


# Only these Pythons have a TensorFlow with DirectML.
if not (3, 7) <= sys.version_info[:2] <= (3, 10):
    collect_ignore = ["test_directml.py", "test_directml_device.py"]


def pytest_collection_modifyitems(items):
    """Skip on the other Pythons what depends on TensorFlow, which is that of Python 3.11 there."""
    if sys.version_info < (3, 12) or os.environ.get("ALL_TESTS"):
        return
    reason = "the same TensorFlow as on Python 3.11, where this runs; ALL_TESTS=1 runs it here too"
    for item in items:
        if item.get_closest_marker("tensorflow_only"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Whatever a test leaves to chance is the same every time: what fails once, fails again."""
    from backend.runtime import tf

    random.seed(0)
    np.random.seed(0)
    tf.compat.v2.random.set_seed(0)


@pytest.fixture(autouse=True, scope="session")
def synthetic_images_are_drawn_once():
    """A fifth of the time of a small run is the drawing of the same 12,000 images."""
    from datasets.catalogue import NAMED_DATASETS

    def once(draw):
        drawn = functools.lru_cache(maxsize=1)(draw)

        def copies(seed, image_shape):
            return {name: array.copy() for name, array in drawn(seed, image_shape).items()}

        return copies

    rows = dict(NAMED_DATASETS)
    for name, row in rows.items():
        if row.draw:
            NAMED_DATASETS[name] = row._replace(draw=once(row.draw))
    yield
    NAMED_DATASETS.update(rows)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Small finished runs by name, see SMALL_RUNS; tests may add files to their folders."""
    from tests.helpers import SmallRuns

    return SmallRuns(tmp_path_factory.mktemp("runs"))
