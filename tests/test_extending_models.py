"""The worked example of a new model in docs/extending.md works as it stands there."""

from __future__ import annotations

import importlib.util
import re
import sys

import pytest

from models.builders import BUILDERS
from storage.trained_run import FinishedRun
from tests.helpers import FACTS, ROOT, some_images

FLAGS = (
    "--dataset synthetic --images-per-class 20 --batch-size 32 --epochs 1 "
    "--convolution-filters 4 8 --output-dir"
).split()


def code_of(section):
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    body = re.split(r"^## ", text.split(f"## {section}\n")[1], flags=re.M)[0]
    return re.findall(r"^```python\n(.*?)^```", body, re.M | re.S)


def module_of(code, name, folder):
    path = folder / f"{name.split('.')[-1]}.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_new_model_trains_and_its_run_can_be_read(monkeypatch, tmp_path):
    model_file, recipe, row = code_of("A new model")
    module = module_of(model_file, "models.plain_cnn", tmp_path)
    monkeypatch.setitem(sys.modules, "models.plain_cnn", module)
    script = module_of(recipe, "recipes.plain_cnn_cifar10", tmp_path)
    # So that the row is taken out again.
    monkeypatch.setitem(BUILDERS, "plain_cnn", None)
    exec(row, {"BUILDERS": BUILDERS, "plain_cnn": module.plain_cnn})
    run = FinishedRun(script.main(FLAGS + [str(tmp_path / "runs")]))
    assert run.model.name == "plain_cnn"
    images = some_images(3, run.image_shape)
    assert run.probabilities(images).sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    with pytest.raises(ValueError, match="CONVOLUTION_FILTERS is 0"):
        module.plain_cnn(**FACTS, convolution_filters=(4, 0))
