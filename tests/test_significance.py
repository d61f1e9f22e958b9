"""p-values are those of the definitions and of the published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.significance import mcnemar, two_sided_p, welch


@pytest.mark.parametrize("first, second", [(0, 0), (1, 0), (5, 9), (12, 12), (40, 3), (3, 40)])
def test_mcnemar_is_the_two_sided_binomial_test(first, second):
    total = first + second
    ways = [
        math.factorial(total) // math.factorial(k) // math.factorial(total - k)
        for k in range(total + 1)
    ]
    own = ways[first]
    # Two-sided, by its definition: all outcomes that are no likelier than the one seen.
    expected = sum(count for count in ways if count <= own) / 2.0**total
    assert mcnemar(first, second) == pytest.approx(expected)


def test_mcnemar_of_many_images_is_the_normal_approximation():
    p = mcnemar(2600, 2400)
    z = (200 - 1) / math.sqrt(5000)
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)
    assert mcnemar(9000, 1000) < 1e-300
    with pytest.raises(ValueError, match="-1"):
        mcnemar(-1, 3)


@pytest.mark.parametrize(
    "degrees, t, p",
    # Student's distribution, as in any table of critical values.
    [(1, 12.706, 0.05), (2, 4.303, 0.05), (2, 9.925, 0.01), (4, 8.610, 0.001), (30, 2.042, 0.05)],
)
def test_students_tail_has_the_published_values(degrees, t, p):
    assert two_sided_p(t, degrees) == pytest.approx(p, rel=1e-3)
    assert two_sided_p(-t, degrees) == two_sided_p(t, degrees)


@pytest.mark.parametrize("degrees", [1.0, 1.37, 2.6, 11.3, 200.5])
def test_students_tail_is_the_integral_of_its_density(degrees):
    # The density of any number of degrees, by the midpoint rule in t = sinh(x).
    x = np.linspace(0, 40, 400001)
    middle = (x[1:] + x[:-1]) / 2
    t = np.sinh(middle)
    density = np.exp(-(degrees + 1) / 2 * np.log1p(t * t / degrees)) * np.cosh(middle)
    for limit in (0.0, 0.3, 1.0, 4.0):
        expected = density[t > limit].sum() / density.sum()
        assert two_sided_p(limit, degrees) == pytest.approx(expected, rel=1e-3)


def test_welch_is_the_worked_example():
    first = [
        27.5,
        21.0,
        19.0,
        23.6,
        17.0,
        17.9,
        16.9,
        20.1,
        21.9,
        22.6,
        23.1,
        19.6,
        19.0,
        21.7,
        21.4,
    ]
    second = [
        27.1,
        22.0,
        20.8,
        23.4,
        23.4,
        23.5,
        25.8,
        22.0,
        24.8,
        20.2,
        21.9,
        22.1,
        22.9,
        30.0,
        23.9,
    ]
    found = welch(first, second)
    means = np.mean(first) - np.mean(second)
    errors = [np.std(side, ddof=1) / math.sqrt(15) for side in (first, second)]
    assert found.difference == pytest.approx(means)
    assert found.t == pytest.approx(means / math.hypot(*errors))
    # Of two sides alike in number the degrees lie between n - 1 and 2 (n - 1).
    assert 14 < found.degrees < 28 and found.p == two_sided_p(found.t, found.degrees)


def test_welch_of_equal_spreads_is_students_test():
    found = welch([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    assert (found.t, found.degrees) == (pytest.approx(-math.sqrt(1.5)), pytest.approx(4))
    # t of 4 degrees: 1.2247 is p = 0.2879.
    assert found.p == pytest.approx(0.2879, abs=1e-4)


def test_welch_needs_two_values_and_some_spread():
    with pytest.raises(ValueError, match="1 and 3 values"):
        welch([0.5], [0.1, 0.2, 0.3])
    assert math.isnan(welch([0.5, 0.5], [0.4, 0.4]).p)
