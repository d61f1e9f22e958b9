"""What the arrays and options of a data set must be, checked before anything relies on them."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from backend.plain_text import is_name

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

    arrays are x_train, y_train, x_test, y_test and maybe x_validation, y_validation. Images become
    (count, height, width, 1 or 3), labels int32 (count,) from 0 to classes - 1, every class present
    in y_train. Without class_names the classes are named by their numbers. Raises ValueError,
    beginning with the source, for arrays that cannot be brought into this form.
    """
    try:
        if class_names is not None:
            class_names = _checked_names(class_names)
        checked = {}
        parts = [part for part in ("train", "validation", "test") if "x_" + part in arrays]
        for part in parts:
            images = _checked_images(arrays["x_" + part], "x_" + part)
            labels = _checked_labels(arrays["y_" + part], "y_" + part)
            if len(labels) != len(images):
                raise ValueError(
                    f"x_{part} has {len(images):,} images, y_{part} has {len(labels):,} labels"
                )
            checked["x_" + part], checked["y_" + part] = images, labels
        train_shape = checked["x_train"].shape[1:]
        for part in parts[1:]:
            shape = checked["x_" + part].shape[1:]
            if train_shape != shape:
                raise ValueError(
                    f"training images are {train_shape}, {part} images {shape} (height, width, "
                    "channels)"
                )
        labels = {"y_" + part: checked["y_" + part] for part in parts}
        count = _checked_class_count(labels, class_names)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    for name in labels:
        checked[name] = checked[name].astype(np.int32)
    return checked, class_names or tuple(str(label) for label in range(count))


def _checked_names(class_names: Sequence[str]) -> tuple[str, ...]:
    names = np.asarray(class_names)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise ValueError(f"class_names must be a list of strings, not {names.dtype} {names.shape}")
    names = tuple(str(name) for name in names)
    for name in names:
        # Names are printed on terminals and in reports.
        if not is_name(name):
            raise ValueError(f"class name {name!r} is empty or has unprintable characters")
    if len(set(names)) < len(names):
        raise ValueError("class_names has a name twice")
    return names


def _checked_images(images: np.ndarray, name: str) -> np.ndarray:
    if images.dtype != np.uint8:
        raise ValueError(
            f"{name} is {images.dtype}{_range_and_remedy(images, name)}; expected are uint8 "
            "pixels, 0..255"
        )
    shape = images.shape
    if images.ndim == 3:
        images = images[..., None]
    if 0 in shape:
        raise ValueError(f"{name} holds no image, its shape is {shape}")
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        remedy = ""
        if len(shape) == 4 and shape[3] == 4:
            remedy = f": {name}[..., :3] leaves the transparency out"
        elif len(shape) == 4 and shape[1] in (1, 3):
            remedy = f": {name}.transpose(0, 2, 3, 1) puts the channels last"
        raise ValueError(
            f"{name} has shape {shape}; expected is (count, height, width), or this with 1 or 3 "
            f"channels as a fourth axis{remedy}"
        )
    return images


def _range_and_remedy(images: np.ndarray, name: str) -> str:
    """Return the range of values that are no uint8, and the line that makes pixels of them."""
    kind = images.dtype.kind
    if kind == "b":
        return f": 255 * {name}.astype('uint8') makes pixels of it"
    if kind not in "iuf" or not images.size:
        return ""
    if kind == "f":
        count = images.size - np.count_nonzero(np.isfinite(images))
        if count:
            return f", {count:,} of its values are NaN or infinite"
    low, high = images.min(), images.max()
    line = ""
    if kind == "f" and 0 <= low and high <= 1:
        line = f"(255 * {name}).round().astype('uint8')"
    elif kind == "f" and -1 <= low and high <= 1:
        line = f"(127.5 * ({name} + 1)).round().astype('uint8')"
    elif 0 <= low and high <= 255:
        line = f"{name}.round().astype('uint8')" if kind == "f" else f"{name}.astype('uint8')"
    elif 0 <= low:
        line = f"({name} * (255 / {high:g})).round().astype('uint8')"
    remedy = f": {line} makes pixels of it" if line else ", as if they were standardised"
    return f", from {low:g} to {high:g}{remedy}"


def _checked_labels(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        remedy = ""
        if labels.ndim == 2 and labels.dtype.kind in "biuf" and _is_one_hot(labels):
            remedy = f": {name}.argmax(axis=1) makes these of one-hot rows"
        elif labels.ndim == 1 and labels.dtype.kind in "bf":
            whole = labels.dtype.kind == "b" or (labels == np.round(labels)).all()
            remedy = f": {name}.astype('int32')" if whole else ""
        elif labels.ndim == 1 and labels.dtype.kind in "US":
            remedy = f": class_names, {name} = np.unique({name}, return_inverse=True)"
        raise ValueError(
            f"{name} is {labels.dtype} of shape {labels.shape}; expected are integers of shape "
            f"(count,) or (count, 1){remedy}"
        )
    return labels


def _is_one_hot(labels: np.ndarray) -> bool:
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def _checked_class_count(
    labels_of: dict[str, np.ndarray], class_names: Sequence[str] | None
) -> int:
    present = np.unique(labels_of["y_train"])
    count = len(class_names) if class_names else len(present)
    for name, labels in labels_of.items():
        wrong = labels[(labels < 0) | (labels >= count)]
        if len(wrong):
            origin = "named" if class_names else "in y_train"
            remedy = ""
            if (present[0], present[-1]) == (1, count):
                remedy = f"; they are 1..{count}: {name} - 1 makes these of it"
            elif not class_names:
                remedy = (
                    f"; they are from {present[0]} to {present[-1]}: "
                    f"np.searchsorted(np.unique(y_train), {name}) makes these of it"
                )
            raise ValueError(
                f"{name} holds label {wrong[0]}; with {count} classes {origin} labels are "
                f"0..{count - 1}{remedy}"
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
