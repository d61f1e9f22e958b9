"""Whatever goes wrong during a run: one sentence, exit code 2, and the last good state is kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys

import numpy as np
import pytest

import train_cifar10
from storage.run_folder import RunFolder
from tests.helpers import SMALL_MODEL, at_step, only_run
from training import trainer
from training.script import run

FLAGS = SMALL_MODEL + [
    *"--dataset synthetic --images-per-class 15 --batch-size 32 --micro-batch-size 32".split(),
    *"--epochs 2 --augmentations random_flip".split(),
]
STEPS_PER_EPOCH = 4


@pytest.fixture()
def fails(capsys):
    """Run a command that is to fail; return its sentence."""

    def call(*flags):
        with pytest.raises(SystemExit) as ended:
            run(lambda: train_cifar10.main([str(flag) for flag in flags]))
        # The progress bar ends its lines with a carriage return.
        error = capsys.readouterr().err.strip().replace("\r", "\n").split("\n")[-1]
        assert ended.value.code == 2 and error.startswith("error: ")
        return error

    return call


def progress_of(folder):
    arrays, state, warning = folder.load_checkpoint()
    assert all(np.isfinite(array).all() for array in arrays) and not warning
    return state["progress"]


def spoil_a_weight(step):
    step.model.weights[0].assign(step.model.weights[0] * np.nan)


# After every step, as far as the clock can tell.
ALWAYS = ("--checkpoint-minutes", "1e-9")


def test_divergence_stops_with_the_step_the_checkpoint_and_a_hint(tmp_path, monkeypatch, fails):
    at_step(monkeypatch, STEPS_PER_EPOCH + 1, spoil_a_weight)
    error = fails(*FLAGS, "--output-dir", tmp_path)
    folder = only_run(tmp_path)
    assert "The loss became NaN or infinite at step 3 of epoch 2." in error
    assert (
        f"The last good checkpoint is {folder.latest_checkpoint}." in error
        and "LEARNING_RATE" in error
    )
    assert (progress_of(folder)["epoch"], progress_of(folder)["step"]) == (1, 0)


def test_weights_that_are_lost_under_a_finite_loss_are_not_saved(tmp_path, monkeypatch, fails):
    at_step(monkeypatch, 2, spoil_a_weight)
    error = fails(*FLAGS + list(ALWAYS), "--output-dir", tmp_path)
    assert "weights or their moments became NaN" in error
    assert progress_of(only_run(tmp_path))["step"] == 2


def test_weights_lost_at_the_end_of_an_epoch_are_not_the_best(tmp_path, monkeypatch, fails):
    at_step(monkeypatch, STEPS_PER_EPOCH - 1, spoil_a_weight)
    error = fails(*FLAGS, "--output-dir", tmp_path)
    assert "validation loss became NaN" in error and "There is no checkpoint yet" in error
    assert not only_run(tmp_path).weights_h5.exists()


def test_a_learning_rate_that_explodes(tmp_path, fails):
    error = fails(*FLAGS, "--output-dir", tmp_path, "--learning-rate", "1e38")
    assert "NaN or infinite at step" in error and "There is no checkpoint yet" in error


@contextlib.contextmanager
def largest_file(size):
    """As if the disk were full: no file may grow beyond so many bytes."""
    resource = pytest.importorskip("resource", reason="Windows cannot limit the size of a file")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda step: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    "size, flags, file, step",
    [
        (20000, ALWAYS, "latest.npz", 1),
        (5000, (), "weights.h5", 0),
        (0, (), "weights.h5", 0),
    ],
)
def test_disk_full(tmp_path, monkeypatch, fails, size, flags, file, step):
    with largest_file(size) as fill_the_disk, monkeypatch.context() as patch:
        at_step(patch, STEPS_PER_EPOCH + 1, fill_the_disk)
        # The second epoch is the better one, so that its weights are written.
        accuracies = iter([0.1, 0.2])
        patch.setattr(trainer, "accuracy_and_loss", lambda *_: (next(accuracies), 0.5, 1.0))
        error = fails(*FLAGS + list(flags), "--output-dir", tmp_path)
    folder = only_run(tmp_path)
    assert str(folder) in error and f"{file} cannot be written" in error
    assert (progress_of(folder)["epoch"], progress_of(folder)["step"]) == (1, step)
    assert not list(folder.path.glob("**/writing-*"))
    # With room again, it goes on.
    assert train_cifar10.main(["--resume", str(folder)]) == folder.path
    assert folder.is_complete


@pytest.mark.parametrize("flags", [(), ALWAYS])
def test_the_folder_is_removed(tmp_path, monkeypatch, fails, flags):
    at_step(monkeypatch, 1, lambda step: shutil.rmtree(str(only_run(tmp_path))))
    error = fails(*FLAGS + list(flags), "--output-dir", tmp_path)
    assert "cannot be written: No such file or directory" in error
    assert not list(tmp_path.glob("*/*"))


def test_two_runs_in_one_folder(tmp_path, monkeypatch, fails):
    at_step(monkeypatch, 1, lambda step: sys.exit(9))
    with pytest.raises(SystemExit):
        train_cifar10.main(FLAGS + ["--output-dir", str(tmp_path)])
    folder = only_run(tmp_path)
    before = sorted(os.listdir(str(folder)))
    with folder.locked():
        assert f"{folder} is in use by another run" in fails("--resume", folder)
    assert sorted(os.listdir(str(folder))) == before


@pytest.mark.parametrize("name", ["", "train_cifar10"])
def test_a_file_in_place_of_the_output_folder(tmp_path, fails, name):
    (tmp_path / "output").mkdir()
    path = tmp_path / "output" / name if name else tmp_path / "output" / "file"
    path.write_text("mine")
    output = tmp_path / "output" if name else path
    assert "OUTPUT_DIR cannot be written" in fails(*FLAGS, "--output-dir", output)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["checkpoint", "weights.h5", "history.csv"])
def test_something_else_in_place_of_a_file_of_the_run(tmp_path, monkeypatch, fails, name):
    def block(step):
        path = only_run(tmp_path).path / name
        if name == "checkpoint":
            path.write_text("no folder")
        else:
            path.mkdir()

    at_step(monkeypatch, 1, block)
    assert name in fails(*FLAGS, "--output-dir", tmp_path)


@pytest.mark.parametrize("step", [1, STEPS_PER_EPOCH + 1])
def test_a_run_goes_on_without_tensorboard(tmp_path, monkeypatch, step):
    def block(step):
        path = only_run(tmp_path).tensorboard
        shutil.rmtree(str(path), ignore_errors=True)
        path.write_text("no folder")

    at_step(monkeypatch, step, block)
    assert RunFolder(train_cifar10.main(FLAGS + ["--output-dir", str(tmp_path)])).is_complete
