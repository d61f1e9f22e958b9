"""Train a small Vision Transformer on MNIST, whose insides can be looked at in full.

    python -m recipes.mnist
    python -m tools.visualize runs/mnist

99.1 % test accuracy after 20 epochs, 4 minutes on two cores of a CPU (seed 0). The published recipe
of this shallow ViT reached 94.6 % on the training images. It is a set of flags, but for dropout of
an unknown rate and pixels scaled to -1..1; here they reach 98.7 % on the training images and 96.8 %
on the test images:

    python -m recipes.mnist --learning-rate 0.0003 --schedule constant --warmup-epochs 0
        --augmentations

Every constant below is also a flag; --help explains them.
"""

from __future__ import annotations

from training.script import run, train_script, with_settings

# Data
DATASET = "mnist"
AUGMENTATIONS = (
    "random_crop(padding=2)",
    "random_rotation(degrees=10)",
    "random_zoom(fraction=0.1)",
)

# Model
PATCH_SIZE = 7
PATCH_STRIDE = 7
NUMBER_OF_LAYERS = 3
EMBEDDING_DIM = 32
NUM_HEADS = 4
MLP_HIDDEN_DIM = 128
HEAD_HIDDEN_DIMS = ()
REPRESENTATION = "class_token"
DROPOUT_RATE = 0.0

# Optimisation
LEARNING_RATE = 0.003
SCHEDULE = "cosine"
WARMUP_EPOCHS = 1.0
BATCH_SIZE = 64
EPOCHS = 20


def build_model(settings):
    """Return the model's builder with everything that the data set does not decide."""
    from vit_model import vision_transformer

    return with_settings(vision_transformer, settings)


def main(argv=None):
    """Train as the constants above and the flags of the command say."""
    return train_script(globals(), argv)


if __name__ == "__main__":
    run(main)
