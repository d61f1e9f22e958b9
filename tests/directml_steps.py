"""Training steps of every kind on one device, to be compared with another: a program for tests.

python -m tests.directml_steps reference FOLDER   on the CPU: writes what it has computed
python -m tests.directml_steps device FOLDER      on the GPU: prints, as JSON, how far off it is
"""

from __future__ import annotations

import importlib
import json
import os
import sys

import numpy as np

TRANSFORMER = (
    "--number-of-layers 1 --embedding-dim 16 --num-heads 2 --mlp-hidden-dim 24 --batch-size 8"
)
# Name -> script and flags. Only the sizes are small; the operations are those of the full size.
SELECTIONS = {
    "default": ("train_cifar10", TRANSFORMER),
    "cifar100": ("train_cifar100", TRANSFORMER),
    "mnist": ("recipes.mnist", TRANSFORMER),
    "pretrain": ("recipes.pretrain_cifar100", TRANSFORMER),
    "keras": ("recipes.keras_cifar100", f"{TRANSFORMER} --head-hidden-dims 16 --image-size 24"),
    "visual_tokens": (
        "recipes.visual_tokens_cifar10",
        f"{TRANSFORMER} --convolution-filters 8 8 --convolution-strides 2 2 --number-of-tokens 4",
    ),
    "resnet": ("recipes.resnet_cifar10", "--number-of-layers 8 --filters 4 --batch-size 32"),
    "finetune": ("recipes.finetune_cifar10", f"{TRANSFORMER} --initial-run "),
    "distilled": ("recipes.distilled_cifar10", TRANSFORMER),
    "convolutional_mean": (
        "train_cifar10",
        f"{TRANSFORMER} --stem convolutional --representation mean --optimizer sgd --ema-decay 0.9",
    ),
    "sequence_pooling_of_overlapping_patches": (
        "train_cifar10",
        f"{TRANSFORMER} --representation sequence_pooling --patch-size 8 --patch-stride 4",
    ),
    "soft_labels_and_all_regularisers": (
        "train_cifar10",
        f"{TRANSFORMER} --augmentations cutmix --label-smoothing 0.1 --dropout-rate 0.1 "
        "--gradient-clip-norm 1 --optimizer adamw --weight-decay 0.1",
    ),
    "micro_batches": ("train_cifar10", f"{TRANSFORMER} --micro-batch-size 4"),
    "mixed_precision": ("train_cifar10", f"{TRANSFORMER} --mixed-precision yes"),
}
STEPS = 3


def new_step(script_name: str, flags: str):
    """Return the training step of a script, its model, and a batch of images and labels."""
    from backend.runtime import keras, layer_precision, tf
    from data_augmentations import mixes_labels
    from datasets.catalogue import NAMED_DATASETS
    from models.resnet import resnet
    from training.distillation import Distillation
    from training.run import training_step_for
    from training.settings import settings_from
    from training.step import CLASSIFICATION

    script = importlib.import_module(script_name)
    settings = settings_from(vars(script), flags.split(" "))
    settings.MICRO_BATCH_SIZE = max(settings.MICRO_BATCH_SIZE, 0)
    row = NAMED_DATASETS[settings.DATASET]
    side, _, channels = row.image_shape
    side = settings.IMAGE_SIZE or side
    facts = dict(
        image_shape=(side, side, channels),
        number_of_classes=len(row.class_names),
        mean=[127.5] * channels,
        std=[64.0] * channels,
    )
    keras.backend.clear_session()
    tf.compat.v2.random.set_seed(0)
    objective = CLASSIFICATION
    if hasattr(script, "build_objective"):
        objective = Distillation(resnet(number_of_layers=8, filters=4, **facts))
    with layer_precision(settings.MIXED_PRECISION):
        model = script.build_model(settings)(**facts)
    step = training_step_for(model, settings, objective, passes_at_once=1)
    random = np.random.RandomState(0)
    # Images with structure, not noise only: one level for each, and a little noise.
    levels = random.rand(settings.BATCH_SIZE, 1, 1, channels) * 200
    images = levels + random.rand(settings.BATCH_SIZE, side, side, channels) * 55
    labels = random.randint(0, facts["number_of_classes"], settings.BATCH_SIZE).astype(np.int32)
    if mixes_labels(settings.AUGMENTATIONS):
        one_hot = np.eye(facts["number_of_classes"], dtype=np.float32)[labels]
        labels = 0.7 * one_hot + 0.3 * one_hot[::-1]
    return step, images.astype(np.uint8), labels, settings.LEARNING_RATE


def weights_of(step) -> list:
    """Return the variables of the model and, in a student's step, those of its teacher."""
    return list(step.training_model.weights)


def compute(script_name: str, flags: str, first_weights=None) -> dict[str, list[np.ndarray]]:
    """Return what a few steps compute on the device of this process."""
    from backend.runtime import tf
    from models.predictor import Predictor

    step, images, labels, rate = new_step(script_name, flags)
    if first_weights is not None:
        for variable, value in zip(weights_of(step), first_weights):
            variable.assign(value)
        # The averages began with the weights of their own device.
        for average, weight in zip(step.averages, step.model.weights):
            average.assign(weight)
    first = [variable.numpy() for variable in weights_of(step)]
    logits = Predictor(step.model, batch_size=8, passes_at_once=1)(images)
    losses, slots, averages = [], [], []
    for number in range(STEPS):
        loss, _ = step(tf.constant(images), tf.constant(labels), number, rate)
        losses.append(np.float64(loss))
        if not number:
            # The first moments of one step are its gradients, but for a factor.
            slots = [slot.numpy() for slot in step.optimizer.slots]
            averages = [average.numpy() for average in step.averages]
    return {
        "first weights": first,
        "logits": [logits],
        "first loss": losses[:1],
        "gradients": slots,
        "averaged weights": averages,
        "last loss": losses[-1:],
    }


def save(path: str, outcome: dict[str, list[np.ndarray]]) -> None:
    """Write lists of arrays as one .npz file."""
    arrays = {f"{name}/{i:04d}": a for name, each in outcome.items() for i, a in enumerate(each)}
    np.savez(path, **arrays)


def load(path: str) -> dict[str, list[np.ndarray]]:
    """Read what `save` has written."""
    with np.load(path) as archive:
        outcome: dict[str, list[np.ndarray]] = {}
        for key in sorted(archive.files):
            outcome.setdefault(key.split("/")[0], []).append(archive[key])
    return outcome


def main(mode: str, folder: str) -> None:
    """Compute all selections; print one JSON line with the device and, for each, the errors."""
    from backend.runtime import device_name, has_gpu, keras
    from tools.device_check import difference

    found = {"device": device_name(), "has_gpu": has_gpu(), "errors": {}, "refused": []}
    for name, (script, flags) in SELECTIONS.items():
        offered = hasattr(getattr(keras, "mixed_precision", None), "set_global_policy")
        if "mixed-precision" in flags and not offered:
            found["refused"].append(name)
            continue
        path = os.path.join(folder, name + ".npz")
        if mode == "reference":
            save(path, compute(script, flags))
            continue
        expected = load(path)
        outcome = compute(script, flags, expected.pop("first weights"))
        found["errors"][name] = {
            quantity: difference(outcome[quantity], arrays) for quantity, arrays in expected.items()
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
