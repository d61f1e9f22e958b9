"""A whole small run of the script: what it leaves behind, and that the numbers are true."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import train_cifar10
from backend import micro_batches
from backend.micro_batches import GradientPasses
from data_augmentations import augmentation_pipeline
from datasets.batches import training_batches
from datasets.dataset import load_dataset
from models.predictor import Predictor
from reports.metrics import accuracy_and_loss
from tests.helpers import (
    SMALL_MODEL,
    SMALL_RUN,
    small_model,
    small_resnet,
    small_visual_tokens,
)
from training.run import has_batch_normalisation, prepare
from training.settings import settings_from
from training.train import note_on_plateau, note_on_tokens
from vit_model import vision_transformer


def run(folder, *flags):
    return train_cifar10.main(SMALL_RUN + ["--output-dir", str(folder)] + list(flags))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"), "--ema-decay", "0.9")


def read(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_a_run_leaves_all_its_files_and_nothing_half_written(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        "settings.json",
        "history.csv",
        "weights.h5",
        "checkpoint",
        "tensorboard",
        "results.json",
        "report.html",
        "lock",
    }
    assert finished.parent.name == "train_cifar10"
    assert list((finished / "tensorboard").iterdir())
    for chapter in ("Training", "Accuracy per class", "Most confident mistakes"):
        assert chapter in (finished / "report.html").read_text(encoding="utf-8")


def test_the_results_hold_what_is_promised(finished):
    results = read(finished, "results.json")
    assert set(results) >= set(
        "dataset test_accuracy test_top5_accuracy test_loss parameters epochs images_seen "
        "majority_class majority_share balanced_accuracy macro_f1 classes training_images "
        "train_minutes images_per_second device runtime seed finished".split()
    )
    assert results["dataset"] == "synthetic"
    assert results["epochs"] == 2
    assert results["images_seen"] == 2 * (720 // 64) * 64
    with open(str(finished / "history.csv"), newline="", encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["1", "2"]
    accuracies = [float(row["validation_accuracy"]) for row in history]
    assert results["validation_accuracy"] == max(accuracies)
    assert results["best_epoch"] == 1 + accuracies.index(max(accuracies))


def test_the_saved_weights_are_the_tested_ones(finished):
    settings, results = read(finished, "settings.json"), read(finished, "results.json")
    assert settings["model"]["builder"] == "vision_transformer"
    model = vision_transformer(**dict(settings["model"]["arguments"], **settings["dataset"]))
    model.load_weights(str(finished / "weights.h5"))
    dataset = load_dataset("synthetic", images_per_class=80)
    logits = Predictor(model, 100)(dataset.x_test)
    accuracy, top5, loss = accuracy_and_loss(logits, dataset.y_test)
    assert accuracy == pytest.approx(results["test_accuracy"])
    assert top5 == pytest.approx(results["test_top5_accuracy"])
    assert loss == pytest.approx(results["test_loss"], rel=1e-4)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    def weights(name, *flags):
        return np.load(str(run(tmp_path / name, "--epochs", "1", *flags) / "checkpoint/latest.npz"))

    one, same, other = weights("a"), weights("b"), weights("c", "--seed", "1")
    arrays = [name for name in one.files if name.startswith("array")]
    for name in arrays:
        np.testing.assert_array_equal(one[name], same[name])
    assert any((one[name] != other[name]).any() for name in arrays)


def test_the_time_limit_ends_the_run_and_the_schedule(tmp_path):
    flags = "--time-limit-minutes 0.05 --epochs 100000 --schedule cosine".split()
    folder = run(tmp_path, *flags)
    results = read(folder, "results.json")
    assert results["epochs"] < 100000
    assert results["train_minutes"] >= 0.05
    with open(str(folder / "history.csv"), newline="", encoding="utf-8") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    # Not quite 0 where the last validation has used up the rest of the time.
    assert rates[-1] < 0.2 * 0.001


def test_early_stopping_ends_the_run(tmp_path):
    # A rate too small to change any answer: no epoch is better than the first.
    flags = "--epochs 50 --early-stopping-patience 2 --learning-rate 1e-12".split()
    assert read(run(tmp_path, *flags), "results.json")["epochs"] == 3


@pytest.mark.parametrize(
    "flags, word",
    [
        ("--dataset cifar11", "cifar11"),
        ("--augmentations random_flipp", "random_flipp"),
        ("--batch-size 100000", "100000"),
        ("--micro-batch-size 33", "MICRO_BATCH_SIZE"),
        ("--optimizer lion", "lion"),
        ("--schedule step", "step"),
        ("--num-heads 3", "NUM_HEADS"),
        ("--patch-size 7", "PATCH_SIZE"),
        ("--stem conv", "STEM"),
        ("--representation cls", "REPRESENTATION"),
        ("--dml-visible-devices one", "one"),
        ("--resume {folder}/none", "none"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(flags, word, tmp_path):
    with pytest.raises(ValueError) as error:
        run(tmp_path / "runs", *flags.format(folder=tmp_path).split())
    assert word in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_two_epochs_of_augmented_data_differ_and_hold_the_same_images():
    dataset = load_dataset("synthetic", images_per_class=10)
    augment = augmentation_pipeline(train_cifar10.AUGMENTATIONS, dataset.number_of_classes)
    batches = training_batches(dataset.x_train, dataset.y_train, 100, augment, 0, epochs=2)
    (first, first_labels), (second, second_labels) = [
        (images.numpy(), labels.numpy()) for images, labels in batches
    ]
    assert sorted(first_labels) == sorted(second_labels)
    assert (first_labels != second_labels).any()
    assert not {image.tobytes() for image in first} & {image.tobytes() for image in second}


def passes(monkeypatch, cores, batch_size, micro_batch_size=-1, fewest=1):
    """The passes on a machine of so many cores, 0 = with a GPU, as (images, at_once)."""
    monkeypatch.setattr(micro_batches, "has_gpu", lambda: not cores)
    monkeypatch.setattr(micro_batches, "cpu_cores", lambda: cores)
    found = micro_batches.gradient_passes(batch_size, micro_batch_size, fewest)
    assert isinstance(found, GradientPasses)
    assert batch_size % (found.images * found.at_once) == 0
    return tuple(found)


def test_a_gpu_takes_a_batch_at_once_unless_told_otherwise(monkeypatch):
    assert [passes(monkeypatch, 0, 96, size) for size in (-1, 0, 32)] == [(96, 1), (96, 1), (32, 1)]


def test_a_cpu_takes_small_passes_on_each_core(monkeypatch):
    assert [passes(monkeypatch, cores, 512) for cores in (1, 2, 6)] == [(32, 1), (32, 2), (32, 4)]
    assert [passes(monkeypatch, 2, 96, size) for size in (0, 32, 24)] == [(96, 1), (32, 1), (24, 2)]


@pytest.mark.parametrize("batch_size", [100, 125, 200, 250, 500, 509, 514, 1000])
@pytest.mark.parametrize("cores", [1, 2, 4])
def test_a_batch_of_any_size_falls_into_passes_of_some_size(batch_size, cores, monkeypatch):
    """The greatest common divisor with 32 made 125 passes of 4 images of a batch of 500."""
    images, at_once = passes(monkeypatch, cores, batch_size)
    assert images >= 16
    assert at_once == max(number for number in range(1, cores + 1) if batch_size % number == 0)


def test_a_data_set_with_a_validation_part_is_validated_on_it():
    settings = settings_from(vars(train_cifar10), SMALL_MODEL + ["--batch-size", "64"])
    dataset = load_dataset("synthetic", images_per_class=10)
    for own in (False, True):
        if own:
            dataset = dataset._replace(x_validation=dataset.x_test, y_validation=dataset.y_test)
        run = prepare(train_cifar10.build_model(settings), settings, dataset)
        assert len(run.training_indices) == (100 if own else 90)
        assert len(run.validation_labels) == (len(dataset.y_test) if own else 10)
        training = {image.tobytes() for image in dataset.x_train[run.training_indices]}
        assert not training & {image.tobytes() for image in run.validation_images}
    np.testing.assert_array_equal(run.validation_images, dataset.x_test)


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_batch_normalisation_sees_at_least_32_images(cores, monkeypatch):
    fewest = micro_batches.FEWEST_NORMALISED
    for batch_size in (8, 31, 32, 48, 64, 72, 96, 100, 128, 500, 509):
        images, at_once = passes(monkeypatch, cores, batch_size, fewest=fewest)
        assert images >= min(fewest, batch_size)
        # As many cores have work as whole pieces allow.
        assert at_once >= min(cores, 2) or batch_size < 2 * fewest or batch_size == 509
    # Whoever gives a size has asked for it.
    assert passes(monkeypatch, cores, 128, 8, fewest)[0] == 8


def test_a_model_says_whether_it_has_batch_normalisation():
    assert has_batch_normalisation(small_resnet())
    assert has_batch_normalisation(small_visual_tokens())
    assert not has_batch_normalisation(small_model())


def test_a_note_says_what_many_tokens_cost_and_what_a_limit_does_to_plateau():
    assert note_on_tokens(999) == ""
    assert "3,136 tokens, and each looks at all: 9,834,496 products" in note_on_tokens(3136)
    assert note_on_plateau("plateau", 0.0) == note_on_plateau("cosine", 10.0) == ""
    assert "ends the run at whatever rate" in note_on_plateau("plateau", 10.0)
