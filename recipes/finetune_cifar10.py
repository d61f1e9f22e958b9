"""Fine-tune on CIFAR-10 the Vision Transformer that recipes.pretrain_cifar100 has left.

    python -m recipes.pretrain_cifar100
    python -m recipes.finetune_cifar10
    python -m recipes.finetune_cifar10 --initial-run ""   without pre-training, to compare

All layers but the head start from INITIAL_RUN. Published on ciFAIR-10: 74.3 % after one epoch that
followed 100 of pre-training. Here one epoch, 4 minutes on two cores of a CPU, gives 51.0 % on the
test images of CIFAR-10 after 5 of pre-training, and 40.3 % without.
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
PATCH_SIZE = 4  # pixels: the side of a patch
PATCH_STRIDE = 4  # pixels from one patch to the next; smaller than PATCH_SIZE, they overlap
NUMBER_OF_LAYERS = 6  # encoder blocks
EMBEDDING_DIM = 256  # numbers per token
NUM_HEADS = 8  # attention heads; must divide EMBEDDING_DIM
MLP_HIDDEN_DIM = 512  # width of the feed-forward layer in each block
HEAD_HIDDEN_DIMS = ()  # widths of the classifier's hidden layers
STEM = "patch_convolution"  # images become tokens by patches, patch_convolution or convolutional
REPRESENTATION = "class_token"  # of the image: flatten, mean, class_token or sequence_pooling
DROPOUT_RATE = 0.1  # share of values zeroed in the blocks
POSITION_STDDEV = 0.0  # deviation that the position vectors start with
INITIAL_RUN = "runs/pretrain_cifar100"  # a run, or a folder of runs: the newest; "" = no run

# Optimisation
OPTIMIZER = "sgd"  # adam, adamw (decoupled weight decay) or sgd (with MOMENTUM)
LEARNING_RATE = 0.01  # the highest rate of the schedule
MOMENTUM = 0.9  # of sgd
WEIGHT_DECAY = 1e-4  # share of a weight that rate 1 would remove per step
SCHEDULE = "cosine"  # plateau, cosine, exponential or constant
WARMUP_EPOCHS = 0.1  # epochs in which the rate rises linearly
BATCH_SIZE = 128  # images per update of the weights
EPOCHS = 1  # passes over the training images, at most


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
        position_stddev=settings.POSITION_STDDEV,
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
