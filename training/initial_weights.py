"""Fine-tuning: a model starts from the weights of another run's, all but the head.

Dosovitskiy et al. 2020 (arXiv 2010.11929), section 3.2.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.runtime import keras
from storage.trained_run import FinishedRun
from vit_model import head_layer_names


def start_from(model: keras.Model, folder: str | Path) -> Path:
    """Give every layer of the model but the head the weights of the same layer of a finished run.

    Returns the folder of that run, which is found as by finished_runs.find. Raises ValueError that
    lists every layer that only one of them has and every other shape.
    """
    run = FinishedRun(folder)
    own, other = body_weights(model), body_weights(run.model)
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


def body_weights(model: keras.Model) -> dict[str, list[np.ndarray]]:
    """Return the weights of every layer that has any and is not of the head, by layer name."""
    head = head_layer_names(model)
    return {
        layer.name: layer.get_weights()
        for layer in model.layers
        if layer.weights and layer.name not in head
    }


def _shapes(weights) -> str:
    return "none" if weights is None else " ".join(str(list(array.shape)) for array in weights)
