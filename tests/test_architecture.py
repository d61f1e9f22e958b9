"""The rooms of the house: no import goes upwards or in a circle; what answers first is light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT

# From the ground up. A module may import from its own floor's room and from the floors below.
FLOORS = [
    ["backend"],
    ["vit_model", "datasets"],
    ["models", "data_augmentations"],
    ["storage"],
    ["reports"],
    ["training"],
    ["train_cifar10", "train_cifar100", "recipes", "tools"],
    ["benchmarks"],
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def modules():
    """Return the product's modules, by dotted name, with the dotted names that each imports."""
    paths = [path for path in ROOT.glob("*.py")] + [
        path for room in LEVEL for path in (ROOT / room).glob("**/*.py")
    ]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    found = {}
    for name, path in names.items():
        imported = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    module = f"{node.module}.{alias.name}"
                    imported.add(module if module in names else node.module)
        found[name] = sorted(imported & set(names))
    return found


MODULES = modules()


def test_the_root_is_a_front_page():
    assert sorted(path.name for path in ROOT.glob("*.py")) == [
        "data_augmentations.py",
        "train_cifar10.py",
        "train_cifar100.py",
        "vit_model.py",
    ]
    tracked = subprocess.run(["git", "ls-files"], cwd=str(ROOT), stdout=subprocess.PIPE, text=True)
    # Without git, as in an archive of the sources, there is nothing to count.
    rows = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    assert len(rows) <= 26, sorted(rows)


def test_no_import_goes_upwards():
    for name, imported in MODULES.items():
        room = name.split(".")[0]
        for other in imported:
            other_room = other.split(".")[0]
            assert other_room == room or LEVEL[other_room] < LEVEL[room], f"{name} -> {other}"


def test_no_import_goes_in_a_circle():
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join(path[path.index(name) :] + [name])
        if name in done:
            return
        path.append(name)
        for other in MODULES[name]:
            if other != name:
                visit(other)
        done.add(path.pop())

    for name in MODULES:
        visit(name)


@pytest.mark.parametrize(
    "module",
    "training.script training.settings training.ranges training.effects training.schedule "
    "training.augmentation_names training.progress training.repetition storage.run_folder "
    "storage.checkpoints backend.environment backend.device_errors reports.significance "
    "tools.methods tools.runs tools.doctor train_cifar10 train_cifar100".split()
    + sorted(name for name in MODULES if name.startswith("recipes.")),
)
def test_what_answers_help_and_mistakes_imports_no_tensorflow(module):
    """Followed through the imports at the top of modules, so one process need not import each."""
    reached, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        path = ROOT / (name.replace(".", os.sep) + ".py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("tensorflow"), name
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                waiting += [each if each in MODULES else node.module for each in names]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
        waiting = [each for each in waiting if each in MODULES]
    assert "backend.runtime" not in reached


def test_help_answers_without_tensorflow():
    code = (
        "import sys, train_cifar10\n"
        "try:\n    train_cifar10.main(['--help'])\n"
        "finally:\n    assert 'tensorflow' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=str(ROOT), check=True, stdout=subprocess.DEVNULL
    )
