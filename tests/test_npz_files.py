"""Data sets in .npz files, whole, wrong, damaged and hostile."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from datasets import checks
from datasets.dataset import load_dataset
from tests.helpers import saved_npz, small_arrays


def test_npz_is_read_unchanged_with_its_facts(tmp_path):
    arrays = small_arrays()
    path = saved_npz(tmp_path / "mine.npz", class_names=np.array(["ant", "bee", "cow"]))
    dataset = load_dataset(path)
    for key, value in arrays.items():
        np.testing.assert_array_equal(getattr(dataset, key), value)
    assert dataset.name == "mine"
    assert dataset.class_names == ("ant", "bee", "cow")
    assert dataset.image_shape == (6, 5, 3) and dataset.number_of_classes == 3
    assert dataset.x_train.dtype == np.uint8 and dataset.y_train.dtype == np.int32
    assert not dataset.is_stand_in and dataset.notes == ()
    pixels = arrays["x_train"].reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(dataset.mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(dataset.std, pixels.std(0), rtol=1e-12)


def test_npz_in_the_data_dir_is_found_by_name(tmp_path):
    saved_npz(tmp_path / "mine.npz")
    assert load_dataset("mine", data_dir=str(tmp_path)).class_names == ("0", "1", "2")


def test_grey_images_and_column_labels_get_the_common_form(tmp_path):
    arrays = small_arrays(shape=(6, 6))
    arrays["y_train"] = arrays["y_train"][:, None].astype(np.uint8)
    dataset = load_dataset(saved_npz(tmp_path / "grey.npz", **arrays))
    assert dataset.image_shape == (6, 6, 1)
    assert dataset.y_train.shape == (24,) and dataset.y_train.dtype == np.int32
    assert len(dataset.mean) == 1


def test_std_of_a_constant_channel_is_one(tmp_path):
    images = small_arrays()["x_train"]
    images[..., 2] = 7
    dataset = load_dataset(saved_npz(tmp_path / "flat.npz", x_train=images))
    assert dataset.mean[2] == 7.0 and dataset.std[2] == 1.0


NAN_IMAGES = np.full((24, 6, 5, 3), np.nan, np.float32)
NAN_IMAGES[1:] = 0.5


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"y_test": None}, "y_test is missing"),
        ({"x_train": NAN_IMAGES}, "float32, 90 of its values are NaN"),
        ({"x_train": np.zeros((24, 6, 5, 3), np.int64)}, "x_train is int64.*uint8"),
        ({"x_train": np.zeros((24, 6, 5, 2), np.uint8)}, r"x_train has shape \(24, 6, 5, 2\)"),
        ({"x_train": np.zeros((24, 30), np.uint8)}, r"x_train has shape \(24, 30\)"),
        ({"x_train": np.zeros((0, 6, 5, 3), np.uint8), "y_train": np.zeros(0, int)}, "no image"),
        ({"x_train": np.zeros((24, 6, 6, 3), np.uint8)}, r"\(6, 6, 3\), test images \(6, 5, 3\)"),
        ({"x_train": np.zeros((9, 6, 5, 3), np.uint8)}, "9 images, y_train has 24 labels"),
        ({"y_train": np.arange(24) / 3.0}, "y_train is float64"),
        ({"y_train": np.zeros((24, 2), int)}, r"shape \(24, 2\)"),
        ({"y_train": np.arange(24) % 3 - 1}, "y_train holds label -1"),
        ({"y_train": np.arange(24) % 3 * 10**12}, "y_train holds label 1000000000000"),
        ({"y_test": np.array([0, 1, 3])}, "y_test holds label 3.*0..2"),
        ({"y_train": np.zeros(24, int), "y_test": np.zeros(3, int)}, "at least two classes"),
        ({"class_names": np.array(["a", "b"])}, "label 2; with 2 classes named"),
        ({"class_names": np.array(["a", "b", "c", "d"])}, r"class 3 \(d\) has no training image"),
        ({"class_names": np.array(["a", "b", "b"])}, "twice"),
        ({"class_names": np.array(["a", "b", "\x1b[2J"])}, "unprintable"),
        ({"class_names": np.arange(3)}, "list of strings"),
        ({"y_train": np.array([None] * 24)}, "Object arrays|pickle"),
    ],
)
def test_bad_arrays_are_refused_by_name(tmp_path, changes, message):
    path = saved_npz(tmp_path / "bad.npz", **changes)
    with pytest.raises(ValueError, match=message) as error:
        load_dataset(path)
    assert path in str(error.value)


def test_damaged_files_are_refused_by_name(tmp_path):
    whole = open(saved_npz(tmp_path / "whole.npz"), "rb").read()
    random = np.random.RandomState(0)
    contents = [b"", b"PK\x03\x04", b"no archive at all", pickle.dumps([1, 2]), whole[:-1]]
    contents += [whole[:length] for length in random.randint(1, len(whole) - 30, 10)]
    path = tmp_path / "damaged.npz"
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged.npz"):
            load_dataset(str(path))


def test_flipped_bytes_never_raise_anything_but_value_error(tmp_path):
    whole = np.frombuffer(open(saved_npz(tmp_path / "whole.npz"), "rb").read(), np.uint8)
    path = tmp_path / "flipped.npz"
    random = np.random.RandomState(0)
    refused = 0
    for _ in range(100):
        content = whole.copy()
        content[random.randint(len(content), size=8)] ^= random.randint(1, 256, 8).astype(np.uint8)
        path.write_bytes(content.tobytes())
        try:
            load_dataset(str(path))
        except ValueError as error:
            refused += 1
            assert "flipped.npz" in str(error)
    assert refused > 90


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "bomb.npz")
    np.savez_compressed(path, **dict(small_arrays(), x_train=np.zeros((10**5, 10), np.uint8)))
    monkeypatch.setattr(checks, "MAX_DATA_BYTES", 10**5)
    with pytest.raises(ValueError, match="bomb.npz.*more than 100,000"):
        load_dataset(path)


def test_a_pickle_in_place_of_an_array_is_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    attack = np.empty(24, object)
    attack[:] = [Attack()] * 24
    with pytest.raises(ValueError, match="bad.npz"):
        load_dataset(saved_npz(tmp_path / "bad.npz", y_train=attack))
    assert not (tmp_path / "attacked").exists()
