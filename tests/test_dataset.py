"""Loading a data set: its names, its options, and the catalogue they come from."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from datasets.catalogue import NAMED_DATASETS
from datasets.dataset import Dataset, from_anywhere, load_dataset, without_folder
from storage.run_folder import RunFolder
from tests.helpers import ROOT, SETTINGS, saved_npz, small_arrays


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
        from datasets.dataset import from_anywhere, load_dataset, without_folder
        load_dataset("synthetic", images_per_class=1)
        assert "tensorflow" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=str(ROOT), check=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_sample_for_training_leaves_the_test_set_whole(tmp_path, seed):
    arrays = small_arrays(per_class=20)
    whole = small_arrays(seed=3, per_class=30)
    arrays.update(x_test=whole["x_train"], y_test=whole["y_train"])
    arrays.update(x_val=whole["x_train"], y_val=whole["y_train"])
    path = saved_npz(tmp_path / "mine.npz", **arrays)
    dataset = load_dataset(path, images_per_class=2, seed=seed)
    assert len(dataset.y_train) == 6
    np.testing.assert_array_equal(dataset.x_test, arrays["x_test"])
    np.testing.assert_array_equal(dataset.x_validation, arrays["x_val"])


def test_a_run_knows_its_images_and_labels_again_and_no_others(tmp_path):
    """Whatever leaves mean and standard deviation as they were: orders, labels, another test."""
    dataset = load_dataset(saved_npz(tmp_path / "mine.npz"))
    folder = RunFolder(tmp_path)
    facts = SETTINGS["dataset"]
    others = {name: SETTINGS[name] for name in "constants defaults model dataset versions".split()}
    folder.write_settings("x", "python x.py", None, checksums=dataset.identity(), **others)
    assert folder.check_same_data(facts, dataset.identity()) == ""
    swapped = [1, 0, *range(2, 24)]
    others = {
        "x_train": dataset.x_train[swapped],
        "y_train": dataset.y_train[swapped],
        "x_test": dataset.x_test[::-1],
        "y_test": dataset.y_test[::-1],
        "x_validation": dataset.x_test,
    }
    for name, array in others.items():
        other = dataset._replace(**{name: array})
        with pytest.raises(ValueError, match=f"other data: {name} differ"):
            folder.check_same_data(facts, other.identity())
    # What was made before there were checksums is compared as it was, and says so.
    saved = folder.read_settings()
    del saved["data"]
    folder.settings_json.write_text(json.dumps(saved))
    assert "older than the checksums" in folder.check_same_data(facts, other.identity())


def test_checksums_are_those_of_the_values_in_their_shape():
    arrays = small_arrays()
    dataset = Dataset("mine", **arrays, class_names=("a", "b", "c"), mean=(0,), std=(1,))
    digest = hashlib.sha256(b"(24, 6, 5, 3)" + arrays["x_train"].tobytes()).hexdigest()
    assert dataset.identity()["x_train"] == digest
    big_endian = dataset._replace(y_train=arrays["y_train"].astype(">i8"))
    assert big_endian.identity() == dataset.identity()


def test_a_path_is_stored_for_any_folder_and_found_where_it_is_moved_to(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    saved_npz(tmp_path / "here" / "mine.npz", **small_arrays())
    monkeypatch.chdir(tmp_path / "here")
    stored = from_anywhere("mine.npz", "data")
    assert stored == str(tmp_path / "here" / "mine.npz")
    # Names, and what lies in DATA_DIR, stay as they are.
    assert from_anywhere("cifar10", "data") == "cifar10"
    assert from_anywhere("mine", str(tmp_path / "here")) == "mine"
    monkeypatch.chdir(tmp_path)
    before = load_dataset(stored).x_train
    (tmp_path / "here").rename(tmp_path / "there")
    moved = load_dataset(without_folder(stored), str(tmp_path / "there"))
    np.testing.assert_array_equal(moved.x_train, before)
    assert without_folder("cifar10") == "cifar10"
