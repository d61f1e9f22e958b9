"""A comparison groups runs by method, and asks over seeds only what several seeds can answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from markupsafe import escape

from models.resnet import resnet
from storage.trained_run import FinishedRun
from tools import compare
from tools.methods import differences, method_settings

LABELS = np.repeat(np.arange(10), 40)
CLASS_NAMES = [f"class {c}" for c in range(10)]
IMAGES = np.zeros((400, 8, 8, 3), np.uint8)

pytestmark = pytest.mark.tensorflow_only


def made_up(correct, seed=0, name="", **constants):
    """A run that has `correct` of 400 test images right, others for every seed."""
    order = np.random.RandomState(1000 * seed + correct).permutation(400)
    answers = LABELS.copy()
    answers[order[correct:]] = (answers[order[correct:]] + 1) % 10
    rows = [
        dict(epoch=e, validation_loss=2.0 / e, seconds=30, images_per_second=100) for e in (1, 2)
    ]
    saved = dict(script="train_cifar10", constants=dict(constants, SEED=seed), model={})
    return compare.ComparedRun(
        letter="",
        name=name or f"train_cifar10/{seed}-{correct}",
        settings=method_settings(saved),
        commit="abc",
        results={"seed": seed, "images_seen": 6000, "train_minutes": 1.0, "device": "CPU"},
        history=rows,
        parameters=1000,
        multiply_adds=10**6,
        probabilities=np.eye(10, dtype=np.float32)[answers],
        is_right=answers == LABELS,
    )


def page_of(tmp_path, runs, names=CLASS_NAMES):
    methods = compare.methods_of(runs)
    path = compare.write_comparison(tmp_path / "compare.html", methods, IMAGES, LABELS, names)
    return path.read_text(encoding="utf-8")


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


def test_runs_that_differ_in_their_seed_or_their_place_are_one_method():
    runs = [
        made_up(300, 0),
        made_up(320, 1, DATA_DIR="elsewhere", DATASET="/moved/to/cifar10"),
        made_up(290, 2, OUTPUT_DIR="else", INITIAL_RUN="", DML_VISIBLE_DEVICES="1"),
        made_up(310, 0, LEARNING_RATE=0.01),
    ]
    methods = compare.methods_of(runs)
    assert [[each.letter for each in method.runs] for method in methods] == [
        ["A"],
        ["B1", "B2", "B3"],
    ]
    assert methods[1].mean == pytest.approx(910 / 1200)
    assert methods[1].deviation == pytest.approx(np.std([0.75, 0.8, 0.725], ddof=1))
    assert compare.method_differences(methods) == [("LEARNING_RATE", ["0.01", "0.001"])]


def test_a_run_older_than_a_constant_has_its_default():
    old, new = (
        method_settings({"script": "s", "model": {}, "constants": constants})
        for constants in ({"EPOCHS": 3}, {"EPOCHS": 3, "CLASS_WEIGHTS": "none"})
    )
    assert differences([old, new]) == []


def test_three_seeds_of_one_method_are_not_ranked(tmp_path):
    runs = [made_up(220, 0), made_up(300, 1), made_up(390, 2)]
    methods = compare.methods_of(runs)
    assert compare.compare_all(methods) == []
    assert "trainings of one method" in compare.not_tested(methods)
    page = page_of(tmp_path, runs)
    assert "No setting but the seed" in page and "better than" not in page


def test_methods_of_several_seeds_are_tested_over_their_seeds():
    runs = [made_up(c, s, EPOCHS=2) for s, c in enumerate((300, 304, 296))]
    runs += [made_up(c, s, EPOCHS=1) for s, c in enumerate((260, 264, 256))]
    methods = compare.methods_of(runs)
    (found,) = compare.compare_all(methods)
    assert found.question == "A better than B?"
    # Equal spreads of 4 images, 40 apart: t = 40 / sqrt(2 * 16 / 3), four degrees.
    assert "t = 12.25, 4.0 degrees of freedom, n = 3 and 3 seeds" in found.test
    assert found.p == pytest.approx(0.000256, rel=0.01) and found.answer == "yes"
    assert found.difference_in_points == "+10.00 points"
    assert compare.not_tested(methods) == ""


def test_one_seed_against_several_is_not_tested():
    runs = [made_up(300, 0, EPOCHS=2), made_up(300, 1, EPOCHS=2), made_up(200, 0, EPOCHS=1)]
    methods = compare.methods_of(runs)
    (found,) = compare.compare_all(methods)
    assert math.isnan(found.p) and found.answer == "not tested" and not found.is_significant
    assert "settings of B" in compare.not_tested(methods)


def test_two_runs_of_one_seed_count_once():
    runs = [made_up(300, 4), made_up(320, 4)]
    (method,) = compare.methods_of(runs)
    assert method.seeds == 1 and method.accuracies == [pytest.approx(0.775)]


def test_single_runs_are_compared_as_weights_on_these_images():
    better, worse = made_up(8, 0, EPOCHS=2), made_up(0, 0, EPOCHS=1)
    methods = compare.methods_of([worse, better])
    (found,) = compare.compare_all(methods)
    assert found.question == "weights of A better than those of B on these images?"
    # Eight tosses of one kind: 2 / 2 ** 8.
    assert found.p == pytest.approx(2 / 256) and found.is_significant
    assert "Not tested: whether the settings of A, B" in compare.not_tested(methods)
    # As one of ten comparisons it may be chance.
    assert not compare.compare(*methods, significance=compare.SIGNIFICANCE / 10).is_significant
    same = compare.compare(methods[0], methods[0])
    assert same.p == 1 and same.difference_in_points == "+0.00 points"


def test_bonferroni_counts_what_was_tested():
    runs = [made_up(300, s, EPOCHS=e) for e in (1, 2, 3) for s in range(2 if e < 3 else 1)]
    found = compare.compare_all(compare.methods_of(runs))
    # Two methods of two seeds and one of a single one: one pair can be tested.
    assert len(found) == 3 and {each.significance for each in found} == {0.05}


def test_training_flops_are_three_forward_passes_of_every_image():
    run = made_up(300)
    assert run.training_flops == 3 * 2 * 10**6 * 6000
    assert compare.with_unit(run.training_flops) == "36 G"
    assert compare.with_unit(float("nan")) == "–" and compare.with_unit(2.5e15) == "2.5 P"


def test_the_page_says_what_differs_before_it_says_how_much(tmp_path):
    runs = [made_up(c, s, EPOCHS=e) for e, c in ((2, 300), (1, 280)) for s in (0, 1)]
    page = page_of(tmp_path, runs)
    parts = ["EPOCHS", "standard deviation", "n = 2 and 2 seeds", "not comparable", "FLOPs"]
    places = [page.index(part, page.index("What differs")) for part in parts]
    assert places == sorted(places)


def test_hostile_names_reach_the_page_as_text(tmp_path):
    hostile = "<script>alert('&amp;') \"'>{{ 7 * 7 }}{% raw %}{# $x_1$ #}<img src=x>"
    runs = [
        made_up(300 - 50 * n, name=f"{hostile}/{hostile}", AUGMENTATIONS=[hostile] * n)._replace(
            results={"device": hostile, "seed": hostile}, commit=f"{hostile}{n}"
        )
        for n in range(2)
    ]
    page = page_of(tmp_path, runs, [f"{hostile}{name}" for name in CLASS_NAMES])
    assert "<script" not in page and "<img src=x" not in page
    assert page.count(str(escape(hostile))) > 10


def test_finished_runs_are_read_and_compared(runs, tmp_path, capsys):
    output = tmp_path / "compare.html"
    folders = [str(runs[name]) for name in ("vit", "cnn")]
    methods, images, labels, class_names = compare.read_runs(folders)
    for method in methods:
        (each,) = method.runs
        assert each.accuracy == pytest.approx(each.results["test_accuracy"])
        assert each.probabilities.shape == (len(labels), len(class_names))
    assert methods[0].mean >= methods[1].mean and len(images) == len(labels)
    assert compare.main(folders + ["--output", str(output)]) == output
    page, said = output.read_text(encoding="utf-8"), capsys.readouterr().out
    for folder in folders:
        assert "<br>".join(FinishedRun(folder).name.split("/")) in page
    for part in ("differs: model: ", "weights of A better than", "Not tested", "not comparable"):
        assert part in said


def test_runs_on_other_images_are_not_compared(runs):
    other = str(runs["other_data"])
    with pytest.raises(ValueError, match="not tested on the same images"):
        compare.read_runs([str(runs["vit"]), other])
    with pytest.raises(ValueError, match="1 run"):
        compare.read_runs([other])
