"""Filters, positions and attention of a model are measured as their papers define them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from backend.runtime import keras
from storage.trained_run import FinishedRun
from tools.vit_analysis import (
    TokenGrid,
    attention_distances,
    attention_over_image,
    attention_rollout,
    attention_weights,
    cosine_similarities,
    embedding_filters,
    principal_components,
    token_grid_of,
)

GRID = TokenGrid(rows=3, columns=4, size=2, stride=2, special=1)


def test_the_components_of_filters_are_those_that_made_them():
    random = np.random.RandomState(0)
    directions = np.linalg.qr(random.normal(size=(12, 2)))[0].T
    amounts = random.normal(size=(50, 2)) * [5.0, 1.0]
    kernel = (amounts @ directions + 3.0).T.reshape(2, 2, 3, 50)
    components, shares = principal_components(kernel, 28)
    assert components.shape == (12, 2, 2, 3)
    # The first two span what the filters were made of.
    flat = components[:2].reshape(2, 12)
    np.testing.assert_allclose((directions @ flat.T @ flat), directions, atol=1e-6)
    assert shares[0] > 0.9 and shares[:2].sum() == pytest.approx(1.0)


def test_the_filters_of_patches_are_laid_out_as_the_pixels_were(runs):
    model = FinishedRun(runs["vit"]).model
    _, kernel = embedding_filters(model)
    assert kernel.shape == (8, 8, 3, 8)
    before = keras.Model(model.input, model.get_layer("pixel_normalization").output)
    after = keras.Model(model.input, model.get_layer("patch_projection").output)
    image = np.random.RandomState(0).randint(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    pixels = before(image).numpy()[0, 8:16, 16:24]
    bias = model.get_layer("patch_projection").get_weights()[1]
    # The patch of the second row and third column.
    np.testing.assert_allclose(
        after(image).numpy()[0, 6], np.tensordot(pixels, kernel, 3) + bias, atol=1e-4
    )


def test_a_head_that_looks_at_one_place_has_the_distance_of_that_place():
    attention = np.zeros((1, 3, 13, 13))
    attention[0, 0] = np.eye(13)
    # All patches look at the first one; what goes to the class token is no distance.
    attention[0, 1, :, 1] = 0.25
    attention[0, 1, :, 0] = 0.75
    # Every patch looks at its right or left neighbour.
    for patch in range(12):
        attention[0, 2, 1 + patch, 1 + (patch + 1 if patch % 4 < 3 else patch - 1)] = 1
    own, first, neighbour = attention_distances(attention, GRID)
    assert own == 0
    expected = np.mean([2 * math.hypot(row, column) for row in range(3) for column in range(4)])
    assert first == pytest.approx(expected)
    assert neighbour == pytest.approx(2.0)


def test_rollout_keeps_all_attention_and_leaves_it_in_place_where_heads_do():
    random = np.random.RandomState(0)
    attentions = [random.dirichlet(np.ones(5), size=(2, 3, 5)) for _ in range(4)]
    rollout = attention_rollout(attentions)
    np.testing.assert_allclose(rollout.sum(axis=-1), 1.0)
    stay = [np.tile(np.eye(5), (2, 3, 1, 1))] * 4
    np.testing.assert_allclose(attention_rollout(stay)[1], np.eye(5))
    # The last block has the last word: of two, its row picks the rows of the first.
    first, last = attentions[:2]
    half = [0.5 * a.mean(axis=1)[0] + 0.5 * np.eye(5) for a in (first, last)]
    np.testing.assert_allclose(attention_rollout([first, last])[0], half[1] @ half[0])


def test_attention_is_drawn_over_the_patch_that_it_goes_to():
    attention = np.zeros((13, 13))
    attention[0, 1 + 4 * 1 + 2] = 1.0
    pixels = attention_over_image(attention, GRID, (6, 8, 3))
    assert pixels[2:4, 4:6].min() == 1.0 and pixels.sum() == 4.0


def test_cosine_similarities_do_not_know_lengths():
    vectors = np.array([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    expected = [[1, 1, 0, -1], [1, 1, 0, -1], [0, 0, 1, 0], [-1, -1, 0, 1]]
    np.testing.assert_allclose(cosine_similarities(vectors), expected)


def test_the_grid_of_a_convolutional_stem_does_not_know_the_patch_size(runs):
    run = FinishedRun(runs["convolutional"])
    run.settings["model"]["arguments"]["patch_size"] = 7
    assert token_grid_of(run) == TokenGrid(8, 8, 4, 4, 1, are_patches=False)


def test_attention_is_read_without_touching_the_model(runs):
    run = FinishedRun(runs["vit"])
    images = run.dataset().x_test[:4]
    before = run.model(images).numpy()
    first, second = attention_weights(run.model, images)
    # Heads and tokens: 16 patches and the class token.
    assert first.shape == second.shape == (4, 2, 17, 17)
    for attention in (first, second):
        np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-5)
    assert np.abs(first - second).max() > 1e-4
    np.testing.assert_array_equal(run.model(images).numpy(), before)


def test_a_model_without_encoder_blocks_has_no_attention(runs):
    with pytest.raises(ValueError, match="resnet.* has no encoder blocks"):
        attention_weights(FinishedRun(runs["cnn"]).model, np.zeros((1, 32, 32, 3), np.uint8))
