"""Train a small Vision Transformer on MNIST, whose insides can be looked at in full.

    python -m recipes.mnist
    python -m tools.visualize runs/mnist

99.1 % test accuracy after 20 epochs, 4 minutes on two cores of a CPU (seed 0). The published recipe
of this shallow ViT reached 94.6 % on the training images. It is a set of flags, but for dropout of
an unknown rate and pixels scaled to -1..1; here they reach 98.7 % on the training images and 96.8 %
on the test images:

    python -m recipes.mnist --learning-rate 0.0003 --schedule constant --warmup-epochs 0
        --augmentations

Every constant below is also a flag; what is not listed here stands in default_settings.py.
"""

from __future__ import annotations

from functools import partial

from backend.environment import preflight, select_adapter
from training.settings import run, settings_from

# Data
DATASET = "mnist"  # cifar10, cifar100, mnist, synthetic, an .npz file or a folder of classes
AUGMENTATIONS = (  # delete a line to do without it; see data_augmentations.py
    "random_crop(padding=2)",
    "random_rotation(degrees=10)",
    "random_zoom(fraction=0.1)",
)

# Model
PATCH_SIZE = 7  # pixels: the side of a patch
PATCH_STRIDE = 7  # pixels from one patch to the next; smaller than PATCH_SIZE, they overlap
NUMBER_OF_LAYERS = 3  # encoder blocks
EMBEDDING_DIM = 32  # numbers per token
NUM_HEADS = 4  # attention heads; must divide EMBEDDING_DIM
MLP_HIDDEN_DIM = 128  # width of the feed-forward layer in each block
HEAD_HIDDEN_DIMS = ()  # widths of the classifier's hidden layers
REPRESENTATION = "class_token"  # of the image: flatten, mean, class_token or sequence_pooling
DROPOUT_RATE = 0.0  # share of values zeroed in the blocks

# Optimisation
LEARNING_RATE = 0.003  # the highest rate of the schedule
SCHEDULE = "cosine"  # plateau, cosine, exponential or constant
WARMUP_EPOCHS = 1.0  # epochs in which the rate rises linearly
BATCH_SIZE = 64  # images per update of the weights
EPOCHS = 20  # passes over the training images, at most


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
        representation=settings.REPRESENTATION,
        dropout_rate=settings.DROPOUT_RATE,
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
