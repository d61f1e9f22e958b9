"""Predictions are those of the model, whatever the batches and passes."""

from __future__ import annotations

import numpy as np
import pytest

from backend import micro_batches
from backend.runtime import tf
from models.predictor import Predictor
from tests.helpers import small_model, some_images


def test_prediction_sees_every_image_once_and_puts_borrowed_weights_back():
    model = small_model()
    images = some_images(11)
    predict = Predictor(model, batch_size=4)
    logits = predict(images)
    assert logits.shape == (11, 10)
    np.testing.assert_allclose(logits, model(images).numpy(), atol=1e-5)
    own = model.get_weights()
    zeros = [np.zeros_like(weight) for weight in own]
    np.testing.assert_array_equal(predict(images, zeros), np.zeros((11, 10), np.float32))
    for weight, expected in zip(model.get_weights(), own):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("passes_at_once", [2, 4])
def test_passes_side_by_side_give_the_same_logits(passes_at_once):
    model, images = small_model(), some_images(21)
    one, other = [Predictor(model, 8, at_once)(images) for at_once in (1, passes_at_once)]
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    "gpu, cores, passes",
    [(True, 16, 1), (False, 1, 1), (False, 2, 2), (False, 3, 3), (False, 9, 4)],
)
def test_a_batch_has_one_pass_on_a_gpu_and_else_one_per_core(monkeypatch, gpu, cores, passes):
    monkeypatch.setattr(micro_batches, "has_gpu", lambda: gpu)
    monkeypatch.setattr(micro_batches, "cpu_cores", lambda: cores)
    assert Predictor(small_model()).passes_at_once == passes


def test_one_picture_is_predicted_alone_and_alike():
    run_shapes = []

    class Model:
        def __call__(self, images, training):
            run_shapes.append(images.shape[0])
            return tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2])

    predict = Predictor(Model(), batch_size=12, passes_at_once=1)
    images = np.random.RandomState(0).randint(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    np.testing.assert_allclose(predict(images[3:4])[0], predict(images)[3], rtol=1e-6)
    assert run_shapes == [1, 12]
