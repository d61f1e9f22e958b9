"""What the arrays and options of a data set must be, checked before anything relies on them."""

from __future__ import annotations

from typing import Sequence

import numpy as np

# Upper limit for the pixels of a data set in memory, whatever a file claims to hold.
MAX_DATA_BYTES = 8 * 2**30


def check_memory(size: int, what: str, advice: str = "") -> None:
    """Raise ValueError for what needs more than MAX_DATA_BYTES bytes of memory."""
    if size > MAX_DATA_BYTES:
        raise ValueError(f"{what} need {size:,} bytes, more than {MAX_DATA_BYTES:,}{advice}")


def check_seed(seed: int) -> None:
    """Raise ValueError for a seed that NumPy does not accept."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"SEED is {seed}: it must be 0 to {2**32 - 1}.")


def check_arrays(
    arrays: dict[str, np.ndarray], class_names: Sequence[str] | None, source: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return arrays and class names in the form of a Dataset.

    arrays are x_train, y_train, x_test and y_test. Images become (count, height, width, 1 or 3),
    labels int32 (count,) from 0 to classes - 1, every class present in y_train. Without class_names
    the classes are named by their numbers. Raises ValueError, beginning with the source, for arrays
    that cannot be brought into this form.
    """
    try:
        if class_names is not None:
            class_names = _checked_names(class_names)
        checked = {}
        for part in ("train", "test"):
            images = _checked_images(arrays["x_" + part], "x_" + part)
            labels = _checked_labels(arrays["y_" + part], "y_" + part)
            if len(labels) != len(images):
                raise ValueError(
                    f"x_{part} has {len(images):,} images, y_{part} has {len(labels):,} labels"
                )
            checked["x_" + part], checked["y_" + part] = images, labels
        train_shape, test_shape = checked["x_train"].shape[1:], checked["x_test"].shape[1:]
        if train_shape != test_shape:
            raise ValueError(
                f"training images are {train_shape}, test images {test_shape} (height, width, "
                "channels)"
            )
        count = _checked_class_count(checked["y_train"], checked["y_test"], class_names)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    for part in ("y_train", "y_test"):
        checked[part] = checked[part].astype(np.int32)
    return checked, class_names or tuple(str(label) for label in range(count))


def _checked_names(class_names: Sequence[str]) -> tuple[str, ...]:
    names = np.asarray(class_names)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise ValueError(f"class_names must be a list of strings, not {names.dtype} {names.shape}")
    names = tuple(str(name) for name in names)
    for name in names:
        # Names are printed on terminals and in reports.
        if not name.isprintable() or not name:
            raise ValueError(f"class name {name!r} is empty or has unprintable characters")
    if len(set(names)) < len(names):
        raise ValueError("class_names has a name twice")
    return names


def _checked_images(images: np.ndarray, name: str) -> np.ndarray:
    if images.dtype != np.uint8:
        unusable = ""
        if images.dtype.kind == "f":
            count = images.size - np.count_nonzero(np.isfinite(images))
            unusable = f", {count:,} of its values are NaN or infinite"
        raise ValueError(f"{name} is {images.dtype}{unusable}; expected are uint8 pixels, 0..255")
    shape = images.shape
    if images.ndim == 3:
        images = images[..., None]
    if 0 in shape:
        raise ValueError(f"{name} holds no image, its shape is {shape}")
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"{name} has shape {shape}; expected is (count, height, width), or this with 1 or 3 "
            "channels as a fourth axis"
        )
    return images


def _checked_labels(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(
            f"{name} is {labels.dtype} of shape {labels.shape}; expected are integers of shape "
            "(count,) or (count, 1)"
        )
    return labels


def _checked_class_count(
    train_labels: np.ndarray, test_labels: np.ndarray, class_names: Sequence[str] | None
) -> int:
    present = np.unique(train_labels)
    count = len(class_names) if class_names else len(present)
    for name, labels in (("y_train", train_labels), ("y_test", test_labels)):
        wrong = labels[(labels < 0) | (labels >= count)]
        if len(wrong):
            origin = "named" if class_names else "in y_train"
            raise ValueError(
                f"{name} holds label {wrong[0]}; with {count} classes {origin} labels are "
                f"0..{count - 1}"
            )
    missing = np.setdiff1d(np.arange(count), present)
    if len(missing):
        label = missing[0]
        raise ValueError(f"class {label} ({class_names[label]}) has no training image")
    if count < 2:
        raise ValueError(
            f"all training images have label {present[0]}; at least two classes are needed"
        )
    return count
