"""The learning rate follows its schedule, whatever the number of epochs."""

from __future__ import annotations

import pytest

from training.schedule import LearningRate


def test_cosine_rises_linearly_and_falls_to_zero():
    rate = LearningRate("cosine", 0.1, epochs=10, warmup_epochs=2, warmup_learning_rate=0.02)
    assert rate.at(0.0) == pytest.approx(0.02)
    assert rate.at(0.1) == pytest.approx(0.06)
    assert rate.at(0.2) == pytest.approx(0.1)
    assert rate.at(0.6) == pytest.approx(0.05)
    assert rate.at(1.0) == pytest.approx(0.0)


def test_exponential_decays_per_epoch_after_the_warm_up():
    rate = LearningRate(
        "exponential",
        0.16,
        epochs=100,
        warmup_epochs=5,
        warmup_learning_rate=0.01,
        decay_per_epoch=0.9875,
    )
    assert rate.at(0.0) == pytest.approx(0.01)
    assert rate.at(0.05) == pytest.approx(0.16)
    assert rate.at(0.07) == pytest.approx(0.16 * 0.9875**2)


def test_constant_stays():
    rate = LearningRate("constant", 0.3, epochs=7)
    assert {rate.at(x / 10) for x in range(11)} == {0.3}


def test_plateau_halves_after_patience_epochs_without_better_accuracy():
    rate = LearningRate("plateau", 0.8, epochs=100, patience=3)
    rates = []
    for accuracy in [0.1, 0.2, 0.2, 0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1]:
        rate.observe(accuracy)
        rates.append(rate.at(0.5))
    assert rates == pytest.approx([0.8] * 4 + [0.4] * 4 + [0.2] * 2)


def test_an_unknown_schedule_is_named():
    with pytest.raises(ValueError, match="step.*plateau, cosine"):
        LearningRate("step", 0.1, epochs=10)
