"""Train the Vision Transformer of the Keras example on CIFAR-100, enlarged to 72 x 72.

    python -m recipes.keras_cifar100
    python -m tools.predict runs/keras_cifar100 --samples 16

Published: 16.3 % and 42.3 % top-5 of the validation images after 2 epochs, 55 % and 82 % after 100.
Here 16.6 % and 42.0 % after 2, in 6 minutes on two CPU cores. The images are augmented in tf.data,
beside the GPU's work, and normalised in the model, so that the saved model takes raw pixels.
Enlarged before training, they take 0.9 GB of the 3.6 GB of a run on two cores. Every constant below
is also a flag; what is not listed here stands in default_settings.py.
"""

from __future__ import annotations

from functools import partial

from backend.environment import preflight, select_adapter
from training.settings import run, settings_from

# Data
DATASET = "cifar100"  # cifar10, cifar100, mnist, synthetic, an .npz file or a folder of classes
IMAGE_SIZE = 72  # pixels: resize all images to this side; 0 = as they are
AUGMENTATIONS = (  # delete a line to do without it; see data_augmentations.py
    "random_flip",
    "random_rotation(degrees=7.2)",
    "random_zoom(fraction=0.2)",
)

# Model
PATCH_SIZE = 6  # pixels: the side of a patch
PATCH_STRIDE = 6  # pixels from one patch to the next; smaller than PATCH_SIZE, they overlap
NUMBER_OF_LAYERS = 8  # encoder blocks
EMBEDDING_DIM = 64  # numbers per token
NUM_HEADS = 4  # attention heads; must divide EMBEDDING_DIM
MLP_HIDDEN_DIM = 128  # width of the feed-forward layer in each block
HEAD_HIDDEN_DIMS = (2048, 1024)  # widths of the classifier's hidden layers
REPRESENTATION = "flatten"  # of the image: flatten, mean, class_token or sequence_pooling
DROPOUT_RATE = 0.1  # share of values zeroed in the blocks
HEAD_DROPOUT_RATE = 0.5  # share of values zeroed in the classifier

# Optimisation
OPTIMIZER = "adamw"  # adam, adamw (decoupled weight decay) or sgd (with MOMENTUM)
LEARNING_RATE = 0.001  # the highest rate of the schedule
WEIGHT_DECAY = 1e-4  # share of a weight that rate 1 would remove per step
SCHEDULE = "constant"  # plateau, cosine, exponential or constant
BATCH_SIZE = 256  # images per update of the weights
EPOCHS = 100  # passes over the training images, at most


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
        head_dropout_rate=settings.HEAD_DROPOUT_RATE,
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
