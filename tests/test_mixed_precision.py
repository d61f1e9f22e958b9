"""float16 inside the model: it learns, overflow harms nothing, and without it nothing changes."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest

import train_cifar10
from backend import optimizers, runtime
from backend.runtime import keras, layer_precision, tf
from models.predictor import Predictor
from storage.trained_run import FinishedRun
from tests.helpers import LABELS, batch, new_step, small_model, some_images
from training.trainer import Trainer

pytestmark = pytest.mark.tensorflow_only

OFFERED = hasattr(getattr(keras, "mixed_precision", None), "set_global_policy")
needs_float16 = pytest.mark.skipif(not OFFERED, reason="TensorFlow 1.15.8 has no mixed precision")
SMALL = (
    "--dataset synthetic --images-per-class 80 --batch-size 64 --micro-batch-size 16 "
    "--patch-size 8 --patch-stride 8 --number-of-layers 1 --embedding-dim 16 --num-heads 2 "
    "--mlp-hidden-dim 16 --head-hidden-dims 16"
).split()


def mixed_model(**arguments):
    with layer_precision(True):
        return small_model(**arguments)


def state_of(step):
    return [variable.numpy() for variable in step.state()]


def test_where_it_is_not_offered_one_line_says_so(tmp_path, monkeypatch):
    if OFFERED:
        # As on 1.15.8, which has only an experimental forerunner.
        without = types.SimpleNamespace(mixed_precision=types.SimpleNamespace(experimental=None))
        monkeypatch.setattr(runtime, "keras", without)
    assert Trainer  # imported before the runtime was changed for the test
    with pytest.raises(ValueError, match="MIXED_PRECISION is True.*2.10"):
        train_cifar10.main(SMALL + ["--mixed-precision", "yes", "--output-dir", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_without_it_no_layer_computes_in_float16():
    step = new_step(small_model())
    images, labels = batch()
    graph = tf.function(step.whole_step).get_concrete_function(
        images, labels, tf.constant(0), tf.constant(0.1)
    )
    operations = graph.graph.get_operations()
    assert not [o.name for o in operations for t in o.outputs if t.dtype == tf.float16]
    # One for the pixels; those of a type to itself are no operations.
    assert len([o for o in operations if o.type == "Cast"]) <= 6


@needs_float16
@pytest.mark.parametrize("pieces", [{}, {"micro_batch_size": 4, "passes_at_once": 2}])
def test_a_batch_is_learned_by_heart_in_float16_with_float32_variables(pieces):
    keras.backend.clear_session()
    model = mixed_model(embedding_dim=32, mlp_hidden_dim=64)
    assert {weight.dtype for weight in model.get_weights()} == {np.dtype(np.float32)}
    assert model.get_layer("block_1").compute_dtype == "float16"
    step = new_step(model, mixed_precision=True, gradient_clip_norm=1.0, ema_decay=0.5, **pieces)
    images, labels = batch()
    losses = [float(step(images, labels, number, 0.003)[0]) for number in range(120)]
    assert losses[-1] < 0.1 * losses[0]


@needs_float16
def test_its_weights_mean_the_same_to_a_float32_model():
    model, other = mixed_model(), small_model()
    other.set_weights(model.get_weights())
    expected = Predictor(other, 16)(some_images(16))
    logits = Predictor(model, 16)(some_images(16))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=0.02 * np.abs(expected).max())


@needs_float16
def test_gradients_are_those_of_float32_whatever_the_scale():
    model, other = mixed_model(), small_model()
    other.set_weights(model.get_weights())
    step, plain = new_step(model, "sgd", mixed_precision=True), new_step(other, "sgd")
    start = model.get_weights()
    step(*batch(), step=0, learning_rate=0.1)
    plain(*batch(), step=0, learning_rate=0.1)
    moves = [
        np.concatenate([(w - s).ravel() for w, s in zip(m.get_weights(), start)])
        for m in (model, other)
    ]
    assert np.linalg.norm(moves[0] - moves[1]) < 0.02 * np.linalg.norm(moves[1])


@needs_float16
def test_a_step_that_overflows_moves_nothing_but_the_scale():
    model = mixed_model()
    step = new_step(model, mixed_precision=True, ema_decay=0.9)
    step(*batch(), step=0, learning_rate=0.01)
    before = state_of(step)
    step.loss_scale.factor.assign(2.0**127)
    loss, _ = step(*batch(), step=1, learning_rate=0.01)
    after = state_of(step)
    assert np.isfinite(float(loss))
    for old, new in zip(before[:-3], after[:-3]):
        np.testing.assert_array_equal(old, new)
    # The factor, and the steps that were good and dropped since.
    assert (after[-3], after[-2], after[-1]) == (2.0**126, 0.0, 1.0)
    # And what had overflowed is not left in the sums.
    step.loss_scale.factor.assign(2.0**10)
    assert np.isfinite(float(step(*batch(), step=1, learning_rate=0.01)[0]))
    assert all(np.isfinite(array).all() for array in state_of(step))
    assert any((old != new).any() for old, new in zip(before[:-3], state_of(step)[:-3]))


@needs_float16
def test_dropped_steps_do_not_count_in_the_corrections_of_adam():
    """The first update after overflows is that of a run which had none, not half of its size."""
    model = mixed_model()
    start = model.get_weights()
    step = new_step(model, mixed_precision=True, weight_decay=0.0, ema_decay=0.9)
    step(*batch(), step=0, learning_rate=0.01)
    expected = state_of(step)[:-3]
    for variable, array in zip(step.state(), start):
        variable.assign(array)
    for variable in step.optimizer.slots:
        variable.assign(tf.zeros_like(variable))
    for average, array in zip(step.averages, start):
        average.assign(array)
    for number in range(4):
        step.loss_scale.factor.assign(2.0**127)
        step(*batch(), step=number, learning_rate=0.01)
    step.loss_scale.factor.assign(optimizers.FIRST_FACTOR)
    step(*batch(), step=4, learning_rate=0.01)
    for array, other in zip(state_of(step)[:-3], expected):
        np.testing.assert_array_equal(array, other)
    assert step.loss_scale.dropped_steps.numpy() == 4.0


def test_the_scale_grows_after_many_good_steps_and_gives_up_below_one(monkeypatch):
    monkeypatch.setattr(optimizers, "STEPS_BEFORE_GROWTH", 3)
    scale = optimizers.LossScale(2.0)
    factors = []
    for finite in (True, True, True, True, True, False, False, False, False):
        scale.observe(finite)
        factors.append(float(scale.factor.numpy()))
    assert factors == [2, 2, 4, 4, 4, 2, 1, 0.5, 0.25]
    assert scale.is_exhausted


@needs_float16
def test_gradients_that_overflow_at_any_scale_are_reported():
    step = new_step(mixed_model(), mixed_precision=True)
    images = tf.constant(np.full((16,) + some_images(1).shape[1:], np.nan, np.float32))
    step.loss_scale.factor.assign(1.0)
    assert np.isnan(float(step(images, tf.constant(LABELS), 0, 0.01)[0]))


@needs_float16
def test_a_run_in_float16_learns_and_its_checkpoint_has_the_scale(tmp_path):
    flags = SMALL + "--epochs 8 --learning-rate 0.01 --augmentations random_flip".split()
    flags += ["--mixed-precision", "yes", "--output-dir", str(tmp_path)]
    folder = train_cifar10.main(flags)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["test_accuracy"] > 0.3
    run = FinishedRun(folder)
    dataset = run.dataset()
    answers = run.probabilities(dataset.x_test).argmax(axis=1)
    # Here the model is a float32 one.
    assert (answers == dataset.y_test).mean() == pytest.approx(results["test_accuracy"], abs=0.02)
