"""What the README says is what the code does."""

from __future__ import annotations

import importlib
import re
import shlex

import numpy as np
import pytest
from PIL import Image

import train_cifar10
import train_cifar100
from tests.helpers import ROOT, SMALL_RUN
from training.settings import module_constants, script_constants, settings_from

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python train_")
]
PAGES = README + "".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))
)
RECIPE_COMMANDS = sorted(set(re.findall(r"python -m (recipes\.[a-z0-9_]+[^`|\n]*)", PAGES)))
SCRIPTS = {"train_cifar10.py": train_cifar10, "train_cifar100.py": train_cifar100}


@pytest.mark.parametrize("command", RECIPE_COMMANDS)
def test_every_recipe_command_is_understood(command):
    # That recipes train is tested in test_recipes.py.
    name, *flags = shlex.split(command)
    settings = settings_from(vars(importlib.import_module(name)), flags)
    assert len(settings.given) == sum(flag.startswith("--") for flag in flags)


def cell(value):
    if isinstance(value, tuple):
        return ", ".join(cell(part) for part in value)
    return f"`{value}`" if isinstance(value, str) else str(value)


def test_the_table_of_constants_is_the_code():
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    own = {constant.name for constant in module_constants(train_cifar10)}
    constants = [c for c in script_constants(vars(train_cifar10)) if c.name in own]
    assert rows == [(c.name, cell(c.value), c.comment) for c in constants]


def test_the_classic_defaults_are_kept():
    expected = {
        "PATCH_SIZE": 4,
        "PATCH_STRIDE": 4,
        "NUMBER_OF_LAYERS": 8,
        "EMBEDDING_DIM": 64,
        "NUM_HEADS": 8,
        "MLP_HIDDEN_DIM": 256,
        "LEARNING_RATE": 0.001,
        "BATCH_SIZE": 512,
        "EPOCHS": 100,
        "PATIENCE": 10,
        "DML_VISIBLE_DEVICES": "0",
    }
    for script in SCRIPTS.values():
        assert {name: getattr(script, name) for name in expected} == expected


def test_the_names_in_the_text_exist():
    names = set(re.findall(r"`([a-z_]+\.py|docs/[a-z_/.]+)`|\]\(([a-z_/.]+)\)", README))
    for path in {one or other for one, other in names}:
        assert (ROOT / path).exists(), path
    sources = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("**/*.py"))
    for name in re.findall(r"`([A-Z][a-z]\w+)`", README):
        assert "class " + name in sources, name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_training_command_works(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    script, flags = SCRIPTS[words[0]], words[1:]
    if "--help" in flags or "--resume" in flags:
        # Help is tested in test_command_line.py, resuming in test_resume.py.
        with pytest.raises((SystemExit, ValueError), match="0|no unfinished run"):
            script.main(flags)
        return
    for name in ("cats", "dogs"):
        (tmp_path / "my_images" / name).mkdir(parents=True)
        for number in range(48):
            pixels = np.random.RandomState(number).randint(0, 256, (20, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(str(tmp_path / "my_images" / name / f"{number}.png"))
    small = list(SMALL_RUN)
    if "--dataset" in flags:
        del small[small.index("--dataset") : small.index("--dataset") + 2]
    if "convolutional" in flags:
        # That stem has no patches whose size could be given.
        del small[small.index("--patch-size") : small.index("--patch-size") + 2]
    if "--time-limit-minutes" in flags:
        flags[flags.index("--time-limit-minutes") + 1] = "0.01"
    if "--epochs" in flags:
        flags[flags.index("--epochs") + 1] = "1"
    folder = script.main(small + ["--batch-size", "32", "--micro-batch-size", "32"] + flags)
    assert (folder / "results.json").exists()
