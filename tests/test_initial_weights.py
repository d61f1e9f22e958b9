"""What a run takes from the one that it starts from, and what it moves of that."""

from __future__ import annotations

import numpy as np
import pytest

import train_cifar10
from datasets.dataset import load_dataset
from models.builders import BUILDERS
from storage.run_folder import RunFolder
from storage.trained_run import FinishedRun
from tests.helpers import (
    SETTINGS,
    SMALLEST,
    batch,
    new_step,
    small_model,
    small_resnet,
    write_run,
)
from training import initial_weights
from training.run import prepare
from training.settings import settings_from
from vit_model import head_layer_names


def weights_by_layer(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def same(own, other):
    return all(np.array_equal(a, b) for a, b in zip(own, other))


@pytest.mark.parametrize("with_head", [True, False])
def test_the_head_comes_along_where_it_is_asked_for(tmp_path, with_head):
    folder, model = write_run(tmp_path, "vision_transformer")
    new = BUILDERS["vision_transformer"](**SMALLEST["vision_transformer"], **SETTINGS["dataset"])
    initial_weights.start_from(new, folder, ["cat", "dog"], with_head)
    own, other, head = weights_by_layer(new), weights_by_layer(model), head_layer_names(new)
    assert head
    for name in own:
        # (A bias that starts as zeros is the same anyway.)
        assert same(own[name][:1], other[name][:1]) == (with_head or name not in head), name


def test_a_head_of_other_classes_is_refused(tmp_path):
    folder, _ = write_run(tmp_path, "vision_transformer")
    new = BUILDERS["vision_transformer"](**SMALLEST["vision_transformer"], **SETTINGS["dataset"])
    with pytest.raises(ValueError, match="other classes, cat, dog, than these, dog, cat"):
        initial_weights.start_from(new, folder, ["dog", "cat"], with_head=True)


@pytest.mark.parametrize("build", [small_model, small_resnet])
def test_a_frozen_body_stays_and_the_head_learns(build):
    model = build()
    initial_weights.freeze_body(model)
    before, head = weights_by_layer(model), head_layer_names(model)
    new_step(model)(*batch(), step=0, learning_rate=0.1)
    after = weights_by_layer(model)
    for name in before:
        assert same(before[name], after[name]) == (name not in head), name


def test_a_frozen_model_is_written_as_any_other(tmp_path):
    folder, model = write_run(tmp_path, "resnet")
    numbers = np.random.RandomState(0)
    initial_weights.freeze_body(model)
    model.set_weights([numbers.uniform(1, 2, w.shape) for w in model.get_weights()])
    with initial_weights.thawed(model):
        expected = model.get_weights()
        folder.write_weights(model)
    assert any(not layer.trainable for layer in model.layers)
    assert same(FinishedRun(folder).model.get_weights(), expected)


def test_a_resumed_run_does_not_need_the_run_that_it_started_from(tmp_path):
    flags = (
        "--initial-run gone --patch-size 16 --patch-stride 16 --number-of-layers 1 --num-heads 1 "
        "--embedding-dim 4 --mlp-hidden-dim 4 --batch-size 8 --micro-batch-size 8"
    ).split()
    settings = settings_from(vars(train_cifar10), flags)
    dataset = load_dataset("synthetic", images_per_class=4)
    build_model = train_cifar10.build_model(settings)
    prepare(build_model, settings, dataset, begins_anew=False)
    with pytest.raises(ValueError, match="gone"):
        prepare(build_model, settings, dataset)


def test_the_run_to_start_from_is_named_for_any_folder(tmp_path, monkeypatch):
    write_run(tmp_path / "run", "vision_transformer")
    monkeypatch.chdir(tmp_path)
    assert FinishedRun("run").folder == tmp_path / "run"
    assert RunFolder("run").exists
