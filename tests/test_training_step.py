"""One training step: right loss, right gradients, whole or in pieces; and prediction."""

from __future__ import annotations

import numpy as np
import pytest

from backend.runtime import keras, tf
from models.predictor import Predictor, softmax
from reports.metrics import accuracy_and_loss
from tests.helpers import BATCH, LABELS, batch, new_step, small_model
from training.step import class_weights_for, cross_entropy

pytestmark = pytest.mark.tensorflow_only


def test_the_loss_is_keras_sparse_categorical_cross_entropy_from_logits():
    logits = np.random.RandomState(0).normal(size=(BATCH, 10)).astype(np.float32)
    loss = tf.reduce_mean(cross_entropy(tf.constant(LABELS), tf.constant(logits))).numpy()
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, logits).numpy()
    assert loss == pytest.approx(expected, rel=1e-6)
    assert accuracy_and_loss(logits, LABELS)[2] == pytest.approx(expected, rel=1e-6)


def test_soft_labels_and_smoothing_are_one_cross_entropy():
    logits = tf.constant(np.random.RandomState(0).normal(size=(BATCH, 10)).astype(np.float32))
    labels = tf.constant(LABELS)
    sparse = cross_entropy(labels, logits).numpy()
    np.testing.assert_allclose(
        cross_entropy(tf.one_hot(labels, 10), logits).numpy(), sparse, rtol=1e-5
    )
    smoothed = cross_entropy(labels, logits, label_smoothing=0.1).numpy()
    uniform = -np.log(softmax(logits.numpy())).mean(axis=1)
    np.testing.assert_allclose(smoothed, 0.9 * sparse + 0.1 * uniform, rtol=1e-5)


def test_balanced_classes_weigh_alike_in_sum_and_one_on_average():
    labels = np.repeat([0, 2], [190, 10])
    weights = class_weights_for("balanced", labels, 3)
    # A class without images has a weight too, which nothing multiplies.
    assert weights == [200 / 380, 1.0, 10.0]
    assert np.take(weights, labels).mean() == pytest.approx(1)
    assert class_weights_for("none", labels, 3) is None


def test_the_loss_of_an_image_is_weighed_by_its_class_also_in_soft_labels():
    model = small_model()
    weights = np.linspace(0.1, 3, 10)
    images, labels = batch()
    losses = cross_entropy(labels, model(images)).numpy()
    step = new_step(model, "sgd", class_weights=weights.tolist())
    for given in (labels, tf.one_hot(labels, 10)):
        loss, _ = step(images, given, step=0, learning_rate=0.0)
        assert float(loss) == pytest.approx((weights[LABELS] * losses).mean(), rel=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_one_batch_is_learned_by_heart(optimizer):
    keras.backend.clear_session()
    model = small_model(embedding_dim=32, mlp_hidden_dim=64)
    step = new_step(model, optimizer)
    images, labels = batch()
    rate = 0.05 if optimizer == "sgd" else 0.003
    for number in range(150):
        loss, accuracy = step(images, labels, number, rate)
    assert float(accuracy) == 1.0
    logits = Predictor(model, BATCH)(images.numpy())
    assert accuracy_and_loss(logits, LABELS)[0] == 1.0


@pytest.mark.parametrize("seed", [2**31, 2**32 - 1])
def test_large_seeds_are_seeds_too(seed):
    step = new_step(small_model(dropout_rate=0.1), micro_batch_size=8, seed=seed)
    assert np.isfinite(float(step(*batch(), 0, 0.01)[0]))


def test_every_variable_moves():
    model = small_model(dropout_rate=0.1)
    before = model.get_weights()
    new_step(model)(*batch(), step=0, learning_rate=0.01)
    for variable, old in zip(model.weights, before):
        assert np.abs(variable.numpy() - old).max() > 0, variable.name


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_pieces_of_a_batch_make_the_update_of_the_whole(clip):
    whole, pieces = small_model(), small_model()
    pieces.set_weights(whole.get_weights())
    # SGD, because Adam's first steps look at the sign of a gradient alone, rounding included.
    one = new_step(whole, "sgd", gradient_clip_norm=clip)
    other = new_step(pieces, "sgd", gradient_clip_norm=clip, micro_batch_size=4)
    for number in range(3):
        loss, accuracy = one(*batch(), step=number, learning_rate=0.1)
        loss_of_pieces, accuracy_of_pieces = other(*batch(), step=number, learning_rate=0.1)
        assert float(loss) == pytest.approx(float(loss_of_pieces), rel=1e-4)
        assert float(accuracy) == pytest.approx(float(accuracy_of_pieces))
    for value, other_value in zip(whole.get_weights(), pieces.get_weights()):
        np.testing.assert_allclose(value, other_value, atol=2e-5)


@pytest.mark.parametrize("passes_at_once", [2, 4])
def test_passes_side_by_side_are_those_one_after_the_other(passes_at_once):
    start = small_model(dropout_rate=0.3).get_weights()
    weights = []
    for at_once in (1, passes_at_once):
        model = small_model(dropout_rate=0.3)
        model.set_weights(start)
        step = new_step(model, "sgd", micro_batch_size=4, passes_at_once=at_once)
        for number in range(2):
            step(*batch(), step=number, learning_rate=0.1)
        weights.append(model.get_weights())
    for one, other in zip(*weights):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_a_step_is_a_function_of_its_number():
    weights = []
    start = small_model(dropout_rate=0.3, stochastic_depth_rate=0.3).get_weights()
    for numbers in ([3, 4], [3, 4], [3, 5]):
        model = small_model(dropout_rate=0.3, stochastic_depth_rate=0.3)
        model.set_weights(start)
        step = new_step(model, micro_batch_size=4, passes_at_once=2)
        for number in numbers:
            step(*batch(), step=number, learning_rate=0.01)
        weights.append(model.get_weights())
    for one, same in zip(weights[0], weights[1]):
        np.testing.assert_array_equal(one, same)
    assert any(np.abs(one - other).max() > 0 for one, other in zip(weights[0], weights[2]))


def test_averaged_weights_follow_the_weights():
    model = small_model()
    step = new_step(model, ema_decay=0.9)
    expected = [weight.astype(np.float64) for weight in model.get_weights()]
    for number in range(3):
        step(*batch(), step=number, learning_rate=0.01)
        decay = min(0.9, (1 + number) / (10 + number))
        expected = [e + (1 - decay) * (w - e) for e, w in zip(expected, model.get_weights())]
    for value, wanted in zip(step.evaluation_weights(), expected):
        np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_accuracy_and_top_five_are_counted_by_hand():
    logits = np.tile(np.arange(10, dtype=np.float32), (4, 1))
    top1, top5, _ = accuracy_and_loss(logits, np.array([9, 8, 5, 4]))
    assert (top1, top5) == (0.25, 0.75)
    assert accuracy_and_loss(logits[:, :2], np.array([0, 0, 1, 1]))[:2] == (0.5, 1.0)
