"""Train a Vision Transformer on CIFAR-10 that learns from a convolutional network too.

    python -m recipes.resnet_cifar10
    python -m recipes.distilled_cifar10

The teacher is the ResNet that the first command leaves. By default its decisions are labels for a
distillation token: Touvron et al. 2020, DeiT (arXiv 2012.12877). With --epochs 6 --warmup-epochs 1
it has 67.0 % on the test images after 8.5 minutes on two cores of a CPU (seed 0), two points more
than without its teacher. Every constant below is also a flag; what is not listed here stands in
default_settings.py.
"""

from __future__ import annotations

from functools import partial

from backend.environment import preflight, select_adapter
from training.settings import run, settings_from

# Data
DATASET = "cifar10"  # cifar10, cifar100, mnist, synthetic, an .npz file or a folder of classes
AUGMENTATIONS = (  # the teacher sees the same view; see data_augmentations.py
    "random_flip",
    "random_crop(padding=4)",
    "random_rotation(degrees=10)",
    "random_zoom(fraction=0.1)",
    "random_contrast",
    "random_brightness",
    "random_erasing(size=8)",
)

# Teacher
TEACHER_RUN = "runs/resnet_cifar10"  # a run, or a folder of runs: the newest
DISTILLATION = "hard"  # hard (the teacher's decision) or soft (its probabilities)
TEACHER_SHARE = 0.5  # of the loss; the true labels have the rest
TEMPERATURE = 3.0  # soft: what teacher's and student's logits are divided by

# Model
PATCH_SIZE = 4  # pixels: the side of a patch
PATCH_STRIDE = 4  # pixels from one patch to the next; smaller than PATCH_SIZE, they overlap
NUMBER_OF_LAYERS = 8  # encoder blocks
EMBEDDING_DIM = 64  # numbers per token
NUM_HEADS = 8  # attention heads; must divide EMBEDDING_DIM
MLP_HIDDEN_DIM = 256  # width of the feed-forward layer in each block
HEAD_HIDDEN_DIMS = ()  # widths of the classifier's hidden layers
STEM = "convolutional"  # images become tokens by patches, patch_convolution or convolutional
REPRESENTATION = "class_token"  # of the image: flatten, mean, class_token or sequence_pooling
DISTILLATION_TOKEN = True  # a second token learns from the teacher; no = the same one does
DROPOUT_RATE = 0.0  # share of values zeroed in the blocks
STOCHASTIC_DEPTH_RATE = 0.1  # share of images that skip the last block; less in earlier ones

# Optimisation
OPTIMIZER = "adamw"  # adam, adamw (decoupled weight decay) or sgd (with MOMENTUM)
LEARNING_RATE = 0.001  # the highest rate of the schedule
WEIGHT_DECAY = 0.05  # share of a weight that rate 1 would remove per step
SCHEDULE = "cosine"  # plateau, cosine, exponential or constant
WARMUP_EPOCHS = 5.0  # epochs in which the rate rises linearly
BATCH_SIZE = 128  # images per update of the weights
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
        stem=settings.STEM,
        representation=settings.REPRESENTATION,
        distillation_token=settings.DISTILLATION_TOKEN,
        dropout_rate=settings.DROPOUT_RATE,
        stochastic_depth_rate=settings.STOCHASTIC_DEPTH_RATE,
    )


def build_objective(settings):
    """Return the loss of the student, in which the teacher has its share."""
    from storage.trained_run import find
    from training.distillation import distillation_from

    # The run itself, so that settings.json names it and a resumed run has the same teacher.
    settings.TEACHER_RUN = str(find(settings.TEACHER_RUN))
    return distillation_from(
        settings.TEACHER_RUN, settings.DISTILLATION, settings.TEMPERATURE, settings.TEACHER_SHARE
    )


def main(argv=None):
    """Build the model, choose the data and train."""
    settings = settings_from(globals(), argv)
    preflight()
    select_adapter(settings.DML_VISIBLE_DEVICES)
    from training.train import train

    return train(build_model(settings), settings, build_objective)


if __name__ == "__main__":
    run(main)
