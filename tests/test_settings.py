"""Every constant is a flag; mistakes are one line and exit code 2."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import train_cifar10
import train_cifar100
from backend.optimizers import OPTIMIZERS
from recipes import distilled_cifar10
from tests.helpers import ROOT
from training import default_settings
from training.distillation import KINDS
from training.effects import without_effect
from training.ranges import RANGES
from training.schedule import SCHEDULES, LearningRate
from training.settings import (
    known_constants,
    notes_on_effects,
    script_constants,
    settings_from,
)
from vit_model import REPRESENTATIONS, STEMS

SCRIPTS = [train_cifar10, train_cifar100]


def settings(*argv, script=train_cifar10):
    return settings_from(vars(script), argv)


# What makes a constant have an effect that has none by default.
COMPANY = {
    "MOMENTUM": ["--optimizer", "sgd"],
    "WEIGHT_DECAY": ["--optimizer", "adamw"],
    "WARMUP_EPOCHS": ["--schedule", "cosine"],
    "WARMUP_LEARNING_RATE": ["--schedule", "cosine", "--warmup-epochs", "1"],
    "DECAY_PER_EPOCH": ["--schedule", "exponential"],
    "INITIAL_HEAD": ["--initial-run", "x"],
    "FREEZE": ["--initial-run", "x"],
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_constant_is_a_flag_of_its_type(script):
    names = [name for module in (script, default_settings) for name in vars(module)]
    constants = sorted({name for name in names if name.isupper()})
    defaults = vars(settings(script=script))
    assert len(constants) > 35
    for name in constants:
        value = getattr(script, name, getattr(default_settings, name, None))
        assert defaults[name] == value, name
        flag = "--" + name.lower().replace("_", "-")
        if RANGES[name].choices:
            argv, expected = [flag, RANGES[name].choices[-1]], RANGES[name].choices[-1]
        elif name == "AUGMENTATIONS":
            argv, expected = [flag, "random_hue"], ["random_hue"]
        elif isinstance(value, tuple):
            argv = [flag, "7"]
            expected = [type(value[0])("7")]
        elif isinstance(value, bool):
            argv, expected = [flag, "yes" if not value else "no"], not value
        else:
            text = "0.7" if isinstance(value, float) else "7"
            argv, expected = [flag, text], type(value)(text)
        found = vars(settings(*argv, *COMPANY.get(name, []), script=script))[name]
        assert found == expected and type(found) in (type(value), list), name


def script_with(tmp_path, *lines):
    """The namespace of a script of these lines."""
    path = tmp_path / "script.py"
    path.write_text("\n".join(lines) + "\n")
    script = {"__file__": str(path), "__doc__": ""}
    exec(path.read_text(), script)
    return script


def test_an_empty_constant_takes_numbers_and_names(tmp_path):
    script = script_with(tmp_path, "WIDTHS: tuple = ()", "NAMES: tuple = ()")
    settings = settings_from(script, ["--widths", "32", "16", "--names", "random_flip"])
    assert (settings.WIDTHS, settings.NAMES) == ([32, 16], ["random_flip"])


def test_a_constant_inherits_its_comment_and_may_sharpen_it(tmp_path):
    script = script_with(
        tmp_path, "BATCH_SIZE = 8", "NUMBER_OF_LAYERS = 20  # 6n + 2", "", "SEED = 1"
    )
    comments = {constant.name: constant.comment for constant in script_constants(script)}
    assert comments["BATCH_SIZE"] == "images per update of the weights"
    assert comments["NUMBER_OF_LAYERS"] == "encoder blocks; 6n + 2"


def test_a_constant_may_be_computed_and_a_whole_number_stand_for_a_float(tmp_path):
    script = script_with(tmp_path, "EPOCHS = 1 + 1", "LEARNING_RATE = 5e-4 * 2", "MOMENTUM = 0")
    settings = settings_from(script, [])
    assert (settings.EPOCHS, settings.LEARNING_RATE, settings.MOMENTUM) == (2, 0.001, 0.0)
    assert isinstance(settings.MOMENTUM, float)


@pytest.mark.parametrize(
    "line, words",
    [
        ("EPOCH = 1", "EPOCH is no constant of this project: the nearest is EPOCHS"),
        ("Epochs = 1", "Epochs is no constant of this project: the nearest is EPOCHS"),
        ("epochs = 1", "the nearest is EPOCHS"),
        ("WEIGTH_DECAY = 0.1", "the nearest is WEIGHT_DECAY"),
        ("A, SPEED = 1, 2", "A is no constant"),
        ("EPOCHS = 'ten'", "EPOCHS is 'ten': it must be a whole number, such as 100"),
        ("EPOCHS = 1.5", "EPOCHS is 1.5: it must be a whole number"),
        ("EPOCHS = True", "EPOCHS is True: it must be a whole number"),
        ("SEED = None", "SEED is None: it must be a whole number"),
        ("DATASET = 10", "DATASET is 10: it must be a text, such as 'cifar10'"),
        (
            "HEAD_HIDDEN_DIMS = (512)",
            "HEAD_HIDDEN_DIMS is 512: it must be a tuple of whole numbers",
        ),
        ("AUGMENTATIONS = 'random_flip'", "AUGMENTATIONS is 'random_flip': it must be a tuple of"),
        ("MIXED_PRECISION = 'yes'", "MIXED_PRECISION is 'yes': it must be True or False"),
        ("OPTIMIZER = 'adamW'", "OPTIMIZER is 'adamW': it must be one of adam, adamw, sgd"),
        ("STEM = 'conv'", "STEM is 'conv': it must be one of patches"),
        ("HEAD_HIDDEN_DIMS = (0,)", "it must be a list of numbers 1 to 16384"),
    ],
)
def test_a_constant_that_is_wrong_is_named(tmp_path, line, words):
    with pytest.raises(ValueError) as refused:
        settings_from(script_with(tmp_path, line), [])
    assert words in str(refused.value)


def test_every_constant_has_a_range_and_every_range_its_constant():
    assert set(RANGES) == set(known_constants())


def test_the_choices_are_those_of_the_code():
    found = {name: RANGES[name].choices for name in RANGES if RANGES[name].choices}
    assert found == {
        "STEM": tuple(STEMS),
        "REPRESENTATION": tuple(REPRESENTATIONS),
        "OPTIMIZER": tuple(OPTIMIZERS),
        "SCHEDULE": tuple(SCHEDULES),
        "DISTILLATION": tuple(KINDS),
        "CLASS_WEIGHTS": ("none", "balanced"),
    }


def test_flags_that_were_given_are_told_from_defaults():
    assert settings().given == set()
    given = settings("--epochs", "100", "--augmentations", "--resume").given
    assert given == {"EPOCHS", "AUGMENTATIONS", "RESUME"}


def test_help_shows_each_flag_with_the_comment_of_its_constant(capsys):
    with pytest.raises(SystemExit) as stop:
        settings("--help")
    assert stop.value.code == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    for constant in script_constants(vars(train_cifar10)):
        assert constant.comment, constant.name
        assert constant.flag + " " in text
        assert constant.comment in text


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--epoch", "3"], ["--epoch"]),
        (["--epochs", "three"], ["--epochs", "three"]),
        (["--epochs", "2.5"], ["--epochs", "2.5"]),
        (["--learning-rate", "fast"], ["--learning-rate", "fast"]),
        (["nonsense"], ["nonsense"]),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(argv, words, capsys):
    with pytest.raises(SystemExit) as stop:
        settings(*argv)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "argv",
    [
        ["--epochs", "0"],
        ["--batch-size", "-1"],
        ["--learning-rate", "0"],
        ["--learning-rate", "nan"],
        ["--learning-rate", "inf"],
        ["--patience", "0"],
        ["--weight-decay", "-0.1"],
        ["--weight-decay", "nan"],
        ["--label-smoothing", "1"],
        ["--ema-decay", "1"],
        ["--momentum", "-0.5"],
        ["--validation-fraction", "0"],
        ["--validation-fraction", "1"],
        ["--micro-batch-size", "-2"],
        ["--seed", "-1"],
        ["--time-limit-minutes", "-1"],
        ["--decay-per-epoch", "1.5"],
    ],
)
def test_a_number_out_of_range_is_named(argv):
    with pytest.raises(ValueError) as error:
        settings(*argv)
    name = argv[0][2:].upper().replace("-", "_")
    assert name in str(error.value)
    assert argv[1].lstrip("-") in str(error.value)


def test_the_two_scripts_differ_in_docstring_and_constants_only():
    trees = [ast.parse(Path(script.__file__).read_text(encoding="utf-8")) for script in SCRIPTS]
    for tree in trees:
        del tree.body[0]
        for node in tree.body:
            if isinstance(node, ast.Assign):
                assert node.targets[0].id.isupper()
                node.value = ast.Constant(value=None, kind=None)
    assert ast.dump(trees[0]) == ast.dump(trees[1])
    assert (train_cifar10.DATASET, train_cifar100.DATASET) == ("cifar10", "cifar100")


def test_importing_a_script_trains_nothing_and_does_not_load_tensorflow(tmp_path):
    code = "import sys, train_cifar10, train_cifar100; assert 'tensorflow' not in sys.modules"
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    subprocess.check_call([sys.executable, "-c", code], cwd=str(tmp_path), env=environment)
    assert list(tmp_path.iterdir()) == []


def test_bad_input_ends_the_script_in_one_line_without_a_trace(tmp_path):
    result = subprocess.run(
        [sys.executable, str(ROOT / "train_cifar10.py"), "--epochs", "0"],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "EPOCHS is 0" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "flags, words",
    [
        ("--weight-decay 0.3", "--weight-decay 0.3 changes nothing: WEIGHT_DECAY has an effect"),
        ("--weight-decay 0.3", "only with OPTIMIZER adamw or sgd"),
        ("--warmup-epochs 2", "only with a SCHEDULE other than plateau"),
        ("--momentum 0.8", "only with OPTIMIZER sgd"),
        ("--stem convolutional --patch-size 8", "only with STEM patches or patch_convolution"),
        ("--decay-per-epoch 0.9", "only with SCHEDULE exponential"),
        ("--schedule cosine --patience 3", "only with SCHEDULE plateau"),
        ("--head-hidden-dims --head-dropout-rate 0.1", "only with at least one of HEAD_HIDDEN_"),
        ("--schedule cosine --warmup-learning-rate 0.01", "with WARMUP_EPOCHS more than 0"),
        ("--warmup-learning-rate 0.01 --warmup-epochs 1", "with a SCHEDULE other than plateau"),
    ],
)
def test_a_flag_without_effect_is_refused(flags, words):
    with pytest.raises(ValueError) as refused:
        settings(*flags.split())
    assert words in str(refused.value)


def test_temperature_is_of_soft_distillation():
    with pytest.raises(ValueError, match="--temperature 2.0 .* only with DISTILLATION soft"):
        settings("--temperature", "2", script=distilled_cifar10)
    settings("--temperature", "2", "--distillation", "soft", script=distilled_cifar10)


@pytest.mark.parametrize(
    "flags",
    [
        "--weight-decay 0 --momentum 0 --warmup-epochs 0 --head-hidden-dims --head-dropout-rate 0",
        "--optimizer sgd --momentum 0.8 --weight-decay 0.1",
        "--schedule constant --warmup-epochs 1 --warmup-learning-rate 0.01",
        "--schedule exponential --decay-per-epoch 0.9",
        "--stem patch_convolution --patch-size 8",
    ],
)
def test_nothing_asked_for_or_an_effect_is_accepted(flags):
    settings(*flags.split())


def test_an_edited_constant_without_effect_is_named(tmp_path):
    script = script_with(tmp_path, "OPTIMIZER = 'adam'", "WEIGHT_DECAY = 0.1", "PATIENCE = 10")
    assert notes_on_effects(settings_from(script, ["--schedule", "cosine"])) == [
        "WEIGHT_DECAY is 0.1 and changes nothing: WEIGHT_DECAY has an effect only with OPTIMIZER "
        "adamw or sgd."
    ]
    for shipped in SCRIPTS + [distilled_cifar10]:
        assert notes_on_effects(settings(script=shipped)) == []


@pytest.mark.parametrize(
    "name", ["PATIENCE", "WARMUP_EPOCHS", "WARMUP_LEARNING_RATE", "DECAY_PER_EPOCH"]
)
def test_the_schedules_agree_with_what_is_said_of_effects(name):
    """Two values give the same rates where, and only where, the constant has no effect."""

    def rates(schedule, warmup_epochs, value):
        constants = {"learning_rate": 0.1, "epochs": 8, "warmup_epochs": warmup_epochs}
        learning_rate = LearningRate(schedule, **dict(constants, **{name.lower(): value}))
        for _ in range(4):
            learning_rate.observe(0.5)
        return [learning_rate.at(step / 16) for step in range(16)]

    one, other = {"PATIENCE": (1, 9), "DECAY_PER_EPOCH": (0.5, 0.9)}.get(name, (0.01, 3.0))
    for schedule in SCHEDULES:
        for warmup_epochs in (0.0, 1.0) if name != "WARMUP_EPOCHS" else (other,):
            constants = {"SCHEDULE": schedule, "WARMUP_EPOCHS": warmup_epochs, name: other}
            differ = rates(schedule, warmup_epochs, one) != rates(schedule, warmup_epochs, other)
            assert differ == (name not in without_effect(constants)), (schedule, warmup_epochs)


@pytest.mark.parametrize(
    "text, words",
    [
        ("random_fliprandom_hue", "a comma is missing between two of them"),
        ("random_flop", "'random_flop': it must be NAME or NAME(keyword=value, ...) of random_rot"),
        ("random_crop(pading=4)", "random_crop takes padding, probability, each with a value"),
        ("random_crop(4)", "random_crop takes padding, probability"),
        ("random_crop(**{})", "random_crop takes padding, probability"),
        ("random_crop(padding=4", "it must be NAME or NAME(keyword=value"),
        ("(" * 5000, "it must be NAME or NAME(keyword=value"),
        ("__import__('os').abort()", "it must be NAME or NAME(keyword=value"),
    ],
)
def test_an_augmentation_that_does_not_exist_is_named_at_once(text, words):
    with pytest.raises(ValueError) as refused:
        settings("--augmentations", "random_flip", text)
    assert words in str(refused.value)
