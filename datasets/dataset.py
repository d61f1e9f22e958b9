"""A data set: images, labels and facts about them, loaded by name or from a path."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from datasets.catalogue import NAMED_DATASETS
from datasets.checks import check_arrays, check_seed
from datasets.image_folder import TEST_SEED, read_image_folder
from datasets.npz_files import read_npz
from datasets.official import DownloadError, download
from datasets.pictures import resize_images
from datasets.splits import sample_per_class


class Dataset(NamedTuple):
    """Images and labels with the facts that a model, a report and a reader need.

    Images are uint8 (count, height, width, channels) with 1 or 3 channels, labels int32 (count,).
    mean and std are per channel, on the scale 0..255, of the training images; std is 1 where a
    channel is constant. is_stand_in: synthetic images replace a data set that could not be had.
    notes: messages for the user, for example which files were skipped.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_stand_in: bool = False
    notes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        return self.x_train.shape[1:]

    @property
    def number_of_classes(self) -> int:
        return len(self.class_names)


def load_dataset(
    name_or_path: str,
    data_dir: str = "data",
    image_size: int = 0,
    images_per_class: int = 0,
    seed: int = 0,
) -> Dataset:
    """Load a data set by name or from a path.

    Tried in order: a synthetic set of that name, DATA_DIR/<name>.npz, DATA_DIR/<name>/ with one
    folder per class, the path itself (.npz or folder), the official download. Where that fails,
    the synthetic set that its row names stands in, under its own name.

    image_size: side in pixels to which all images are resized, to squares; 0 keeps their size.
    images_per_class: at most so many images of each class, a random sample, are taken from the
    training set (by seed) and from the test set (always the same ones); 0 takes all.
    Raises ValueError for an unknown name, for files that do not hold a data set, and for a failed
    download that nothing stands in for.
    """
    for option, value in (("IMAGE_SIZE", image_size), ("IMAGES_PER_CLASS", images_per_class)):
        if value < 0:
            raise ValueError(f"{option} is {value}: it must be 0 or positive.")
    check_seed(seed)
    name, path = _find(name_or_path, data_dir)
    row = NAMED_DATASETS.get(name)
    arrays, class_names, notes, is_stand_in = None, None, [], False
    if path and os.path.isdir(path):
        arrays, class_names, notes = read_image_folder(path, image_size, images_per_class, seed)
    elif path:
        arrays = read_npz(path, path)
        class_names = arrays.pop("class_names", None)
    elif row.url:
        try:
            arrays = row.reader(download(row.url, row.sha256))
        except DownloadError as error:
            notes = [f"{name} could not be downloaded ({error})."]
            if not row.stand_in:
                raise ValueError(notes[0]) from error
            is_stand_in, name, row = True, row.stand_in, NAMED_DATASETS[row.stand_in]
    if arrays is None:
        arrays = row.draw(seed, row.image_shape)
    if class_names is None and row:
        class_names = row.class_names
    try:
        arrays, class_names = check_arrays(arrays, class_names, path or name)
    except ValueError as error:
        # Files that were skipped may be the reason.
        raise ValueError("; ".join([str(error)] + notes)) from error

    for part, part_seed in (("train", seed), ("test", TEST_SEED)):
        images, labels = arrays["x_" + part], arrays["y_" + part]
        if images_per_class:
            chosen = sample_per_class(labels, images_per_class, part_seed)
            images, labels = images[chosen], labels[chosen]
        if image_size:
            images = resize_images(images, image_size)
        arrays["x_" + part], arrays["y_" + part] = images, labels
    mean, std = channel_mean_and_std(arrays["x_train"])
    return Dataset(
        name=name,
        class_names=class_names,
        mean=mean,
        std=std,
        is_stand_in=is_stand_in,
        notes=tuple(notes),
        **arrays,
    )


def _find(name_or_path: str, data_dir: str) -> tuple[str, str | None]:
    """Return the name of a data set and where its files are, None to draw or download it."""
    row = NAMED_DATASETS.get(name_or_path)
    if row and row.draw:
        return name_or_path, None
    candidates = [
        os.path.join(data_dir, name_or_path + ".npz"),
        os.path.join(data_dir, name_or_path),
    ]
    # The name of an official data set does not mean a folder of the working directory.
    if not row:
        candidates.append(name_or_path)
    for path in candidates if name_or_path else []:
        if os.path.isdir(path) or (path.endswith(".npz") and os.path.isfile(path)):
            stem = os.path.basename(os.path.abspath(path))
            return stem[: -len(".npz")] if path.endswith(".npz") else stem, path
    if row:
        return name_or_path, None
    raise ValueError(
        f"data set {name_or_path!r} is neither known nor an .npz file nor a folder: choose one of "
        f"{', '.join(NAMED_DATASETS)}, or give the path of an .npz file or of a folder with one "
        "folder of images per class."
    )


def channel_mean_and_std(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of uint8 (count, height, width, channels).

    Exact, from histograms of the 256 values: a float copy of all images would not fit beside them.
    """
    values = np.arange(256, dtype=np.float64)
    means, stds = [], []
    for channel in range(images.shape[3]):
        histogram = np.zeros(256)
        for start in range(0, len(images), 1000):
            histogram += np.bincount(
                images[start : start + 1000, ..., channel].ravel(), minlength=256
            )
        mean = np.average(values, weights=histogram)
        means.append(float(mean))
        stds.append(float(np.sqrt(np.average((values - mean) ** 2, weights=histogram))) or 1.0)
    return tuple(means), tuple(stds)
