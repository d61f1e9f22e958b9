"""The constants that only some scripts have: those of their model, and of its teacher.

A script has the ones that it names, and only these. The comment of a constant is the help of its
flag, as in default_settings.py; the values here are those of the classic Vision Transformer.
"""

from __future__ import annotations

# Model
PATCH_SIZE = 4  # pixels: the side of a patch
PATCH_STRIDE = 4  # pixels from one patch to the next
NUMBER_OF_LAYERS = 8  # encoder blocks
EMBEDDING_DIM = 64  # numbers per token
NUM_HEADS = 8  # attention heads; must divide EMBEDDING_DIM
MLP_HIDDEN_DIM = 256  # width of the feed-forward layer in each block
HEAD_HIDDEN_DIMS = (512, 256)  # widths of the classifier's hidden layers
STEM = "patches"  # what turns an image into tokens
REPRESENTATION = "flatten"  # of the image, made from the tokens
DROPOUT_RATE = 0.0  # share of values zeroed in the blocks
HEAD_DROPOUT_RATE = 0.0  # share of values zeroed in the classifier
STOCHASTIC_DEPTH_RATE = 0.0  # share of images that skip the last block; less in earlier ones
POSITION_STDDEV = 0.02  # deviation that the position vectors start with
CONVOLUTION_FILTERS = (32, 64, 64, 128)  # channels of each convolution
CONVOLUTION_STRIDES = (1, 2, 1, 2)  # pixels from one place of each convolution to the next
NUMBER_OF_TOKENS = 16  # visual tokens per image
FILTERS = 16  # channels of the first stage; the next ones have twice as many

# Teacher
TEACHER_RUN = ""  # a run, or a folder of runs: the newest
DISTILLATION = "hard"  # hard (the teacher's decision) or soft (its probabilities)
DISTILLATION_TOKEN = False  # a second token learns from the teacher; no = the same one does
TEACHER_SHARE = 0.5  # of the loss; the true labels have the rest
TEMPERATURE = 3.0  # soft: what teacher's and student's logits are divided by
