"""A run that is stopped anywhere and resumed ends as one that was never stopped."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal

import h5py
import numpy as np
import pytest

import train_cifar10
from models.predictor import Predictor
from reports import report
from storage import files
from storage.run_folder import RunFolder
from tests.helpers import SMALL_MODEL, Killed, at_step, die, only_run, send
from training import trainer
from training.settings import merge_saved_settings, settings_from

EPOCHS, STEPS_PER_EPOCH = 3, 4
FLAGS = SMALL_MODEL + [
    *"--dataset synthetic --images-per-class 15 --batch-size 32 --micro-batch-size 16".split(),
    *"--epochs 3 --patience 1 --optimizer adamw --weight-decay 0.1 --ema-decay 0.9".split(),
    *"--dropout-rate 0.2 --augmentations random_flip mixup".split(),
]


def run(output, *flags):
    return train_cifar10.main(FLAGS + ["--output-dir", str(output)] + list(flags))


def resume(*flags):
    """Resume as the printed command does: without the flags that the run was started with."""
    return train_cifar10.main(["--resume"] + [str(flag) for flag in flags])


def outcome(folder):
    """Return all that a finished run has computed, without what a clock has measured."""
    folder = RunFolder(folder)
    arrays, state, _ = folder.load_checkpoint()
    progress, results = state["progress"], folder.read_results()
    rows = [
        {name: row[name] for name in row if name not in ("seconds", "images_per_second")}
        for row in progress["history"]
    ]
    weights = []

    def add(name, item):
        # Without the names: TensorFlow 1.15 counts on from model to model of one process.
        if isinstance(item, h5py.Dataset):
            weights.append(np.asarray(item).tobytes())

    with h5py.File(str(folder.weights_h5), "r") as file:
        file.visititems(add)
    return {
        "arrays": [array.tobytes() for array in arrays],
        "weights": sorted(weights),
        "history": rows,
        "schedule": state["schedule"],
        "results": [results[name] for name in ("test_accuracy", "test_loss", "images_seen")],
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = run(tmp_path_factory.mktemp("uninterrupted"))
    return folder, outcome(folder)


def test_killed_inside_an_epoch(tmp_path, monkeypatch, uninterrupted):
    with monkeypatch.context() as patch:
        at_step(patch, STEPS_PER_EPOCH + 2, die)
        with pytest.raises(Killed):
            # Saves after every step.
            run(tmp_path, "--checkpoint-minutes", "1e-9")
    folder = only_run(tmp_path)
    _, state, _ = folder.load_checkpoint()
    assert (state["progress"]["epoch"], state["progress"]["step"]) == (1, 2)
    seconds = state["progress"]["seconds"]
    (folder.path / "writing-1-weights.h5").write_text("half")
    assert resume(folder) == folder.path
    assert outcome(folder) == uninterrupted[1]
    assert not list(folder.path.glob("**/writing-*"))
    # The time before the kill counts too.
    results = folder.read_results()
    assert results["train_minutes"] * 60 > seconds > 0


def test_killed_before_the_first_checkpoint_and_again_in_the_test(
    tmp_path, monkeypatch, uninterrupted, capsys
):
    with monkeypatch.context() as patch:
        at_step(patch, 1, die)
        with pytest.raises(Killed):
            run(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(report, "write_report", die)
        with pytest.raises(Killed):
            resume("--output-dir", tmp_path)
    folder = only_run(tmp_path)
    assert "has no checkpoint yet" in capsys.readouterr().out
    assert folder.has_results
    resume(folder)
    assert outcome(folder) == uninterrupted[1] and folder.is_complete
    with pytest.raises(ValueError, match="is finished: see .*report.html"):
        resume(folder)
    with pytest.raises(ValueError, match="no unfinished run to resume: all 1 are finished"):
        resume("--output-dir", tmp_path)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_printed_command_goes_on(
    tmp_path, monkeypatch, uninterrupted, capsys, number, code
):
    with monkeypatch.context() as patch:
        # SIGINT at the last step of an epoch, SIGTERM in the middle of one.
        step = STEPS_PER_EPOCH - 1 if number == signal.SIGINT else STEPS_PER_EPOCH + 1
        at_step(patch, step, send(number))
        with pytest.raises(SystemExit) as stopped:
            run(tmp_path / "a folder")
    assert stopped.value.code == code
    _, state, _ = only_run(tmp_path / "a folder").load_checkpoint()
    progress = state["progress"]
    assert progress["epoch"] * STEPS_PER_EPOCH + progress["step"] == step + 1
    command = re.search(r"To go on:\n\n  (.*)\n", capsys.readouterr().out).group(1)
    program, script, *flags = shlex.split(command)
    assert (program, script) == ("python", "train_cifar10.py")
    folder = train_cifar10.main(flags)
    assert outcome(folder) == uninterrupted[1]


def test_a_signal_in_the_last_validation_or_the_test(tmp_path, monkeypatch, uninterrupted):
    calls = []

    def predict(self, images, weights=None, original=Predictor.__call__):
        calls.append(images)
        if len(calls) in (EPOCHS, EPOCHS + 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, images, weights)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "__call__", predict)
        with pytest.raises(SystemExit) as stopped:
            run(tmp_path)
        folder = only_run(tmp_path)
        assert stopped.value.code == 143 and len(calls) == EPOCHS
        # Nothing is left to do but the test, and there the signal stops at once.
        with pytest.raises(SystemExit) as stopped:
            resume(folder)
        assert stopped.value.code == 143 and len(calls) == EPOCHS + 1
        assert not folder.has_results
    resume(folder)
    assert outcome(folder) == uninterrupted[1]


def test_a_second_signal_stops_at_once(tmp_path, monkeypatch, capsys):
    at_step(monkeypatch, 2, lambda step: [send(signal.SIGINT)(), send(signal.SIGINT)()])
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path)
    assert stopped.value.code == 130
    folder = only_run(tmp_path)
    assert folder.load_checkpoint() is None
    assert f"--resume {folder}" in capsys.readouterr().out


def test_a_signal_before_the_first_step(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trainer.Trainer, "fit", send(signal.SIGTERM))
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path)
    assert stopped.value.code == 143
    assert f"--resume {only_run(tmp_path)}" in capsys.readouterr().out


def test_an_epoch_that_was_begun_is_ended_even_when_the_time_is_over(tmp_path, monkeypatch):
    limited = ["--time-limit-minutes", "100"]
    with monkeypatch.context() as patch:
        at_step(patch, 2, send(signal.SIGINT))
        with pytest.raises(SystemExit):
            run(tmp_path, *limited)
    folder = only_run(tmp_path)
    arrays, state, _ = folder.load_checkpoint()
    state["progress"]["seconds"] = 6000.0
    folder.save_checkpoint(arrays, state)
    resume(folder)
    results = folder.read_results()
    assert (results["epochs"], results["best_epoch"], results["images_seen"]) == (1, 1, 96)


def test_patience_counts_across_a_resumption(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "accuracy_and_loss", lambda logits, labels: (0.5, 0.5, 1.0))
    with monkeypatch.context() as patch:
        at_step(patch, STEPS_PER_EPOCH * 2, send(signal.SIGINT))
        with pytest.raises(SystemExit):
            run(tmp_path, "--early-stopping-patience", "2", "--epochs", "9", "--patience", "2")
    folder = RunFolder(resume(only_run(tmp_path)))
    # Epoch 1 was the best one; 2 and 3 were not better.
    assert folder.read_results()["epochs"] == 3
    _, state, _ = folder.load_checkpoint()
    assert state["schedule"] == {"factor": 0.5, "best": 0.5, "epochs_without_better": 0}


@pytest.fixture()
def stopped_run(tmp_path, uninterrupted):
    """The uninterrupted run as if it had been killed before its test."""
    folder = RunFolder(tmp_path / "runs" / "train_cifar10" / "run")
    shutil.copytree(str(uninterrupted[0]), str(folder))
    folder.results_json.unlink()
    return folder


def edited(folder, edit):
    saved = files.read_json(folder.settings_json)
    edit(saved)
    files.write_json(folder.settings_json, saved)


def test_a_damaged_checkpoint_is_told_and_the_older_one_used(stopped_run, uninterrupted, capsys):
    stopped_run.latest_checkpoint.write_bytes(b"PK")
    resume(stopped_run)
    assert "latest.npz is damaged" in capsys.readouterr().out
    assert outcome(stopped_run) == uninterrupted[1]


def test_contradictions_are_all_named(stopped_run):
    with pytest.raises(ValueError) as refused:
        resume(stopped_run, "--epochs", "2", "--embedding-dim", "32", "--seed", "3")
    for part in ("EPOCHS is 2, was 3", "EMBEDDING_DIM is 32, was 16", "SEED is 3, was 0"):
        assert part in str(refused.value)


def test_a_flag_contradicts_even_where_it_repeats_the_default(stopped_run):
    with pytest.raises(ValueError, match="PATIENCE is 10, was 1"):
        resume(stopped_run, "--patience", "10")


def test_a_run_older_than_a_constant_goes_on_with_its_default(stopped_run, uninterrupted):
    edited(stopped_run, lambda saved: saved["constants"].pop("MIXED_PRECISION"))
    edited(stopped_run, lambda saved: saved["defaults"].pop("MIXED_PRECISION"))
    with pytest.raises(ValueError, match="MIXED_PRECISION is True, was None"):
        resume(stopped_run, "--mixed-precision", "yes")
    resume(stopped_run)
    assert outcome(stopped_run) == uninterrupted[1]


def test_where_things_are_may_change(stopped_run, capsys):
    resume(stopped_run, "--checkpoint-minutes", "7", "--data-dir", stopped_run)
    assert stopped_run.has_results


def test_more_epochs_are_those_of_a_longer_run(tmp_path, uninterrupted):
    folder = RunFolder(run(tmp_path, "--epochs", "2"))
    results = folder.read_results()
    with pytest.raises(ValueError, match="is finished: see"):
        resume(folder, "--epochs", "2")
    resume(folder, "--epochs", "3")
    assert outcome(folder) == uninterrupted[1]
    saved = folder.read_settings()
    assert saved["constants"]["EPOCHS"] == 3
    assert saved["changes"] == [
        {"constant": "EPOCHS", "from": 2, "to": 3, "epoch": 2, "step": 0, "results": results}
    ]


def test_a_schedule_that_ends_with_its_epochs_says_why_there_are_no_more(stopped_run):
    edited(stopped_run, lambda saved: saved["constants"].update(SCHEDULE="cosine"))
    with pytest.raises(ValueError) as refused:
        resume(stopped_run, "--epochs", "5")
    for part in (
        "SCHEDULE cosine is made for 3 epochs",
        f"--initial-run {stopped_run} --initial-head yes",
    ):
        assert part in str(refused.value)
    edited(stopped_run, lambda saved: saved["constants"].update(SCHEDULE="plateau"))
    edited(stopped_run, lambda saved: saved["constants"].update(TIME_LIMIT_MINUTES=1.0))
    with pytest.raises(ValueError, match="TIME_LIMIT_MINUTES 1 ends it"):
        resume(stopped_run, "--epochs", "5")


def test_what_helps_after_a_divergence_may_change_and_is_recorded(stopped_run):
    lower = ["--learning-rate", "0.0001", "--gradient-clip-norm", "1"]
    with pytest.raises(ValueError, match="LEARNING_RATE is 0.0001, was 0.001"):
        resume(stopped_run, *lower)
    stopped_run.record_divergence(3, 2)
    with pytest.raises(ValueError, match="SEED is 3, was 0"):
        resume(stopped_run, "--seed", "3")
    with pytest.raises(ValueError, match="--warmup-epochs 1.0 changes nothing"):
        resume(stopped_run, "--warmup-epochs", "1")
    settings = settings_from(vars(train_cifar10), ["--resume", str(stopped_run)] + lower)
    merge_saved_settings(settings, stopped_run.read_settings(), str(stopped_run))
    assert (settings.LEARNING_RATE, settings.GRADIENT_CLIP_NORM) == (0.0001, 1.0)
    stopped_run.record_changes(settings.changes, epoch=2, step=1)
    saved = stopped_run.read_settings()
    assert (saved["constants"]["LEARNING_RATE"], saved["diverged"]["epoch"]) == (0.0001, 3)
    assert {"constant": "LEARNING_RATE", "from": 0.001, "to": 0.0001, "epoch": 2, "step": 1} in (
        saved["changes"]
    )
    # From here on the new values are the run's own.
    settings = settings_from(vars(train_cifar10), ["--resume", str(stopped_run)])
    merge_saved_settings(settings, saved, str(stopped_run))
    assert (settings.LEARNING_RATE, settings.changes) == (0.0001, [])


def test_other_images_are_refused(stopped_run):
    edited(stopped_run, lambda saved: saved["dataset"]["mean"].__setitem__(0, 1.0))
    with pytest.raises(ValueError, match="trained on other data: mean was"):
        resume(stopped_run)


def test_other_versions_are_told(stopped_run, capsys):
    edited(stopped_run, lambda saved: saved["versions"].update(tensorflow="0.9"))
    resume(stopped_run)
    assert re.search(r"tensorflow \S+ \(was 0\.9\).*not be bit for bit", capsys.readouterr().out)


def test_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(ValueError, match="no run is there"):
        resume(tmp_path)
    with pytest.raises(ValueError, match="no run is there"):
        resume("x" * 5000)
    with pytest.raises(ValueError, match="no unfinished run"):
        resume("--output-dir", tmp_path)


HOSTILE = {
    "no dict": lambda saved: [],
    "no constants": lambda saved: dict(saved, constants=None),
    "no model": lambda saved: dict(saved, model=3),
    "other script": lambda saved: dict(saved, script="mnist"),
    "other builder": lambda saved: dict(saved, model=dict(saved["model"], builder="os.system")),
    "argument of another type": lambda saved: argument(saved, "num_heads", "2"),
    "argument that no builder has": lambda saved: argument(saved, "path", "/etc/passwd"),
    "argument out of range": lambda saved: argument(saved, "embedding_dim", -1),
    "argument of another model": lambda saved: argument(saved, "embedding_dim", 32),
    "constant of another type": lambda saved: constant(saved, "BATCH_SIZE", "32"),
    "constant out of range": lambda saved: constant(saved, "BATCH_SIZE", -32),
    "not a number": lambda saved: constant(saved, "LEARNING_RATE", float("nan")),
    "list of other things": lambda saved: constant(saved, "AUGMENTATIONS", [1]),
    "code": lambda saved: constant(saved, "AUGMENTATIONS", ["__import__('os').abort()"]),
    "constant missing": lambda saved: [saved["constants"].pop("SEED"), saved][1],
    "constant too many": lambda saved: constant(saved, "SPEED", 1),
    "defaults missing": lambda saved: dict(saved, defaults={}),
}


def constant(saved, name, value):
    saved["constants"][name] = value
    return saved


def argument(saved, name, value):
    saved["model"]["arguments"][name] = value
    return saved


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_settings_are_one_sentence(stopped_run, name):
    path = stopped_run.settings_json
    saved = json.loads(path.read_text())
    files.write_json(path, HOSTILE[name](saved))
    with pytest.raises(ValueError) as refused:
        resume(stopped_run)
    assert "\n" not in str(refused.value) and len(str(refused.value)) > 20


@pytest.mark.parametrize(
    "edit",
    [
        lambda arrays, state: state["progress"].update(step=-1),
        lambda arrays, state: state["progress"].update(step=10**9),
        lambda arrays, state: state["progress"].update(history=[1, 2, 3]),
        lambda arrays, state: state["progress"].update(history="123"),
        lambda arrays, state: state["progress"].update(seconds="1"),
        lambda arrays, state: state["progress"].pop("epoch"),
        lambda arrays, state: state.update(schedule=None),
        lambda arrays, state: arrays.pop(),
        lambda arrays, state: arrays.reverse(),
        lambda arrays, state: arrays.__setitem__(0, arrays[0].astype("float64")),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(stopped_run, edit):
    arrays, state, _ = stopped_run.load_checkpoint()
    edit(arrays, state)
    stopped_run.save_checkpoint(arrays, state)
    with pytest.raises(ValueError, match="is not one of this run"):
        resume(stopped_run)
