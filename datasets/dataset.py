"""A data set: images, labels and facts about them, loaded by name or from a path."""

from __future__ import annotations

import hashlib
import os
from typing import Any, NamedTuple

import numpy as np

from datasets.catalogue import NAMED_DATASETS
from datasets.checks import check_arrays, check_seed
from datasets.image_folder import holds_pictures, read_image_folder
from datasets.npz_files import read_npz
from datasets.official import DownloadError, download, verified_content
from datasets.pictures import resize_images
from datasets.splits import sample_per_class


class Dataset(NamedTuple):
    """Images and labels with the facts that a model, a report and a reader need.

    Images are uint8 (count, height, width, channels) with 1 or 3 channels, labels int32 (count,).
    mean and std are per channel, on the scale 0..255, of the training images; std is 1 where a
    channel is constant. is_stand_in: synthetic images replace a data set that could not be had.
    notes: messages for the user, for example which files were skipped. x_validation and
    y_validation are None where the data set has no validation part of its own. white is the value
    of pictures of more than 8 bits that became 255, 0 where there are none.
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
    x_validation: np.ndarray | None = None
    y_validation: np.ndarray | None = None
    white: float = 0.0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        return self.x_train.shape[1:]

    @property
    def number_of_classes(self) -> int:
        return len(self.class_names)

    def identity(self) -> dict[str, Any]:
        """Return what tells these images and labels from any others: checksums of every part."""
        names = ("x_train", "y_train", "x_validation", "y_validation", "x_test", "y_test")
        arrays = {name: getattr(self, name) for name in names}
        return {name: _checksum(array) for name, array in arrays.items() if array is not None}


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
    images_per_class: at most so many images of each class, a random sample by the seed, are taken
    from the training set; 0 takes all. Validation and test sets stay whole.
    Raises ValueError for an unknown name, for files that do not hold a data set, and for a failed
    download that nothing stands in for.
    """
    for option, value in (("IMAGE_SIZE", image_size), ("IMAGES_PER_CLASS", images_per_class)):
        if value < 0:
            raise ValueError(f"{option} is {value}: it must be 0 or positive.")
    check_seed(seed)
    name, path = _find(name_or_path, data_dir)
    row = NAMED_DATASETS.get(name)
    arrays, class_names, notes, is_stand_in, white = None, None, [], False, 0.0
    if path and os.path.isdir(path):
        arrays, class_names, notes, white = read_image_folder(
            path, image_size, images_per_class, seed
        )
    elif path and not path.endswith(".npz"):
        arrays = row.reader(verified_content(path, row.sha256))
    elif path:
        arrays, notes = read_npz(path, path)
        class_names = arrays.pop("class_names", None)
    elif row.url:
        try:
            arrays = row.reader(download(row.url, row.sha256))
        except DownloadError as error:
            files = " or ".join(dict.fromkeys((f"{name}.npz", os.path.basename(row.url))))
            notes = [
                f"{name} could not be downloaded ({error}), and is not in "
                f"{os.path.abspath(data_dir)}: put {files} there, or say where it is with DATA_DIR."
            ]
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

    if images_per_class:
        chosen = sample_per_class(arrays["y_train"], images_per_class, seed)
        arrays["x_train"], arrays["y_train"] = arrays["x_train"][chosen], arrays["y_train"][chosen]
    for part in ("x_train", "x_validation", "x_test"):
        if image_size and part in arrays:
            arrays[part] = resize_images(arrays[part], image_size)
    notes = list(notes) + _notes_on_blank_images(arrays)
    mean, std = channel_mean_and_std(arrays["x_train"])
    return Dataset(
        name=name,
        class_names=class_names,
        mean=mean,
        std=std,
        is_stand_in=is_stand_in,
        notes=tuple(notes),
        white=white,
        **arrays,
    )


def from_anywhere(name_or_path: str, data_dir: str) -> str:
    """Return what names the same data set in any working folder: a name, or an absolute path."""
    _, path = _find(name_or_path, data_dir)
    return os.path.abspath(path) if path == name_or_path else name_or_path


def without_folder(name_or_path: str) -> str:
    """Return what names a data set in the DATA_DIR that it has been moved to."""
    if os.path.isabs(name_or_path):
        return os.path.basename(os.path.normpath(name_or_path))
    return name_or_path


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
    # The archive as it is downloaded by hand.
    archive = os.path.join(data_dir, os.path.basename(row.url)) if row and row.url else ""
    if archive and not os.path.isfile(candidates[0]) and os.path.isfile(archive):
        return name_or_path, archive
    for path in candidates if name_or_path else []:
        # Other programs keep their own files in a folder of that name, such as mnist/raw.
        is_folder = os.path.isdir(path) and not (row and not holds_pictures(path))
        if is_folder or (path.endswith(".npz") and os.path.isfile(path)):
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


def _checksum(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's shape and values, whatever its byte order."""
    values = array if array.dtype == np.uint8 else array.astype("<i4")
    digest = hashlib.sha256(str(values.shape).encode())
    # In portions: an array that is part of another has to be copied.
    for start in range(0, len(values), 1000):
        digest.update(np.ascontiguousarray(values[start : start + 1000]).tobytes())
    return digest.hexdigest()


def _notes_on_blank_images(arrays: dict[str, np.ndarray]) -> list[str]:
    """Return a note where images have but one value, and so nothing to be learned from."""
    blank = total = 0
    for images in (array for name, array in arrays.items() if name.startswith("x_")):
        total += len(images)
        for start in range(0, len(images), 1000):
            portion = images[start : start + 1000]
            first = portion[:, :1, :1, :]
            blank += int((portion == first).all(axis=(1, 2, 3)).sum())
    if not blank:
        return []
    return [f"{blank:,} of {total:,} images have one value: there is nothing to see in them"]
