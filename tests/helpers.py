"""What several test files share: the project's folder, small runs, and what is done to them."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import numpy as np

from storage import run_content
from storage.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent

# A model and a batch that are computed in a moment. Test files that only need a name should not
# load TensorFlow: it is imported inside the functions.
CLASSES = 10
FACTS = dict(
    image_shape=(16, 16, 3),
    number_of_classes=CLASSES,
    mean=(120.0, 115.0, 110.0),
    std=(60.0, 61.0, 62.0),
)
BATCH = 16
LABELS = (np.arange(BATCH) % CLASSES).astype(np.int32)


def some_images(count=4, shape=(16, 16, 3), seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count,) + shape).astype(np.uint8)


def small_model(**arguments):
    from vit_model import vision_transformer

    small = dict(
        number_of_layers=2,
        embedding_dim=16,
        num_heads=4,
        mlp_hidden_dim=32,
        head_hidden_dims=(24,),
    )
    return vision_transformer(**{**FACTS, **small, **arguments})


def small_resnet(**arguments):
    from models.resnet import resnet

    return resnet(**{**FACTS, **dict(number_of_layers=8, filters=4), **arguments})


def small_visual_tokens(**arguments):
    from models.visual_tokens import visual_token_transformer

    small = dict(
        convolution_filters=(4, 6),
        convolution_strides=(1, 2),
        number_of_tokens=3,
        number_of_layers=1,
        embedding_dim=8,
        num_heads=2,
        mlp_hidden_dim=8,
    )
    return visual_token_transformer(**{**FACTS, **small, **arguments})


def new_step(model, optimizer="adam", weight_decay=0.01, **arguments):
    from backend.optimizers import optimizer_for
    from training.step import TrainingStep

    rule = optimizer_for(optimizer, model.trainable_variables, weight_decay, 0.9)
    return TrainingStep(model, rule, **{**dict(batch_size=BATCH), **arguments})


def batch():
    from backend.runtime import tf

    return tf.constant(some_images(BATCH)), tf.constant(LABELS)


# A script's flags for a model that trains in a second.
SMALL_MODEL = (
    "--number-of-layers 1 --embedding-dim 16 --num-heads 2 --mlp-hidden-dim 16 "
    "--head-hidden-dims 16 --patch-size 8 --patch-stride 8"
).split()

SMALL_RUN = SMALL_MODEL + [
    *"--dataset synthetic --images-per-class 80 --batch-size 64 --micro-batch-size 64".split(),
    *"--epochs 2".split(),
]


class Killed(BaseException):
    """What stands in for the end of a process."""


def die(*arguments):
    raise Killed


def send(number):
    """Return an action that sends a signal to this process."""
    return lambda *arguments: os.kill(os.getpid(), number)


def only_run(output):
    """Return the folder of the one run below an output folder."""
    (settings,) = Path(output).glob("*/*/settings.json")
    return RunFolder(settings.parent)


def at_step(monkeypatch, number, action):
    """Do something once, at the end of the step of this number, from 0 over the whole run."""
    # Not at the top: test files that only need a name should not load TensorFlow.
    from training.step import TrainingStep

    done = []

    def call(self, images, labels, step, learning_rate, original=TrainingStep.__call__):
        found = original(self, images, labels, step, learning_rate)
        if step == number and not done:
            done.append(step)
            action(self)
        return found

    monkeypatch.setattr(TrainingStep, "__call__", call)


SMALL_DATA = (
    "--dataset synthetic --images-per-class 12 --validation-fraction 0.2 --batch-size 32 "
    "--micro-batch-size 32 --epochs 1"
)
SMALL_VIT = (
    "--patch-size 8 --patch-stride 8 --number-of-layers 2 --embedding-dim 8 --num-heads 2 "
    "--mlp-hidden-dim 8 --head-hidden-dims 8 --representation class_token"
)
SMALL_RUNS = {
    "vit": ("train_cifar10", SMALL_VIT),
    "overlapping": (
        "train_cifar10",
        f"{SMALL_VIT} --stem patch_convolution --patch-stride 4 --representation mean",
    ),
    "convolutional": (
        "train_cifar10",
        f"{SMALL_VIT.replace('--patch-size 8 ', '')} --stem convolutional --patch-stride 4",
    ),
    "other_data": ("train_cifar10", f"{SMALL_VIT} --dataset synthetic100"),
    "cnn": ("recipes.resnet_cifar10", "--number-of-layers 8 --filters 4"),
    "tokens": (
        "recipes.visual_tokens_cifar10",
        "--convolution-filters 4 --convolution-strides 4 --number-of-tokens 3 "
        "--number-of-layers 1 --embedding-dim 8 --num-heads 2 --mlp-hidden-dim 8",
    ),
}


class SmallRuns(dict):
    """The folders of finished runs by their name in SMALL_RUNS, trained when first asked for."""

    def __init__(self, output_dir):
        super().__init__()
        self.output_dir = output_dir

    def __missing__(self, name):
        script, flags = SMALL_RUNS[name]
        command = f"{SMALL_DATA} {flags}".split() + ["--output-dir", str(self.output_dir)]
        self[name] = importlib.import_module(script).main(command)
        return self[name]


def small_arrays(seed=0, classes=3, per_class=8, shape=(6, 5, 3)):
    """The arrays of a small data set of random pixels."""
    random = np.random.RandomState(seed)
    labels = np.arange(classes * per_class) % classes
    return {
        "x_train": random.randint(0, 256, (len(labels),) + shape).astype(np.uint8),
        "y_train": labels,
        "x_test": random.randint(0, 256, (classes,) + shape).astype(np.uint8),
        "y_test": np.arange(classes),
    }


def saved_npz(path, **changes):
    """Save small_arrays() with other arrays in place of some, or without those that are None."""
    arrays = dict(small_arrays(), **changes)
    np.savez(str(path), **{key: value for key, value in arrays.items() if value is not None})
    return str(path)


# What settings.json and results.json of a run of two classes hold.
SETTINGS = {
    "script": "train_cifar10",
    "command": "python train_cifar10.py",
    "constants": {
        "DATASET": "cifar10",
        "DATA_DIR": "data",
        "IMAGE_SIZE": 0,
        "IMAGES_PER_CLASS": 0,
        "SEED": 0,
        "AUGMENTATIONS": ["random_flip"],
        "LEARNING_RATE": 0.001,
    },
    "defaults": {"SEED": 0},
    "model": {
        "builder": "vision_transformer",
        "arguments": {"num_heads": 2, "head_hidden_dims": [8]},
        "class_names": ["cat", "dog"],
    },
    "dataset": {
        "image_shape": [32, 32, 3],
        "number_of_classes": 2,
        "mean": [1.0, 2.0, 3.0],
        "std": [1.0, 2.0, 3.0],
    },
    "versions": {"python": "3.11"},
    "git_commit": "",
}
RESULTS = {
    name: 0.5 if form in (run_content.share, run_content.number, run_content.not_negative) else 1
    for name, form in run_content.RESULTS.items()
}
RESULTS.update({name: "x" for name, form in run_content.RESULTS.items() if form.words == "a text"})
RESULTS["stand_in"] = False

# Of the smallest model of each builder.
SMALLEST = {
    "vision_transformer": {
        "patch_size": 16,
        "patch_stride": 16,
        "number_of_layers": 1,
        "embedding_dim": 4,
        "num_heads": 2,
        "mlp_hidden_dim": 4,
        "head_hidden_dims": [4],
    },
    "resnet": {"number_of_layers": 8, "filters": 2},
    "visual_token_transformer": {
        "convolution_filters": [4],
        "convolution_strides": [4],
        "number_of_tokens": 3,
        "number_of_layers": 1,
        "embedding_dim": 4,
        "num_heads": 2,
        "mlp_hidden_dim": 4,
    },
}


def write_run(path, builder, **arguments):
    """Write a finished run that was never trained; return its folder and its model."""
    from models.builders import BUILDERS

    folder = RunFolder(path)
    folder.path.mkdir(exist_ok=True)
    settings = json.loads(json.dumps(SETTINGS))
    settings["model"].update(builder=builder, arguments=dict(SMALLEST[builder], **arguments))
    folder.settings_json.write_text(json.dumps(settings))
    folder.results_json.write_text(json.dumps(RESULTS))
    model = BUILDERS[builder](**settings["model"]["arguments"], **settings["dataset"])
    folder.write_weights(model)
    return folder, model
