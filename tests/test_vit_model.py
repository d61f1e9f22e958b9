"""The model computes what the papers say, for every choice a script can make."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

import encoder_block
import vit_model
from backend import layers as layers_module
from backend.layers import Dropout, random_numbers_from
from backend.runtime import keras, tf

CLASSES = 10
CHOICES = list(product(vit_model.STEMS, vit_model.REPRESENTATIONS))


def small_model(**arguments):
    arguments = dict(
        dict(
            image_shape=(16, 16, 3),
            number_of_classes=CLASSES,
            mean=(120.0, 115.0, 110.0),
            std=(60.0, 61.0, 62.0),
            number_of_layers=2,
            embedding_dim=16,
            num_heads=4,
            mlp_hidden_dim=32,
            head_hidden_dims=(24,),
        ),
        **arguments,
    )
    return vit_model.vision_transformer(**arguments)


def some_images(count=4, shape=(16, 16, 3), seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count,) + shape).astype(np.uint8)


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
    block = encoder_block.EncoderBlock(num_heads=4, mlp_hidden_dim=32, name="block")
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


def test_gelu_is_the_exact_one_by_the_error_function():
    x = np.linspace(-6, 6, 101).astype(np.float32)
    np.testing.assert_allclose(vit_model.gelu(tf.constant(x)).numpy(), exact_gelu(x), atol=1e-6)


@pytest.mark.parametrize("stem, representation", CHOICES)
def test_every_choice_gives_logits_and_a_gradient_for_every_variable(stem, representation):
    model = small_model(stem=stem, representation=representation, patch_size=4, patch_stride=4)
    labels = np.arange(4) % CLASSES
    with tf.GradientTape() as tape:
        logits = model(some_images(), training=True)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )
    assert logits.shape == (4, CLASSES)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients):
        assert gradient is not None, variable.name
        # A key bias shifts all scores of a query alike, so its gradient is zero by mathematics; it
        # shares its variable with the query and value biases, whose gradients are not.
        assert np.abs(gradient.numpy()).max() > 0, variable.name


@pytest.mark.parametrize("classes", (10, 100))
def test_the_default_model_has_the_documented_size(classes):
    model = vit_model.vision_transformer((32, 32, 3), classes, (120.0,) * 3, (60.0,) * 3)
    assert model.output_shape == (None, classes)
    assert model.count_params() == 2636224 + 257 * classes


def test_inference_is_deterministic_and_training_is_not():
    model = small_model(dropout_rate=0.2, head_dropout_rate=0.2, stochastic_depth_rate=0.2)
    images = some_images()
    first = model(images).numpy()
    np.testing.assert_array_equal(first, model(images).numpy())
    np.testing.assert_array_equal(first, model(images, training=False).numpy())
    assert np.abs(model(images, training=True).numpy() - first).max() > 1e-3


def test_dropout_is_a_function_of_the_seed_and_of_the_layer():
    model = small_model(dropout_rate=0.3, stochastic_depth_rate=0.3)
    images = some_images()

    @tf.function
    def outputs(seed):
        with random_numbers_from(seed):
            return model(images, training=True)

    one, same, other = (outputs(tf.constant(seed)).numpy() for seed in ([7, 0], [7, 0], [8, 0]))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3

    ones = tf.ones([64, 64])
    with random_numbers_from(tf.constant([7, 0])):
        layers = [Dropout(0.5)(ones, training=True).numpy() for _ in range(2)]
    assert (layers[0] != layers[1]).mean() > 0.3


def test_no_two_draws_of_a_step_share_their_random_numbers(monkeypatch):
    """The seeds of passes of 4 images met again in other layers of other passes."""
    seeds = []
    draw = layers_module._Streams.next_seed
    monkeypatch.setattr(
        layers_module._Streams,
        "next_seed",
        lambda streams: seeds.append(draw(streams)) or seeds[-1],
    )
    for first_image in range(0, 64, 4):
        with random_numbers_from(tf.constant([7, first_image])):
            for _ in range(40):
                layers_module.uniform([1])
    assert len({tuple(seed.numpy()) for seed in seeds}) == 16 * 40


def test_dropout_keeps_the_mean_and_drops_the_stated_share():
    with random_numbers_from(tf.constant([1, 2])):
        values = Dropout(0.25)(tf.ones([200, 200]), training=True).numpy()
        images = Dropout(0.25, one_choice_per_image=True)(tf.ones([4000, 2, 3]), training=True)
    assert abs((values == 0).mean() - 0.25) < 0.01
    assert abs(values.mean() - 1) < 0.02
    per_image = images.numpy().reshape(4000, -1)
    assert (per_image.min(axis=1) == per_image.max(axis=1)).all()
    assert abs((per_image[:, 0] == 0).mean() - 0.25) < 0.03


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


def test_the_stems_and_representations_have_the_grid_of_the_patches():
    for stem, representation in CHOICES:
        model = small_model(stem=stem, representation=representation)
        tokens = model.get_layer("position_embedding").output_shape[1]
        assert tokens == 16 + (representation == "class_token")


@pytest.mark.parametrize("stem, representation", CHOICES)
def test_saved_weights_and_config_give_the_same_outputs(stem, representation, tmp_path):
    model = small_model(stem=stem, representation=representation, stochastic_depth_rate=0.1)
    images = some_images()
    path = str(tmp_path / "weights.h5")
    model.save_weights(path)
    twin = small_model(stem=stem, representation=representation, stochastic_depth_rate=0.1)
    assert np.abs(twin(images).numpy() - model(images).numpy()).max() > 1e-4
    twin.load_weights(path)
    np.testing.assert_array_equal(twin(images).numpy(), model(images).numpy())

    layers = {
        name: value
        for module in (vit_model, encoder_block, layers_module)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    layers["gelu"] = vit_model.gelu
    rebuilt = keras.Model.from_config(model.get_config(), custom_objects=layers)
    rebuilt.set_weights(model.get_weights())
    np.testing.assert_array_equal(rebuilt(images).numpy(), model(images).numpy())


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
