"""Train a Vision Transformer on CIFAR-100.

    python train_cifar100.py

Every constant below is also a flag (EPOCHS is --epochs); what is not listed here stands in
default_settings.py. The run is left in runs/train_cifar100/: weights, curves and a report.
"""

from __future__ import annotations

from functools import partial

from backend.environment import preflight, select_adapter
from training.settings import run, settings_from

# Device
DML_VISIBLE_DEVICES = "0"  # the DirectX 12 adapter that trains, from 0; "" = TensorFlow decides

# Data
DATASET = "cifar100"  # cifar10, cifar100, mnist, synthetic, an .npz file or a folder of classes
AUGMENTATIONS = (  # delete a line to do without it; see data_augmentations.py
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
PATCH_SIZE = 4  # pixels: the side of a patch
PATCH_STRIDE = 4  # pixels from one patch to the next; smaller than PATCH_SIZE, they overlap
NUMBER_OF_LAYERS = 8  # encoder blocks
EMBEDDING_DIM = 64  # numbers per token
NUM_HEADS = 8  # attention heads; must divide EMBEDDING_DIM
MLP_HIDDEN_DIM = 256  # width of the feed-forward layer in each block
HEAD_HIDDEN_DIMS = (512, 256)  # widths of the classifier's hidden layers
STEM = "patches"  # images become tokens by patches (cut out and projected) or convolutional
REPRESENTATION = "flatten"  # of the image: flatten, mean, class_token or sequence_pooling
DROPOUT_RATE = 0.0  # share of values zeroed in the blocks
HEAD_DROPOUT_RATE = 0.3  # share of values zeroed in the classifier
STOCHASTIC_DEPTH_RATE = 0.1  # share of images that skip the last block; less in earlier ones

# Optimisation
OPTIMIZER = "adam"  # adam, adamw (decoupled weight decay) or sgd (with MOMENTUM)
LEARNING_RATE = 0.001  # the highest rate of the schedule
SCHEDULE = "plateau"  # plateau, cosine, exponential or constant
PATIENCE = 10  # plateau: epochs without better validation accuracy before the rate is halved
BATCH_SIZE = 512  # images per update of the weights
EPOCHS = 100  # passes over the training images, at most
SEED = 0  # the same seed on the same machine gives the same run


def build_model(settings):
    """Return the model's builder with everything that the data set does not decide."""
    # Not at the top, because loading TensorFlow settles which adapters it sees.
    from vit_model import vision_transformer

    return partial(
        vision_transformer,
        patch_size=settings.PATCH_SIZE,
        patch_stride=settings.PATCH_STRIDE,
        number_of_layers=settings.NUMBER_OF_LAYERS,
        embedding_dim=settings.EMBEDDING_DIM,
        num_heads=settings.NUM_HEADS,
        mlp_hidden_dim=settings.MLP_HIDDEN_DIM,
        head_hidden_dims=settings.HEAD_HIDDEN_DIMS,
        stem=settings.STEM,
        representation=settings.REPRESENTATION,
        dropout_rate=settings.DROPOUT_RATE,
        head_dropout_rate=settings.HEAD_DROPOUT_RATE,
        stochastic_depth_rate=settings.STOCHASTIC_DEPTH_RATE,
    )


def main(argv=None):
    """Build the model, choose the data and train."""
    settings = settings_from(globals(), argv)
    preflight()
    select_adapter(settings.DML_VISIBLE_DEVICES)
    from training.train import train

    return train(build_model(settings), settings)


if __name__ == "__main__":
    run(main)
