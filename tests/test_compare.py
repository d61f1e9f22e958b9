"""A comparison counts, tests and shows what the runs predicted for the same images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from markupsafe import escape

from models.resnet import resnet
from storage.trained_run import FinishedRun
from tools import compare

pytestmark = pytest.mark.tensorflow_only


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
    assert compare.mcnemar(first, second) == pytest.approx(expected)


def test_mcnemar_of_many_images_is_the_normal_approximation():
    p = compare.mcnemar(2600, 2400)
    z = (200 - 1) / math.sqrt(5000)
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)
    assert compare.mcnemar(9000, 1000) < 1e-300
    with pytest.raises(ValueError, match="-1"):
        compare.mcnemar(-1, 3)


def test_multiplications_of_a_model_are_counted_from_its_sizes(runs):
    own = compare.multiply_adds(FinishedRun(runs["vit"]).model)
    tokens, dim, hidden = 17, 8, 8
    block = tokens * (4 * dim * dim + 2 * dim * hidden) + 2 * tokens * tokens * dim
    assert own == 16 * 192 * dim + 2 * block + dim * 8 + 8 * 10
    # Without padding: 20 layers on 32 x 32 take 40.5 million (arXiv 1512.03385 has no figure).
    model = resnet((32, 32, 3), 10, (120.0,) * 3, (60.0,) * 3, number_of_layers=20)
    stage = 1024 * 9 * 16 * 16
    first_of_stage = stage // 2
    expected = 1024 * 27 * 16 + 6 * stage + 2 * (first_of_stage + 5 * stage) + 64 * 10
    assert compare.multiply_adds(model) == expected


@pytest.fixture(scope="module")
def compared(runs):
    return compare.read_runs([str(runs[name]) for name in ("vit", "cnn", "tokens")])


def test_runs_are_lettered_from_the_best_to_the_worst(compared):
    runs, images, labels, class_names = compared
    assert [each.letter for each in runs] == ["A", "B", "C"]
    assert runs[0].accuracy >= runs[1].accuracy >= runs[2].accuracy
    for each in runs:
        assert each.accuracy == pytest.approx(each.results["test_accuracy"])
        assert each.probabilities.shape == (len(labels), len(class_names))
    assert len(images) == len(labels)


def test_the_page_answers_whether_the_differences_are_significant(runs, tmp_path, capsys):
    output = tmp_path / "compare.html"
    folders = [str(runs[name]) for name in ("vit", "cnn", "tokens")]
    assert compare.main(folders + ["--output", str(output)]) == output
    page = output.read_text(encoding="utf-8")
    for part in ("A better than B?", "B better than C?", "Bonferroni", "FLOPs", "Validation loss"):
        assert part in page
    for folder in folders:
        assert "<br>".join(FinishedRun(folder).name.split("/")) in page
    assert "A better than B?" in capsys.readouterr().out


def test_hostile_names_reach_the_page_as_text(compared, tmp_path):
    hostile = "<script>alert('&amp;') \"'>{{ 7 * 7 }}{% raw %}{# $x_1$ #}<img src=x>"
    runs, images, labels, class_names = compared
    runs = [
        each._replace(name=f"{hostile}/{hostile}", results=dict(each.results, device=hostile))
        for each in runs
    ]
    names = [f"{hostile}{name}" for name in class_names]
    path = compare.write_comparison(tmp_path / "compare.html", runs, images, labels, names)
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page and "<img src=x" not in page
    # Two parts of a name and a device for each run, and the names below the mistakes.
    assert page.count(str(escape(hostile))) > 3 * len(runs)


def test_a_run_is_not_better_than_itself(compared):
    (best, _, _), _, _, _ = compared
    result = compare.compare(best, best)
    assert (result.only_better, result.only_worse, result.p) == (0, 0, 1)
    assert not result.is_significant and result.difference_in_points == "+0.00 points"


def test_more_comparisons_ask_for_a_smaller_p(compared):
    (best, worse, _), _, _, _ = compared
    is_right = np.arange(len(best.is_right)) < 8
    better, worse = best._replace(is_right=is_right), worse._replace(is_right=is_right & False)
    result = [compare.compare(better, worse, comparisons) for comparisons in (1, 10)]
    # Eight tosses of one kind: 2 / 2 ** 8.
    assert result[0].p == result[1].p == pytest.approx(2 / 256)
    assert [each.is_significant for each in result] == [True, False]


def test_runs_on_other_images_are_not_compared(runs):
    other = str(runs["other_data"])
    with pytest.raises(ValueError, match="not tested on the same images"):
        compare.read_runs([str(runs["vit"]), other])
    with pytest.raises(ValueError, match="1 runs"):
        compare.read_runs([other])
