"""Files that are never half written: a temporary name first, then one rename."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Iterator, Union


@contextlib.contextmanager
def replacing(path: Union[str, Path]) -> Iterator[Path]:
    """Give a temporary path beside path, whose file replaces path when the block succeeds."""
    path = Path(path)
    # The ending stays: some writers choose their format by it.
    temporary = path.with_name("writing-{}-{}".format(os.getpid(), path.name))
    try:
        yield temporary
        with open(str(temporary), "rb+") as file:
            os.fsync(file.fileno())
        os.replace(str(temporary), str(path))
    finally:
        with contextlib.suppress(OSError):
            os.remove(str(temporary))


def write_bytes(path: Union[str, Path], content: bytes) -> None:
    """Write a file, wholly or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Union[str, Path], text: str) -> None:
    """Write a text file in UTF-8, wholly or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Union[str, Path], value: Any) -> None:
    """Write a JSON file, indented, wholly or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Union[str, Path]) -> Any:
    """Return the content of a JSON file; ValueError naming the file when it is not one."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ValueError("{} cannot be read as JSON: {}".format(path, problem)) from None
