"""Fine-tuning: a model starts from the weights of another run's, with or without its head.

Dosovitskiy et al. 2020 (arXiv 2010.11929), section 3.2.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np

from backend.runtime import keras
from storage.trained_run import FinishedRun
from vit_model import head_layer_names


def start_from(
    model: keras.Model,
    folder: str | Path,
    class_names: Sequence[str] = (),
    with_head: bool = False,
) -> Path:
    """Give every layer of the model but the head the weights of the same layer of a finished run.

    Returns the folder of that run, which is found as by finished_runs.find. With its head, the
    model's class_names must be those of the run. Raises ValueError that lists every layer that only
    one of them has and every other shape.
    """
    run = FinishedRun(folder)
    if with_head and list(class_names) != list(run.class_names):
        raise ValueError(
            f"INITIAL_RUN is {run.folder}: its head knows other classes, {_some(run.class_names)}, "
            f"than these, {_some(class_names)}. INITIAL_HEAD no leaves it out."
        )
    own, other = (body_weights(each, with_head) for each in (model, run.model))
    if not other:
        raise ValueError(f"INITIAL_RUN is {run.folder}: its model has only a head.")
    differences = [
        f"{name}: {_shapes(own.get(name))} here, {_shapes(other.get(name))} there"
        for name in sorted(set(own) | set(other))
        if _shapes(own.get(name)) != _shapes(other.get(name))
    ]
    if differences:
        message = (
            f"INITIAL_RUN is {run.folder}: its model is another one. {'; '.join(differences)}."
        )
        if model.input_shape[1:3] != run.image_shape[:2]:
            there, here = run.image_shape[:2], model.input_shape[1:3]
            message += (
                f" Its images are {there[0]} x {there[1]} pixels, these {here[0]} x {here[1]}: "
                "IMAGE_SIZE resizes."
            )
        raise ValueError(message)
    for name, weights in other.items():
        model.get_layer(name).set_weights(weights)
    return run.folder


def freeze_body(model: keras.Model) -> None:
    """Leave only the head to be trained; frozen batch normalisation keeps its averages."""
    for name in body_weights(model):
        model.get_layer(name).trainable = False


@contextlib.contextmanager
def thawed(model: keras.Model) -> Iterator[None]:
    """Treat frozen layers as others while the block runs."""
    frozen = [layer for layer in model.layers if not layer.trainable]
    for layer in frozen:
        layer.trainable = True
    try:
        yield
    finally:
        for layer in frozen:
            layer.trainable = False


def body_weights(model: keras.Model, with_head: bool = False) -> dict[str, list[np.ndarray]]:
    """Return the weights of every layer that has any and is not of the head, by layer name."""
    head = () if with_head else head_layer_names(model)
    return {
        layer.name: layer.get_weights()
        for layer in model.layers
        if layer.weights and layer.name not in head
    }


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _shapes(weights) -> str:
    return "none" if weights is None else " ".join(str(list(array.shape)) for array in weights)
