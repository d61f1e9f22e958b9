"""What a training consists of, put together from its settings: data, model, step, progress."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Sequence

import numpy as np

from backend.micro_batches import FEWEST_NORMALISED, gradient_passes
from backend.optimizers import optimizer_for
from backend.runtime import keras, layer_precision, tf
from data_augmentations import augmentation_pipeline
from datasets.dataset import Dataset
from datasets.random_streams import stream_number
from datasets.splits import validation_split
from models.predictor import Predictor
from training import initial_weights
from training.progress import Progress
from training.schedule import LearningRate
from training.settings import Settings
from training.step import CLASSIFICATION, TrainingStep, class_weights_for
from vit_model import EncoderBlock


@dataclass
class Run:
    """What a training consists of, put together from its settings by `prepare`."""

    dataset: Dataset
    training_indices: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray
    augment: Callable
    model: keras.Model
    model_description: dict[str, Any]
    dataset_facts: dict[str, Any]
    step: TrainingStep
    predict: Predictor
    progress: Progress
    # Numbers that training could move, those of frozen layers among them.
    parameters: int

    @property
    def tokens(self) -> int:
        """The number of tokens of an image, 0 for a model without attention."""
        blocks = [layer for layer in self.model.layers if isinstance(layer, EncoderBlock)]
        return int(blocks[0].attention.tokens) if blocks else 0


def prepare(
    build_model: partial,
    settings: Settings,
    dataset: Dataset,
    objective=CLASSIFICATION,
    begins_anew: bool = True,
) -> Run:
    """Return the model, its training step and all else that settings and data set decide.

    Only a run that begins anew reads the weights of its INITIAL_RUN: others have a checkpoint.
    Raises ValueError for settings that do not fit the data set.
    """
    augment = augmentation_pipeline(settings.AUGMENTATIONS, dataset.number_of_classes)
    training_indices = np.arange(len(dataset.y_train))
    validation_images, validation_labels = dataset.x_validation, dataset.y_validation
    if validation_images is None:
        training_indices, held_out = validation_split(
            dataset.y_train, settings.VALIDATION_FRACTION, settings.SEED, dataset.class_names
        )
        validation_images, validation_labels = dataset.x_train[held_out], dataset.y_train[held_out]
    if settings.BATCH_SIZE > len(training_indices):
        raise ValueError(
            f"BATCH_SIZE is {settings.BATCH_SIZE}, but there are only {len(training_indices)} "
            "training images."
        )
    _set_seed(stream_number(settings.SEED, "initial weights"))
    dataset_facts = {
        "image_shape": list(dataset.image_shape),
        "number_of_classes": dataset.number_of_classes,
        "mean": list(dataset.mean),
        "std": list(dataset.std),
    }
    model_description = {
        "builder": build_model.func.__name__,
        "arguments": build_model.keywords,
        "class_names": list(dataset.class_names),
    }
    # No layer branches on values, so AutoGraph would only cost time.
    build = tf.autograph.experimental.do_not_convert(build_model)
    with layer_precision(settings.MIXED_PRECISION):
        model = build(**dataset_facts)
    if settings.INITIAL_RUN and begins_anew:
        # The run itself, where a folder of runs was given, so that settings.json names it.
        settings.INITIAL_RUN = str(
            initial_weights.start_from(
                model, settings.INITIAL_RUN, dataset.class_names, settings.INITIAL_HEAD
            )
        )
    parameters = int(sum(np.prod(variable.shape) for variable in model.trainable_variables))
    if settings.INITIAL_RUN and settings.FREEZE:
        initial_weights.freeze_body(model)
    schedule = LearningRate(
        settings.SCHEDULE,
        settings.LEARNING_RATE,
        settings.EPOCHS,
        patience=settings.PATIENCE,
        warmup_epochs=settings.WARMUP_EPOCHS,
        warmup_learning_rate=settings.WARMUP_LEARNING_RATE,
        decay_per_epoch=settings.DECAY_PER_EPOCH,
    )
    return Run(
        dataset=dataset,
        training_indices=training_indices,
        validation_images=validation_images,
        validation_labels=validation_labels,
        augment=augment,
        model=model,
        model_description=model_description,
        dataset_facts=dataset_facts,
        step=training_step_for(
            model,
            settings,
            objective,
            class_weights=class_weights_for(
                settings.CLASS_WEIGHTS,
                dataset.y_train[training_indices],
                dataset.number_of_classes,
            ),
        ),
        predict=Predictor(model),
        progress=Progress(
            schedule,
            settings.EPOCHS,
            steps_per_epoch=len(training_indices) // settings.BATCH_SIZE,
            batch_size=settings.BATCH_SIZE,
            time_limit_minutes=settings.TIME_LIMIT_MINUTES,
            early_stopping_patience=settings.EARLY_STOPPING_PATIENCE,
        ),
        parameters=parameters,
    )


def training_step_for(
    model: keras.Model,
    settings: Settings,
    objective=CLASSIFICATION,
    passes_at_once: int = 0,
    class_weights: Sequence[float] | None = None,
) -> TrainingStep:
    """Return the training step of a model as the settings describe it.

    passes_at_once gradient passes stand in one graph; 0 = as many as suit this device.
    class_weights, which depend on the data, are those of training.step.class_weights_for.
    """
    fewest = FEWEST_NORMALISED if has_batch_normalisation(model) else 1
    passes = gradient_passes(settings.BATCH_SIZE, settings.MICRO_BATCH_SIZE, fewest)
    return TrainingStep(
        model,
        optimizer_for(
            settings.OPTIMIZER, model.trainable_variables, settings.WEIGHT_DECAY, settings.MOMENTUM
        ),
        batch_size=settings.BATCH_SIZE,
        micro_batch_size=passes.images,
        passes_at_once=passes_at_once or passes.at_once,
        label_smoothing=settings.LABEL_SMOOTHING,
        class_weights=class_weights,
        gradient_clip_norm=settings.GRADIENT_CLIP_NORM,
        ema_decay=settings.EMA_DECAY,
        seed=settings.SEED,
        objective=objective,
        mixed_precision=settings.MIXED_PRECISION,
    )


def has_batch_normalisation(model: keras.Model) -> bool:
    """Return whether what a model makes of an image depends on the others of its pass."""
    return any(isinstance(each, keras.layers.BatchNormalization) for each in model.submodules)


def _set_seed(seed: int) -> None:
    """Make the initial weights a function of the seed."""
    if hasattr(keras.utils, "set_random_seed"):
        keras.utils.set_random_seed(seed)
    else:
        tf.compat.v2.random.set_seed(seed)
