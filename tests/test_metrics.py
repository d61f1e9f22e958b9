"""Accuracy intervals, confusions and mistakes are the numbers that their definitions give."""

from __future__ import annotations

import numpy as np
import pytest

from reports import metrics


def test_wilson_interval_has_the_published_values():
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
    for correct, total, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert metrics.wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_contains_the_share_and_is_symmetric():
    for total in (1, 7, 10000):
        for correct in {0, 1, total // 2, total}:
            low, high = metrics.wilson_interval(correct, total)
            assert 0 <= low <= correct / total <= high <= 1 and low < high
            mirrored = metrics.wilson_interval(total - correct, total)
            assert mirrored == pytest.approx((1 - high, 1 - low))
            wider = metrics.wilson_interval(correct, total, confidence=0.99)
            assert wider[0] <= low and high <= wider[1] and wider != (low, high)
    assert metrics.wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize("arguments", [(-1, 5), (6, 5), (1, 5, 0), (1, 5, 1), (float("nan"), 5)])
def test_wilson_interval_refuses_impossible_counts(arguments):
    with pytest.raises(ValueError, match="expected"):
        metrics.wilson_interval(*arguments)


def test_confusion_matrix_counts_true_rows_and_predicted_columns():
    random = np.random.RandomState(1)
    labels, predictions = random.randint(0, 7, (2, 500)).astype(np.uint8)
    matrix = metrics.confusion_matrix(labels, predictions, 8)
    assert matrix.shape == (8, 8) and matrix.dtype == np.int64
    for true in range(8):
        for answer in range(8):
            assert matrix[true, answer] == np.sum((labels == true) & (predictions == answer))


@pytest.mark.parametrize(
    "labels, predictions",
    [([0, 3], [0, 0]), ([0, 1], [-1, 0]), ([0], [0, 1]), ([0.0], [0]), ([[0]], [[0]])],
)
def test_confusion_matrix_refuses_what_are_no_class_indices(labels, predictions):
    with pytest.raises(ValueError):
        metrics.confusion_matrix(labels, predictions, 3)


def test_confused_pairs_are_the_fullest_cells_off_the_diagonal():
    matrix = np.array([[50, 3, 0], [9, 50, 0], [0, 1, 50]])
    assert metrics.most_confused_pairs(matrix) == [(1, 0, 9), (0, 1, 3), (2, 1, 1)]
    assert metrics.most_confused_pairs(matrix, 1) == [(1, 0, 9)]
    assert metrics.most_confused_pairs(np.diag([4, 5])) == []


def test_mistakes_are_wrong_and_sorted_by_confidence():
    random = np.random.RandomState(0)
    labels = random.randint(0, 10, 200)
    probabilities = random.dirichlet(np.full(10, 0.3), 200)
    found = metrics.most_confident_mistakes(labels, probabilities, 30)
    wrong = probabilities.argmax(-1) != labels
    confidences = probabilities.max(-1)
    assert len(found) == 30 and wrong[found].all()
    assert (np.diff(confidences[found]) <= 0).all()
    others = np.setdiff1d(np.flatnonzero(wrong), found)
    assert confidences[others].max() <= confidences[found].min()


# 190 of one class and 10 of another, all taken for the first one.
IGNORED = np.array([[190, 0], [10, 0]])


def test_a_model_that_ignores_a_rare_class_has_half_of_the_balanced_accuracy():
    assert metrics.balance(IGNORED) == (0, 0.95, 0.5, pytest.approx(0.5 * 380 / 390))
    common, rare = metrics.class_scores(IGNORED)
    assert common[:4] == (190, 200, 0.95, 1.0)
    assert rare[:2] == (10, 0) and np.isnan(rare.precision) and rare[3:] == (0, 0)


def test_scores_are_those_of_their_definitions():
    random = np.random.RandomState(0)
    labels, predictions = random.randint(0, 4, (2, 300))
    matrix = metrics.confusion_matrix(labels, predictions, 4)
    for c, scores in enumerate(metrics.class_scores(matrix)):
        precision = (labels[predictions == c] == c).mean()
        recall = (predictions[labels == c] == c).mean()
        harmonic = 2 / (1 / precision + 1 / recall)
        assert scores[2:] == (
            pytest.approx(precision),
            pytest.approx(recall),
            pytest.approx(harmonic),
        )
    overall = metrics.balance(matrix)
    recalls = [each.recall for each in metrics.class_scores(matrix)]
    assert overall.balanced_accuracy == pytest.approx(np.mean(recalls))
    assert overall.majority_share == max(np.bincount(labels)) / 300


def test_a_class_without_test_images_counts_in_no_mean_and_is_null_in_json():
    matrix = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert metrics.balance(matrix).balanced_accuracy == pytest.approx((0.75 + 1) / 2)
    values = metrics.scores_for_json(matrix, ["a", "b", "c"])
    assert values["majority_class"] == "a" and values["majority_share"] == 0.5
    assert values["classes"][2] == {
        "name": "c",
        "images": 0,
        "predicted": 0,
        "precision": None,
        "recall": None,
        "f1": None,
    }
