"""How far a run has come, and what follows from it: the learning rate and the end.

Training stops for three reasons: its epochs, its time or its patience are used up.
"""

from __future__ import annotations

import math
from typing import Any

from storage.files import same_form
from training.schedule import LearningRate

# A step that takes longer than this, and longer than so many typical ones, is a pause: the machine
# slept, or the process was stopped. It counts as a typical step.
PAUSE_SECONDS = 10.0
PAUSE_STEPS = 20
# What a checkpoint keeps, besides what the schedule has seen.
COUNTS = (
    "epoch",
    "step",
    "loss_sum",
    "accuracy_sum",
    "epoch_seconds",
    "seconds",
    "images_seen",
    "history",
    "best_epoch",
    "best_accuracy",
)


def without_pause(seconds: float, typical: float) -> float:
    """Return the time that a step of so many seconds counts; typical is 0 where none is known."""
    is_pause = 0 < typical and seconds > max(PAUSE_SECONDS, PAUSE_STEPS * typical)
    return typical if is_pause else seconds


class Progress:
    """Counts epochs, steps, images and seconds of a run, and keeps the history of its epochs.

    The run ends after so many epochs or time_limit_minutes, or when early_stopping_patience epochs
    in a row were not better; 0 means no such limit.
    """

    def __init__(
        self,
        schedule: LearningRate,
        epochs: int,
        steps_per_epoch: int,
        batch_size: int,
        time_limit_minutes: float = 0.0,
        early_stopping_patience: int = 0,
    ):
        self.schedule = schedule
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size
        self.time_limit_minutes = time_limit_minutes
        self.early_stopping_patience = early_stopping_patience
        # Epochs that have ended, and the steps, sums and seconds of the one that is running.
        self.epoch = self.step = 0
        self.loss_sum = self.accuracy_sum = self.epoch_seconds = 0.0
        self.seconds, self.images_seen = 0.0, 0
        self.best_epoch, self.best_accuracy = 0, -1.0
        self.history: list[dict[str, float]] = []
        # Of the steps and of the validation before; 0 while there was none.
        self._typical_step = self._typical_validation = 0.0

    @property
    def steps_done(self) -> int:
        """Training steps since the run began."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def fraction_done(self) -> float:
        """0 to 1: the share of all steps or, under a time limit, of the time if that is more."""
        by_steps = self.steps_done / (self.steps_per_epoch * self.epochs)
        if not self.time_limit_minutes:
            return by_steps
        by_time = self.seconds / (60 * self.time_limit_minutes)
        return min(max(by_steps, by_time), 1.0)

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return self.schedule.at(self.fraction_done)

    @property
    def seconds_left(self) -> float:
        """An estimate from the time that the part done has taken."""
        return self.seconds / max(self.fraction_done, 1e-9) * (1 - self.fraction_done)

    @property
    def is_out_of_time(self) -> bool:
        """Whether the time limit, if there is one, has passed."""
        return 0 < 60 * self.time_limit_minutes <= self.seconds

    @property
    def is_in_epoch(self) -> bool:
        """Whether there is another step to do in the running epoch."""
        return self.step < self.steps_per_epoch and not self.is_out_of_time

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to train."""
        if self.epoch >= self.epochs:
            return True
        # An epoch that was begun before the run was stopped is always ended.
        if self.step:
            return False
        waited = self.epoch - self.best_epoch
        return self.is_out_of_time or 0 < self.early_stopping_patience <= waited

    @property
    def mean_loss(self) -> float:
        """The mean over the steps of the running epoch."""
        return self.loss_sum / max(self.step, 1)

    @property
    def mean_accuracy(self) -> float:
        """The mean over the steps of the running epoch."""
        return self.accuracy_sum / max(self.step, 1)

    def count_step(self, loss: float, accuracy: float, seconds: float) -> float:
        """Add a training step: the loss and accuracy of its batch, and its time.

        Returns how many of these seconds were a pause, and do not count.
        """
        counted = without_pause(seconds, self._typical_step)
        self.step += 1
        self.loss_sum += loss
        self.accuracy_sum += accuracy
        self.images_seen += self.batch_size
        self.epoch_seconds += counted
        self.seconds += counted
        # Follows within some ten steps; the first one, which also builds the graph, is soon gone.
        before = self._typical_step or counted
        self._typical_step = before + (counted - before) / 8
        return seconds - counted

    def end_epoch(
        self,
        accuracy: float,
        top5_accuracy: float,
        loss: float,
        seconds: float,
        score: float | None = None,
    ) -> bool:
        """Close the epoch with what validation found, and its time; return whether it is the best.

        The best epoch has the highest score, which is the accuracy where none is given. The time
        of validation is the run's, but no part of the epoch's speed.
        """
        self.history.append(
            {
                "epoch": self.epoch + 1,
                "loss": self.mean_loss,
                "accuracy": self.mean_accuracy,
                "validation_loss": loss,
                "validation_accuracy": accuracy,
                "validation_top5_accuracy": top5_accuracy,
                "learning_rate": self.learning_rate,
                "seconds": self.epoch_seconds,
                "images_per_second": self.step * self.batch_size / max(self.epoch_seconds, 1e-9),
            }
        )
        self.epoch += 1
        counted = without_pause(seconds, self._typical_validation)
        self._typical_validation = counted
        self.seconds += counted
        self.step, self.loss_sum, self.accuracy_sum, self.epoch_seconds = 0, 0.0, 0.0, 0.0
        score = accuracy if score is None else score
        is_best = score > self.best_accuracy
        if is_best:
            self.best_accuracy, self.best_epoch = score, self.epoch
        self.schedule.observe(score)
        return is_best

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: numbers, words, lists and dicts."""
        counts = {name: getattr(self, name) for name in COUNTS}
        return {"progress": counts, "schedule": self.schedule.state}

    def is_state(self, state: Any) -> bool:
        """Return whether a value from a checkpoint can be the state of this run."""
        if not isinstance(state, dict) or not isinstance(state.get("progress"), dict):
            return False
        own, counts = self.state, state["progress"]
        history = counts.get("history")
        return (
            isinstance(history, list)
            and same_form(dict(counts, history=[]), dict(own["progress"], history=[]))
            and same_form(state.get("schedule"), own["schedule"])
            and 0 <= counts["step"] <= self.steps_per_epoch
            and 0 <= counts["epoch"] == len(history)
            # From the first epoch on there is a best one.
            and min(1, counts["epoch"]) <= counts["best_epoch"] <= counts["epoch"]
            and math.isfinite(counts["seconds"] + counts["epoch_seconds"])
            and all(isinstance(row, dict) and "seconds" in row for row in history)
            and all(type(cell) in (int, float) for row in history for cell in row.values())
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state; is_state tells whether it is one."""
        for name in COUNTS:
            setattr(self, name, state["progress"][name])
        self.schedule.state.update(state["schedule"])
