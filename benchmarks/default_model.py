"""The default model as train_cifar10.py trains it on this device, but without dropout."""

from __future__ import annotations

import itertools
from typing import Callable, Sequence

import numpy as np

import train_cifar10
from backend import micro_batches
from backend.runtime import keras, runtime_name, tf
from models.predictor import PREDICTION_BATCH_SIZE, Predictor
from training.run import training_step_for
from training.settings import Settings, settings_from
from training.step import TrainingStep


def settings_for(batch_size: int, micro_batch_size: int = -1) -> Settings:
    """Return the settings of train_cifar10.py without dropout."""
    flags = (
        "--head-dropout-rate 0 --stochastic-depth-rate 0 "
        f"--batch-size {batch_size} --micro-batch-size {micro_batch_size}"
    )
    return settings_from(vars(train_cifar10), flags.split())


def model_and_step(
    settings: Settings, mean: Sequence[float], std: Sequence[float], passes_at_once: int = 0
) -> tuple[keras.Model, TrainingStep]:
    """Return the model and its training step in a process that has not used TensorFlow before."""
    micro_batches.share_cores(settings.BATCH_SIZE, settings.MICRO_BATCH_SIZE)
    model = train_cifar10.build_model(settings)((32, 32, 3), 10, mean, std)
    return model, training_step_for(model, settings, passes_at_once=passes_at_once)


def contender(
    images: np.ndarray, labels: np.ndarray, mean: Sequence[float], std: Sequence[float]
) -> dict[str, Callable]:
    """Return what can be called: training on the batch and predicting it, both to the end."""
    settings = settings_for(len(images))
    model, step = model_and_step(settings, mean, std)
    # Biases of 0 and scales of 1 would hide it if a twin took them from elsewhere.
    random = np.random.RandomState(0)
    model.set_weights([w + 0.02 * random.randn(*w.shape) for w in model.get_weights()])
    numbers = itertools.count()
    # The Predictor of a training would fill a small batch up.
    predict = Predictor(model, min(len(images), PREDICTION_BATCH_SIZE))
    pixels, classes = tf.constant(images), tf.constant(labels)
    return {
        "runtime": runtime_name,
        "parameters": model.count_params,
        "weights": lambda: [(weight.name, weight.numpy()) for weight in model.weights],
        "training": lambda: float(step(pixels, classes, next(numbers), 1e-3)[0]),
        "inference": lambda: predict(images),
    }
