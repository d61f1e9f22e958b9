"""The learning rate of a run, as a function of how far the run has come.

A schedule is a function from (the epoch as a fraction, `Rates`) to a rate. To add one, write it
here and name it in SCHEDULES: the flag, its help and the check of its name follow.
"""

from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple

# What a plateau does to the rate.
PLATEAU_FACTOR = 0.5


class Rates(NamedTuple):
    """The numbers that schedules are made of; epochs do not count those of the warm-up."""

    highest: float
    epochs: float
    decay_per_epoch: float
    plateau_factor: float


def plateau(epoch: float, rates: Rates) -> float:
    """Lower the rate each time that the validation accuracy has stopped rising."""
    return rates.highest * rates.plateau_factor


def cosine(epoch: float, rates: Rates) -> float:
    """Fall along half a cosine to 0: Loshchilov and Hutter 2016 (arXiv 1608.03983), section 3."""
    return rates.highest * 0.5 * (1.0 + math.cos(math.pi * min(epoch / rates.epochs, 1.0)))


def exponential(epoch: float, rates: Rates) -> float:
    """Multiply the rate by the same factor each epoch."""
    return rates.highest * rates.decay_per_epoch**epoch


def constant(epoch: float, rates: Rates) -> float:
    """Keep the rate."""
    return rates.highest


SCHEDULES: dict[str, Callable[[float, Rates], float]] = {
    schedule.__name__: schedule for schedule in (plateau, cosine, exponential, constant)
}


class LearningRate:
    """The learning rate of a run.

    Progress.fraction_done counts steps or, under a time limit, the time if that is more, so that a
    schedule always runs to its end. Only `plateau` looks at the validation accuracy, and knows no
    warm-up; what it has seen is its `state`.

    Warm-up: Goyal et al. 2017 (arXiv 1706.02677), section 2.2.
    """

    def __init__(
        self,
        schedule: str,
        learning_rate: float,
        epochs: int,
        patience: int = 10,
        warmup_epochs: float = 0.0,
        warmup_learning_rate: float = 0.0,
        decay_per_epoch: float = 1.0,
    ):
        if schedule not in SCHEDULES:
            raise ValueError(f"SCHEDULE is {schedule!r}: choose one of {', '.join(SCHEDULES)}.")
        self.schedule = SCHEDULES[schedule]
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.patience = patience
        self.warmup_epochs = warmup_epochs if self.schedule is not plateau else 0.0
        self.warmup_learning_rate = warmup_learning_rate
        self.decay_per_epoch = decay_per_epoch
        self.state: dict[str, Any] = {"factor": 1.0, "best": -1.0, "epochs_without_better": 0}

    def at(self, fraction_done: float) -> float:
        """Return the rate at a fraction between 0 and 1."""
        epoch = fraction_done * self.epochs
        if epoch < self.warmup_epochs:
            risen = epoch / self.warmup_epochs
            return self.warmup_learning_rate + risen * (
                self.learning_rate - self.warmup_learning_rate
            )
        rates = Rates(
            self.learning_rate,
            max(self.epochs - self.warmup_epochs, 1e-9),
            self.decay_per_epoch,
            self.state["factor"],
        )
        return self.schedule(epoch - self.warmup_epochs, rates)

    def observe(self, validation_accuracy: float) -> None:
        """Tell the schedule the validation accuracy that an epoch ended with."""
        if validation_accuracy > self.state["best"]:
            self.state["best"] = validation_accuracy
            self.state["epochs_without_better"] = 0
            return
        self.state["epochs_without_better"] += 1
        if self.state["epochs_without_better"] >= self.patience:
            self.state["factor"] *= PLATEAU_FACTOR
            self.state["epochs_without_better"] = 0
