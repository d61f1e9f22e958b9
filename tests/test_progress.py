"""A run counts itself, ends for one of three reasons, and goes on from its state as it was."""

from __future__ import annotations

import copy
import json

import pytest

from training.progress import Progress
from training.schedule import LearningRate

STEPS = 5


def progress_of(schedule="plateau", epochs=100, patience=10, **limits):
    rates = LearningRate(schedule, 0.001, epochs, patience=patience)
    return Progress(rates, epochs, STEPS, batch_size=10, **limits)


def train_epoch(progress, accuracy=0.5):
    while progress.is_in_epoch:
        progress.count_step(2.0, 0.25, seconds=1.0)
    return progress.end_epoch(accuracy, 0.9, 1.5, seconds=7.0)


def test_an_epoch_becomes_a_row_of_means():
    progress = progress_of("constant", epochs=3)
    progress.count_step(1.0, 0.0, 2.0)
    progress.count_step(3.0, 0.5, 2.0)
    assert (progress.mean_loss, progress.mean_accuracy) == (2.0, 0.25)
    assert (progress.steps_done, progress.images_seen) == (2, 20)
    assert progress.fraction_done == pytest.approx(2 / 15)
    # The time has ended the epoch early.
    assert progress.end_epoch(0.4, 0.9, 1.5, seconds=6.0)
    assert progress.history == [
        {
            "epoch": 1,
            "loss": 2.0,
            "accuracy": 0.25,
            "validation_loss": 1.5,
            "validation_accuracy": 0.4,
            "validation_top5_accuracy": 0.9,
            "learning_rate": 0.001,
            "seconds": 4.0,
            "images_per_second": 5.0,
        }
    ]
    assert (progress.epoch, progress.step, progress.mean_loss) == (1, 0, 0.0)
    assert progress.seconds == 10.0 and progress.seconds_left == pytest.approx(20.0)


def test_a_score_chooses_the_best_epoch_instead_of_the_accuracy():
    progress = progress_of()
    assert progress.end_epoch(0.9, 1.0, 1.5, 1.0, score=0.5)
    assert progress.end_epoch(0.8, 1.0, 1.5, 1.0, score=0.7)
    assert not progress.end_epoch(0.95, 1.0, 1.5, 1.0, score=0.6)
    assert progress.best_epoch == 2
    assert [row["validation_accuracy"] for row in progress.history] == [0.9, 0.8, 0.95]


def test_the_first_of_equal_epochs_is_the_best():
    progress = progress_of()
    assert [train_epoch(progress, accuracy) for accuracy in (0.3, 0.5, 0.5, 0.4, 0.6)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert (progress.best_epoch, progress.best_accuracy) == (5, 0.6)


@pytest.mark.parametrize(
    "limits, epochs",
    [
        (dict(epochs=3), 3),
        (dict(epochs=9, early_stopping_patience=2), 3),
        # An epoch takes 5 seconds of training and 7 of validation: the second one is cut short.
        (dict(epochs=9, time_limit_minutes=0.25), 2),
    ],
)
def test_the_three_ends_of_a_run(limits, epochs):
    progress = progress_of(**limits)
    while not progress.is_finished:
        assert progress.epoch < 9
        train_epoch(progress)
    assert progress.epoch == epochs
    assert progress.is_out_of_time == ("time_limit_minutes" in limits)
    if progress.is_out_of_time:
        assert progress.history[-1]["seconds"] == 3.0 and progress.seconds_left == 0.0


def test_an_epoch_that_was_begun_is_ended_even_without_time():
    progress = progress_of(epochs=9, time_limit_minutes=1)
    progress.count_step(1.0, 1.0, 100.0)
    assert not progress.is_in_epoch and not progress.is_finished
    train_epoch(progress)
    assert progress.is_finished


def test_a_state_is_all_there_is_to_go_on_from():
    one, other = progress_of(patience=1), progress_of(patience=1)
    train_epoch(one, 0.5)
    train_epoch(one, 0.4)
    one.count_step(1.0, 1.0, 1.0)
    state = json.loads(json.dumps(one.state))
    assert other.is_state(state)
    other.restore(state)
    for progress in (one, other):
        train_epoch(progress, 0.3)
    # The plateau of two epochs, one before and one after, has halved the rate twice.
    assert one.state == other.state and other.learning_rate == 0.001 / 4


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["progress"].update(step=STEPS + 1),
        lambda state: state["progress"].update(best_epoch=2),
        lambda state: state["progress"].update(best_epoch=0),
        lambda state: state["progress"].update(seconds=float("nan")),
        lambda state: state["progress"].update(epoch=2),
        lambda state: state["progress"].update(images_seen=True),
        lambda state: state["progress"].update(another=1),
        lambda state: state["progress"]["history"][0].pop("seconds"),
        lambda state: state["progress"]["history"][0].update(loss="1"),
        lambda state: state["schedule"].pop("factor"),
        lambda state: state.pop("progress"),
    ],
)
def test_another_state_is_none_of_this_run(change):
    progress = progress_of()
    train_epoch(progress)
    state = copy.deepcopy(progress.state)
    assert progress.is_state(state)
    change(state)
    assert not progress.is_state(state) and not progress.is_state([state])


def test_a_pause_counts_as_a_typical_step():
    progress = progress_of("constant", epochs=100)
    pauses = [progress.count_step(2.0, 0.25, seconds) for seconds in (30.0, 1.0, 1.0, 1.0)]
    # The first step, which builds the graph, is no pause.
    assert pauses == [0.0] * 4 and progress.seconds == 33.0
    while progress.steps_done < 40:
        assert progress.count_step(2.0, 0.25, 1.0) == 0.0
        progress.step %= STEPS
        progress.epoch += progress.step == 0
    before = progress.seconds
    # Eight hours of sleep, and a step that is merely slow.
    pause = progress.count_step(2.0, 0.25, 8 * 3600.0)
    counted = progress.seconds - before
    assert 0.5 < counted < 2 and pause + counted == pytest.approx(8 * 3600)
    assert progress.count_step(2.0, 0.25, 9.0) == 0.0


def test_a_pause_in_the_validation_counts_as_the_validation_before():
    progress = progress_of("constant", epochs=100)
    train_epoch(progress)
    assert progress.seconds == 5 + 7
    for _ in range(STEPS):
        progress.count_step(2.0, 0.25, 1.0)
    progress.end_epoch(0.5, 0.9, 1.5, seconds=3600.0)
    assert progress.seconds == 2 * (5 + 7)
