"""Train a transformer over 16 visual tokens, made of convolutional features, on CIFAR-10.

    python -m recipes.visual_tokens_cifar10

Model: Wu et al. 2020 (arXiv 2006.03677). The constants below are tuned for CIFAR: with --epochs 12
they give 81.2 % on the test images after 7 minutes on two CPU cores. The recipe of the paper is a
set of flags:

    python -m recipes.visual_tokens_cifar10 --optimizer sgd --schedule exponential --epochs 400
        --learning-rate 0.16 --warmup-epochs 5 --warmup-learning-rate 0.01 --decay-per-epoch 0.9875
        --batch-size 2048 --stochastic-depth-rate 0.1 --dropout-rate 0.2 --label-smoothing 0
        --weight-decay 4e-5

Its heavier augmentation is left to AUGMENTATIONS; the weight decay is ours, because what suits
AdamW would hold SGD at 20 %.

Every constant below is also a flag; what is not listed here stands in default_settings.py.
"""

from __future__ import annotations

from functools import partial

from backend.environment import preflight, select_adapter
from training.settings import run, settings_from

# Data
DATASET = "cifar10"  # cifar10, cifar100, mnist, synthetic, an .npz file or a folder of classes
AUGMENTATIONS = (  # delete a line to do without it; see data_augmentations.py
    "random_flip",
    "random_crop(padding=4)",
    "random_erasing(size=8, probability=0.5)",
)

# Model
CONVOLUTION_FILTERS = (32, 64, 64, 128)  # channels of each convolution
CONVOLUTION_STRIDES = (1, 2, 1, 2)  # pixels from one place of each convolution to the next
NUMBER_OF_TOKENS = 16  # visual tokens per image
NUMBER_OF_LAYERS = 4  # encoder blocks
EMBEDDING_DIM = 128  # numbers per token
NUM_HEADS = 4  # attention heads; must divide EMBEDDING_DIM
MLP_HIDDEN_DIM = 256  # width of the feed-forward layer in each block
DROPOUT_RATE = 0.0  # share of values zeroed in the blocks
STOCHASTIC_DEPTH_RATE = 0.0  # share of images that skip the last block; less in earlier ones

# Optimisation
OPTIMIZER = "adamw"  # adam, adamw (decoupled weight decay) or sgd (with MOMENTUM)
LEARNING_RATE = 0.003  # the highest rate of the schedule
WEIGHT_DECAY = 0.05  # share of a weight that rate 1 would remove per step
LABEL_SMOOTHING = 0.1  # probability mass spread over all classes
SCHEDULE = "cosine"  # plateau, cosine, exponential or constant
WARMUP_EPOCHS = 1.0  # epochs in which the rate rises linearly
BATCH_SIZE = 128  # images per update of the weights
EPOCHS = 100  # passes over the training images, at most


def build_model(settings):
    """Return the model's builder with everything that the data set does not decide."""
    # Not at the top, because loading TensorFlow settles which adapters it sees.
    from models.visual_tokens import visual_token_transformer

    return partial(
        visual_token_transformer,
        convolution_filters=settings.CONVOLUTION_FILTERS,
        convolution_strides=settings.CONVOLUTION_STRIDES,
        number_of_tokens=settings.NUMBER_OF_TOKENS,
        number_of_layers=settings.NUMBER_OF_LAYERS,
        embedding_dim=settings.EMBEDDING_DIM,
        num_heads=settings.NUM_HEADS,
        mlp_hidden_dim=settings.MLP_HIDDEN_DIM,
        dropout_rate=settings.DROPOUT_RATE,
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
