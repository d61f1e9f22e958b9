"""Data sets as arrays with their facts, and the batches that a model is trained and measured on.

Order of the training pipeline: raw uint8 -> shuffle -> batch -> augment the batch -> prefetch.
Every batch is a function of (seed, epoch, step) alone, so that a run can be continued anywhere.
"""

from __future__ import annotations

import functools
import os
from typing import Callable, NamedTuple, Sequence

import numpy as np

from backend.runtime import tf
from datasets import npz_files
from datasets.official import OFFICIAL_DATASETS, DownloadError, download
from datasets.synthetic import SYNTHETIC_DATASETS

# The test set is the same whatever the seed: runs with different seeds shall be comparable.
TEST_SEED = 0
# The part of an image folder without a test folder that becomes the test set, as in CIFAR.
TEST_FRACTION = 1 / 6
AUTOTUNE = tf.data.experimental.AUTOTUNE


class Dataset(NamedTuple):
    """Images and labels with the facts that a model, a report and a reader need.

    Images are uint8 (count, height, width, channels) with 1 or 3 channels, labels int32 (count,).
    mean and std are per channel, on the scale 0..255, of the training images; std is 1 where a
    channel is constant. is_stand_in: synthetic images replace a data set that could not be had.
    notes tell what a user has to hear, for example which files were skipped.
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
    synthetic images stand in, under their own name.

    image_size: side in pixels to which all images are resized, to squares; 0 keeps their size.
    images_per_class: at most so many images of each class, a random sample, are taken from the
    training set (by seed) and from the test set (always the same ones); 0 takes all.
    Raises ValueError for an unknown name and for files that do not hold a data set.
    """
    for option, value in (("IMAGE_SIZE", image_size), ("IMAGES_PER_CLASS", images_per_class)):
        if value < 0:
            raise ValueError(f"{option} is {value}: it must be 0 or positive.")
    _check_seed(seed)
    name, path = _find(name_or_path, data_dir)
    is_stand_in, notes = False, []
    if path and os.path.isdir(path):
        arrays, class_names, notes = _load_folder(path, image_size, images_per_class, seed)
    elif path:
        arrays = npz_files.read_npz(path, path)
        class_names = arrays.pop("class_names", None)
    else:
        if name in OFFICIAL_DATASETS:
            try:
                arrays, class_names = download(name), None
            except DownloadError as error:
                notes = [f"{name} could not be downloaded ({error})."]
                is_stand_in, name = True, OFFICIAL_DATASETS[name].stand_in
        if name in SYNTHETIC_DATASETS:
            arrays, class_names = SYNTHETIC_DATASETS[name](seed)
    if class_names is None and name in OFFICIAL_DATASETS:
        class_names = OFFICIAL_DATASETS[name].class_names
    try:
        arrays, class_names = npz_files.check_arrays(arrays, class_names, path or name)
    except ValueError as error:
        # Files that were skipped may be the reason.
        raise ValueError("; ".join([str(error)] + notes)) from error

    for part, part_seed in (("train", seed), ("test", TEST_SEED)):
        images, labels = arrays["x_" + part], arrays["y_" + part]
        if images_per_class:
            chosen = sample_per_class(labels, images_per_class, part_seed)
            images, labels = images[chosen], labels[chosen]
        if image_size:
            images = npz_files.resize_images(images, image_size)
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
    if name_or_path in SYNTHETIC_DATASETS:
        return name_or_path, None
    candidates = [
        os.path.join(data_dir, name_or_path + ".npz"),
        os.path.join(data_dir, name_or_path),
        name_or_path,
    ]
    if name_or_path in OFFICIAL_DATASETS:
        # A folder of that name in the working directory is not meant.
        candidates.pop()
    for path in candidates if name_or_path else []:
        if os.path.isdir(path) or (path.endswith(".npz") and os.path.isfile(path)):
            stem = os.path.basename(os.path.abspath(path))
            return stem[: -len(".npz")] if path.endswith(".npz") else stem, path
    if name_or_path in OFFICIAL_DATASETS:
        return name_or_path, None
    raise ValueError(
        "data set {!r} is neither known nor an .npz file nor a folder: choose one of {}, or give "
        "the path of an .npz file or of a folder with one folder of images per class.".format(
            name_or_path, ", ".join(list(OFFICIAL_DATASETS) + list(SYNTHETIC_DATASETS))
        )
    )


def _load_folder(directory: str, image_size: int, images_per_class: int, seed: int):
    files = npz_files.list_image_folder(directory)
    notes = []
    if files.ignored:
        notes.append(
            "{} files ignored, for their names are not those of images: {}".format(
                *npz_files.count_and_names(files.ignored, directory)
            )
        )
    if files.test_paths is None:
        try:
            train, test = validation_split(
                files.train_labels, TEST_FRACTION, TEST_SEED, files.class_names
            )
        except ValueError as error:
            raise ValueError(f"{directory}: without a test folder, {error}") from error
        notes.append(
            f"no test folder: {len(test):,} of {len(files.train_paths):,} images, a sixth of "
            "each class, are the test set"
        )
        files = files._replace(
            train_paths=files.train_paths[train],
            train_labels=files.train_labels[train],
            test_paths=files.train_paths[test],
            test_labels=files.train_labels[test],
        )
    if images_per_class:
        # Chosen before decoding: the set may be too large for the machine.
        train = sample_per_class(files.train_labels, images_per_class, seed)
        test = sample_per_class(files.test_labels, images_per_class, TEST_SEED)
        files = files._replace(
            train_paths=files.train_paths[train],
            train_labels=files.train_labels[train],
            test_paths=files.test_paths[test],
            test_labels=files.test_labels[test],
        )
    # Decoded together, because one colour image makes all of them colour images.
    images, readable, decoding_notes = npz_files.decode_images(
        np.concatenate([files.train_paths, files.test_paths]), image_size, directory
    )
    labels = np.concatenate([files.train_labels, files.test_labels])[readable]
    train_count = np.searchsorted(readable, len(files.train_paths))
    arrays = {
        "x_train": images[:train_count],
        "y_train": labels[:train_count],
        "x_test": images[train_count:],
        "y_test": labels[train_count:],
    }
    return arrays, files.class_names, notes + decoding_notes


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


def sample_per_class(labels: np.ndarray, images_per_class: int, seed: int) -> np.ndarray:
    """Return sorted indices of a random sample of at most images_per_class images of each class."""
    chosen = []
    for label in np.unique(labels):
        shuffled = np.random.RandomState([seed, label]).permutation(np.flatnonzero(labels == label))
        chosen.append(shuffled[:images_per_class])
    return np.sort(np.concatenate(chosen))


def validation_split(
    labels: np.ndarray, fraction: float, seed: int, class_names: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted indices (train, validation) that hold the same fraction of each class.

    Every class has at least one image on both sides. Raises ValueError for a fraction outside
    (0, 1) and for a class of one image, by its name where class_names are given.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the validation fraction is {fraction}: it must be between 0 and 1.")
    _check_seed(seed)
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        if len(indices) < 2:
            raise ValueError(
                f"class {class_names[label] if class_names else label} has one image: at least "
                "two are needed to hold one out."
            )
        count = min(max(int(round(fraction * len(indices))), 1), len(indices) - 1)
        held_out[np.random.RandomState([seed, label]).permutation(indices)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def training_batches(
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    augment: Callable,
    seed: int,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    indices: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Return the batches of all epochs from (first_epoch, first_step) on, each epoch shuffled anew.

    images: uint8 (count, height, width, channels), labels: int (count,).
    indices: int, those of the images to train on, which are gathered batch by batch; None is all.
    augment: (images, labels, seed) -> (images, labels) of a whole batch, in a graph; its seed is
    two int32 numbers drawn from (seed, epoch, step).
    The last, incomplete batch of an epoch is left out. Raises ValueError when there is no other.
    """
    _check_batch_size(batch_size)
    _check_seed(seed)
    if indices is None:
        indices = np.arange(len(images))
    if batch_size > len(indices):
        raise ValueError(
            f"BATCH_SIZE {batch_size} is larger than the {len(indices)} training images."
        )
    steps = len(indices) // batch_size

    @functools.lru_cache(maxsize=2)
    def order(epoch):
        return np.random.RandomState([seed, epoch]).permutation(indices)

    def read(number):
        epoch, step = divmod(int(number), steps)
        chosen = order(epoch)[step * batch_size : (step + 1) * batch_size]
        batch_seed = np.random.RandomState([seed, epoch, step]).randint(
            2**31 - 1, size=2, dtype=np.int32
        )
        return images[chosen], labels[chosen].astype(np.int32), batch_seed

    @tf.autograph.experimental.do_not_convert
    def batch(number):
        batch_images, batch_labels, batch_seed = tf.numpy_function(
            read, [number], [tf.uint8, tf.int32, tf.int32]
        )
        batch_images.set_shape((batch_size,) + images.shape[1:])
        batch_labels.set_shape((batch_size,))
        batch_seed.set_shape((2,))
        return augment(batch_images, batch_labels, batch_seed)

    numbers = tf.data.Dataset.range(first_epoch * steps + first_step, epochs * steps)
    return numbers.map(batch, num_parallel_calls=AUTOTUNE).prefetch(2)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"BATCH_SIZE is {batch_size}: it must be at least 1.")


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise ValueError(f"SEED is {seed}: it must be 0 to {2**32 - 1}.")
