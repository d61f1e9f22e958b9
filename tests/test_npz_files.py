"""Data sets in .npz files, whole, wrong, damaged and hostile."""

from __future__ import annotations

import os
import pickle
import re

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
        ({"y_train": np.arange(24) % 3 * 2}, r"from 0 to 4: np.searchsorted\(np.unique"),
        ({"y_train": np.array(list("abc") * 8)}, "return_inverse"),
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


def converted(problem, arrays):
    """Do what a message says: the expression in it, on the array that it names."""
    line = re.search(r": ([^:]+?) makes|: (y_train.astype\(.+?\))", str(problem))
    return eval(line.group(1) or line.group(2), {"np": np}, arrays)


WHOLE = small_arrays(shape=(6, 5))
IMAGES, LABELS = WHOLE["x_train"], WHOLE["y_train"]


@pytest.mark.parametrize(
    "name, wrong, words",
    [
        ("x_train", IMAGES.astype(np.float32) / 255, "from 0 to 1"),
        ("x_train", (IMAGES / 127.5 - 1).astype(np.float32), "from -1 to 1"),
        ("x_train", IMAGES.astype(np.float64), "from 0 to 255"),
        ("x_train", IMAGES.astype(np.int64), "from 0 to 255"),
        ("x_train", IMAGES.astype(np.uint16) * 257, "from 0 to 65535"),
        ("x_train", np.repeat(IMAGES[:, None], 3, 1), "channels last"),
        ("x_train", np.repeat(IMAGES[..., None], 4, -1), "transparency"),
        ("y_train", np.eye(3)[LABELS], "one-hot"),
        ("y_train", np.eye(3, dtype=bool)[LABELS], "one-hot"),
        ("y_train", LABELS + 1, "1..3"),
        ("y_train", LABELS.astype(np.float32), "float32"),
    ],
)
def test_the_line_in_a_message_makes_of_the_array_what_is_needed(tmp_path, name, wrong, words):
    with pytest.raises(ValueError, match=re.escape(words)) as problem:
        load_dataset(saved_npz(tmp_path / "mine.npz", **dict(WHOLE, **{name: wrong})))
    if wrong.ndim == 4:
        assert name + (".transpose(0, 2, 3, 1)" if wrong.shape[1] == 3 else "[..., :3]") in str(
            problem.value
        )
    else:
        np.testing.assert_array_equal(converted(problem.value, {name: wrong}), WHOLE[name])


def test_bool_images_and_labels_are_told_how_to_become_numbers(tmp_path):
    for name, line in (("x_train", "255 * x_train.astype('uint8')"), ("y_train", "y_train.ast")):
        with pytest.raises(ValueError, match=re.escape(line)):
            load_dataset(saved_npz(tmp_path / "mine.npz", **{name: WHOLE[name].astype(bool)}))


@pytest.mark.parametrize(
    "names",
    [
        "x_train y_train x_val y_val x_test y_test",
        "train_images train_labels val_images val_labels test_images test_labels",
        "XTrain YTrain XValid YValid XTest YTest",
        "data_train target_train data_dev target_dev data_test target_test",
    ],
)
def test_arrays_of_other_usual_names_are_used_and_a_validation_set_with_them(tmp_path, names):
    train, validation = small_arrays(), small_arrays(seed=1)
    arrays = [train["x_train"], train["y_train"], validation["x_train"], validation["y_train"]]
    arrays += [train["x_test"], train["y_test"]]
    path = str(tmp_path / "medical.npz")
    np.savez(path, extra=np.zeros((7, 2)), **dict(zip(names.split(), arrays)))
    dataset = load_dataset(path)
    np.testing.assert_array_equal(dataset.x_train, train["x_train"])
    np.testing.assert_array_equal(dataset.x_validation, validation["x_train"])
    np.testing.assert_array_equal(dataset.y_validation, validation["y_train"])
    own = " and ".join(names.split()[2:4])
    assert dataset.notes == (
        f"the 24 images of {own} are the validation set",
        "the array extra (7, 2) is not used",
    )


def test_half_a_validation_set_is_named_as_unused(tmp_path):
    dataset = load_dataset(saved_npz(tmp_path / "mine.npz", x_val=small_arrays()["x_test"]))
    assert dataset.x_validation is None
    assert dataset.notes == ("the array x_val (3, 6, 5, 3) is not used",)


def test_a_validation_set_that_does_not_fit_is_refused(tmp_path):
    other = small_arrays(shape=(7, 5, 3))
    path = saved_npz(tmp_path / "bad.npz", x_val=other["x_test"], y_val=other["y_test"])
    with pytest.raises(ValueError, match=r"validation images \(7, 5, 3\)"):
        load_dataset(path)
