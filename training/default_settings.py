"""The constants that every training script has, unless it sets them itself.

A script's own constants come first; what it leaves out is taken from here, so that a recipe shows
only what makes it different. Each constant is also a flag of the script (BATCH_SIZE is
--batch-size), and its comment is the help of that flag: a script that repeats a constant inherits
the comment, or replaces it by a sharper one.
"""

from __future__ import annotations

# Device
DML_VISIBLE_DEVICES = "0"  # the DirectX 12 adapter that trains, from 0; "" = TensorFlow decides

# Data
DATASET = "cifar10"  # cifar10, cifar100, mnist, synthetic, an .npz file or a folder of classes
DATA_DIR = "data"  # where NAME.npz is looked for before anything is downloaded
IMAGE_SIZE = 0  # pixels: resize all images to this side; 0 = as they are
IMAGES_PER_CLASS = 0  # train on a sample of so many images of each class; 0 = all
VALIDATION_FRACTION = 0.1  # of the training images: held out to choose the best weights
AUGMENTATIONS = ("random_flip", "random_crop(padding=4)")  # see data_augmentations.py

# Model
INITIAL_RUN = ""  # a run, or a folder of runs, whose weights the model starts from; not its head
INITIAL_HEAD = False  # start from the head of INITIAL_RUN too, which must know the same classes
FREEZE = False  # train only the head, on what the layers of INITIAL_RUN make of an image

# Optimisation
OPTIMIZER = "adam"  # the update rule; adamw has decoupled weight decay, sgd MOMENTUM
LEARNING_RATE = 0.001  # the highest rate of the schedule
MOMENTUM = 0.9  # of sgd
WEIGHT_DECAY = 0.0  # of adamw and sgd: share of a weight that rate 1 would remove per step
CLASS_WEIGHTS = (
    "none"  # balanced: rare classes weigh more in the loss, in sum as much as large ones
)
LABEL_SMOOTHING = 0.0  # probability mass spread over all classes
GRADIENT_CLIP_NORM = 0.0  # longest gradient, over all variables together; 0 = no limit
EMA_DECAY = 0.0  # averages the weights over about 1 / (1 - EMA_DECAY) steps; 0 = off
SCHEDULE = "plateau"  # how the rate changes over the run
PATIENCE = 10  # plateau: epochs without better validation accuracy before the rate is halved
WARMUP_EPOCHS = 0.0  # cosine, exponential, constant: epochs in which the rate rises linearly
WARMUP_LEARNING_RATE = 0.0  # the rate that the warm-up starts from
DECAY_PER_EPOCH = 0.9875  # exponential: factor of the rate per epoch after the warm-up
BATCH_SIZE = 512  # images per update of the weights
MICRO_BATCH_SIZE = -1  # images per gradient pass; 0 = all of a batch, -1 = what suits the device
MIXED_PRECISION = False  # float16 inside the model, float32 weights; TensorFlow 2.10 or newer
EPOCHS = 100  # passes over the training images, at most
TIME_LIMIT_MINUTES = 0.0  # fits the schedule into so many minutes, without pauses; 0 = no limit
EARLY_STOPPING_PATIENCE = 0  # epochs without better validation accuracy that end the run; 0 = off
SEED = 0  # the same seed on the same machine gives the same run

# Output
OUTPUT_DIR = "runs"  # a run writes into OUTPUT_DIR/SCRIPT/TIME
CHECKPOINT_MINUTES = 5.0  # also saves inside long epochs, so often
RESUME = ""  # continue the newest unfinished run of this script, or the run in the folder given
