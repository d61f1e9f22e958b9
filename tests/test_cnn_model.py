"""The convolutional networks compute what their papers say, and train in the ordinary step."""

from __future__ import annotations

import numpy as np
import pytest

import encoder_block
import vit_model
from backend import layers as layers_module
from backend.optimizers import optimizer_for
from backend.runtime import keras, tf
from models import resnet as resnet_module
from models import visual_tokens
from models.resnet import resnet
from models.visual_tokens import FilterTokenizer, visual_token_transformer
from training.distillation import Distillation
from training.step import TrainingStep

FACTS = dict(image_shape=(16, 16, 3), number_of_classes=10, mean=(120.0,) * 3, std=(60.0,) * 3)


def small_resnet(**arguments):
    return resnet(**dict(FACTS, number_of_layers=8, filters=4, **arguments))


def small_visual_tokens(**arguments):
    arguments = dict(
        dict(
            convolution_filters=(4, 6),
            convolution_strides=(1, 2),
            number_of_tokens=3,
            number_of_layers=1,
            embedding_dim=8,
            num_heads=2,
            mlp_hidden_dim=8,
        ),
        **arguments,
    )
    return visual_token_transformer(**dict(FACTS, **arguments))


def small_student(**arguments):
    return vit_model.vision_transformer(
        **dict(
            FACTS,
            number_of_layers=1,
            embedding_dim=8,
            num_heads=2,
            mlp_hidden_dim=8,
            head_hidden_dims=(),
            representation="class_token",
            **arguments,
        )
    )


MODELS = (small_resnet, small_visual_tokens)


def some_images(count=8):
    return np.random.RandomState(0).randint(0, 256, (count, 16, 16, 3)).astype(np.uint8)


def step_of(model, **arguments):
    optimizer = optimizer_for("sgd", model.trainable_variables, 0.0, 0.9)
    return TrainingStep(model, optimizer, batch_size=8, **arguments)


@pytest.mark.parametrize("layers, parameters", [(20, 269722), (56, 853018)])
def test_the_resnets_have_the_size_of_the_paper(layers, parameters):
    model = resnet((32, 32, 3), 10, (120.0,) * 3, (60.0,) * 3, number_of_layers=layers)
    # Table 6 of arXiv 1512.03385: 0.27 M and 0.85 M.
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == parameters
    convolutions = [v for v in model.trainable_variables if len(v.shape) == 4]
    assert len(convolutions) + 1 == layers


def test_a_shortcut_takes_every_second_pixel_and_adds_empty_channels():
    block = resnet.ResidualBlock(6, stride=2)
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


@pytest.mark.parametrize("build", MODELS)
def test_every_variable_learns_and_the_averages_of_batch_normalisation_follow(build):
    model = build()
    before = {weight.name: weight.numpy() for weight in model.weights}
    step = step_of(model, micro_batch_size=4)
    labels = tf.constant(np.arange(8, dtype=np.int32))
    losses = [float(step(tf.constant(some_images()), labels, i, 0.02)[0]) for i in range(12)]
    assert losses[-1] < losses[0]
    moving = [name for name in before if "moving_" in name]
    assert moving
    for weight in model.weights:
        assert np.abs(weight.numpy() - before[weight.name]).max() > 0, weight.name
    # A checkpoint holds what it does not train, too.
    assert len(step.state()) >= len(before) + len(model.trainable_variables)


@pytest.mark.parametrize("build", MODELS)
def test_the_moving_averages_are_those_of_the_batch(build):
    model = build()
    images = tf.constant(some_images())
    norm = next(x for x in model.layers if isinstance(x, keras.layers.BatchNormalization))
    features = keras.Model(model.input, norm.input)(images).numpy()
    expected = 0.1 * features.mean(axis=(0, 1, 2))
    step_of(model)(images, tf.constant(np.zeros(8, np.int32)), 0, 1e-6)
    np.testing.assert_allclose(norm.moving_mean.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("build", MODELS)
def test_inference_is_deterministic_and_images_do_not_see_each_other(build):
    model = build()
    images = some_images()
    together = model(images).numpy()
    np.testing.assert_array_equal(together, model(images, training=False).numpy())
    np.testing.assert_allclose(model(images[:1]).numpy(), together[:1], atol=1e-5)


@pytest.mark.parametrize("build", MODELS)
def test_saved_weights_and_config_give_the_same_outputs(build, tmp_path):
    model, twin = build(), build()
    images = some_images()
    step_of(model)(tf.constant(images), tf.constant(np.zeros(8, np.int32)), 0, 0.01)
    model.save_weights(str(tmp_path / "weights.h5"))
    assert np.abs(twin(images).numpy() - model(images).numpy()).max() > 1e-4
    twin.load_weights(str(tmp_path / "weights.h5"))
    np.testing.assert_array_equal(twin(images).numpy(), model(images).numpy())
    layers = {
        name: value
        for module in (resnet_module, layers_module, encoder_block, visual_tokens, vit_model)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    rebuilt = keras.Model.from_config(model.get_config(), custom_objects=layers)
    rebuilt.set_weights(model.get_weights())
    np.testing.assert_array_equal(rebuilt(images).numpy(), model(images).numpy())


@pytest.mark.parametrize(
    "build, arguments, words",
    [
        (resnet, dict(number_of_layers=21), ("NUMBER_OF_LAYERS", "21", "20")),
        (resnet, dict(number_of_layers=2), ("NUMBER_OF_LAYERS", "2")),
        (resnet, dict(filters=0), ("FILTERS", "0")),
        (visual_token_transformer, dict(convolution_strides=(1,)), ("CONVOLUTION_STRIDES", "[1]")),
        (visual_token_transformer, dict(number_of_tokens=0), ("NUMBER_OF_TOKENS", "0")),
        (visual_token_transformer, dict(num_heads=3), ("NUM_HEADS", "3")),
    ],
)
def test_sizes_that_do_not_fit_are_named(build, arguments, words):
    with pytest.raises(ValueError) as error:
        build(**dict(FACTS, **arguments))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("distillation_token", (True, False))
@pytest.mark.parametrize("kind", ("hard", "soft"))
def test_a_student_learns_from_a_teacher_that_stays_as_it_is(kind, distillation_token):
    teacher, student = small_resnet(), small_student(distillation_token=distillation_token)
    images = some_images()
    # The list, because what is not trainable moves to the end of teacher.weights.
    teacher_weights = list(teacher.weights)
    teacher_before = [weight.numpy() for weight in teacher_weights]
    student_before = [weight.numpy() for weight in student.trainable_variables]
    objective = Distillation(teacher, kind, temperature=2.0, teacher_share=0.5)
    step = step_of(student, objective=objective)
    for number in range(2):
        step(tf.constant(images), tf.constant(np.arange(8, dtype=np.int32)), number, 0.1)
    for before, weight in zip(teacher_before, teacher_weights):
        np.testing.assert_array_equal(before, weight.numpy())
    for before, variable in zip(student_before, student.trainable_variables):
        assert np.abs(before - variable.numpy()).max() > 0, variable.name
    # Nothing of the teacher is saved or validated with the student.
    assert len(step.evaluation_weights()) == len(student.weights) < len(step.training_model.weights)


def test_the_teacher_sees_the_view_of_the_student_in_inference_mode():
    teacher, student = small_resnet(), small_student(distillation_token=True)
    images = some_images()
    model = Distillation(teacher).training_model(student)
    for_labels, for_teacher, answers = model(images, training=True)
    np.testing.assert_allclose(answers.numpy(), teacher(images, training=False).numpy(), atol=1e-5)
    logits = 0.5 * (for_labels.numpy() + for_teacher.numpy())
    np.testing.assert_allclose(student(images).numpy(), logits, atol=1e-5)


def test_the_losses_of_distillation_are_those_of_the_papers():
    labels = tf.constant([1, 0])
    student = tf.constant([[0.5, 1.0, -1.0], [0.0, 2.0, 0.0]])
    other = tf.constant([[1.5, 0.0, -1.0], [0.3, 0.2, 0.1]])
    teacher = np.array([[3.0, 1.0, 0.0], [0.0, 0.0, 4.0]], np.float32)

    def log_softmax(x):
        return x - np.log(np.exp(x).sum(axis=1, keepdims=True))

    true = -log_softmax(student.numpy())[[0, 1], [1, 0]]
    hard = -log_softmax(other.numpy())[[0, 1], [0, 2]]
    soft = -4 * (np.exp(log_softmax(teacher / 2)) * log_softmax(other.numpy() / 2)).sum(axis=1)
    model = small_resnet()
    outputs = [student, other, tf.constant(teacher)]
    for kind, expected in (("hard", hard), ("soft", soft)):
        losses = Distillation(model, kind, 2.0, teacher_share=0.3).losses(labels, outputs, 0.0)
        np.testing.assert_allclose(losses.numpy(), 0.7 * true + 0.3 * expected, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(kind="medium"), ("DISTILLATION", "medium", "hard")),
        (dict(temperature=0.0), ("TEMPERATURE", "0.0")),
        (dict(teacher_share=1.5), ("TEACHER_SHARE", "1.5")),
    ],
)
def test_impossible_distillations_are_named(arguments, words):
    with pytest.raises(ValueError) as error:
        Distillation(small_resnet(), **arguments)
    for word in words:
        assert word in str(error.value)


def test_a_teacher_of_other_classes_is_refused():
    teacher = resnet(**dict(FACTS, number_of_classes=7, number_of_layers=8, filters=4))
    with pytest.raises(ValueError, match="TEACHER_RUN.*7.*10"):
        Distillation(teacher).training_model(small_student())


@pytest.mark.parametrize("teacher_share", [0.0, 1.0])
def test_no_head_stays_untrained_and_has_its_say(teacher_share):
    objective = Distillation(small_resnet(), teacher_share=teacher_share)
    objective.training_model(small_student(distillation_token=False))
    with pytest.raises(ValueError, match="TEACHER_SHARE is .*--distillation-token no"):
        objective.training_model(small_student(distillation_token=True))


def test_positions_can_start_at_zero_and_patches_can_be_a_convolution():
    model = small_student(stem="patch_convolution", position_stddev=0.0)
    assert not model.get_layer("position_embedding").get_weights()[0].any()
    assert len(model.get_layer("patch_convolution").get_weights()) == 1
    kernel = model.get_layer("patch_convolution").get_weights()[0]
    normalized = (some_images(1)[0, 4:8, 8:12].astype(np.float64) - 120) / 60
    stem = keras.Model(model.input, model.get_layer("tokens").output)
    # The token of the second row and third column, of four.
    np.testing.assert_allclose(
        stem(some_images(1)).numpy()[0, 6], np.tensordot(normalized, kernel, 3), atol=1e-4
    )


@pytest.mark.parametrize("build", MODELS)
def test_batch_normalisation_in_passes_side_by_side_follows_one_after_the_other(build):
    start = build().get_weights()
    labels = tf.constant(np.arange(8, dtype=np.int32))
    weights = []
    for at_once in (4, 4, 1):
        model = build()
        model.set_weights(start)
        step = step_of(model, micro_batch_size=2, passes_at_once=at_once)
        for number in range(3):
            step(tf.constant(some_images()), labels, number, 0.01)
        weights.append(model.get_weights())
    for one, same, in_turn in zip(*weights):
        np.testing.assert_array_equal(one, same)
        np.testing.assert_allclose(one, in_turn, rtol=1e-3, atol=1e-4)
