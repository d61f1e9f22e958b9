"""Whether the device that trains computes what the CPU computes: one training step on both.

    python -m tools.doctor --check

The same weights, images and labels go to both. A driver that computes something wrong is off by
far more than the tolerances, which leave room for other orders of summation and for the shortened
float32 products (TF32) of some GPUs.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np

from backend import layers
from backend.optimizers import Adam
from backend.runtime import device_name, gpu_device_type, has_gpu, runtime_name, tf
from training.step import TrainingStep
from vit_model import vision_transformer

IMAGE_SHAPE, CLASSES, BATCH_SIZE, LEARNING_RATE, LATER_STEPS = (32, 32, 3), 10, 16, 0.001, 5
# Largest accepted |device - CPU| / |CPU|, Euclidean lengths over all numbers of a quantity. Of
# gradients and weights every variable is compared, and the worst one counts.
TOLERANCES = {
    "random numbers": 1e-6,
    "logits": 1e-3,
    "loss": 1e-4,
    "gradients": 1e-2,
    "change of the weights": 1e-3,
    "loss 5 steps later": 1e-2,
}


class Outcome(NamedTuple):
    """What one device has computed, by the names of TOLERANCES; device: where that was."""

    device: str
    weights: list[np.ndarray]
    quantities: dict[str, list[np.ndarray]]


def check(device: str | None = None) -> int:
    """Print how far a training step on a device is from the CPU's; 0 when equal, 1 when not.

    device is TensorFlow's name of it; None means the GPU that training uses: 2 where there is none.
    """
    print(runtime_name())
    if device is None:
        if not has_gpu():
            print("Nothing was checked: TensorFlow finds no GPU. Ask `python -m tools.doctor`.")
            return 2
        device = f"/{gpu_device_type()}:0"
    reference = compute("/CPU:0")
    gradients = reference.quantities["gradients"]
    found = compute(device, reference.weights, gradients)
    print(f"{found.device} ({device_name()}) against {reference.device}\n")
    print("{:<22} {:>12} {:>12}".format("quantity", "difference", "tolerance"))
    different = []
    for name, tolerance in TOLERANCES.items():
        error = difference(found.quantities[name], reference.quantities[name])
        # Not `error > tolerance`: NaN is no agreement.
        if not error <= tolerance:
            different.append(name)
        row = "{:<22} {:>12.1e} {:>12.0e}  {}"
        print(row.format(name, error, tolerance, "DIFFERENT" if name in different else "ok"))
    if different:
        print(
            "\nThe device computes something else than the CPU. Install its newest driver. If that "
            "does not help,\nset TF_DIRECTML_FORCE_PLACED_RESOURCES=true: some drivers fail with "
            "the tiled memory that\nDirectML uses by default."
        )
        return 1
    print("\nThe device computes what the CPU computes.")
    return 0


def difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Return the worst relative difference between two lists of arrays.

    An array that is nearly nothing beside the others (the gradient of a key's bias is exactly zero
    but for rounding) is measured against a thousandth of all.
    """
    least = 1e-3 * np.sqrt(sum(np.sum(np.square(array, dtype=np.float64)) for array in expected))
    errors = [
        np.linalg.norm((one - other).ravel().astype(np.float64))
        / max(np.linalg.norm(other.ravel().astype(np.float64)), least, 1e-30)
        for one, other in zip(found, expected)
    ]
    # np.max hands NaN on, max() may not.
    return float(np.max(errors))


def compute(
    device: str,
    weights: Sequence[np.ndarray] | None = None,
    gradients: Sequence[np.ndarray] | None = None,
) -> Outcome:
    """Return what a training step computes on a device.

    weights are the first ones, by default random ones. The change of the weights is that by the
    given gradients, by default by its own: Adam makes large steps of gradients that are nothing but
    rounding, which says nothing about a device.
    """
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (BATCH_SIZE,) + IMAGE_SHAPE).astype(np.uint8)
    labels = random.randint(0, CLASSES, BATCH_SIZE).astype(np.int32)

    with tf.device(device):
        # The default model, with fewer layers and without its random choices.
        model = vision_transformer(
            IMAGE_SHAPE,
            CLASSES,
            mean=(127.5,) * 3,
            std=(64.0,) * 3,
            number_of_layers=2,
            head_hidden_dims=(64,),
        )
        if weights is not None:
            model.set_weights(weights)
        first_weights = model.get_weights()
        training_step = TrainingStep(model, Adam(model.trainable_variables), BATCH_SIZE)

    def on_device(function):
        def placed(*inputs):
            with tf.device(device):
                return function(*inputs)

        graph = tf.function(placed)

        def call(*inputs):
            with tf.device(device):
                return graph(*[tf.constant(value) for value in inputs])

        return call

    def uniform():
        with layers.random_numbers_from(tf.constant([3, 4])):
            return layers.uniform([64, 64])

    def forward_and_back(images, labels):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = training_step.objective.losses(labels, logits, 0.0)
            loss = tf.reduce_mean(losses)
        return logits, loss, tape.gradient(loss, model.trainable_variables)

    def update(*gradients):
        training_step.optimizer.apply(gradients, LEARNING_RATE, tf.constant(0))

    whole_step = on_device(training_step.whole_step)
    numbers = on_device(uniform)().numpy()
    logits, loss, own_gradients = on_device(forward_and_back)(images, labels)
    own_gradients = [gradient.numpy() for gradient in own_gradients]
    on_device(update)(*(own_gradients if gradients is None else gradients))
    changes = [new - old for new, old in zip(model.get_weights(), first_weights)]
    for number in range(1, 1 + LATER_STEPS):
        later_loss, _ = whole_step(images, labels, np.int32(number), np.float32(LEARNING_RATE))
    quantities = {
        "random numbers": [numbers],
        "logits": [logits.numpy()],
        "loss": [loss.numpy()],
        "gradients": own_gradients,
        "change of the weights": changes,
        "loss 5 steps later": [later_loss.numpy()],
    }
    return Outcome(logits.device.split("device:")[-1], first_weights, quantities)
