"""Weights saved on one runtime give the same outputs on the others.

Each runtime leaves its weights and outputs in a folder and loads what the others have left there.
The folder is RUNTIMES_FOLDER; `.ci/run` sets it, and calls this test once more after all runtimes
had a turn.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from models.predictor import Predictor
from tests.helpers import small_model, some_images


def outputs(model):
    return Predictor(model, 4)(some_images(4))


def test_weights_of_every_runtime_give_the_same_outputs_here(tmp_path):
    folder = Path(os.environ.get("RUNTIMES_FOLDER", str(tmp_path)))
    version = platform.python_version()
    model = small_model(representation="sequence_pooling", stem="convolutional")
    model.save_weights(str(folder / f"weights-{version}.h5"))
    np.save(str(folder / f"weights-{version}.npy"), outputs(model))
    files = sorted(folder.glob("weights-*.npy"))
    assert files
    for file in files:
        twin = small_model(representation="sequence_pooling", stem="convolutional")
        twin.load_weights(str(file.with_suffix(".h5")))
        np.testing.assert_allclose(outputs(twin), np.load(str(file)), atol=1e-5)
