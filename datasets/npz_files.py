"""Data sets in .npz files, which may come from strangers: nothing here unpickles."""

from __future__ import annotations

from typing import IO

import numpy as np

from datasets.checks import check_memory

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")


def read_npz(file: str | IO[bytes], name: str) -> dict[str, np.ndarray]:
    """Read ARRAY_NAMES, and `class_names` where present, from an .npz file or file object.

    Raises ValueError that starts with `name` for anything but a readable archive with these arrays.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            check_memory(sum(member.file_size for member in archive.zip.infolist()), "its arrays")
            missing = [key for key in ARRAY_NAMES if key not in archive.files]
            if missing:
                present = ", ".join(archive.files) or "none"
                raise ValueError(f"array {', '.join(missing)} is missing, present are: {present}")
            wanted = ARRAY_NAMES + ("class_names",)
            return {key: archive[key] for key in wanted if key in archive.files}
    # A damaged archive fails in zipfile, zlib, struct, tokenize or NumPy, each in its own way.
    except Exception as error:
        raise ValueError(
            f"{name}: cannot be read as an .npz data set ({error or type(error).__name__}). "
            f"Expected are the arrays {', '.join(ARRAY_NAMES)}, saved by numpy.savez without "
            "pickled objects."
        ) from error
