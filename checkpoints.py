"""The checkpoints that a run resumes from.

A checkpoint is an ordinary .npz file (arrays and one JSON text, no pickle), so it can be read on
every runtime and by anyone with NumPy. The zip format's checksums tell a torn or damaged file.
"""

import contextlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from files import replacing

LATEST, PREVIOUS = "latest.npz", "previous.npz"


def save_checkpoint(folder: Path, arrays: Sequence[np.ndarray], state: Dict[str, Any]) -> None:
    """Write arrays and a JSON-able state as the latest checkpoint; the one before is kept."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    latest, previous = folder / LATEST, folder / PREVIOUS
    content = {"array_{:04d}".format(i): array for i, array in enumerate(arrays)}
    with replacing(latest) as temporary:
        with open(str(temporary), "wb") as file:
            np.savez(file, state=np.array(json.dumps(state)), **content)
        # Between these two renames a run may die: then `previous` is the one that is read.
        if latest.exists():
            os.replace(str(latest), str(previous))


def load_checkpoint(folder: Path) -> Optional[Tuple[List[np.ndarray], Dict[str, Any], str]]:
    """Return (arrays, state, warning) of the newest sound checkpoint; None if there is none.

    The warning is "" or says which file was damaged. ValueError when there are files, all damaged.
    """
    damaged = []
    for path in (Path(folder) / LATEST, Path(folder) / PREVIOUS):
        if not path.exists():
            continue
        try:
            arrays, state = _read(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as problem:
            damaged.append("{} is damaged ({})".format(path, problem))
            continue
        return arrays, state, "; ".join(damaged)
    if damaged:
        raise ValueError("No sound checkpoint: " + "; ".join(damaged) + ".")
    return None


def _read(path: Path) -> Tuple[List[np.ndarray], Dict[str, Any]]:
    # From memory, so that nothing is read twice and the checksum covers exactly what is used.
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
        state = json.loads(str(content["state"][()]))
        names = sorted(name for name in content.files if name.startswith("array_"))
        return [content[name] for name in names], state


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; ValueError when another process has it.

    The operating system lets go of the lock when the process ends, however it ends.
    """
    path = Path(folder) / "lock"
    with open(str(path), "a+") as file:
        try:
            _lock(file)
        except OSError:
            raise ValueError("{} is in use by another run.".format(folder)) from None
        yield


def _lock(file) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
