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

Every constant below is also a flag; --help explains them.
"""

from __future__ import annotations

from training.script import run, train_script, with_settings

# Data
DATASET = "cifar10"
AUGMENTATIONS = (
    "random_flip",
    "random_crop(padding=4)",
    "random_erasing(size=8, probability=0.5)",
)

# Model
CONVOLUTION_FILTERS = (32, 64, 64, 128)
CONVOLUTION_STRIDES = (1, 2, 1, 2)
NUMBER_OF_TOKENS = 16
NUMBER_OF_LAYERS = 4
EMBEDDING_DIM = 128
NUM_HEADS = 4
MLP_HIDDEN_DIM = 256
DROPOUT_RATE = 0.0
STOCHASTIC_DEPTH_RATE = 0.0

# Optimisation
OPTIMIZER = "adamw"
LEARNING_RATE = 0.003
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
SCHEDULE = "cosine"
WARMUP_EPOCHS = 1.0
BATCH_SIZE = 128
EPOCHS = 100


def build_model(settings):
    """Return the model's builder with everything that the data set does not decide."""
    from models.visual_tokens import visual_token_transformer

    return with_settings(visual_token_transformer, settings)


def main(argv=None):
    """Train as the constants above and the flags of the command say."""
    return train_script(globals(), argv)


if __name__ == "__main__":
    run(main)
