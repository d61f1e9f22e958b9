"""Data sets in folders of pictures, one folder for each class.

    DIR/<class>/<image>                                     a sixth of each class is the test set
    DIR/train/<class>/<image> + DIR/test/<class>/<image>    the folder has its own test set

Folders may come from strangers: a link that leads out of the folder is refused.
"""

from __future__ import annotations

import os
from typing import NamedTuple, Sequence

import numpy as np

from datasets.pictures import EXTENSIONS, decode_images, some_names
from datasets.splits import sample_per_class, validation_split

# The test set does not depend on the seed, so that runs with different seeds are comparable.
TEST_SEED = 0
# The share of a folder without a test part that becomes the test set, as in CIFAR.
TEST_FRACTION = 1 / 6


class Pictures(NamedTuple):
    """Picture files, paths (count,), and their classes, labels int32 (count,)."""

    paths: np.ndarray
    labels: np.ndarray

    def take(self, indices: np.ndarray) -> Pictures:
        return Pictures(self.paths[indices], self.labels[indices])


class ImageFolder(NamedTuple):
    """The files of an image folder; test is None without a test part, ignored are other files."""

    class_names: list[str]
    train: Pictures
    test: Pictures | None
    ignored: list[str]


def read_image_folder(
    directory: str, image_size: int, images_per_class: int, seed: int
) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Return the arrays of an image folder, its class names and messages for the user.

    The arrays are x_train, y_train, x_test and y_test. Options as in dataset.load_dataset.
    """
    class_names, train, test, ignored = list_image_folder(directory)
    notes = []
    if ignored:
        notes.append(
            f"{len(ignored)} files ignored, for their names are not those of images: "
            f"{some_names(ignored, directory)}"
        )
    if test is None:
        try:
            kept, held_out = validation_split(train.labels, TEST_FRACTION, TEST_SEED, class_names)
        except ValueError as error:
            raise ValueError(f"{directory}: without a test folder, {error}") from error
        notes.append(
            f"no test folder: {len(held_out):,} of {len(train.paths):,} images, a sixth of each "
            "class, are the test set"
        )
        train, test = train.take(kept), train.take(held_out)
    if images_per_class:
        # Chosen before decoding: the whole set may be too large for the machine.
        train = train.take(sample_per_class(train.labels, images_per_class, seed))
        test = test.take(sample_per_class(test.labels, images_per_class, TEST_SEED))
    # Decoded together, because one colour image makes all of them colour images.
    images, readable, decoding_notes = decode_images(
        np.concatenate([train.paths, test.paths]), image_size, directory
    )
    labels = np.concatenate([train.labels, test.labels])[readable]
    train_count = np.searchsorted(readable, len(train.paths))
    arrays = {
        "x_train": images[:train_count],
        "y_train": labels[:train_count],
        "x_test": images[train_count:],
        "y_test": labels[train_count:],
    }
    return arrays, class_names, notes + decoding_notes


def list_image_folder(directory: str) -> ImageFolder:
    """List the pictures of an image folder without opening them.

    Raises ValueError for links that leave the directory, and where classes or images are missing.
    """
    train_directory = os.path.join(directory, "train")
    # A folder "train" that holds pictures is a class (of vehicles, say), not a part of the data.
    is_split = bool(_subfolders(train_directory))
    if not is_split:
        train_directory = directory
    class_names = _subfolders(train_directory)
    if len(class_names) < 2:
        found = ", ".join(class_names) or "none"
        raise ValueError(
            f"{directory}: an image folder needs at least two class folders, found: {found}"
        )
    train, ignored = _list_classes(train_directory, class_names, directory)
    missing = np.setdiff1d(np.arange(len(class_names)), train.labels)
    if len(missing):
        raise ValueError(
            f"{directory}: class folder {class_names[missing[0]]!r} holds no image "
            f"({', '.join(EXTENSIONS)})"
        )
    test_directory = os.path.join(directory, "test")
    test_classes = _subfolders(test_directory) if is_split else []
    if not test_classes:
        return ImageFolder(class_names, train, None, ignored)
    unknown = sorted(set(test_classes) - set(class_names))
    if unknown:
        raise ValueError(f"{directory}: class {unknown[0]!r} is in test but not in train")
    test, ignored_in_test = _list_classes(test_directory, class_names, directory)
    if not len(test.paths):
        raise ValueError(f"{directory}: the folder test holds no image")
    return ImageFolder(class_names, train, test, ignored + ignored_in_test)


def _subfolders(directory: str) -> list[str]:
    if not os.path.isdir(directory):
        return []
    return sorted(
        name
        for name in os.listdir(directory)
        if not name.startswith(".") and os.path.isdir(os.path.join(directory, name))
    )


def _list_classes(
    directory: str, class_names: Sequence[str], root: str
) -> tuple[Pictures, list[str]]:
    """Return the pictures in the folders of these classes, and the other files there."""
    real_root = os.path.join(os.path.realpath(root), "")
    paths, labels, ignored = [], [], []
    for label, class_name in enumerate(class_names):
        folder = os.path.join(directory, class_name)
        if not os.path.isdir(folder):
            continue
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if name.startswith("."):
                continue
            if not name.lower().endswith(EXTENSIONS):
                ignored.append(path)
                continue
            if not os.path.realpath(path).startswith(real_root):
                raise ValueError(f"{path}: this link leaves the image folder {root}")
            # Reading a pipe or a device could block forever.
            if os.path.isfile(path):
                paths.append(path)
                labels.append(label)
    return Pictures(np.array(paths, object), np.array(labels, np.int32)), ignored
