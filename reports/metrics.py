"""How good the predictions of a classifier are, from labels, logits and probabilities."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Sequence

import numpy as np

NUMBER_OF_MISTAKES = 24
NUMBER_OF_PAIRS = 15


def accuracy_and_loss(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """Return top-1 accuracy, top-5 accuracy (fractions) and mean cross-entropy.

    logits (count, classes), labels (count,). With five classes or fewer, top-5 accuracy is 1.
    """
    rows = np.arange(len(labels))
    shifted = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels]
    best_five = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    top5 = (best_five == labels[:, None]).any(axis=1)
    return float((best_five[:, 0] == labels).mean()), float(top5.mean()), float(losses.mean())


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, number_of_classes: int
) -> np.ndarray:
    """Count the test images of each true class (row) by their predicted class (column).

    Args:
      labels, predictions: class indices, shape (images,).

    Returns:
      int64, shape (number_of_classes, number_of_classes).

    Raises:
      ValueError: the lengths differ, or an index is not in 0..number_of_classes - 1.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ValueError(
            f"labels {labels.shape} and predictions {predictions.shape} must be of one shape "
            "(images,)"
        )
    for name, indices in (("labels", labels), ("predictions", predictions)):
        # np.asarray([]) is float64.
        if len(indices) and not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"{name} are {indices.dtype}, expected integers")
        if len(indices) and not 0 <= indices.min() <= indices.max() < number_of_classes:
            raise ValueError(
                f"{name} reach from {indices.min()} to {indices.max()}, expected 0 to "
                f"{number_of_classes - 1}"
            )
    cells = labels.astype(np.int64) * number_of_classes + predictions.astype(np.int64)
    matrix = np.bincount(cells, minlength=number_of_classes**2)
    return matrix.reshape(number_of_classes, number_of_classes)


class ClassScores(NamedTuple):
    """How well one class is recognised, from shares in 0..1; NaN where a share is one of nothing.

    precision is the share of the `predicted` images that are of this class, recall the share of its
    `images` that are predicted as it, and F1 their harmonic mean.
    """

    images: int
    predicted: int
    precision: float
    recall: float
    f1: float


class Balance(NamedTuple):
    """What an accuracy means where some classes are larger than others.

    majority_class, of which majority_share of all images are, is what a model could always answer.
    balanced_accuracy is the mean recall and macro_f1 the mean F1: every class counts alike, but for
    those without a test image (in macro_f1, and without a prediction).
    """

    majority_class: int
    majority_share: float
    balanced_accuracy: float
    macro_f1: float


def class_scores(matrix: np.ndarray) -> list[ClassScores]:
    """Return the scores of each class, from a confusion matrix (true, predicted) of counts."""
    scores = []
    for images, predicted, correct in zip(matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)):
        scores.append(
            ClassScores(
                int(images),
                int(predicted),
                _share(correct, predicted),
                _share(correct, images),
                _share(2 * correct, images + predicted),
            )
        )
    return scores


def balance(matrix: np.ndarray) -> Balance:
    """Return the scores in which classes count alike, from a confusion matrix of counts."""
    scores, images = class_scores(matrix), matrix.sum(axis=1)
    largest = int(images.argmax())
    return Balance(
        largest,
        _share(images[largest], images.sum()),
        _mean([each.recall for each in scores]),
        _mean([each.f1 for each in scores]),
    )


def scores_for_json(matrix: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the balance of a confusion matrix and the scores of its classes; None for NaN."""
    values = dict(balance(matrix)._asdict(), classes=[])
    values["majority_class"] = class_names[values["majority_class"]]
    for name, each in zip(class_names, class_scores(matrix)):
        scores = {
            key: None if math.isnan(value) else value for key, value in each._asdict().items()
        }
        values["classes"].append(dict(name=name, **scores))
    return values


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _mean(shares: Sequence[float]) -> float:
    """Return the mean of those that are numbers; NaN where none is."""
    numbers = [share for share in shares if not math.isnan(share)]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def wilson_interval(correct: float, total: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's confidence interval of an accuracy: `correct` predictions of `total`.

    Unlike the mean +- 1.96 standard errors it is sound near 0 and 1 and for few images; of none it
    is (0, 1). Source: E. B. Wilson, "Probable Inference, the Law of Succession, and
    Statistical Inference", 1927; recommended by Brown, Cai and DasGupta, 2001.

    Raises:
      ValueError: `correct` is not in 0..total, or `confidence` not between 0 and 1.
    """
    if not 0 <= correct <= total:
        raise ValueError(f"correct is {correct}, expected 0 to total = {total}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1")
    if total == 0:
        return 0.0, 1.0
    # The normal quantile by bisection: erf(z / sqrt(2)) = confidence.
    low, high = 0.0, 40.0
    for _ in range(80):
        z = (low + high) / 2
        low, high = (z, high) if math.erf(z / math.sqrt(2)) < confidence else (low, z)
    p = correct / total
    scale = 1 + z * z / total
    centre = (p + z * z / (2 * total)) / scale
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / scale
    # Rounding must not exclude the observed 0 or 1.
    return max(0.0, min(centre - half, p)), min(1.0, max(centre + half, p))


def most_confident_mistakes(
    labels: np.ndarray, probabilities: np.ndarray, count: int = NUMBER_OF_MISTAKES
) -> np.ndarray:
    """Return the indices of the wrong predictions of the highest probability, highest first."""
    predictions = probabilities.argmax(axis=-1)
    confidences = probabilities.max(axis=-1)
    wrong = np.flatnonzero((predictions != labels) & np.isfinite(confidences))
    return wrong[np.argsort(-confidences[wrong], kind="stable")][:count]


def most_confused_pairs(
    matrix: np.ndarray, count: int = NUMBER_OF_PAIRS
) -> list[tuple[int, int, int]]:
    """Return (true class, predicted class, images) of the fullest cells off the diagonal."""
    errors = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    fullest = np.argsort(-errors, axis=None, kind="stable")[:count]
    pairs = [divmod(int(cell), len(matrix)) for cell in fullest]
    return [
        (true, predicted, int(errors[true, predicted]))
        for true, predicted in pairs
        if errors[true, predicted]
    ]
