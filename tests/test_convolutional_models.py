"""The convolutional networks compute what their papers say, and train in the ordinary step."""

from __future__ import annotations

import numpy as np
import pytest

from backend.runtime import keras, tf
from models.resnet import ResidualBlock, resnet
from models.visual_tokens import FilterTokenizer
from tests.helpers import new_step, small_resnet, small_visual_tokens, some_images

pytestmark = pytest.mark.tensorflow_only

SMALL_MODELS = (small_resnet, small_visual_tokens)
LABELS = np.arange(8, dtype=np.int32)


def step_of(model, **arguments):
    return new_step(model, "sgd", weight_decay=0.0, batch_size=8, **arguments)


@pytest.mark.parametrize("layers, parameters", [(20, 269722), (56, 853018)])
def test_the_resnets_have_the_size_of_the_paper(layers, parameters):
    model = resnet((32, 32, 3), 10, (120.0,) * 3, (60.0,) * 3, number_of_layers=layers)
    # Table 6 of arXiv 1512.03385: 0.27 M and 0.85 M.
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == parameters
    convolutions = [v for v in model.trainable_variables if len(v.shape) == 4]
    assert len(convolutions) + 1 == layers


def test_a_shortcut_takes_every_second_pixel_and_adds_empty_channels():
    block = ResidualBlock(6, stride=2)
    images = np.random.RandomState(0).normal(size=(2, 4, 4, 4)).astype(np.float32)
    assert block(tf.constant(images)).shape == (2, 2, 2, 6)
    shortcut = block.shortcut(tf.constant(images)).numpy()
    np.testing.assert_array_equal(shortcut[..., :4], images[:, ::2, ::2])
    assert not shortcut[..., 4:].any()


def test_a_visual_token_is_the_mean_of_the_places_its_filter_points_at():
    tokenizer = FilterTokenizer(3)
    features = np.random.RandomState(0).normal(size=(2, 4, 5, 6)).astype(np.float32)
    tokens = tokenizer(tf.constant(features)).numpy()
    filters = tokenizer.get_weights()[0]
    places = features[1].reshape(20, 6)
    scores = np.exp(places @ filters)
    expected = (scores / scores.sum(axis=0)).T @ places
    np.testing.assert_allclose(tokens[1], expected, atol=1e-5)


@pytest.mark.parametrize("build", SMALL_MODELS)
def test_every_variable_learns_and_the_averages_of_batch_normalisation_follow(build):
    model = build()
    before = {weight.name: weight.numpy() for weight in model.weights}
    step = step_of(model, micro_batch_size=4)
    labels = tf.constant(LABELS)
    losses = [float(step(tf.constant(some_images(8)), labels, i, 0.02)[0]) for i in range(12)]
    assert losses[-1] < losses[0]
    moving = [name for name in before if "moving_" in name]
    assert moving
    for weight in model.weights:
        assert np.abs(weight.numpy() - before[weight.name]).max() > 0, weight.name
    # A checkpoint holds what it does not train, too.
    assert len(step.state()) >= len(before) + len(model.trainable_variables)


@pytest.mark.parametrize("build", SMALL_MODELS)
def test_the_moving_averages_are_those_of_the_batch(build):
    model = build()
    images = tf.constant(some_images(8))
    norm = next(x for x in model.layers if isinstance(x, keras.layers.BatchNormalization))
    features = keras.Model(model.input, norm.input)(images).numpy()
    expected = 0.1 * features.mean(axis=(0, 1, 2))
    step_of(model)(images, tf.constant(np.zeros(8, np.int32)), 0, 1e-6)
    np.testing.assert_allclose(norm.moving_mean.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    "build, arguments, words",
    [
        (small_resnet, dict(number_of_layers=21), ("NUMBER_OF_LAYERS", "21", "20")),
        (small_resnet, dict(number_of_layers=2), ("NUMBER_OF_LAYERS", "2")),
        (small_resnet, dict(filters=0), ("FILTERS", "0")),
        (small_visual_tokens, dict(convolution_strides=(1,)), ("CONVOLUTION_STRIDES", "[1]")),
        (small_visual_tokens, dict(number_of_tokens=0), ("NUMBER_OF_TOKENS", "0")),
        (small_visual_tokens, dict(num_heads=3), ("NUM_HEADS", "3")),
    ],
)
def test_sizes_that_do_not_fit_are_named(build, arguments, words):
    with pytest.raises(ValueError) as error:
        build(**arguments)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("build", SMALL_MODELS)
def test_batch_normalisation_in_passes_side_by_side_follows_one_after_the_other(build):
    start = build().get_weights()
    labels = tf.constant(LABELS)
    weights = []
    for at_once in (4, 4, 1):
        model = build()
        model.set_weights(start)
        step = step_of(model, micro_batch_size=2, passes_at_once=at_once)
        for number in range(3):
            step(tf.constant(some_images(8)), labels, number, 0.01)
        weights.append(model.get_weights())
    for one, same, in_turn in zip(*weights):
        np.testing.assert_array_equal(one, same)
        np.testing.assert_allclose(one, in_turn, rtol=1e-3, atol=1e-4)
