"""Files that are never half written: a temporary name first, then one rename."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Iterator

UNFINISHED = "writing-"
# Far more than any text file of a run needs.
MAX_TEXT_BYTES = 16 * 2**20
# Of a whole number; 64 bits have 20.
MAX_DIGITS = 20
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
        # A pipe or a device would be waited for.
        if os.path.exists(str(path)) and not os.path.isfile(str(path)):
            raise ValueError("it is no ordinary file")
        with open(str(path), "rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise ValueError(f"more than {MAX_TEXT_BYTES:,} bytes")
        return parse_json(content.decode("utf-8"))
    except (OSError, ValueError) as problem:
        raise ValueError(f"{path} cannot be read as JSON: {problem}") from None


def parse_json(text: str) -> Any:
    """Return the value of a JSON text; ValueError for one that cannot be read."""
    try:
        return json.loads(text, parse_int=_int)
    # Brackets in brackets in brackets.
    except RecursionError as problem:
        raise ValueError(f"too deep: {problem}") from None


def _int(digits: str) -> int:
    # To read millions of digits takes Python minutes.
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(digits):,} digits")
    return int(digits)


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
