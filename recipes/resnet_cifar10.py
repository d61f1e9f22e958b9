"""Train a ResNet on CIFAR-10: the network that the transformers are compared with.

    python -m recipes.resnet_cifar10                        20 layers
    python -m recipes.resnet_cifar10 --number-of-layers 56

20 layers give 87.2 % on the test images with --time-limit-minutes 14: 14 epochs on two CPU cores.
The recipe of He et al. 2015 (arXiv 1512.03385), section 4.2, with the rate falling in a
cosine instead of three steps. It is also the teacher of recipes.distilled_cifar10. Every constant
below is also a flag; --help explains them.
"""

from __future__ import annotations

from training.script import run, train_script, with_settings

# Data
DATASET = "cifar10"
AUGMENTATIONS = ("random_flip", "random_crop(padding=4)")

# Model
NUMBER_OF_LAYERS = 20  # 6n + 2: 20 and 56 are those of the paper
FILTERS = 16

# Optimisation
OPTIMIZER = "sgd"
LEARNING_RATE = 0.1
WEIGHT_DECAY = 1e-4
SCHEDULE = "cosine"
WARMUP_EPOCHS = 1.0
BATCH_SIZE = 128
EPOCHS = 164


def build_model(settings):
    """Return the model's builder with everything that the data set does not decide."""
    from models.resnet import resnet

    return with_settings(resnet, settings)


def main(argv=None):
    """Train as the constants above and the flags of the command say."""
    return train_script(globals(), argv)


if __name__ == "__main__":
    run(main)
