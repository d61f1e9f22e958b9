"""Files that are never half written: a temporary name first, then one rename."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Iterator

UNFINISHED = "writing-"
# Far more than any JSON file of a run needs.
MAX_JSON_BYTES = 16 * 2**20
# A virus scanner on Windows may hold a new file for a moment: seconds between the attempts.
RENAME_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)


@contextlib.contextmanager
def replacing(path: str | Path, previous: Path | None = None) -> Iterator[Path]:
    """Give a temporary path beside path, whose file replaces path when the block succeeds.

    The file that was there before is kept as `previous`, if that is given. ValueError, naming path,
    when that fails: disk full, folder gone, read-only or in use.
    """
    path = Path(path)
    # The ending stays: some writers choose their format by it.
    temporary = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    try:
        yield temporary
        with open(str(temporary), "rb+") as file:
            os.fsync(file.fileno())
        # Between these two renames a run may die: then `previous` is the one that is read.
        if previous is not None and path.exists():
            rename(path, previous)
        rename(temporary, path)
        _sync_folder(path.parent)
    except OSError as problem:
        reason = problem.strerror or problem
        raise ValueError(f"{path} cannot be written: {reason}.") from problem
    finally:
        with contextlib.suppress(OSError):
            os.remove(str(temporary))


def rename(source: Path, target: Path) -> None:
    """Move source to target, which is replaced if it exists; OSError if it cannot be done."""
    for pause in RENAME_PAUSES:
        try:
            return os.replace(str(source), str(target))
        except PermissionError:
            time.sleep(pause)
    os.replace(str(source), str(target))


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    # Windows opens no folders, and some network drives do not sync them.
    with contextlib.suppress(OSError):
        descriptor = os.open(str(folder), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Delete what killed processes have left half written in a folder."""
    for path in Path(folder).glob(UNFINISHED + "*"):
        with contextlib.suppress(OSError):
            path.unlink()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file, wholly or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, wholly or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file, indented, wholly or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file; ValueError naming the file when it is not one."""
    try:
        with open(str(path), "rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        if len(content) > MAX_JSON_BYTES:
            raise ValueError(f"more than {MAX_JSON_BYTES:,} bytes")
        return json.loads(content.decode("utf-8"))
    # Brackets in brackets in brackets end in a RecursionError.
    except (OSError, ValueError, RecursionError) as problem:
        raise ValueError(f"{path} cannot be read as JSON: {problem}") from None


def same_form(value: Any, example: Any) -> bool:
    """Return whether a value from JSON has the type of an example, and so its parts.

    Dicts must have the example's keys, the elements of a list the form of the example's first one;
    an empty list stands for a list of strings.
    """
    if isinstance(example, dict):
        return (
            isinstance(value, dict)
            and value.keys() == example.keys()
            and all(same_form(value[key], example[key]) for key in example)
        )
    if isinstance(example, (list, tuple)):
        first = example[0] if example else ""
        return isinstance(value, list) and all(same_form(element, first) for element in value)
    # Not isinstance: True is no number here.
    return type(value) is type(example)
