"""What holds for every model that a settings.json may name, and for every choice in it."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

import vit_model
from backend import layers
from backend.runtime import keras, tf
from models import resnet, visual_tokens
from models.builders import BUILDERS
from tests.helpers import (
    CLASSES,
    new_step,
    small_model,
    small_resnet,
    small_visual_tokens,
    some_images,
)
from tools import kernel_audit
from training import initial_weights
from vit_model import REPRESENTATIONS, STEMS, head_layer_names

pytestmark = pytest.mark.tensorflow_only

NETWORKS = (resnet.__name__, visual_tokens.__name__)
SMALL = {
    "vision_transformer": small_model,
    "resnet": small_resnet,
    "visual_token_transformer": small_visual_tokens,
}
DROPPING = dict(number_of_layers=1, dropout_rate=0.2, stochastic_depth_rate=0.2)
MODELS = {"resnet": ("resnet", {}), "visual tokens": ("visual_token_transformer", DROPPING)}
for (i, stem), (j, representation) in product(enumerate(STEMS), enumerate(REPRESENTATIONS)):
    # Every pair of stem, representation and number of heads occurs.
    choice = dict(stem=stem, representation=representation, distillation_token=(i + j) % 2 == 1)
    name = f"{stem}, {representation}, {1 + (i + j) % 2} heads"
    MODELS[name] = ("vision_transformer", dict(choice, **DROPPING))


@pytest.fixture(scope="module", params=list(MODELS))
def build(request):
    builder, own_arguments = MODELS[request.param]
    return lambda **arguments: SMALL[builder](**{**own_arguments, **arguments})


@pytest.fixture(scope="module")
def model(build):
    return build()


def test_every_builder_is_in_this_suite():
    assert set(SMALL) == {builder for builder, _ in MODELS.values()} == set(BUILDERS)
    for name, small in SMALL.items():
        assert small().name == BUILDERS[name].__name__ == name


def test_the_logits_are_float32_and_those_of_each_image_alone(model):
    images = some_images()
    logits = model(images)
    assert (logits.dtype, tuple(logits.shape)) == (tf.float32, (4, CLASSES))
    np.testing.assert_allclose(model(images[:1]).numpy(), logits.numpy()[:1], atol=1e-5)


def test_inference_is_deterministic_is_the_default_and_is_not_training(model):
    images = some_images()
    first = model(images).numpy()
    np.testing.assert_array_equal(first, model(images).numpy())
    np.testing.assert_array_equal(first, model(images, training=None).numpy())
    np.testing.assert_array_equal(first, model(images, training=False).numpy())
    assert np.abs(model(images, training=True).numpy() - first).max() > 1e-3


def test_every_variable_gets_a_gradient(model):
    with tf.GradientTape() as tape:
        logits = model(some_images(8), training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=np.arange(8), logits=logits)
    gradients = tape.gradient(losses, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients):
        assert gradient is not None, variable.name
        # A key bias shifts all scores of a query alike, so its gradient is zero by mathematics; it
        # shares its variable with the query and value biases, whose gradients are not.
        assert np.abs(gradient.numpy()).max() > 0, variable.name


def test_saved_weights_give_the_same_outputs(build, model, tmp_path):
    path, images = str(tmp_path / "weights.h5"), some_images()
    model.save_weights(path)
    twin = build()
    twin.set_weights([weight + 0.1 for weight in twin.get_weights()])
    assert np.abs(twin(images).numpy() - model(images).numpy()).max() > 1e-4
    twin.load_weights(path)
    np.testing.assert_array_equal(twin(images).numpy(), model(images).numpy())


def test_the_config_of_every_layer_rebuilds_it(model):
    ours = {
        name: value
        for module in (vit_model, layers, resnet, visual_tokens)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    with keras.utils.custom_object_scope({"gelu": vit_model.gelu, **ours}):
        rebuilt = keras.Model.from_config(model.get_config())
        for layer in model.submodules:
            if isinstance(layer, keras.layers.Layer):
                config = layer.get_config()
                assert type(layer).from_config(config).get_config() == config
    assert rebuilt.get_config() == model.get_config()
    rebuilt.set_weights(model.get_weights())
    np.testing.assert_array_equal(rebuilt(some_images()).numpy(), model(some_images()).numpy())


def test_no_layer_of_ours_bears_the_name_of_a_keras_layer(model):
    for layer in model.submodules:
        kind = type(layer)
        if kind.__module__ in (vit_model.__name__, layers.__name__) + NETWORKS:
            assert not hasattr(keras.layers, kind.__name__), kind


def test_every_operation_has_a_directml_kernel(model):
    audit = kernel_audit.audit_training_step(new_step(model), model.input_shape[1:], CLASSES)
    assert 0 < audit.launches < audit.runs < audit.traced
    assert 0 < audit.prediction.launches < audit.prediction.runs
    if kernel_audit.has_directml_kernels():
        assert audit.fallbacks == [] and audit.prediction.fallbacks == [], audit.text()


@pytest.mark.parametrize("small", SMALL.values())
def test_other_classes_change_the_head_and_nothing_else(small):
    shapes = [
        {name: [w.shape for w in weights] for name, weights in body.items()}
        for body in (initial_weights.body_weights(small(number_of_classes=n)) for n in (7, 10))
    ]
    assert shapes[0] == shapes[1] != {}


@pytest.mark.parametrize("token", [False, True])
def test_a_head_layer_of_any_name_is_not_body(monkeypatch, token):
    names = {"class_logits", "distillation_logits"} if token else {"logits"}
    assert head_layer_names(small_model(distillation_token=token)) == {"head_hidden_1"} | names
    monkeypatch.setattr(
        vit_model,
        "logits_layer",
        lambda classes, name="logits": keras.layers.Dense(classes, name="answers_" + name),
    )
    model = small_model(distillation_token=token)
    renamed = {"answers_" + name for name in names}
    assert head_layer_names(model) == {"head_hidden_1"} | renamed
    assert not renamed & set(initial_weights.body_weights(model))


def test_a_model_that_is_all_head_is_nothing_to_start_from(monkeypatch):
    pixels = keras.Input((16, 16, 3))
    logits = keras.layers.Dense(CLASSES)(keras.layers.Flatten()(pixels))
    run = SimpleNamespace(model=keras.Model(pixels, logits), folder="runs/linear/1")
    monkeypatch.setattr(initial_weights, "FinishedRun", lambda folder: run)
    with pytest.raises(ValueError, match="runs/linear/1.*only a head"):
        initial_weights.start_from(run.model, run.folder)
