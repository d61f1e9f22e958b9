"""The data sets: reading files of strangers, facts, splits and pipelines."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from datasets import dataset as dataset_module
from datasets import npz_files, official, synthetic


def small_arrays(seed=0, classes=3, per_class=8, shape=(6, 5, 3)):
    random = np.random.RandomState(seed)
    labels = np.arange(classes * per_class) % classes
    return {
        "x_train": random.randint(0, 256, (len(labels),) + shape).astype(np.uint8),
        "y_train": labels,
        "x_test": random.randint(0, 256, (classes,) + shape).astype(np.uint8),
        "y_test": np.arange(classes),
    }


def saved(path, **changes):
    arrays = dict(small_arrays(), **changes)
    np.savez(str(path), **{key: value for key, value in arrays.items() if value is not None})
    return str(path)


def link(target, path):
    try:
        os.symlink(str(target), str(path))
    except OSError:
        pytest.skip("Windows lets only some accounts create links")


def image_folder(root, per_class=6, size=(7, 7), mode="RGB", classes=("cat", "dog")):
    random = np.random.RandomState(1)
    for class_name in classes:
        folder = root / class_name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            shape = size[::-1] + ((3,) if mode == "RGB" else ())
            pixels = random.randint(0, 256, shape).astype(np.uint8)
            Image.fromarray(pixels).save(str(folder / f"{number}.png"))
    return str(root)


# ---- .npz files ----


def test_npz_is_read_unchanged_with_its_facts(tmp_path):
    arrays = small_arrays()
    path = saved(tmp_path / "mine.npz", class_names=np.array(["ant", "bee", "cow"]))
    dataset = dataset_module.load_dataset(path)
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
    saved(tmp_path / "mine.npz")
    assert dataset_module.load_dataset("mine", data_dir=str(tmp_path)).class_names == (
        "0",
        "1",
        "2",
    )


def test_grey_images_and_column_labels_get_the_common_form(tmp_path):
    arrays = small_arrays(shape=(6, 6))
    arrays["y_train"] = arrays["y_train"][:, None].astype(np.uint8)
    dataset = dataset_module.load_dataset(saved(tmp_path / "grey.npz", **arrays))
    assert dataset.image_shape == (6, 6, 1)
    assert dataset.y_train.shape == (24,) and dataset.y_train.dtype == np.int32
    assert len(dataset.mean) == 1


def test_official_names_come_with_a_file_of_that_name(tmp_path):
    saved(tmp_path / "cifar10.npz", **small_arrays(classes=10))
    dataset = dataset_module.load_dataset("cifar10", data_dir=str(tmp_path))
    assert dataset.class_names[0] == "airplane" and dataset.class_names[9] == "truck"
    saved(tmp_path / "cifar10.npz", **small_arrays(classes=11))
    with pytest.raises(ValueError, match="cifar10.npz.*label 10.*0..9"):
        dataset_module.load_dataset("cifar10", data_dir=str(tmp_path))


def test_std_of_a_constant_channel_is_one(tmp_path):
    images = small_arrays()["x_train"]
    images[..., 2] = 7
    dataset = dataset_module.load_dataset(saved(tmp_path / "flat.npz", x_train=images))
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
    path = saved(tmp_path / "bad.npz", **changes)
    with pytest.raises(ValueError, match=message) as error:
        dataset_module.load_dataset(path)
    assert path in str(error.value)


def test_damaged_files_are_refused_by_name(tmp_path):
    whole = open(saved(tmp_path / "whole.npz"), "rb").read()
    random = np.random.RandomState(0)
    contents = [b"", b"PK\x03\x04", b"no archive at all", pickle.dumps([1, 2]), whole[:-1]]
    contents += [whole[:length] for length in random.randint(1, len(whole) - 30, 10)]
    path = tmp_path / "damaged.npz"
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged.npz"):
            dataset_module.load_dataset(str(path))


def test_flipped_bytes_never_raise_anything_but_value_error(tmp_path):
    whole = np.frombuffer(open(saved(tmp_path / "whole.npz"), "rb").read(), np.uint8)
    path = tmp_path / "flipped.npz"
    random = np.random.RandomState(0)
    refused = 0
    for _ in range(100):
        content = whole.copy()
        content[random.randint(len(content), size=8)] ^= random.randint(1, 256, 8).astype(np.uint8)
        path.write_bytes(content.tobytes())
        try:
            dataset_module.load_dataset(str(path))
        except ValueError as error:
            refused += 1
            assert "flipped.npz" in str(error)
    assert refused > 90


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "bomb.npz")
    np.savez_compressed(path, **dict(small_arrays(), x_train=np.zeros((10**5, 10), np.uint8)))
    monkeypatch.setattr(npz_files, "MAX_DATA_BYTES", 10**5)
    with pytest.raises(ValueError, match="bomb.npz.*more than 100,000"):
        dataset_module.load_dataset(path)


def test_a_pickle_in_place_of_an_array_is_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    attack = np.empty(24, object)
    attack[:] = [Attack()] * 24
    with pytest.raises(ValueError, match="bad.npz"):
        dataset_module.load_dataset(saved(tmp_path / "bad.npz", y_train=attack))
    assert not (tmp_path / "attacked").exists()


# ---- image folders ----


def test_image_folder_with_and_without_test_part(tmp_path):
    dataset = dataset_module.load_dataset(image_folder(tmp_path / "pets"))
    assert dataset.name == "pets" and dataset.class_names == ("cat", "dog")
    assert np.bincount(dataset.y_train).tolist() == [5, 5]
    assert np.bincount(dataset.y_test).tolist() == [1, 1]
    assert "no test folder" in dataset.notes[0] and "2 of 12" in dataset.notes[0]

    image_folder(tmp_path / "split" / "train", per_class=4)
    image_folder(tmp_path / "split" / "test", per_class=2)
    dataset = dataset_module.load_dataset("split", data_dir=str(tmp_path))
    assert len(dataset.y_train) == 8 and len(dataset.y_test) == 4 and dataset.notes == ()
    first = np.asarray(Image.open(str(tmp_path / "split" / "train" / "cat" / "0.png")))
    np.testing.assert_array_equal(dataset.x_train[0], first)


def test_a_class_may_be_called_train(tmp_path):
    dataset = dataset_module.load_dataset(image_folder(tmp_path, classes=("bus", "train")))
    assert dataset.class_names == ("bus", "train")


def test_the_test_part_of_a_folder_is_the_same_for_every_seed(tmp_path):
    path = image_folder(tmp_path, per_class=20)
    first, second = (
        dataset_module.load_dataset(path, seed=1),
        dataset_module.load_dataset(path, seed=2),
    )
    np.testing.assert_array_equal(first.x_test, second.x_test)


def test_different_sizes_need_image_size(tmp_path):
    path = image_folder(tmp_path)
    Image.new("RGB", (9, 4)).save(str(tmp_path / "dog" / "other.png"))
    with pytest.raises(ValueError, match="7 x 7.*other.png is 9 x 4.*IMAGE_SIZE"):
        dataset_module.load_dataset(path)
    assert dataset_module.load_dataset(path, image_size=5).image_shape == (5, 5, 3)


def test_unreadable_and_grey_files_are_counted_and_named(tmp_path):
    path = image_folder(tmp_path, per_class=8)
    whole = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "cat" / "torn.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dog" / "text.jpg").write_text("no picture")
    (tmp_path / "dog" / "notes.txt").write_text("not meant to be one")
    Image.fromarray(np.full((7, 7), 99, np.uint8)).save(str(tmp_path / "dog" / "1.png"))
    dataset = dataset_module.load_dataset(path)
    notes = " ".join(dataset.notes)
    assert "2 unreadable" in notes and "torn.png" in notes and "text.jpg" in notes
    assert "1 files ignored" in notes and os.path.join("dog", "notes.txt") in notes
    assert "1 grey images converted" in notes
    assert len(dataset.y_train) + len(dataset.y_test) == 16
    assert dataset.image_shape == (7, 7, 3)
    images = np.concatenate([dataset.x_train, dataset.x_test])
    assert (images == 99).all(axis=(1, 2, 3)).sum() == 1


def test_all_grey_images_stay_grey_and_16_bits_are_scaled(tmp_path):
    path = image_folder(tmp_path, mode="L")
    for class_name in ("cat", "dog"):
        for number in range(6):
            deep = np.full((7, 7), 200 * 256, np.uint16)
            Image.fromarray(deep).save(str(tmp_path / class_name / f"{number}.png"))
    dataset = dataset_module.load_dataset(path)
    assert dataset.image_shape == (7, 7, 1)
    assert (dataset.x_train == 200).all()


def test_transparent_images_are_laid_over_white_and_counted(tmp_path):
    path = image_folder(tmp_path, per_class=8)
    clear = np.zeros((7, 7, 4), np.uint8)
    clear[3, 3] = (10, 20, 30, 255)
    Image.fromarray(clear).save(str(tmp_path / "dog" / "1.png"))
    dataset = dataset_module.load_dataset(path)
    assert "1 transparent images laid over white" in dataset.notes
    images = np.concatenate([dataset.x_train, dataset.x_test])
    cut_out = images[(images == 255).all(axis=3).sum(axis=(1, 2)) == 48]
    assert len(cut_out) == 1 and tuple(cut_out[0, 3, 3]) == (10, 20, 30)


def test_a_class_without_a_readable_file_tells_which_were_skipped(tmp_path):
    path = image_folder(tmp_path, per_class=3)
    for number in range(3):
        (tmp_path / "dog" / f"{number}.png").write_text("no picture")
    with pytest.raises(ValueError, match="dog. has no training image; .*3 unreadable"):
        dataset_module.load_dataset(path)


def test_a_folder_of_unreadable_files_is_refused(tmp_path):
    for class_name in ("cat", "dog"):
        (tmp_path / class_name).mkdir()
        for number in range(2):
            (tmp_path / class_name / f"{number}.png").write_text("no picture")
    with pytest.raises(ValueError, match="no image can be read; 4 unreadable"):
        dataset_module.load_dataset(str(tmp_path))


def test_a_class_without_a_readable_image_is_refused_by_name(tmp_path):
    path = image_folder(tmp_path)
    for file in (tmp_path / "dog").iterdir():
        file.write_text("no picture")
    with pytest.raises(ValueError, match="class 1 .dog."):
        dataset_module.load_dataset(path)


# Pillow warns above its limit and raises above twice that: the large image has 900 pixels.
@pytest.mark.parametrize("limit", [500, 400])
def test_image_bombs_are_skipped_and_named(tmp_path, monkeypatch, limit):
    path = image_folder(tmp_path)
    Image.new("RGB", (30, 30)).save(str(tmp_path / "dog" / "bomb.png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    dataset = dataset_module.load_dataset(path)
    (note,) = [note for note in dataset.notes if "skipped" in note]
    assert f"1 images of more than {limit} pixels" in note and "bomb.png" in note
    assert len(dataset.y_train) + len(dataset.y_test) == 12


def test_links_out_of_the_folder_are_refused(tmp_path):
    outside = tmp_path / "secret.png"
    Image.new("RGB", (7, 7)).save(str(outside))
    path = image_folder(tmp_path / "pets")
    link(tmp_path / "pets" / "cat" / "0.png", tmp_path / "pets" / "cat" / "in.png")
    dataset_module.load_dataset(path)
    link(outside, tmp_path / "pets" / "cat" / "out.png")
    with pytest.raises(ValueError, match="out.png.*leaves"):
        dataset_module.load_dataset(path)


def test_a_linked_class_folder_is_refused(tmp_path):
    path = image_folder(tmp_path / "pets")
    image_folder(tmp_path / "elsewhere")
    link(tmp_path / "elsewhere" / "cat", tmp_path / "pets" / "fox")
    with pytest.raises(ValueError, match="fox.*leaves"):
        dataset_module.load_dataset(path)


def test_folders_without_classes_or_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least two class folders, found: none"):
        dataset_module.load_dataset(str(tmp_path))
    path = image_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="'empty' holds no image"):
        dataset_module.load_dataset(path)


def test_a_class_of_one_file_cannot_give_a_test_image(tmp_path):
    path = image_folder(tmp_path, per_class=1)
    with pytest.raises(ValueError, match="without a test folder, class cat has one image"):
        dataset_module.load_dataset(path)


def test_an_unknown_class_in_test_is_refused(tmp_path):
    image_folder(tmp_path / "train")
    image_folder(tmp_path / "test", classes=("cat", "fox"))
    with pytest.raises(ValueError, match="'fox' is in test but not in train"):
        dataset_module.load_dataset(str(tmp_path))


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = image_folder(tmp_path)
    monkeypatch.setattr(npz_files, "MAX_DATA_BYTES", 1000)
    with pytest.raises(ValueError, match="IMAGES_PER_CLASS"):
        dataset_module.load_dataset(path)


# ---- samples, sizes, splits ----


def test_images_per_class_is_stratified_and_deterministic(tmp_path):
    path = saved(tmp_path / "mine.npz", **small_arrays(per_class=20))
    first, again, other = (
        dataset_module.load_dataset(path, images_per_class=4, seed=seed) for seed in (1, 1, 2)
    )
    assert np.bincount(first.y_train).tolist() == [4, 4, 4]
    assert len(first.y_test) == 3
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert not np.array_equal(first.x_train, other.x_train)


def test_images_per_class_is_chosen_before_decoding(tmp_path, monkeypatch):
    path = image_folder(tmp_path, per_class=30)
    decoded = []
    decode = npz_files._decode
    monkeypatch.setattr(
        npz_files, "_decode", lambda path, size: decoded.append(path) or decode(path, size)
    )
    dataset = dataset_module.load_dataset(path, images_per_class=3)
    assert np.bincount(dataset.y_train).tolist() == np.bincount(dataset.y_test).tolist() == [3, 3]
    assert len(decoded) == 12


def test_image_size_resizes_arrays_without_aliasing(tmp_path):
    # A checkerboard of single pixels becomes grey, not black or white.
    board = np.indices((6, 6)).sum(0) % 2 * 255
    images = np.broadcast_to(board[..., None], (24, 6, 6, 3)).astype(np.uint8)
    path = saved(tmp_path / "board.npz", x_train=images, x_test=images[:3])
    dataset = dataset_module.load_dataset(path, image_size=3)
    assert dataset.image_shape == (3, 3, 3) and dataset.x_test.shape == (3, 3, 3, 3)
    assert dataset.x_train.min() > 80 and dataset.x_train.max() < 176


@pytest.mark.parametrize("option", ["image_size", "images_per_class", "seed"])
def test_negative_options_are_refused(option):
    with pytest.raises(ValueError, match=option.upper()):
        dataset_module.load_dataset("synthetic", **{option: -1})


@pytest.mark.parametrize("name", ["cifar11", "", "missing.npz", "no/such/folder"])
def test_unknown_names_are_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(ValueError, match="cifar10, cifar100, mnist, synthetic"):
        dataset_module.load_dataset(name, data_dir=str(tmp_path))


def test_validation_split_covers_every_image_once_in_every_class():
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(5), [2, 9, 20, 100, 333]))
    train, validation = dataset_module.validation_split(labels, 0.1, seed=3)
    assert sorted(np.concatenate([train, validation])) == list(range(len(labels)))
    assert (np.diff(train) > 0).all() and (np.diff(validation) > 0).all()
    assert np.bincount(labels[validation]).tolist() == [1, 1, 2, 10, 33]
    again = dataset_module.validation_split(labels, 0.1, seed=3)[1]
    np.testing.assert_array_equal(validation, again)
    assert not np.array_equal(validation, dataset_module.validation_split(labels, 0.1, seed=4)[1])
    for fraction in (0.001, 0.999):
        for part in dataset_module.validation_split(labels, fraction, seed=0):
            assert set(labels[part]) == set(range(5))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_validation_fraction_is_checked(fraction):
    with pytest.raises(ValueError, match="fraction"):
        dataset_module.validation_split(np.arange(10) % 2, fraction, seed=0)


def test_a_class_of_one_image_cannot_be_split():
    with pytest.raises(ValueError, match="class 1 has one image"):
        dataset_module.validation_split(np.array([0, 0, 1]), 0.5, seed=0)


# ---- pipelines ----


def seed_as_label(images, labels, seed):
    return images, labels, seed


def collect(batches):
    return [tuple(np.array(part) for part in batch) for batch in batches]


def numbered_images(count):
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 2, 2, 1), np.uint8)
    return images, np.arange(count)


def test_every_epoch_sees_every_image_once_in_a_new_order():
    images, labels = numbered_images(20)
    batches = collect(
        dataset_module.training_batches(images, labels, 5, seed_as_label, 7, epochs=3)
    )
    assert len(batches) == 12
    epochs = [np.concatenate([b[1] for b in batches[4 * e : 4 * e + 4]]) for e in range(3)]
    for order in epochs:
        assert sorted(order) == list(range(20))
    assert not np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[1], epochs[2])
    for batch_images, batch_labels, _ in batches:
        np.testing.assert_array_equal(batch_images[:, 0, 0, 0], batch_labels)
        assert batch_images.dtype == np.uint8 and batch_labels.dtype == np.int32
    assert len({tuple(batch[2]) for batch in batches}) == 12


def test_training_resumed_anywhere_sees_the_same_batches():
    images, labels = numbered_images(22)
    whole = collect(dataset_module.training_batches(images, labels, 5, seed_as_label, 7, epochs=3))
    for epoch, step in [(0, 0), (0, 3), (1, 0), (1, 2), (2, 3), (2, 4)]:
        rest = collect(
            dataset_module.training_batches(images, labels, 5, seed_as_label, 7, 3, epoch, step)
        )
        assert len(rest) == 12 - 4 * epoch - step
        for expected, found in zip(whole[len(whole) - len(rest) :], rest):
            for one, other in zip(expected, found):
                np.testing.assert_array_equal(one, other)


def test_batches_of_some_of_the_images_are_those_of_a_copy_of_them():
    images, labels = numbered_images(30)
    indices = np.flatnonzero(labels % 3)
    chosen = collect(
        dataset_module.training_batches(
            images, labels, 6, seed_as_label, 7, 3, 1, 2, indices=indices
        )
    )
    copied = collect(
        dataset_module.training_batches(
            images[indices], labels[indices], 6, seed_as_label, 7, 3, 1, 2
        )
    )
    assert len(chosen) == len(copied) == 4
    for one, other in zip(chosen, copied):
        assert set(one[1]) <= set(indices)
        for part, expected in zip(one, other):
            np.testing.assert_array_equal(part, expected)
    with pytest.raises(ValueError, match="21.*20 training images"):
        dataset_module.training_batches(images, labels, 21, seed_as_label, 7, 3, indices=indices)


def test_another_seed_gives_other_batches():
    images, labels = numbered_images(20)
    first, second = (
        collect(dataset_module.training_batches(images, labels, 20, seed_as_label, seed, 1))[0]
        for seed in (0, 1)
    )
    assert not np.array_equal(first[1], second[1])
    assert not np.array_equal(first[2], second[2])


def test_training_batches_have_static_shapes_and_augment_the_batch():
    images, labels = numbered_images(11)
    shapes = []

    def invert(batch_images, batch_labels, seed):
        shapes.append((tuple(batch_images.shape), tuple(batch_labels.shape), tuple(seed.shape)))
        return 255 - batch_images, batch_labels

    ((batch_images, batch_labels),) = collect(
        dataset_module.training_batches(images, labels, 8, invert, 0, 1)
    )
    assert shapes[0] == ((8, 2, 2, 1), (8,), (2,))
    np.testing.assert_array_equal(255 - batch_images[:, 0, 0, 0], batch_labels)


def test_batch_sizes_are_checked():
    images, labels = numbered_images(8)
    with pytest.raises(ValueError, match="512.*8"):
        dataset_module.training_batches(images, labels, 512, seed_as_label, 0, 1)
    for batch_size in (0, -1):
        with pytest.raises(ValueError, match="BATCH_SIZE"):
            dataset_module.training_batches(images, labels, batch_size, seed_as_label, 0, 1)


# ---- official downloads ----


def cifar_archive(labels_key=b"labels", batches=("data_batch_1", "data_batch_2", "test_batch")):
    """Return a small archive in the official layout, and the images in it by batch."""
    random = np.random.RandomState(0)
    buffer, images = io.BytesIO(), {}
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in batches:
            data = random.randint(0, 256, (10, 3072)).astype(np.uint8)
            images[name] = data
            content = pickle.dumps({b"data": data, labels_key: list(range(10))}, protocol=3)
            # NumPy 2 writes its new module name; the official archives have the old one.
            content = content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
            member = tarfile.TarInfo("cifar/" + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue(), images


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Return a function that puts bytes where Keras keeps downloads."""

    def put(name, content, verified=True):
        path = tmp_path / "cached_archive"
        path.write_bytes(content)
        monkeypatch.setattr(
            official.keras.utils, "get_file", lambda *arguments, **options: str(path)
        )
        if verified:
            entry = official.OFFICIAL_DATASETS[name]
            monkeypatch.setitem(
                official.OFFICIAL_DATASETS,
                name,
                entry._replace(sha256=hashlib.sha256(content).hexdigest()),
            )

    return put


def test_cifar10_archive_is_read(tmp_path, cached):
    content, images = cifar_archive()
    cached("cifar10", content)
    dataset = dataset_module.load_dataset("cifar10", data_dir=str(tmp_path))
    assert dataset.x_train.shape == (20, 32, 32, 3) and dataset.x_test.shape == (10, 32, 32, 3)
    # The archive keeps the three colour planes one after the other.
    np.testing.assert_array_equal(
        dataset.x_train[10, :, :, 1].ravel(), images["data_batch_2"][0, 1024:2048]
    )
    assert dataset.class_names[3] == "cat" and not dataset.is_stand_in


def test_cifar100_archive_is_read():
    content, images = cifar_archive(b"fine_labels", ("train", "test"))
    arrays = official.read_cifar(content)
    assert arrays["y_train"].tolist() == list(range(10))
    np.testing.assert_array_equal(arrays["x_test"][9, :, :, 0].ravel(), images["test"][9, :1024])


def test_mnist_archive_is_read(tmp_path, cached):
    buffer = io.BytesIO()
    np.savez(buffer, **small_arrays(classes=10, shape=(28, 28)))
    cached("mnist", buffer.getvalue())
    dataset = dataset_module.load_dataset("mnist", data_dir=str(tmp_path))
    assert dataset.image_shape == (28, 28, 1) and dataset.class_names[7] == "7"


def test_wrong_checksum_is_refused_before_anything_is_unpickled(tmp_path, cached, monkeypatch):
    cached("cifar10", cifar_archive()[0], verified=False)
    monkeypatch.setattr(official, "read_cifar", lambda content: pytest.fail("was read"))
    with pytest.raises(ValueError, match="cached_archive: SHA-256 is .* Delete the file"):
        dataset_module.load_dataset("cifar10", data_dir=str(tmp_path))


def test_unpickling_knows_arrays_only(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    with pytest.raises(ValueError, match="mkdir, which is refused"):
        official._unpickle_batch(io.BytesIO(pickle.dumps(Attack(), protocol=2)))
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    "name, stand_in, image_shape, classes",
    [
        ("cifar10", "synthetic", (32, 32, 3), 10),
        ("cifar100", "synthetic100", (32, 32, 3), 100),
        ("mnist", "synthetic_mnist", (28, 28, 1), 10),
    ],
)
def test_offline_synthetic_images_stand_in(
    tmp_path, monkeypatch, name, stand_in, image_shape, classes
):
    def offline(*arguments, **options):
        raise Exception("URL fetch failure: no route to host")

    monkeypatch.setattr(official.keras.utils, "get_file", offline)
    dataset = dataset_module.load_dataset(name, data_dir=str(tmp_path), images_per_class=2)
    assert dataset.is_stand_in and dataset.name == stand_in
    assert name in dataset.notes[0] and "no route to host" in dataset.notes[0]
    assert dataset.image_shape == image_shape and dataset.number_of_classes == classes


def test_downloads_time_out_and_leave_the_default_alone(monkeypatch):
    seen = []

    def slow(*arguments, **options):
        seen.append(official.socket.getdefaulttimeout())
        raise OSError("timed out")

    before = official.socket.getdefaulttimeout()
    monkeypatch.setattr(official.keras.utils, "get_file", slow)
    with pytest.raises(official.DownloadError, match="timed out"):
        official.download("cifar10")
    assert seen == [official.TIMEOUT_SECONDS]
    assert official.socket.getdefaulttimeout() == before


def test_the_official_class_names_are_complete():
    for name, count in (("cifar10", 10), ("cifar100", 100), ("mnist", 10)):
        class_names = official.OFFICIAL_DATASETS[name].class_names
        assert len(set(class_names)) == count and list(class_names) == sorted(class_names)


# ---- synthetic images ----


@pytest.fixture(scope="module")
def synthetic_dataset():
    return dataset_module.load_dataset("synthetic")


def test_synthetic_is_deterministic_and_its_test_set_fixed(synthetic_dataset):
    for seed in (0, 1):
        drawn, _ = synthetic.draw_dataset(seed)
        loaded = dataset_module.load_dataset("synthetic", seed=seed)
        np.testing.assert_array_equal(loaded.x_train, drawn["x_train"])
        assert np.array_equal(synthetic_dataset.x_train, drawn["x_train"]) == (seed == 0)
        np.testing.assert_array_equal(synthetic_dataset.x_test, drawn["x_test"])


def test_synthetic_is_balanced_and_no_image_occurs_twice(synthetic_dataset):
    assert synthetic_dataset.image_shape == (32, 32, 3) and not synthetic_dataset.is_stand_in
    assert np.bincount(synthetic_dataset.y_train).tolist() == [1000] * 10
    assert np.bincount(synthetic_dataset.y_test).tolist() == [200] * 10
    images = np.concatenate([synthetic_dataset.x_train, synthetic_dataset.x_test])
    assert len({image.tobytes() for image in images}) == 12000


def test_synthetic_shape_is_not_given_away_by_colour_or_place(synthetic_dataset):
    # The best that mean colour and brightest place can do is far below what a shape tells.
    def features(images):
        bright = images.astype(np.float32).sum(axis=-1) ** 2
        return np.concatenate(
            [images.mean(axis=(1, 2)), bright.mean(axis=1).argmax(1)[:, None]], axis=1
        )

    train, test = (
        features(synthetic_dataset.x_train[:2000]),
        features(synthetic_dataset.x_test[:500]),
    )
    nearest = ((test[:, None] - train[None]) ** 2).sum(-1).argmin(1)
    assert (synthetic_dataset.y_train[nearest] == synthetic_dataset.y_test[:500]).mean() < 0.5


def test_synthetic100_names_colour_and_shape():
    dataset = dataset_module.load_dataset("synthetic100", images_per_class=2)
    assert dataset.number_of_classes == 100
    assert dataset.class_names[0] == "red circle" and dataset.class_names[99] == "brown dots"
    red_circles = dataset.x_train[dataset.y_train == 0].astype(int)
    reddest = (red_circles[..., 0] - red_circles[..., 1:].max(-1)).max()
    assert reddest > 120


def test_every_shape_lies_inside_its_radius():
    # A shape cut off by the image border could not be told from another one.
    x, y = np.meshgrid(np.linspace(-2, 2, 201), np.linspace(-2, 2, 201))
    for shape in synthetic.SHAPES:
        inside = shape(x, y) < 0
        assert inside.any() and np.hypot(x, y)[inside].max() < 1.05, shape.__name__
