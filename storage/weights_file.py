"""Look at a weights.h5 before anything is read from it.

HDF5 files can name other files whose bytes come back as their own (external storage, external
links, virtual data sets), declare more than they hold, or lead in circles. Keras writes none of
that.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import h5py
import numpy as np

# A model of the largest sizes has far fewer.
MAX_OBJECTS = 100_000
MAX_NAMES_BYTES = 16 * 2**20


def shapes_of(path: str | Path) -> list[tuple[int, ...]]:
    """Return the shape of every array in a file of Keras weights, which is not read.

    Raises ValueError, not naming the file, for anything but plain arrays in plain groups.
    """
    # A pipe or a device would be waited for.
    if not stat.S_ISREG(os.stat(str(path)).st_mode):
        raise ValueError("it is no ordinary file")
    with h5py.File(str(path), "r") as file:
        shapes, seen, waiting = [], set(), [("", file["/"])]
        while waiting:
            name, item = waiting.pop()
            address = h5py.h5o.get_info(item.id).addr
            if address in seen or len(seen) == MAX_OBJECTS:
                raise ValueError(f"{name!r} is in it twice, or it has too many parts")
            seen.add(address)
            _check_attributes(name, item)
            if isinstance(item, h5py.Group):
                waiting += [(f"{name}/{key}", _own(item, key)) for key in item]
            else:
                _check_array(name, item, os.path.getsize(str(path)))
                shapes.append(tuple(item.shape))
        return shapes


def _own(group: h5py.Group, key: str):
    """Return what a name in a group stands for, if it is in the group itself."""
    link = group.get(key, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{group.name}/{key} is a link to {getattr(link, 'path', 'elsewhere')!r}")
    return group[key]


def _check_array(name: str, item, file_bytes: int) -> None:
    if not isinstance(item, h5py.Dataset) or item.dtype.kind != "f" or item.shape is None:
        raise ValueError(f"{name!r} is no array of floating-point numbers")
    properties = item.id.get_create_plist()
    if properties.get_external_count():
        raise ValueError(f"{name!r} lies in another file, {properties.get_external(0)[0]!r}")
    # Virtual data sets are of another files' parts; others of this file may be unpacked to more.
    if properties.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        raise ValueError(f"{name!r} is virtual, or stored in pieces")
    size = item.dtype.itemsize
    for length in item.shape:
        size *= int(length)
    if size > file_bytes or (size and item.id.get_storage_size() != size):
        raise ValueError(f"{name!r} has shape {item.shape}, but not so many numbers")


def _check_attributes(name: str, item) -> None:
    for number in range(h5py.h5a.get_num_attrs(item.id)):
        attribute = h5py.h5a.open(item.id, index=number)
        size = attribute.dtype.itemsize
        for length in attribute.shape or ():
            size *= int(length)
        if size > MAX_NAMES_BYTES:
            raise ValueError(f"the names in {name!r} take {size:,} bytes")


def numbers_in(shapes: list[tuple[int, ...]]) -> int:
    """Return how many numbers arrays of these shapes hold."""
    return sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes)
