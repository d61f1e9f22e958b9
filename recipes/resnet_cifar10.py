"""Train a ResNet on CIFAR-10: the network that the transformers are compared with.

    python -m recipes.resnet_cifar10                        20 layers
    python -m recipes.resnet_cifar10 --number-of-layers 56

20 layers give 87.2 % on the test images with --time-limit-minutes 14: 14 epochs on two CPU cores.
The recipe of He et al. 2015 (arXiv 1512.03385), section 4.2, with the rate falling in a
cosine instead of three steps. It is also the teacher of recipes.distilled_cifar10. Every constant
below is also a flag; what is not listed here stands in default_settings.py.
"""

from __future__ import annotations

from functools import partial

from backend.environment import preflight, select_adapter
from training.settings import run, settings_from

# Data
DATASET = "cifar10"  # cifar10, cifar100, mnist, synthetic, an .npz file or a folder of classes
AUGMENTATIONS = ("random_flip", "random_crop(padding=4)")  # see data_augmentations.py

# Model
NUMBER_OF_LAYERS = 20  # 6n + 2: 20 and 56 are those of the paper
FILTERS = 16  # channels of the first stage; the next ones have twice as many

# Optimisation
OPTIMIZER = "sgd"  # adam, adamw (decoupled weight decay) or sgd (with MOMENTUM)
LEARNING_RATE = 0.1  # the highest rate of the schedule
WEIGHT_DECAY = 1e-4  # share of a weight that rate 1 would remove per step
SCHEDULE = "cosine"  # plateau, cosine, exponential or constant
WARMUP_EPOCHS = 1.0  # epochs in which the rate rises linearly
BATCH_SIZE = 128  # images per update of the weights
EPOCHS = 164  # passes over the training images, at most


def build_model(settings):
    """Return the model's builder with everything that the data set does not decide."""
    # Not at the top, because loading TensorFlow settles which adapters it sees.
    from models.resnet import resnet

    return partial(resnet, number_of_layers=settings.NUMBER_OF_LAYERS, filters=settings.FILTERS)


def main(argv=None):
    """Build the model, choose the data and train."""
    settings = settings_from(globals(), argv)
    preflight()
    select_adapter(settings.DML_VISIBLE_DEVICES)
    from training.train import train

    return train(build_model(settings), settings)


if __name__ == "__main__":
    run(main)
