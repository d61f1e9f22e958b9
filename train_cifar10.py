"""Train a Vision Transformer on CIFAR-10.

    python train_cifar10.py

63.9 % of the test images after 10 minutes on two CPU cores, seed 0 (--time-limit-minutes 10, 8.7
epochs); 2,638,794 parameters.

Every constant below is also a flag (EPOCHS is --epochs), and --help explains each, with those that
are not listed here. The run is left in runs/train_cifar10/: weights, curves and a report.
"""

from __future__ import annotations

from training.script import run, train_script, with_settings

# Device
DML_VISIBLE_DEVICES = "0"

# Data
DATASET = "cifar10"
AUGMENTATIONS = (  # delete a line to do without it
    "random_flip",
    "random_crop(padding=4)",
    "random_rotation(degrees=10)",
    "random_shear(degrees=10)",
    "random_zoom(fraction=0.1)",
    "random_contrast",
    "random_brightness",
    "random_saturation",
    "random_hue",
)

# Model
PATCH_SIZE = 4  # an image of CIFAR has 8 x 8 patches
PATCH_STRIDE = 4  # less than PATCH_SIZE: patches overlap
NUMBER_OF_LAYERS = 8
EMBEDDING_DIM = 64
NUM_HEADS = 8
MLP_HIDDEN_DIM = 256
HEAD_HIDDEN_DIMS = (512, 256)
STEM = "patches"  # patches, patch_convolution or convolutional
REPRESENTATION = "flatten"  # flatten, mean, class_token or sequence_pooling
DROPOUT_RATE = 0.0
HEAD_DROPOUT_RATE = 0.3
STOCHASTIC_DEPTH_RATE = 0.1

# Optimisation
OPTIMIZER = "adam"  # adam, adamw or sgd
LEARNING_RATE = 0.001
SCHEDULE = "plateau"  # plateau, cosine, exponential or constant
PATIENCE = 10
BATCH_SIZE = 512
EPOCHS = 100
SEED = 0


def build_model(settings):
    """Return the model's builder with everything that the data set does not decide."""
    from vit_model import vision_transformer

    return with_settings(vision_transformer, settings)


def main(argv=None):
    """Train as the constants above and the flags of the command say."""
    return train_script(globals(), argv)


if __name__ == "__main__":
    run(main)
