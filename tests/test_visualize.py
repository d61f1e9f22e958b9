"""Every model gets the pictures that it has, and everything in them is in its place."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from storage.trained_run import FinishedRun
from tools import visualize

pytestmark = pytest.mark.tensorflow_only

PICTURES = {
    "vit": {"what_it_learned", "attention", "patches", "model", "training"},
    "overlapping": {"what_it_learned", "attention", "patches", "model", "training"},
    # Its convolutions overlap: there are no patches to be shown.
    "convolutional": {"what_it_learned", "attention", "model", "training"},
    "cnn": {"what_it_learned", "model", "training"},
    "tokens": {"what_it_learned", "visual_tokens", "model", "training"},
}


@pytest.mark.parametrize("model", list(PICTURES))
def test_every_model_gets_the_pictures_that_it_has(runs, model):
    paths = visualize.main([str(runs[model])])
    assert {path.stem for path in paths} == PICTURES[model]
    for path in paths:
        assert Image.open(str(path)).size[0] > 300


def test_a_mosaic_has_every_tile_in_its_place():
    tiles = np.arange(1, 7, dtype=float)[:, None, None] * np.ones((6, 10, 10))
    image = visualize.mosaic(tiles, columns=3, gap=0.2, background=0.0)
    assert image.shape == (22, 34)
    assert image[5, 5] == 1 and image[5, 29] == 3 and image[17, 17] == 5
    assert (image == 0).sum() == 22 * 34 - 600


def test_the_diagram_counts_every_parameter_once(runs):
    for name in PICTURES:
        run = FinishedRun(runs[name])
        boxes = visualize.boxes_of(run.model)
        assert sum(box.parameters for box in boxes) == run.results["parameters"]
        blocks = [box.count for box in boxes if box.title == "block"]
        assert blocks == ([] if name == "cnn" else [1] if name == "tokens" else [2])
