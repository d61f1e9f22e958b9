"""Which constants have no effect beside which others, so that nobody tunes what is not there.

Nothing here imports TensorFlow, so that a mistake is answered at once.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple


class Effect(NamedTuple):
    """When a constant has an effect: a test of all constants, by name, and the same in words."""

    has_effect: Callable[[dict[str, Any]], bool]
    words: str


def one_of(name: str, *values: str) -> Effect:
    """Have an effect where another constant, if the script has it, is one of these words."""
    return Effect(
        lambda constants: constants.get(name, values[0]) in values, f"{name} {' or '.join(values)}"
    )


def more_than_nothing(name: str, words: str) -> Effect:
    """Have an effect where another constant is not 0 or empty."""
    return Effect(lambda constants: bool(constants.get(name, True)), words)


def both(first: Effect, second: Effect) -> Effect:
    """Have an effect where two conditions hold."""
    return Effect(
        lambda constants: first.has_effect(constants) and second.has_effect(constants),
        f"{first.words}, and {second.words}",
    )


with_warmup = Effect(
    lambda constants: constants.get("SCHEDULE") != "plateau", "a SCHEDULE other than plateau"
)

# A constant that is not here always has an effect.
EFFECTS = {
    "PATCH_SIZE": one_of("STEM", "patches", "patch_convolution"),
    "HEAD_DROPOUT_RATE": more_than_nothing("HEAD_HIDDEN_DIMS", "at least one of HEAD_HIDDEN_DIMS"),
    "INITIAL_HEAD": more_than_nothing("INITIAL_RUN", "INITIAL_RUN"),
    "FREEZE": more_than_nothing("INITIAL_RUN", "INITIAL_RUN"),
    "TEMPERATURE": one_of("DISTILLATION", "soft"),
    "MOMENTUM": one_of("OPTIMIZER", "sgd"),
    "WEIGHT_DECAY": one_of("OPTIMIZER", "adamw", "sgd"),
    "PATIENCE": one_of("SCHEDULE", "plateau"),
    "WARMUP_EPOCHS": with_warmup,
    "WARMUP_LEARNING_RATE": both(
        more_than_nothing("WARMUP_EPOCHS", "WARMUP_EPOCHS more than 0"), with_warmup
    ),
    "DECAY_PER_EPOCH": one_of("SCHEDULE", "exponential"),
}


def without_effect(constants: dict[str, Any]) -> list[str]:
    """Return the names of constants that ask for something, and get nothing.

    One that is 0, False or empty asks for nothing.
    """
    return [
        name
        for name, effect in EFFECTS.items()
        if constants.get(name) and not effect.has_effect(constants)
    ]


def needs(name: str) -> str:
    """Say when a constant has an effect."""
    return f"{name} has an effect only with {EFFECTS[name].words}"
