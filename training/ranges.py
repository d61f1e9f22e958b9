"""What each constant accepts: its type, its range or its choices, in words for an error message.

Nothing here imports TensorFlow, so that a mistake is answered at once.
"""

from __future__ import annotations

import math
import re
from typing import Any, Callable, NamedTuple

from training.schedule import SCHEDULES


class Range(NamedTuple):
    """Which values a constant accepts, as a test and in words; choices where they are words."""

    accepts: Callable[[Any], bool]
    words: str
    choices: tuple[str, ...] = ()


def at_least(lowest: float) -> Range:
    """Accept numbers from lowest to 2^31 - 1, the largest that TensorFlow's int32 holds."""
    return Range(lambda value: lowest <= value < 2**31, f"at least {lowest} and less than 2^31")


def one_of(*names: str) -> Range:
    """Accept these words."""
    return Range(lambda value: value in names, "one of " + ", ".join(names), names)


def list_of(each: Range) -> Range:
    """Accept a list whose elements are all in a range."""
    return Range(lambda values: all(map(each.accepts, values)), f"a list of numbers {each.words}")


anything = Range(lambda value: True, "anything")
positive = Range(lambda value: 0 < value < math.inf, "more than 0 and finite")
from_0_to_1 = Range(lambda value: 0 <= value <= 1, "0 to 1")
from_0_below_1 = Range(lambda value: 0 <= value < 1, "at least 0 and less than 1")
between_0_and_1 = Range(lambda value: 0 < value < 1, "more than 0 and less than 1")
size = Range(lambda value: 1 <= value <= 16384, "1 to 16384")
adapters = Range(
    lambda value: re.match(r"([0-9]+(,[0-9]+)*)?\Z", value) is not None,
    'adapter indices separated by commas, such as "0" or "1,0", or "" for all adapters',
)

RANGES = {
    # Device
    "DML_VISIBLE_DEVICES": adapters,
    # Data
    "DATASET": anything,
    "DATA_DIR": anything,
    "IMAGE_SIZE": at_least(0),
    "IMAGES_PER_CLASS": at_least(0),
    "VALIDATION_FRACTION": between_0_and_1,
    "AUGMENTATIONS": anything,
    # Model
    "INITIAL_RUN": anything,
    "INITIAL_HEAD": anything,
    "FREEZE": anything,
    "PATCH_SIZE": size,
    "PATCH_STRIDE": size,
    "NUMBER_OF_LAYERS": size,
    "EMBEDDING_DIM": size,
    "NUM_HEADS": size,
    "MLP_HIDDEN_DIM": size,
    "HEAD_HIDDEN_DIMS": list_of(size),
    "STEM": one_of("patches", "patch_convolution", "convolutional"),
    "REPRESENTATION": one_of("flatten", "mean", "class_token", "sequence_pooling"),
    "DROPOUT_RATE": from_0_below_1,
    "HEAD_DROPOUT_RATE": from_0_below_1,
    "STOCHASTIC_DEPTH_RATE": from_0_below_1,
    "POSITION_STDDEV": at_least(0),
    "CONVOLUTION_FILTERS": list_of(size),
    "CONVOLUTION_STRIDES": list_of(size),
    "NUMBER_OF_TOKENS": size,
    "FILTERS": size,
    # Teacher
    "TEACHER_RUN": anything,
    "DISTILLATION": one_of("hard", "soft"),
    "DISTILLATION_TOKEN": anything,
    "TEACHER_SHARE": from_0_to_1,
    "TEMPERATURE": positive,
    # Optimisation
    "OPTIMIZER": one_of("adam", "adamw", "sgd"),
    "LEARNING_RATE": positive,
    "MOMENTUM": from_0_below_1,
    "WEIGHT_DECAY": at_least(0),
    "CLASS_WEIGHTS": one_of("none", "balanced"),
    "LABEL_SMOOTHING": from_0_below_1,
    "GRADIENT_CLIP_NORM": at_least(0),
    "EMA_DECAY": from_0_below_1,
    "SCHEDULE": one_of(*SCHEDULES),
    "PATIENCE": at_least(1),
    "WARMUP_EPOCHS": at_least(0),
    "WARMUP_LEARNING_RATE": at_least(0),
    "DECAY_PER_EPOCH": Range(lambda value: 0 < value <= 1, "more than 0 and at most 1"),
    "BATCH_SIZE": at_least(1),
    "MICRO_BATCH_SIZE": at_least(-1),
    "MIXED_PRECISION": anything,
    "EPOCHS": at_least(1),
    "TIME_LIMIT_MINUTES": at_least(0),
    "EARLY_STOPPING_PATIENCE": at_least(0),
    "SEED": at_least(0),
    # Output
    "OUTPUT_DIR": anything,
    "CHECKPOINT_MINUTES": at_least(0),
    "RESUME": anything,
}
