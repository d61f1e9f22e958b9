"""Data sets in .npz files, which may come from strangers: nothing here unpickles."""

from __future__ import annotations

from typing import IO, Sequence

import numpy as np

from datasets.checks import check_memory
from datasets.parts import SPLITS, part_of, words_of

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
VALIDATION_NAMES = ("x_validation", "y_validation")
_WORDS = {
    "x": "x image images img imgs data features pixels inputs input".split(),
    "y": "y label labels target targets".split(),
}


def read_npz(file: str | IO[bytes], name: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read ARRAY_NAMES and, where present, VALIDATION_NAMES and `class_names` from an .npz file.

    The arrays may have other usual names, such as train_images or y_val. The notes say which
    arrays were taken for a validation set, and which are not used. Raises ValueError that starts
    with `name` for anything but a readable archive with these arrays.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            check_memory(sum(member.file_size for member in archive.zip.infolist()), "its arrays")
            meant = _meant(archive.files)
            missing = [key for key in ARRAY_NAMES if key not in meant]
            if missing:
                present = ", ".join(archive.files) or "none"
                raise ValueError(f"array {', '.join(missing)} is missing, present are: {present}")
            if not all(key in meant for key in VALIDATION_NAMES):
                meant = {key: own for key, own in meant.items() if key not in VALIDATION_NAMES}
            arrays = {key: archive[own] for key, own in meant.items()}
            notes = [
                f"the array {own} {_shape(archive, own)} is not used"
                for own in archive.files
                if own not in meant.values()
            ]
    # A damaged archive fails in zipfile, zlib, struct, tokenize or NumPy, each in its own way.
    except Exception as error:
        raise ValueError(
            f"{name}: cannot be read as an .npz data set ({error or type(error).__name__}). "
            f"Expected are the arrays {', '.join(ARRAY_NAMES)}, saved by numpy.savez without "
            "pickled objects."
        ) from error
    if VALIDATION_NAMES[0] in arrays:
        count = len(np.atleast_1d(arrays[VALIDATION_NAMES[0]]))
        own = " and ".join(meant[key] for key in VALIDATION_NAMES)
        notes.insert(0, f"the {count:,} images of {own} are the validation set")
    return arrays, notes


def _meant(names: Sequence[str]) -> dict[str, str]:
    """Return our name of an array -> the name that it has in the file."""
    meant = {}
    for own in names:
        words = words_of(own)
        for letter, known in _WORDS.items():
            rest = [word for word in words if word not in known]
            # One word of what it is, and one of which part: "x_train", "train_images", "XTest".
            split = part_of(" ".join(rest))
            if split in SPLITS and len(rest) == 1 and len(words) == 2:
                meant.setdefault(f"{letter}_{split}", own)
    # What has our own names is meant, whatever else is there.
    for own in ARRAY_NAMES + VALIDATION_NAMES + ("class_names",):
        if own in names:
            meant[own] = own
    return meant


def _shape(archive, name: str) -> tuple[int, ...] | str:
    # What is not used need not be readable.
    try:
        return archive[name].shape
    except ValueError:
        return "(objects)"
