"""Data sets in folders of pictures: layouts, odd and damaged pictures, links."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from datasets import checks
from datasets.dataset import load_dataset


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


def test_image_folder_with_and_without_test_part(tmp_path):
    dataset = load_dataset(image_folder(tmp_path / "pets"))
    assert dataset.name == "pets" and dataset.class_names == ("cat", "dog")
    assert np.bincount(dataset.y_train).tolist() == [5, 5]
    assert np.bincount(dataset.y_test).tolist() == [1, 1]
    assert "no test folder" in dataset.notes[0] and "2 of 12" in dataset.notes[0]

    image_folder(tmp_path / "split" / "train", per_class=4)
    image_folder(tmp_path / "split" / "test", per_class=2)
    dataset = load_dataset("split", data_dir=str(tmp_path))
    assert len(dataset.y_train) == 8 and len(dataset.y_test) == 4 and dataset.notes == ()
    first = np.asarray(Image.open(str(tmp_path / "split" / "train" / "cat" / "0.png")))
    np.testing.assert_array_equal(dataset.x_train[0], first)


def test_a_class_may_be_called_train(tmp_path):
    dataset = load_dataset(image_folder(tmp_path, classes=("bus", "train")))
    assert dataset.class_names == ("bus", "train")


def test_the_test_part_of_a_folder_is_the_same_for_every_seed(tmp_path):
    path = image_folder(tmp_path, per_class=20)
    first, second = load_dataset(path, seed=1), load_dataset(path, seed=2)
    np.testing.assert_array_equal(first.x_test, second.x_test)


def test_different_sizes_need_image_size(tmp_path):
    path = image_folder(tmp_path)
    Image.new("RGB", (9, 4)).save(str(tmp_path / "dog" / "other.png"))
    with pytest.raises(ValueError, match="7 x 7.*other.png is 9 x 4.*IMAGE_SIZE"):
        load_dataset(path)
    assert load_dataset(path, image_size=5).image_shape == (5, 5, 3)


def test_unreadable_and_grey_files_are_counted_and_named(tmp_path):
    path = image_folder(tmp_path, per_class=8)
    whole = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "cat" / "torn.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dog" / "text.jpg").write_text("no picture")
    (tmp_path / "dog" / "notes.txt").write_text("not meant to be one")
    Image.fromarray(np.full((7, 7), 99, np.uint8)).save(str(tmp_path / "dog" / "1.png"))
    dataset = load_dataset(path)
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
    dataset = load_dataset(path)
    assert dataset.image_shape == (7, 7, 1)
    assert (dataset.x_train == 200).all()


def test_transparent_images_are_laid_over_white_and_counted(tmp_path):
    path = image_folder(tmp_path, per_class=8)
    clear = np.zeros((7, 7, 4), np.uint8)
    clear[3, 3] = (10, 20, 30, 255)
    Image.fromarray(clear).save(str(tmp_path / "dog" / "1.png"))
    dataset = load_dataset(path)
    assert "1 transparent images laid over white" in dataset.notes
    images = np.concatenate([dataset.x_train, dataset.x_test])
    cut_out = images[(images == 255).all(axis=3).sum(axis=(1, 2)) == 48]
    assert len(cut_out) == 1 and tuple(cut_out[0, 3, 3]) == (10, 20, 30)


def test_a_class_without_a_readable_file_tells_which_were_skipped(tmp_path):
    path = image_folder(tmp_path, per_class=3)
    for number in range(3):
        (tmp_path / "dog" / f"{number}.png").write_text("no picture")
    with pytest.raises(ValueError, match="dog. has no training image; .*3 unreadable"):
        load_dataset(path)


def test_a_folder_of_unreadable_files_is_refused(tmp_path):
    for class_name in ("cat", "dog"):
        (tmp_path / class_name).mkdir()
        for number in range(2):
            (tmp_path / class_name / f"{number}.png").write_text("no picture")
    with pytest.raises(ValueError, match="no image can be read; 4 unreadable"):
        load_dataset(str(tmp_path))


# Pillow warns above its limit and raises above twice that: the large image has 900 pixels.
@pytest.mark.parametrize("limit", [500, 400])
def test_image_bombs_are_skipped_and_named(tmp_path, monkeypatch, limit):
    path = image_folder(tmp_path)
    Image.new("RGB", (30, 30)).save(str(tmp_path / "dog" / "bomb.png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    dataset = load_dataset(path)
    (note,) = [note for note in dataset.notes if "skipped" in note]
    assert f"1 images of more than {limit} pixels" in note and "bomb.png" in note
    assert len(dataset.y_train) + len(dataset.y_test) == 12


def test_links_out_of_the_folder_are_refused(tmp_path):
    outside = tmp_path / "secret.png"
    Image.new("RGB", (7, 7)).save(str(outside))
    path = image_folder(tmp_path / "pets")
    link(tmp_path / "pets" / "cat" / "0.png", tmp_path / "pets" / "cat" / "in.png")
    load_dataset(path)
    link(outside, tmp_path / "pets" / "cat" / "out.png")
    with pytest.raises(ValueError, match="out.png.*leaves"):
        load_dataset(path)


def test_a_linked_class_folder_is_refused(tmp_path):
    path = image_folder(tmp_path / "pets")
    image_folder(tmp_path / "elsewhere")
    link(tmp_path / "elsewhere" / "cat", tmp_path / "pets" / "fox")
    with pytest.raises(ValueError, match="fox.*leaves"):
        load_dataset(path)


def test_folders_without_classes_or_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least two class folders, found: none"):
        load_dataset(str(tmp_path))
    path = image_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="'empty' holds no image"):
        load_dataset(path)


def test_a_class_of_one_file_cannot_give_a_test_image(tmp_path):
    path = image_folder(tmp_path, per_class=1)
    with pytest.raises(ValueError, match="without a test folder, class cat has one image"):
        load_dataset(path)


def test_an_unknown_class_in_test_is_refused(tmp_path):
    image_folder(tmp_path / "train")
    image_folder(tmp_path / "test", classes=("cat", "fox"))
    with pytest.raises(ValueError, match="'fox' is in test but not in train"):
        load_dataset(str(tmp_path))


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = image_folder(tmp_path)
    monkeypatch.setattr(checks, "MAX_DATA_BYTES", 1000)
    with pytest.raises(ValueError, match="IMAGES_PER_CLASS"):
        load_dataset(path)


def test_images_per_class_is_chosen_before_decoding(tmp_path, monkeypatch):
    path = image_folder(tmp_path, per_class=30)
    opened, open_image = [], Image.open
    monkeypatch.setattr(
        Image, "open", lambda path, **options: opened.append(path) or open_image(path, **options)
    )
    dataset = load_dataset(path, images_per_class=3)
    assert np.bincount(dataset.y_train).tolist() == np.bincount(dataset.y_test).tolist() == [3, 3]
    assert len(opened) == 12
