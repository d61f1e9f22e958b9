"""The worked examples of docs/extending.md, executed as they stand there."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import json
import re
import sys
import zipfile

import numpy as np
import pytest

import train_cifar10
from backend.runtime import keras
from data_augmentations import augmentation_pipeline
from datasets.augmentation_engine import AUGMENTATIONS
from datasets.catalogue import NAMED_DATASETS
from datasets.dataset import load_dataset
from datasets.official import DownloadError
from models.builders import BUILDERS
from storage.trained_run import FinishedRun
from tests.helpers import FACTS, ROOT, some_images
from training import ranges
from training.schedule import SCHEDULES, LearningRate
from training.settings import settings_from


def new_module(name, code, folder):
    """Write a file and import it as the module of this name."""
    path = folder / (name + ".py")
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def extended(tmp_path, monkeypatch):
    """Return a function that does what a section says: adds its code to the modules it names."""

    def add(section):
        text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            file = re.match(r"# (\S+\.py)\n", block).group(1)
            name = file[:-3].replace("/", ".")
            if not (ROOT / file).is_file():
                monkeypatch.setitem(sys.modules, name, new_module(name, block, tmp_path))
                continue
            module = importlib.import_module(name)
            changed.append((vars(module), set(vars(module))))
            exec(compile(block, f"docs/extending.md, {section}", "exec"), vars(module))

    catalogues = (NAMED_DATASETS, AUGMENTATIONS, SCHEDULES, BUILDERS)
    changed = [(catalogue, set(catalogue)) for catalogue in catalogues]
    yield add
    for names, before in changed:
        for added in set(names) - before:
            del names[added]


def leaves():
    """The bytes of a small leaves.zip, and its training images."""
    random, buffer = np.random.RandomState(0), io.BytesIO()
    counts = {"train": 48, "test": 9}
    tables = {part: random.randint(0, 256, (count, 769)) for part, count in counts.items()}
    with zipfile.ZipFile(buffer, "w") as archive:
        for part, table in tables.items():
            table[:, 0] = np.arange(len(table)) % 3
            lines = (",".join(str(number) for number in row) for row in table)
            archive.writestr(f"{part}.csv", "\n".join(lines))
    return buffer.getvalue(), tables["train"][:, 1:].reshape(-1, 16, 16, 3)


def test_a_new_data_set_trains_under_its_name(extended, tmp_path, monkeypatch):
    extended("A new data set")
    content, images = leaves()
    row = NAMED_DATASETS["leaves"]._replace(sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(NAMED_DATASETS, "leaves", row)
    (tmp_path / "leaves.zip").write_bytes(content)
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: str(tmp_path / "leaves.zip"))
    dataset = load_dataset("leaves", data_dir=str(tmp_path))
    np.testing.assert_array_equal(dataset.x_train, images)
    assert dataset.image_shape == row.image_shape and dataset.class_names == row.class_names

    flags = (
        "--dataset leaves --number-of-layers 1 --embedding-dim 16 --num-heads 2 "
        "--mlp-hidden-dim 16 --head-hidden-dims 16 --batch-size 16 --epochs 1 --augmentations"
    )
    places = ["--data-dir", str(tmp_path), "--output-dir", str(tmp_path / "runs")]
    run = train_cifar10.main(flags.split() + places)
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["dataset"] == "leaves" and not results["stand_in"]


def test_a_new_data_set_without_stand_in_says_that_it_cannot_be_downloaded(extended, monkeypatch):
    extended("A new data set")

    def offline(*_, **__):
        raise DownloadError("no route to host")

    monkeypatch.setattr(keras.utils, "get_file", offline)
    with pytest.raises(ValueError, match="leaves could not be downloaded .*no route to host"):
        load_dataset("leaves")


def test_a_new_augmentation_works_alone_and_in_a_list(extended):
    extended("A new augmentation")
    from data_augmentations import random_white_balance

    images = np.full((200, 4, 4, 3), 100, np.uint8)
    balanced = random_white_balance(images, [3, 14], fraction=0.3).numpy()
    assert (balanced == balanced[:, :1, :1]).all()
    assert 70 <= balanced.min() < 75 and 125 < balanced.max() <= 130
    assert (np.ptp(balanced[:, 0, 0].astype(int), axis=1) > 0).mean() > 0.9
    listed = "random_white_balance(fraction=0.3, probability=0.5)"
    augmented, _ = augmentation_pipeline([listed])(images, np.zeros(200, int), [3, 14])
    assert 0.4 < (augmented.numpy() != 100).any(axis=(1, 2, 3)).mean() < 0.6


def test_a_new_schedule_has_its_flag_and_its_rates(extended, monkeypatch):
    flags = "--schedule inverse_square_root --warmup-epochs 5 --epochs 20".split()
    with pytest.raises(ValueError, match="SCHEDULE is 'inverse_square_root'"):
        settings_from(vars(train_cifar10), flags)
    extended("A new schedule")
    # The table of ranges was made when the module was imported, before there was the new one.
    monkeypatch.setitem(ranges.RANGES, "SCHEDULE", ranges.one_of(*SCHEDULES))
    settings = settings_from(vars(train_cifar10), flags)
    schedule = LearningRate(settings.SCHEDULE, 0.1, settings.EPOCHS, warmup_epochs=5)
    assert [schedule.at(epoch / 20) for epoch in (0, 5, 6, 14)] == [0.0, 0.1, 0.1, 0.1 / 3]


def test_a_new_model_trains_and_its_run_can_be_read(extended, tmp_path):
    extended("A new model")
    flags = (
        "--dataset synthetic --images-per-class 20 --batch-size 32 --epochs 1 "
        "--convolution-filters 4 8 --output-dir"
    )
    script = sys.modules["recipes.plain_cnn_cifar10"]
    run = FinishedRun(script.main(flags.split() + [str(tmp_path)]))
    assert run.model.name == "plain_cnn"
    images = some_images(3, run.image_shape)
    assert run.probabilities(images).sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    with pytest.raises(ValueError, match="CONVOLUTION_FILTERS is 0"):
        BUILDERS["plain_cnn"](**FACTS, convolution_filters=(4, 0))
