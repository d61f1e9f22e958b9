"""Data sets in folders of pictures, one folder for each class.

    DIR/CLASS/picture                          about a sixth of each class becomes the test set
    DIR/train/CLASS/picture                    the same
        + DIR/test/CLASS/picture               the folder has its own test set
        + DIR/val/CLASS/picture                the folder has its own validation set

The parts may have any usual spelling (Training, seg_test, valid), pictures may lie in sub-folders
of their class, and DIR may be wrapped in folders that hold nothing else. Folders may come from
strangers: a link that leads out of the folder is refused.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from typing import NamedTuple, Sequence

import numpy as np

from datasets.parts import SPLITS, parts_among
from datasets.pictures import EXTENSIONS, decode_images, some_names
from datasets.splits import sample_per_class

# The share of a folder without a test part that becomes the test set, as in CIFAR.
TEST_FRACTION = 1 / 6
# What systems leave behind in folders of pictures.
_LITTER = ("__MACOSX", "@eaDir", "__pycache__")
LAYOUTS = (
    "needed is one folder for each class: DIR/CLASS/picture, or DIR/train/CLASS/picture and, where "
    "there are such parts, DIR/val/CLASS/picture and DIR/test/CLASS/picture"
)


class Files(NamedTuple):
    """Picture files, paths (count,), and their classes, labels int32 (count,)."""

    paths: np.ndarray
    labels: np.ndarray

    def take(self, indices: np.ndarray) -> Files:
        return Files(self.paths[indices], self.labels[indices])


class ImageFolder(NamedTuple):
    """The files of an image folder: those of each part that it has, "train" among them.

    class_directory is where the folders of the training classes lie; ignored are other files there;
    notes say what is not used.
    """

    class_names: list[str]
    class_directory: str
    parts: dict[str, Files]
    ignored: list[str]
    notes: list[str]


class Arrays(NamedTuple):
    """What an image folder holds: arrays x_PART and y_PART, class names, messages for the user.

    white is the value of more than 8 bits that became white, 0 where no picture has more.
    """

    arrays: dict[str, np.ndarray]
    class_names: list[str]
    notes: list[str]
    white: float


def read_image_folder(directory: str, image_size: int, images_per_class: int, seed: int) -> Arrays:
    """Read an image folder; options as in dataset.load_dataset. Raises ValueError for none."""
    folder = list_image_folder(directory)
    parts, notes = dict(folder.parts), list(folder.notes)
    if folder.ignored:
        notes.append(
            f"{len(folder.ignored)} files ignored, for their names are not those of images: "
            f"{some_names(folder.ignored, directory)}"
        )
    fewest = 1 if "validation" in parts else 2
    too_few = np.bincount(parts["train"].labels, minlength=len(folder.class_names)) < fewest
    if "test" not in parts:
        held_out = held_out_by_name(parts["train"], folder.class_directory)
        notes.append(
            f"no test folder: {held_out.sum():,} of {len(held_out):,} images, about a sixth of "
            "each class, are the test set"
        )
        parts["test"] = parts["train"].take(np.flatnonzero(held_out))
        parts["train"] = parts["train"].take(np.flatnonzero(~held_out))
    if images_per_class:
        # Chosen before decoding: the whole set may be too large for the machine.
        train = parts["train"]
        parts["train"] = train.take(sample_per_class(train.labels, images_per_class, seed))
        fewest = min(fewest, images_per_class)
    # Decoded together, because one colour image makes all of them colour images.
    paths = np.concatenate([files.paths for files in parts.values()])
    decoded = decode_images(paths, image_size, directory)
    ends = np.cumsum([0] + [len(files.paths) for files in parts.values()])
    arrays = {}
    for number, (part, files) in enumerate(parts.items()):
        first, end = np.searchsorted(decoded.indices, ends[number : number + 2])
        arrays[f"x_{part}"] = decoded.images[first:end]
        arrays[f"y_{part}"] = files.labels[decoded.indices[first:end] - ends[number]]
    too_few |= np.bincount(arrays["y_train"], minlength=len(too_few)) < fewest
    class_names, left_out = _leave_out(arrays, folder.class_names, too_few)
    if left_out:
        notes.append(
            f"{len(left_out)} classes left out, for they have fewer than two images to train on: "
            f"{', '.join(left_out[:5])}{', ...' if len(left_out) > 5 else ''}"
        )
    notes += decoded.notes
    if len(class_names) < 2:
        raise ValueError(
            f"{directory}: at least two classes with images to train on are needed, found: "
            f"{', '.join(class_names) or 'none'}; {'; '.join(notes)}"
        )
    return Arrays(arrays, class_names, notes, decoded.largest)


def _leave_out(
    arrays: dict[str, np.ndarray], class_names: Sequence[str], too_few: np.ndarray
) -> tuple[list[str], list[str]]:
    """Take classes out of the arrays; return the names of those kept and of those left out."""
    if not too_few.any():
        return list(class_names), []
    numbers = np.cumsum(~too_few) - 1
    for part in [name[2:] for name in arrays if name.startswith("x_")]:
        kept = ~too_few[arrays[f"y_{part}"]]
        arrays[f"x_{part}"] = arrays[f"x_{part}"][kept]
        arrays[f"y_{part}"] = numbers[arrays[f"y_{part}"][kept]].astype(np.int32)
    kept_names = [name for name, few in zip(class_names, too_few) if not few]
    return kept_names, [name for name, few in zip(class_names, too_few) if few]


def held_out_by_name(files: Files, directory: str) -> np.ndarray:
    """Return which files are the test set: bool (count,), decided by the hash of each one's name.

    So a file that is added or taken away moves no other. Only where hashes leave a class without a
    test image, or with fewer than two to train on, do the lowest and the highest decide.
    """
    names = [os.path.relpath(path, directory).replace(os.sep, "/") for path in files.paths]
    # One name has two forms on different systems.
    names = [unicodedata.normalize("NFC", name).encode("utf-8", "replace") for name in names]
    hashes = np.array(
        [int.from_bytes(hashlib.sha256(name).digest()[:8], "big") / 2**64 for name in names]
    )
    held_out = hashes < TEST_FRACTION
    for label in np.unique(files.labels):
        ascending = np.flatnonzero(files.labels == label)
        ascending = ascending[np.argsort(hashes[ascending], kind="stable")]
        held_out[ascending[0]] = True
        held_out[ascending[-2:]] = False
    return held_out


def list_image_folder(directory: str) -> ImageFolder:
    """List the pictures of an image folder without opening them.

    Raises ValueError for links that leave the directory, for parts of a data set that hold no
    class folders, and where classes or images are missing.
    """
    root = _unwrapped(directory)
    names = _subfolders(root)
    parts = parts_among(names)
    others = [name for name in names if name not in parts]
    train_name = _train_part(root, parts, others)
    used = {}
    if train_name:
        used["train"] = train_name
        class_directory = _unwrapped(os.path.join(root, train_name))
        class_names = _class_folders(class_directory, directory)
    else:
        class_directory = root
        class_names = _class_folders(root, directory)
    aside = [name for name in names if name not in class_names] if not train_name else names
    for name, kind in parts.items():
        if name in aside and kind in ("validation", "test") and kind not in used:
            if _class_level(os.path.join(root, name), class_names, directory):
                used[kind] = name
    found, ignored, notes = {}, [], []
    for kind in SPLITS:
        if kind != "train" and kind not in used:
            continue
        level = class_directory
        if kind != "train":
            level = _class_level(os.path.join(root, used[kind]), class_names, directory)
        found[kind], others_there = _list_classes(level, class_names, directory)
        ignored += others_there
        notes += _loose_note(level, directory)
        if kind != "train":
            if not len(found[kind].paths):
                raise ValueError(f"{directory}: the folder {used[kind]} holds no image")
            if kind == "validation":
                notes.append(
                    f"the {len(found[kind].paths):,} images of the folder {used[kind]} are the "
                    "validation set"
                )
    if train_name:
        notes += _loose_note(root, directory)
    for name in aside:
        if name not in used.values():
            notes.append(_unused_note(os.path.join(root, name), name in parts, class_names))
    return ImageFolder(class_names, class_directory, found, ignored, notes)


def _train_part(root: str, parts: dict[str, str], others: Sequence[str]) -> str:
    """Return the folder of the training part, "" where the root itself holds the classes."""
    for name in sorted((name for name, kind in parts.items() if kind == "train"), key=len):
        # A folder "train" that holds pictures is a class (of vehicles, say), not a part.
        subfolders = _subfolders(_unwrapped(os.path.join(root, name)))
        if len(subfolders) > 1 or (subfolders and not others):
            return name
    return ""


def _class_folders(directory: str, root: str) -> list[str]:
    """Return the names of the class folders in a directory.

    Raises ValueError where these are parts of a data set, or fewer than two.
    """
    names = _subfolders(directory)
    parts = parts_among(names)
    kinds = set(parts.values())
    classes = [name for name in names if name not in parts]
    # One folder `train` or `masks` among classes is a class; a folder `test` is a part even there.
    if classes and len(kinds) == 1 and not kinds & {"validation", "test", "unlabelled"}:
        classes = names
    elif kinds and (len(classes) < 2 or not kinds <= {"validation", "test", "unlabelled"}):
        described = " and ".join(_counted(os.path.join(directory, name)) for name in parts)
        raise ValueError(
            f"{directory}: the folders {described} are parts of a data set by their names, not "
            f"classes, and those to train on hold no class folders; {LAYOUTS}. (A class of such a "
            "name has to be renamed.)"
        )
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        loose = len(_pictures_in(directory))
        beside = f", and {loose:,} images beside them" if loose else ""
        raise ValueError(
            f"{root}: an image folder needs at least two class folders, found: {found}{beside}; "
            f"{LAYOUTS}"
        )
    return classes


def _class_level(directory: str, class_names: Sequence[str], root: str) -> str:
    """Return where in a validation or test part the class folders lie, "" if it is unlabelled.

    Raises ValueError for a class that is not a training class.
    """
    while True:
        names = _subfolders(directory)
        unknown = sorted(set(names) - set(class_names))
        if unknown and (len(unknown) < len(names) or len(names) > 1):
            part = os.path.relpath(directory, root)
            raise ValueError(f"{root}: class {unknown[0]!r} is in {part} but not in train")
        if not unknown:
            return directory if names else ""
        if _pictures_in(directory):
            return ""
        directory = os.path.join(directory, names[0])


def _unwrapped(directory: str) -> str:
    """Return the folder, or the one inside that it does nothing but wrap."""
    while True:
        names = _subfolders(directory)
        inner = os.path.join(directory, names[0]) if names else ""
        if len(names) != 1 or os.path.islink(inner) or not _subfolders(inner):
            return directory
        if _pictures_in(directory):
            return directory
        directory = inner


def _subfolders(directory: str) -> list[str]:
    if not os.path.isdir(directory):
        return []
    return sorted(
        name
        for name in os.listdir(directory)
        if not name.startswith(".")
        and name not in _LITTER
        and os.path.isdir(os.path.join(directory, name))
    )


def holds_pictures(directory: str) -> bool:
    """Return whether any file in a folder or below has the name of a picture."""
    return any(any(map(_is_picture, files)) for _, _, files in os.walk(directory))


def _is_picture(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def _pictures_in(directory: str) -> list[str]:
    """Return the names of the pictures that lie in a folder itself."""
    return sorted(name for name in os.listdir(directory) if _is_picture(name))


def _counted(directory: str) -> str:
    """Return the name of a folder and how many images are in it: "test (8 images)"."""
    count = sum(sum(map(_is_picture, files)) for _, _, files in os.walk(directory))
    return f"{os.path.basename(directory)} ({count:,} images)"


def _loose_note(directory: str, root: str) -> list[str]:
    loose = _pictures_in(directory)
    if not loose:
        return []
    place = os.path.relpath(directory, root)
    beside = f"in {place}, " if place != "." else ""
    return [f"{len(loose):,} images {beside}beside the class folders are not used: {loose[0]}, ..."]


def _unused_note(directory: str, is_part: bool, class_names: Sequence[str]) -> str:
    is_unlabelled = is_part and not set(_subfolders(directory)) & set(class_names)
    why = ": unlabelled, without class folders" if is_unlabelled else ""
    return f"the folder {_counted(directory)} is not used{why}"


def _list_classes(directory: str, class_names: Sequence[str], root: str) -> tuple[Files, list[str]]:
    """Return the pictures in the folders of these classes and below, and the other files there."""
    real_root = os.path.join(os.path.realpath(root), "")
    paths, labels, ignored = [], [], []

    def check_inside(path):
        if not os.path.realpath(path).startswith(real_root):
            raise ValueError(f"{path}: this link leaves the image folder {root}")

    for label, class_name in enumerate(class_names):
        folder = os.path.join(directory, class_name)
        if not os.path.isdir(folder):
            continue
        check_inside(folder)
        kinds = parts_among(_subfolders(folder))
        if len(set(kinds.values())) > 1:
            raise ValueError(
                f"{folder}: the class folder holds parts of a data set ({', '.join(kinds)}); "
                f"{LAYOUTS}"
            )
        for place, subfolders, names in os.walk(folder):
            subfolders[:] = sorted(n for n in subfolders if n[0] != "." and n not in _LITTER)
            for name in sorted(subfolders):
                if os.path.islink(os.path.join(place, name)):
                    check_inside(os.path.join(place, name))
                    ignored.append(os.path.join(place, name))
            for name in sorted(names):
                path = os.path.join(place, name)
                if name.startswith("."):
                    continue
                if not _is_picture(name):
                    ignored.append(path)
                    continue
                check_inside(path)
                # Reading a pipe or a device could block forever.
                if os.path.isfile(path):
                    paths.append(path)
                    labels.append(label)
    return Files(np.array(paths, object), np.array(labels, np.int32)), ignored
