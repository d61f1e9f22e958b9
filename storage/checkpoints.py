"""The checkpoints that a run resumes from.

A checkpoint is an ordinary .npz file (arrays and one JSON text, no pickle, nothing compressed), so
it can be read on every runtime and by anyone with NumPy. The zip format's checksums, over every
byte of every array, tell a torn or damaged file.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from storage import files

LATEST, PREVIOUS, DAMAGED = "latest.npz", "previous.npz", "damaged.npz"
MAX_BYTES = 8 * 2**30
MAX_MEMBERS = 100_000
MAX_HEADER_BYTES = 1024
# What numpy.save writes before an array of numbers or texts. A stranger's could be nested so deeply
# that Python's parser ends the process.
_HEADER = re.compile(
    rb"\x93NUMPY[\x01\x02]\x00..(?:\x00\x00)?"
    rb"\{'descr': '[<>|=](?P<kind>[a-zA-Z])(?P<size>[0-9]{1,9})', "
    rb"'fortran_order': (?:True|False), 'shape': \((?P<shape>[0-9, ]{0,200})\), \} *\n",
    re.DOTALL,
)


def save_checkpoint(folder: Path, arrays: Sequence[np.ndarray], state: dict[str, Any]) -> None:
    """Write arrays and a JSON-able state as the latest checkpoint; the one before is kept.

    ValueError when it cannot be written; what was there before is then still there.
    """
    folder = Path(folder)
    latest, previous = folder / LATEST, folder / PREVIOUS
    content = {f"array_{i:04d}": array for i, array in enumerate(arrays)}
    # In memory first: a zip file that a full disk cuts off cannot be closed without a second error.
    buffer = io.BytesIO()
    text = json.dumps({"number_of_arrays": len(arrays), "state": state})
    np.savez(buffer, state=np.array(text), **content)
    with files.replacing(latest, previous) as temporary:
        # Do not create parents: if the run folder was deleted, saving must fail.
        folder.mkdir(exist_ok=True)
        # A copy: Python 3.12 crashes on collecting a buffer that an error has left exported.
        temporary.write_bytes(buffer.getvalue())


def load_checkpoint(folder: Path) -> tuple[list[np.ndarray], dict[str, Any], str] | None:
    """Return (arrays, state, warning) of the newest sound checkpoint; None if there is none.

    The warning is "" or says which file was damaged. ValueError when there are files, all damaged.
    """
    latest, previous = Path(folder) / LATEST, Path(folder) / PREVIOUS
    damaged = []
    for path in (latest, previous):
        if not os.path.lexists(str(path)):
            continue
        try:
            arrays, state = _read(path)
        # A damaged archive fails in zipfile, zlib, struct or NumPy, each in its own way.
        except Exception as problem:
            damaged.append(f"{path} is damaged ({problem or type(problem).__name__})")
            continue
        if damaged:
            # Out of the way, or the next save would let it take the place of the sound one.
            with contextlib.suppress(OSError):
                files.rename(latest, latest.with_name(DAMAGED))
        return arrays, state, "; ".join(damaged)
    if damaged:
        raise ValueError(f"No sound checkpoint: {'; '.join(damaged)}.")
    return None


def _read(path: Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    # A pipe or a device would be waited for.
    if not path.is_file():
        raise ValueError("not a file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    # From memory, so that the checksums cover exactly what is used.
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise ValueError(f"{len(members):,} members")
        # Nothing that a checkpoint of ours holds is larger unpacked; a zip bomb is.
        if sum(member.file_size for member in members) > len(content.getbuffer()):
            raise ValueError("larger unpacked than packed")
        broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"wrong checksum of {broken}")
        for member in members:
            with archive.open(member) as file:
                _check_array(member, file.read(MAX_HEADER_BYTES))
    content.seek(0)
    with np.load(content, allow_pickle=False) as archive:
        text = files.parse_json(str(archive["state"][()]))
        names = sorted(name for name in archive.files if name.startswith("array_"))
        # The directory of a zip file has no checksum: a damaged one may be a shorter one.
        if len(names) != text["number_of_arrays"]:
            raise ValueError(f"{len(names)} of {text['number_of_arrays']} arrays")
        return [archive[name] for name in names], text["state"]


def _check_array(member: zipfile.ZipInfo, start: bytes) -> None:
    """Raise ValueError unless a member's first bytes announce an array that it really holds."""
    header = _HEADER.match(start)
    if not member.filename.endswith(".npy") or header is None:
        raise ValueError(f"{member.filename[:60]} is no array")
    # A text has four bytes for each character.
    size = int(header["size"]) * (4 if header["kind"] == b"U" else 1)
    for length in filter(None, header["shape"].decode().replace(" ", "").split(",")):
        size *= int(length)
    if size != member.file_size - header.end():
        raise ValueError(f"{member.filename[:60]} holds less or more than its shape says")
