"""Labelled images from files that a stranger may have made: .npz archives and image folders.

Nothing here unpickles, extracts to disk or follows a link out of the folder it was given. Limits:
MAX_DATA_BYTES of pixels in memory, and Pillow's Image.MAX_IMAGE_PIXELS for one picture.
"""

from __future__ import annotations

import os
import warnings
from typing import IO, NamedTuple, Sequence

import numpy as np
from PIL import Image, ImageOps

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
MAX_DATA_BYTES = 8 * 2**30
EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")


def read_npz(file: str | IO[bytes], name: str) -> dict[str, np.ndarray]:
    """Read ARRAY_NAMES, and `class_names` where present, from an .npz file or file object.

    Raises ValueError that starts with `name` for anything but a readable archive with these arrays.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            size = sum(member.file_size for member in archive.zip.infolist())
            if size > MAX_DATA_BYTES:
                raise ValueError(f"{size:,} bytes unpacked, more than {MAX_DATA_BYTES:,}")
            missing = [key for key in ARRAY_NAMES if key not in archive.files]
            if missing:
                raise ValueError(
                    "array {} is missing, present are: {}".format(
                        ", ".join(missing), ", ".join(archive.files) or "none"
                    )
                )
            return {
                key: archive[key] for key in ARRAY_NAMES + ("class_names",) if key in archive.files
            }
    # A damaged archive fails in zipfile, zlib, struct, tokenize or NumPy, each in its own way.
    except Exception as error:
        raise ValueError(
            "{}: cannot be read as an .npz data set ({}). Expected are the arrays {}, saved by "
            "numpy.savez without pickled objects.".format(
                name, error or type(error).__name__, ", ".join(ARRAY_NAMES)
            )
        ) from error


def check_arrays(
    arrays: dict[str, np.ndarray], class_names: Sequence[str] | None, name: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return arrays and class names in the form that the rest relies on, or raise ValueError.

    That form: uint8 images (count, height, width, 1 or 3), int32 labels (count,) from 0 to
    classes - 1, every class present in y_train. `name` starts every error message.
    """

    def refuse(message, *values):
        raise ValueError(f"{name}: {message.format(*values)}")

    if class_names is not None:
        class_names = np.asarray(class_names)
        if class_names.ndim != 1 or class_names.dtype.kind != "U":
            refuse(
                "class_names must be a list of strings, not {} {}",
                class_names.dtype,
                class_names.shape,
            )
        class_names = tuple(str(class_name) for class_name in class_names)
        for class_name in class_names:
            # Names are printed on terminals and in reports.
            if not class_name.isprintable() or not class_name:
                refuse("class name {!r} is empty or has unprintable characters", class_name)
        if len(set(class_names)) < len(class_names):
            refuse("class_names has a name twice")

    checked = {}
    for part in ("train", "test"):
        images, labels = arrays["x_" + part], arrays["y_" + part]
        if images.dtype != np.uint8:
            unusable = ""
            if images.dtype.kind == "f":
                unusable = (
                    f", {images.size - np.count_nonzero(np.isfinite(images)):,} of its "
                    "values are NaN or infinite"
                )
            refuse("x_{} is {}{}; expected are uint8 pixels, 0..255", part, images.dtype, unusable)
        if images.ndim == 3:
            images = images[..., None]
        if 0 in images.shape:
            refuse("x_{} holds no image, its shape is {}", part, images.shape)
        if images.ndim != 4 or images.shape[3] not in (1, 3):
            refuse(
                "x_{} has shape {}; expected is (count, height, width), or 1 or 3 channels more",
                part,
                arrays["x_" + part].shape,
            )
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            refuse(
                "y_{} is {} of shape {}; expected are integers of shape (count,) or (count, 1)",
                part,
                labels.dtype,
                labels.shape,
            )
        if len(labels) != len(images):
            refuse("x_{0} has {1:,} images, y_{0} has {2:,} labels", part, len(images), len(labels))
        checked["x_" + part], checked["y_" + part] = images, labels
    if checked["x_train"].shape[1:] != checked["x_test"].shape[1:]:
        refuse(
            "training images are {}, test images {} (height, width, channels)",
            checked["x_train"].shape[1:],
            checked["x_test"].shape[1:],
        )

    present = np.unique(checked["y_train"])
    count = len(class_names) if class_names else len(present)
    for part in ("train", "test"):
        labels = checked["y_" + part]
        wrong = labels[(labels < 0) | (labels >= count)]
        if len(wrong):
            refuse(
                "y_{} holds label {}; with {} classes {} labels are 0..{}",
                part,
                wrong[0],
                count,
                "named" if class_names else "in y_train",
                count - 1,
            )
        checked["y_" + part] = labels.astype(np.int32)
    missing = np.setdiff1d(np.arange(count), present)
    if len(missing):
        label = missing[0]
        refuse("class {} ({}) has no training image", label, class_names[label])
    if count < 2:
        refuse("all training images have label {}; at least two classes are needed", present[0])
    return checked, class_names or tuple(str(label) for label in range(count))


class ImageFolder(NamedTuple):
    """The files of an image folder: paths and int32 labels; test is None without a test folder.

    ignored are the paths of the other files in the folders of classes.
    """

    class_names: list[str]
    train_paths: np.ndarray
    train_labels: np.ndarray
    test_paths: np.ndarray | None
    test_labels: np.ndarray | None
    ignored: list[str]


def list_image_folder(directory: str) -> ImageFolder:
    """List DIR/<class>/<image>, or DIR/train/<class>/<image> with DIR/test/<class>/<image>.

    Raises ValueError for links that leave the directory, and where classes or images are missing.
    """
    train, test = os.path.join(directory, "train"), os.path.join(directory, "test")
    # A folder "train" that holds pictures is a class (of vehicles, say), not a part of the data.
    is_split = bool(_subfolders(train))
    class_names = _subfolders(train if is_split else directory)
    if len(class_names) < 2:
        raise ValueError(
            "{}: an image folder needs at least two class folders, found: {}".format(
                directory, ", ".join(class_names) or "none"
            )
        )
    train_paths, train_labels, ignored = _list_classes(
        train if is_split else directory, class_names, directory
    )
    missing = np.setdiff1d(np.arange(len(class_names)), train_labels)
    if len(missing):
        raise ValueError(
            "{}: class folder {!r} holds no image ({})".format(
                directory, class_names[missing[0]], ", ".join(EXTENSIONS)
            )
        )
    if not (is_split and _subfolders(test)):
        return ImageFolder(class_names, train_paths, train_labels, None, None, ignored)
    unknown = sorted(set(_subfolders(test)) - set(class_names))
    if unknown:
        raise ValueError(f"{directory}: class {unknown[0]!r} is in test but not in train")
    test_paths, test_labels, ignored_in_test = _list_classes(test, class_names, directory)
    if not len(test_paths):
        raise ValueError(f"{directory}: the folder test holds no image")
    ignored += ignored_in_test
    return ImageFolder(class_names, train_paths, train_labels, test_paths, test_labels, ignored)


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
) -> tuple[np.ndarray, np.ndarray, list[str]]:
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
            # A pipe or a device would be waited for.
            if os.path.isfile(path):
                paths.append(path)
                labels.append(label)
    return np.array(paths, object), np.array(labels, np.int32), ignored


def decode_images(
    paths: Sequence[str], image_size: int, root: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Decode pictures into one array; those that cannot be read are left out and named.

    image_size: side in pixels that every image is resized to, 0 to keep the size they all have.
    Returns uint8 images (count, height, width, 3), with 1 channel when all are grey; the indices of
    the paths they came from; notes. Raises ValueError when sizes differ or nothing is readable.
    """
    images, readable, grey, transparent, unreadable, too_large = None, [], [], [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for index, path in enumerate(paths):
            try:
                pixels, is_grey, is_transparent = _decode(path, image_size)
            except (Image.DecompressionBombWarning, Image.DecompressionBombError):
                too_large.append(path)
                continue
            # A damaged picture fails in its decoder, each in its own way.
            except Exception:
                unreadable.append(path)
                continue
            if images is None:
                images = _empty(len(paths), pixels.shape, root)
            if pixels.shape != images.shape[1:]:
                raise ValueError(
                    f"{paths[readable[0]]} is {images.shape[2]} x {images.shape[1]} pixels, "
                    f"{path} is {pixels.shape[1]} x {pixels.shape[0]}: set IMAGE_SIZE to resize "
                    "all."
                )
            images[len(readable)] = pixels
            readable.append(index)
            grey.append(is_grey)
            transparent.append(is_transparent)
    notes = []
    if unreadable:
        notes.append("{} unreadable files skipped: {}".format(*count_and_names(unreadable, root)))
    if too_large:
        notes.append(
            f"{len(too_large)} images of more than {Image.MAX_IMAGE_PIXELS:,} pixels skipped: "
            f"{count_and_names(too_large, root)[1]}"
        )
    if images is None:
        raise ValueError("{}: no image can be read; {}".format(root, "; ".join(notes)))
    images = images[: len(readable)]
    if all(grey):
        images = np.ascontiguousarray(images[..., :1])
    elif any(grey):
        notes.append(f"{sum(grey)} grey images converted to colour")
    if any(transparent):
        notes.append(f"{sum(transparent)} transparent images laid over white")
    return images, np.array(readable), notes


def _decode(path: str, image_size: int) -> tuple[np.ndarray, bool, bool]:
    """Return uint8 (height, width, 3), whether the picture is grey, and whether transparent."""
    with Image.open(path, formats=FORMATS) as image:
        # Lets a large JPEG be decoded at a fraction of its size; all others ignore it.
        if image_size:
            image.draft(None, (image_size, image_size))
        image = ImageOps.exif_transpose(image)
        is_grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
        is_transparent = image.mode in ("LA", "La", "RGBA", "RGBa", "PA")
        is_transparent = is_transparent or "transparency" in image.info
        # Pillow would clip 16 bits to 8 instead of scaling them.
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
        if is_transparent:
            # Left out, transparency would show whatever colours happen to lie below it.
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        image = image.convert("RGB")
        if image_size:
            image = image.resize((image_size, image_size), Image.BILINEAR)
        return np.asarray(image), is_grey, is_transparent


def resize_images(images: np.ndarray, image_size: int) -> np.ndarray:
    """Resize uint8 (count, height, width, channels) to squares, bilinear and anti-aliased."""
    if images.shape[1:3] == (image_size, image_size):
        return images
    channels = images.shape[3]
    resized = _empty(len(images), (image_size, image_size, channels), "IMAGE_SIZE")
    for source, target in zip(images, resized):
        # Pillow knows grey pictures without a channel axis only.
        picture = Image.fromarray(source if channels == 3 else source[..., 0])
        picture = picture.resize((image_size, image_size), Image.BILINEAR)
        target[...] = np.asarray(picture).reshape(target.shape)
    return resized


def _empty(count: int, image_shape: tuple[int, ...], name: str) -> np.ndarray:
    size = count * int(np.prod(image_shape, dtype=np.float64))
    if size > MAX_DATA_BYTES:
        raise ValueError(
            f"{name}: {count:,} images of {image_shape[1]} x {image_shape[0]} pixels need "
            f"{size:,} bytes, more than {MAX_DATA_BYTES:,}. Set a smaller "
            "IMAGE_SIZE or IMAGES_PER_CLASS."
        )
    return np.empty((count,) + tuple(image_shape), np.uint8)


def count_and_names(paths: Sequence[str], root: str) -> tuple[int, str]:
    """Return how many paths there are, and the names of the first few as seen from the root."""
    names = ", ".join(os.path.relpath(path, root) for path in paths[:5])
    return len(paths), names + (", ..." if len(paths) > 5 else "")
