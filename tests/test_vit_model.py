"""The model computes what the papers say, for every choice a script can make."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

import vit_model
from backend.runtime import keras, tf
from tests.helpers import small_model, some_images

pytestmark = pytest.mark.tensorflow_only

CHOICES = list(product(vit_model.STEMS, vit_model.REPRESENTATIONS))


def layer_norm(x, gamma, beta, epsilon=1e-6):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def exact_gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def attention_by_loops(x, qkv_kernel, qkv_bias, kernel, bias, heads):
    """Attention of one image, (tokens, dim), one head after the other."""
    tokens, dim = x.shape
    size = dim // heads
    query, key, value = np.split(x @ qkv_kernel + qkv_bias, 3, axis=1)
    contexts = []
    for head in range(heads):
        columns = slice(head * size, (head + 1) * size)
        scores = query[:, columns] @ key[:, columns].T / math.sqrt(size)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        contexts.append(weights / weights.sum(-1, keepdims=True) @ value[:, columns])
    return np.concatenate(contexts, axis=1) @ kernel + bias


def test_an_encoder_block_agrees_with_an_independent_numpy_implementation():
    block = vit_model.EncoderBlock(num_heads=4, mlp_hidden_dim=32, name="block")
    tokens = np.random.RandomState(1).normal(size=(3, 5, 16)).astype(np.float32)
    block(tf.constant(tokens))
    random = np.random.RandomState(2)
    block.set_weights([random.normal(size=w.shape, scale=0.5) for w in block.get_weights()])
    named = {v.name.split("block/")[-1].split(":")[0]: v.numpy() for v in block.weights}
    expected = []
    for x in tokens.astype(np.float64):
        normalized = layer_norm(x, named["attention_norm/gamma"], named["attention_norm/beta"])
        x = x + attention_by_loops(
            normalized,
            named["attention/query_key_value/kernel"],
            named["attention/query_key_value/bias"],
            named["attention/projection/kernel"],
            named["attention/projection/bias"],
            heads=4,
        )
        hidden = layer_norm(x, named["feed_forward_norm/gamma"], named["feed_forward_norm/beta"])
        hidden = exact_gelu(
            hidden @ named["feed_forward/expand/kernel"] + named["feed_forward/expand/bias"]
        )
        expected.append(
            x + hidden @ named["feed_forward/contract/kernel"] + named["feed_forward/contract/bias"]
        )
    np.testing.assert_allclose(block(tf.constant(tokens)).numpy(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("classes", (10, 100))
def test_the_default_model_has_the_documented_size(classes):
    model = vit_model.vision_transformer((32, 32, 3), classes, (120.0,) * 3, (60.0,) * 3)
    assert model.output_shape == (None, classes)
    assert model.count_params() == 2636224 + 257 * classes


def test_uint8_and_float_pixels_give_the_same_logits():
    model = small_model()
    images = some_images()
    np.testing.assert_allclose(
        model(images).numpy(), model(images.astype(np.float32)).numpy(), atol=1e-6
    )


def test_patches_are_the_pixels_in_reading_order():
    images = some_images(2).astype(np.float32)
    patches = vit_model.PatchExtraction(4, 4)(tf.constant(images)).numpy()
    assert patches.shape == (2, 16, 48)
    np.testing.assert_array_equal(patches[1, 6], images[1, 4:8, 8:12].reshape(-1))


def test_a_stride_smaller_than_the_patch_overlaps_patches():
    images = some_images(2).astype(np.float32)
    patches = vit_model.PatchExtraction(4, 2)(tf.constant(images)).numpy()
    assert patches.shape == (2, 49, 48)
    np.testing.assert_array_equal(patches[0, 1], images[0, 0:4, 2:6].reshape(-1))
    model = small_model(patch_size=4, patch_stride=2)
    assert model.get_layer("position_embedding").output_shape == (None, 49, 16)


def test_positions_can_start_at_zero_and_patches_can_be_a_convolution():
    model = small_model(stem="patch_convolution", position_stddev=0.0)
    assert not model.get_layer("position_embedding").get_weights()[0].any()
    assert len(model.get_layer("patch_convolution").get_weights()) == 1
    kernel = model.get_layer("patch_convolution").get_weights()[0]
    normalized = (some_images(1)[0, 4:8, 8:12].astype(np.float64) - [120, 115, 110]) / [60, 61, 62]
    stem = keras.Model(model.input, model.get_layer("tokens").output)
    # The token of the second row and third column, of four.
    np.testing.assert_allclose(
        stem(some_images(1)).numpy()[0, 6], np.tensordot(normalized, kernel, 3), atol=1e-4
    )


def test_the_stems_and_representations_have_the_grid_of_the_patches():
    for stem, representation in CHOICES:
        model = small_model(stem=stem, representation=representation)
        tokens = model.get_layer("position_embedding").output_shape[1]
        assert tokens == 16 + (representation == "class_token")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(patch_size=5, patch_stride=5), ("5", "16")),
        (dict(patch_size=32), ("32", "16")),
        (dict(embedding_dim=18), ("18", "4")),
        (dict(patch_stride=0), ("PATCH_STRIDE", "0")),
        (dict(number_of_layers=0), ("NUMBER_OF_LAYERS", "0")),
        (dict(mlp_hidden_dim=-1), ("MLP_HIDDEN_DIM", "-1")),
        (dict(embedding_dim=2000000000), ("EMBEDDING_DIM", "2000000000")),
        (dict(head_hidden_dims=(16, 0)), ("HEAD_HIDDEN_DIMS", "0")),
        (dict(dropout_rate=1.0), ("DROPOUT_RATE", "1.0")),
        (dict(stochastic_depth_rate=-0.1), ("STOCHASTIC_DEPTH_RATE", "-0.1")),
        (dict(stem="convolution"), ("STEM", "convolution", "patches")),
        (dict(representation="cls"), ("REPRESENTATION", "cls", "class_token")),
        (dict(stem="convolutional", patch_size=3, patch_stride=1), ("PATCH_STRIDE", "1")),
    ],
)
def test_sizes_that_do_not_fit_are_named(arguments, words):
    with pytest.raises(ValueError) as error:
        small_model(**arguments)
    for word in words:
        assert word in str(error.value)
