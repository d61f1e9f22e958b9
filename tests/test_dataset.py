"""Loading a data set: its names, its options, and the catalogue they come from."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from datasets.catalogue import NAMED_DATASETS
from datasets.dataset import load_dataset
from tests.helpers import ROOT, saved_npz, small_arrays


def test_images_per_class_is_stratified_and_deterministic(tmp_path):
    path = saved_npz(tmp_path / "mine.npz", **small_arrays(per_class=20))
    first, again, other = (load_dataset(path, images_per_class=4, seed=seed) for seed in (1, 1, 2))
    assert np.bincount(first.y_train).tolist() == [4, 4, 4]
    assert len(first.y_test) == 3
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert not np.array_equal(first.x_train, other.x_train)


def test_image_size_resizes_arrays_without_aliasing(tmp_path):
    # A checkerboard of single pixels becomes grey, not black or white.
    board = np.indices((6, 6)).sum(0) % 2 * 255
    images = np.broadcast_to(board[..., None], (24, 6, 6, 3)).astype(np.uint8)
    path = saved_npz(tmp_path / "board.npz", x_train=images, x_test=images[:3])
    dataset = load_dataset(path, image_size=3)
    assert dataset.image_shape == (3, 3, 3) and dataset.x_test.shape == (3, 3, 3, 3)
    assert dataset.x_train.min() > 80 and dataset.x_train.max() < 176


@pytest.mark.parametrize("option", ["image_size", "images_per_class", "seed"])
def test_negative_options_are_refused(option):
    with pytest.raises(ValueError, match=option.upper()):
        load_dataset("synthetic", **{option: -1})


@pytest.mark.parametrize("name", ["cifar11", "", "missing.npz", "no/such/folder"])
def test_unknown_names_are_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(ValueError, match=", ".join(NAMED_DATASETS)):
        load_dataset(name, data_dir=str(tmp_path))


@pytest.mark.parametrize("name", [name for name, row in NAMED_DATASETS.items() if row.draw])
def test_a_synthetic_data_set_is_what_its_row_says(name):
    dataset, row = load_dataset(name, images_per_class=2), NAMED_DATASETS[name]
    assert dataset.image_shape == row.image_shape and dataset.class_names == row.class_names
    assert set(dataset.y_train) == set(range(len(row.class_names)))


def test_scripts_mention_only_data_sets_that_exist():
    scripts = [*ROOT.glob("train_*.py"), *ROOT.glob("recipes/[!_]*.py")]
    for path in [ROOT / "training" / "default_settings.py", *scripts]:
        line = r'^DATASET = "(\w+)"(?:  # (.+), an \.npz file or a folder of classes)?$'
        name, mentioned = re.search(line, path.read_text(encoding="utf-8"), re.MULTILINE).groups()
        names = {name, *(mentioned.split(", ") if mentioned else ())}
        assert names <= set(NAMED_DATASETS), path


def test_names_and_facts_and_files_are_there_without_tensorflow():
    """Help and mistakes are answered before TensorFlow is loaded."""
    code = """
        import sys
        from datasets.dataset import load_dataset
        load_dataset("synthetic", images_per_class=1)
        assert "tensorflow" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=str(ROOT), check=True)
