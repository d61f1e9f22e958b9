"""A run is repeated by the command on its page, and by its settings.json, whatever was edited."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import pytest

import train_cifar10
from recipes import distilled_cifar10, resnet_cifar10
from storage.run_folder import RunFolder, committed_text
from tests.helpers import SETTINGS, SMALL_RUN
from training import default_settings, repetition
from training.settings import settings_from
from training.train import check_same_model

# What git would show: the files as they are now.
UNEDITED = {
    path: Path(path).read_text(encoding="utf-8")
    for path in (default_settings.__file__, train_cifar10.__file__)
}


@pytest.fixture
def committed(monkeypatch):
    """The texts of the commit, by path; a test may change them."""
    texts = dict(UNEDITED)
    monkeypatch.setattr(repetition, "committed_text", texts.get)
    return texts


def settings(*argv, script=train_cifar10, **edited):
    return settings_from(dict(vars(script), **edited), list(argv))


def saved_run(path, now, **model):
    """A run's folder with nothing in it but these settings."""
    folder = RunFolder(path)
    folder.path.mkdir(parents=True)
    model = model or {"builder": "resnet", "arguments": {}}
    dataset = SETTINGS["dataset"]
    facts = (now.script, "command", {}, now.constants, now.defaults, model, dataset, {}, {})
    folder.write_settings(*facts)
    return str(folder.settings_json)


def test_the_projects_own_constants_are_written_as_literals():
    for module in (default_settings, train_cifar10):
        written = repetition.written_constants(UNEDITED[module.__file__])
        assert len(written) > 20
        for name, value in written.items():
            own = getattr(module, name)
            assert value == (list(own) if isinstance(own, tuple) else own), name


def test_edited_constants_are_named_like_flags(committed):
    now = settings("--seed", "4", "--batch-size", "512", EPOCHS=3, AUGMENTATIONS=("random_flip",))
    changed = repetition.changed_constants(now)
    assert changed == {"SEED": 4, "EPOCHS": 3, "AUGMENTATIONS": ["random_flip"]}
    command = repetition.repeat_command(now.program, changed, "settings.json")
    assert command == "python train_cifar10.py --augmentations random_flip --epochs 3 --seed 4"


def test_an_edited_default_and_a_computed_value_count_as_changed(committed):
    path = default_settings.__file__
    committed[path] = committed[path].replace("WEIGHT_DECAY = 0.0", "WEIGHT_DECAY = 0.3")
    committed[path] = committed[path].replace("MOMENTUM = 0.9", "MOMENTUM = 1 - 0.1")
    changed = {"OPTIMIZER": "sgd", "WEIGHT_DECAY": 0.0, "MOMENTUM": 0.9}
    assert repetition.changed_constants(settings("--optimizer", "sgd")) == changed
    # No flag may give a momentum to adam.
    assert repetition.changed_constants(settings()) == {"WEIGHT_DECAY": 0.0}


def test_a_script_of_ones_own_counts_as_it_stands(committed):
    del committed[train_cifar10.__file__]
    assert repetition.changed_constants(settings("--seed", "4", EPOCHS=3)) == {"SEED": 4}


def test_without_git_the_command_takes_the_settings_of_the_run(committed, tmp_path):
    committed.clear()
    assert repetition.changed_constants(settings()) is None
    command = repetition.repeat_command("python x.py", None, str(tmp_path / "settings.json"))
    assert command == f"python x.py --settings {tmp_path / 'settings.json'}"


@pytest.mark.parametrize(
    "argv",
    [
        "--head-hidden-dims --augmentations",
        "--head-hidden-dims 7 8 --mixed-precision yes --learning-rate 1e-05 --micro-batch-size -1",
        "--dataset=-odd-name --augmentations random_crop(padding=2) mixup --initial-run=",
    ],
)
def test_flags_give_back_what_they_say(argv, committed):
    wanted = settings(*argv.split())
    flags = repetition.flags_of(repetition.changed_constants(wanted))
    assert settings(*flags).constants == wanted.constants


def test_a_file_as_it_was_committed_is_read_from_git(tmp_path):
    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=str(tmp_path),
            check=True,
            stdout=subprocess.DEVNULL,
        )

    path = tmp_path / "script.py"
    git("init")
    path.write_text("EPOCHS = 1\n")
    git("add", ".")
    git("commit", "-m", "one")
    path.write_text("EPOCHS = 2\n")
    assert committed_text(str(path)).split() == ["EPOCHS", "=", "1"]
    assert committed_text(str(tmp_path / "new.py")) is None


def test_settings_take_the_constants_of_a_run_and_then_the_flags(tmp_path):
    then = settings("--epochs", "7", "--head-hidden-dims", "--seed", "3", "--output-dir", "there")
    path = saved_run(tmp_path / "run", then)
    now = settings("--settings", path, "--seed", "4", BATCH_SIZE=16)
    assert (now.EPOCHS, now.HEAD_HIDDEN_DIMS, now.SEED, now.BATCH_SIZE) == (7, (), 4, 512)
    # Where the new run goes is the new command's.
    assert now.OUTPUT_DIR == "runs" and str(now.repeated) == str(tmp_path / "run")
    assert settings().repeated is None


def test_a_run_older_than_a_constant_is_repeated_with_its_default(tmp_path):
    path = saved_run(tmp_path / "run", settings())
    saved = json.loads(Path(path).read_text(encoding="utf-8"))
    del saved["constants"]["CLASS_WEIGHTS"], saved["changed_constants"]
    Path(path).write_text(json.dumps(saved), encoding="utf-8")
    assert settings("--settings", path, CLASS_WEIGHTS="balanced").CLASS_WEIGHTS == "none"


def test_what_is_no_run_of_this_script_is_refused(tmp_path):
    path = saved_run(tmp_path / "run", settings())
    with pytest.raises(ValueError, match="give the settings.json of a run"):
        settings("--settings", str(tmp_path / "run"))
    with pytest.raises(ValueError, match="cannot be read"):
        settings("--settings", str(tmp_path / "no" / "settings.json"))
    with pytest.raises(ValueError, match="give one of them"):
        settings("--settings", path, "--resume")
    with pytest.raises(ValueError, match="another script: only this script has"):
        settings("--settings", path, script=distilled_cifar10)
    with pytest.raises(ValueError, match="another script: only that run has"):
        settings("--settings", path, script=resnet_cifar10)
    saved = json.loads(Path(path).read_text(encoding="utf-8"))
    for value, words in (("many", "EPOCHS is 'many', not a whole number"), (0, "EPOCHS is 0")):
        saved["constants"]["EPOCHS"] = value
        Path(path).write_text(json.dumps(saved), encoding="utf-8")
        with pytest.raises(ValueError, match=words):
            settings("--settings", path)


def builder(width, depth=2):
    """A model's builder, of which only name and arguments count."""


def test_the_model_of_a_repeated_run_must_be_its_own(tmp_path):
    model = {"builder": "builder", "arguments": {"embedding_dim": [8], "depth": 2}}
    path = saved_run(tmp_path / "run", settings(), **model)
    now = settings("--settings", path)
    check_same_model(partial(builder, embedding_dim=(8,), depth=2), now)
    for changed, words in (
        (dict(embedding_dim=(9,), depth=2), r"embedding_dim is \[9\], was \[8\]"),
        (dict(embedding_dim=(8,)), "depth is None, was 2"),
    ):
        with pytest.raises(ValueError, match=words):
            check_same_model(partial(builder, **changed), now)
    with pytest.raises(ValueError, match="builder is print, was builder"):
        check_same_model(partial(print, embedding_dim=(8,), depth=2), now)
    now.given = {"EMBEDDING_DIM"}
    check_same_model(partial(builder, embedding_dim=(9,), depth=2), now)


def test_a_repeated_run_ends_in_the_same_weights(tmp_path):
    flags = "--epochs 1 --images-per-class 15 --batch-size 32 --micro-batch-size 32".split()
    flags += "--class-weights balanced --head-dropout-rate 0.1".split()
    there, again = tmp_path / "there", tmp_path / "again"
    first = RunFolder(train_cifar10.main(SMALL_RUN + flags + ["--output-dir", str(there)]))
    second = RunFolder(
        train_cifar10.main(["--settings", str(first.settings_json), "--output-dir", str(again)])
    )
    one, other = (each.load_checkpoint()[0] for each in (first, second))
    assert [array.tobytes() for array in one] == [array.tobytes() for array in other]
    saved, results = second.read_settings(), second.read_results()
    assert saved["constants"]["CLASS_WEIGHTS"] == "balanced"
    assert results["test_accuracy"] == first.read_results()["test_accuracy"]
    assert results["training_images"] == 130 and len(results["classes"]) == 10
    # Balanced test images: every class alike or not is the same.
    assert results["balanced_accuracy"] == pytest.approx(results["test_accuracy"])
    assert saved["command"] in second.report_html.read_text(encoding="utf-8")
    assert "--class-weights balanced" in saved["command"] or "--settings" in saved["command"]
