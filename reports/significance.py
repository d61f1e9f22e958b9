"""Whether a difference may be chance: McNemar's test of two models, Welch's test of two methods."""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence

import numpy as np


class WelchTest(NamedTuple):
    """The difference of two means, Welch's t and its degrees of freedom, the two-sided p-value.

    Without any spread there is nothing to measure a difference by: t, degrees and p are NaN.
    """

    difference: float
    t: float
    degrees: float
    p: float


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    first_only images are classified correctly by the first model only, second_only by the second
    only. p is the probability that as many tosses of a fair coin split at least as unevenly.
    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", 1947. Raises ValueError for negative counts.
    """
    total, fewer = first_only + second_only, min(first_only, second_only)
    if fewer < 0:
        raise ValueError(f"{first_only} and {second_only}: counts cannot be negative.")
    # By logarithms, because 2 ** total does not fit into a float.
    logarithms = [
        math.lgamma(total + 1)
        - math.lgamma(heads + 1)
        - math.lgamma(total - heads + 1)
        - total * math.log(2)
        for heads in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logarithms))


def welch(first: Sequence[float], second: Sequence[float]) -> WelchTest:
    """Return Welch's test of whether two means differ, from two values or more on each side.

    It does not assume that both sides have the same spread. Source: B. L. Welch, "The
    generalization of Student's problem when several different population variances are involved",
    1947. Raises ValueError for a side of fewer than two values.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"{len(first)} and {len(second)} values: each side needs at least 2.")
    difference = float(np.mean(first) - np.mean(second))
    # Squared standard errors of both means.
    errors = [float(np.var(side, ddof=1)) / len(side) for side in (first, second)]
    if not sum(errors):
        return WelchTest(difference, math.nan, math.nan, math.nan)
    t = difference / math.sqrt(sum(errors))
    degrees = sum(errors) ** 2 / sum(
        error**2 / (len(side) - 1) for error, side in zip(errors, (first, second))
    )
    return WelchTest(difference, t, degrees, two_sided_p(t, degrees))


def two_sided_p(t: float, degrees: float) -> float:
    """Return the probability of a value as far from 0 as t, in Student's distribution.

    With t = sqrt(degrees) tan(angle), its density becomes cos(angle) ** (degrees - 1), which is
    integrated by Gauss and Legendre's rule; accurate to about 1e-9 for degrees from 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    start = math.atan(abs(t) / math.sqrt(degrees))

    def area(low, high):
        angles = low + (high - low) * (nodes + 1) / 2
        return (high - low) / 2 * float(weights @ np.cos(angles) ** (degrees - 1))

    tail, rest = area(start, math.pi / 2), area(0, start)
    return min(1.0, tail / (tail + rest))
