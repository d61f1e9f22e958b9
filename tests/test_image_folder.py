"""Data sets in folders of pictures: layouts, odd and damaged pictures, links."""

from __future__ import annotations

import os
import zlib

import numpy as np
import pytest
from PIL import Image

from datasets import checks
from datasets.dataset import load_dataset
from datasets.image_folder import held_out_by_name, list_image_folder


def link(target, path):
    try:
        os.symlink(str(target), str(path))
    except OSError:
        pytest.skip("Windows lets only some accounts create links")


def image_folder(root, per_class=6, size=(7, 7), mode="RGB", classes=("cat", "dog")):
    random = np.random.RandomState(zlib.crc32(root.name.encode()))
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
    assert np.bincount(dataset.y_train).min() >= 2 and np.bincount(dataset.y_test).min() >= 1
    assert len(dataset.y_train) + len(dataset.y_test) == 12
    assert f"no test folder: {len(dataset.y_test)} of 12" in dataset.notes[0]

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


@pytest.mark.parametrize("largest", [200, 4095, 65535])
def test_all_grey_images_stay_grey_and_16_bits_are_scaled_by_the_whole_set(tmp_path, largest):
    path = image_folder(tmp_path, mode="L", per_class=12)
    for class_name in ("cat", "dog"):
        for number in range(12):
            # One picture of the set has the largest value, the others a fifth of it.
            value = largest if (class_name, number) == ("dog", 7) else largest // 5
            deep = np.full((7, 7), value, np.uint16)
            deep[0, 0] = 0
            Image.fromarray(deep).save(str(tmp_path / class_name / f"{number}.png"))
    dataset = load_dataset(path)
    assert dataset.image_shape == (7, 7, 1) and dataset.white == largest
    images = np.concatenate([dataset.x_train, dataset.x_test])
    assert sorted(images[:, 1, 1, 0]) == [51] * 23 + [255]
    assert any(f"{largest}, is white" in note for note in dataset.notes)


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
    with pytest.raises(ValueError, match="found: cat; .*left out.*dog.*3 unreadable"):
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
    image_folder(tmp_path, classes=("cat",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="found: cat; .*left out.*: empty"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("per_class", [0, 1])
@pytest.mark.parametrize("part", ["", "train"])
def test_a_class_of_too_few_images_is_left_out_by_name(tmp_path, per_class, part):
    image_folder(tmp_path / part, classes=("ant", "dog"))
    image_folder(tmp_path / part, classes=("bee",), per_class=per_class)
    if part:
        image_folder(tmp_path / "test", classes=("ant", "bee", "dog"), per_class=2)
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == ("ant", "dog")
    assert any("1 classes left out" in note and "bee" in note for note in dataset.notes)
    assert set(dataset.y_train) == set(dataset.y_test) == {0, 1}
    assert len(dataset.y_test) == 4 if part else len(dataset.y_train) + len(dataset.y_test) == 12


def test_a_class_of_two_images_is_kept_for_training_and_validation(tmp_path):
    image_folder(tmp_path, classes=("ant", "dog"))
    image_folder(tmp_path, classes=("bee",), per_class=2)
    dataset = load_dataset(str(tmp_path))
    assert (dataset.y_train == 1).sum() == 2 and not (dataset.y_test == 1).any()


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
    assert len(opened) == len(dataset.x_train) + len(dataset.x_test) < 30
    assert np.bincount(dataset.y_train).tolist() == [3, 3]
    # The test set is as large as without the sample.
    np.testing.assert_array_equal(dataset.x_test, load_dataset(path).x_test)


PARTS = {
    "train": "train Train TRAIN Training training_set train-images seg_train",
    "validation": "val valid validation Validation dev val_set seg_val",
    "test": "test Test testing test_set test-images testset seg_test",
}


def flat_part(root, count=4):
    """A folder of pictures without class folders."""
    image_folder(root.parent, classes=(root.name,), per_class=count)


@pytest.mark.parametrize("spelling", range(7))
@pytest.mark.parametrize("kinds", [("train", "test"), ("train", "validation"), tuple(PARTS)])
def test_parts_of_a_data_set_are_not_taken_for_classes(tmp_path, spelling, kinds):
    names = [PARTS[kind].split()[spelling] for kind in kinds]
    for name in names:
        flat_part(tmp_path / name)
    with pytest.raises(ValueError, match="parts of a data set.*DIR/train/CLASS") as error:
        load_dataset(str(tmp_path))
    for name in names:
        assert f"{name} (4 images)" in str(error.value)


@pytest.mark.parametrize(
    "names",
    [
        "images masks",
        "Images Labels",
        "images annotations masks",
        "train_images train_masks",
        "train test extra",
        "test cat",
        "fold1 fold2 fold3",
        "HAM_images_part_1 HAM_images_part_2",
        "seg_train seg_test seg_pred",
        "train unlabeled",
        "public_test private_test train",
    ],
)
def test_other_parts_are_not_taken_for_classes_either(tmp_path, names):
    for name in names.split():
        flat_part(tmp_path / name)
    with pytest.raises(ValueError, match="parts of a data set by their names"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize(
    "names",
    ["bus train", "mask no_mask", "with_mask without_mask", "express_train freight_train", "a b"],
)
def test_classes_may_have_the_words_of_parts_in_their_names(tmp_path, names):
    dataset = load_dataset(image_folder(tmp_path, classes=names.split()))
    assert dataset.class_names == tuple(names.split())


def test_parts_inside_class_folders_are_refused(tmp_path):
    for class_name in ("cat", "dog"):
        for part in ("train", "test"):
            flat_part(tmp_path / class_name / part)
    with pytest.raises(ValueError, match="class folder holds parts.*DIR/train/CLASS"):
        load_dataset(str(tmp_path))


def test_parts_of_any_spelling_are_used_as_what_they_are(tmp_path):
    for spelling in range(7):
        root = tmp_path / str(spelling)
        for kind, per_class in (("train", 4), ("validation", 3), ("test", 2)):
            image_folder(root / PARTS[kind].split()[spelling], per_class=per_class)
        dataset = load_dataset(str(root))
        counts = [len(dataset.y_train), len(dataset.y_validation), len(dataset.y_test)]
        assert counts == [8, 6, 4] and dataset.class_names == ("cat", "dog")
        folder = PARTS["validation"].split()[spelling]
        assert dataset.notes == (f"the 6 images of the folder {folder} are the validation set",)


@pytest.mark.parametrize("wrapped", ["pets", "archive/pets", "train", "train/train"])
def test_folders_that_only_wrap_are_descended(tmp_path, wrapped):
    plain = load_dataset(image_folder(tmp_path / "plain" / "pets"))
    image_folder(tmp_path / "outer" / wrapped / "pets")
    (tmp_path / "outer" / "__MACOSX").mkdir()
    dataset = load_dataset(str(tmp_path / "outer"))
    assert dataset.class_names == ("cat", "dog")
    # The same files by their names, and so the same split.
    np.testing.assert_array_equal(dataset.x_test, plain.x_test)


def test_parts_may_be_wrapped_in_a_folder_of_their_own_name(tmp_path):
    for part in ("seg_train", "seg_test"):
        image_folder(tmp_path / part / part)
    flat_part(tmp_path / "seg_pred" / "seg_pred")
    dataset = load_dataset(str(tmp_path))
    assert len(dataset.y_train) == len(dataset.y_test) == 12
    assert dataset.notes == (
        "the folder seg_pred (4 images) is not used: unlabelled, without class folders",
    )


def test_all_that_is_not_used_is_named_with_its_count(tmp_path):
    image_folder(tmp_path / "train")
    flat_part(tmp_path / "test", count=5)
    image_folder(tmp_path / "extra", per_class=7)
    flat_part(tmp_path / "train" / "cat" / "2024", count=2)
    for place in (tmp_path, tmp_path / "train"):
        Image.new("RGB", (7, 7)).save(str(place / "loose.png"))
    dataset = load_dataset(str(tmp_path))
    notes = " | ".join(dataset.notes)
    assert "the folder test (5 images) is not used: unlabelled" in notes
    assert "the folder extra (14 images) is not used" in notes
    assert "1 images in train, beside the class folders are not used: loose.png" in notes
    assert "1 images beside the class folders are not used: loose.png" in notes
    # Those in a sub-folder of a class are used.
    assert len(dataset.y_train) + len(dataset.y_test) == 14


def test_a_test_folder_beside_classes_is_no_class(tmp_path):
    image_folder(tmp_path)
    flat_part(tmp_path / "test", count=5)
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == ("cat", "dog") and "test (5 images)" in dataset.notes[0]
    image_folder(tmp_path / "validation", per_class=3)
    assert len(load_dataset(str(tmp_path)).y_validation) == 6


def test_pictures_in_subfolders_belong_to_their_class(tmp_path):
    """The layout of Tiny ImageNet as it is unpacked."""
    for class_name in ("n01", "n02"):
        flat_part(tmp_path / "train" / class_name / "images", count=6)
        (tmp_path / "train" / class_name / f"{class_name}_boxes.txt").write_text("0 1 2 3")
    for part in ("val", "test"):
        flat_part(tmp_path / part / "images")
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == ("n01", "n02")
    assert len(dataset.y_train) + len(dataset.y_test) == 12
    notes = " | ".join(dataset.notes)
    assert "val (4 images) is not used" in notes and "test (4 images) is not used" in notes


def test_a_file_more_moves_no_other_between_training_and_test(tmp_path):
    path = image_folder(tmp_path, per_class=60)
    before = load_dataset(path)
    random = np.random.RandomState(5)
    for number in range(10):
        name = str(tmp_path / "cat" / f"new{number}.png")
        Image.fromarray(random.randint(0, 256, (7, 7, 3)).astype(np.uint8)).save(name)
    after = load_dataset(path)
    for part in ("x_train", "x_test"):
        then = {image.tobytes() for image in getattr(before, part)}
        now = {image.tobytes() for image in getattr(after, part)}
        assert then <= now
    assert 0.09 < len(before.y_test) / 120 < 0.25


def test_names_in_two_unicode_forms_fall_into_the_same_part(tmp_path):
    for form, name in (("composed", "caf\u00e9"), ("decomposed", "cafe\u0301")):
        image_folder(tmp_path / form, classes=(name, "tea"), per_class=30)
    parts = [list_image_folder(str(tmp_path / form)) for form in ("composed", "decomposed")]
    first, second = (held_out_by_name(f.parts["train"], f.class_directory) for f in parts)
    np.testing.assert_array_equal(first, second)
    assert 0 < first.sum() < 30


def test_images_of_one_value_are_counted(tmp_path):
    path = image_folder(tmp_path)
    for number in range(3):
        Image.new("RGB", (7, 7), "red").save(str(tmp_path / "dog" / f"{number}.png"))
    assert "3 of 12 images have one value" in load_dataset(path).notes[-1]
