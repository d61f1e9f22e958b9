"""What the command lines of the tools share: their parser, and the finished runs they name."""

from __future__ import annotations

import argparse
import glob
import os
import sys

from backend import environment
from backend.plain_text import fitting, one_line, shown


def tool_parser(name: str, description: str, needs_data: bool = True) -> argparse.ArgumentParser:
    """Return a parser for `python -m tools.NAME`, with --data-dir for one that needs data."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tools.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if needs_data:
        parser.add_argument(
            "--data-dir", default="", help="where the data set is, if not as in training"
        )
    return parser


def finished_run(folder: str):
    """Return the FinishedRun in a folder, or the newest in a folder of runs.

    Raises ValueError where there is none.
    """
    environment.preflight()
    environment.select_adapter(environment.DEFAULT_ADAPTER)
    # Not at the top: TensorFlow is loaded after the adapter is chosen, and not at all for --help.
    from storage.trained_run import FinishedRun

    return FinishedRun(folder)


def dataset_of(finished, data_dir: str):
    """Return the data set of a finished run; what is to be known of it goes to standard error."""
    dataset = finished.dataset(data_dir)
    for note in dataset.notes:
        sys.stderr.write(fitting(f"note: {one_line(note)}\n", sys.stderr.encoding))
    return dataset


def say(lines: list[str]) -> None:
    """Print lines, with what a name or the terminal does not allow as code points."""
    for line in lines:
        print(fitting(shown(line), sys.stdout.encoding), flush=True)


def picture_paths(arguments: list[str]) -> list[str]:
    """Return the pictures that arguments mean: files, folders with all in them, and patterns.

    Windows leaves patterns such as *.png to the program. What means nothing stays, to be told.
    """
    from datasets.pictures import EXTENSIONS

    paths = []
    for argument in arguments:
        found = [argument]
        if not os.path.exists(argument) and glob.has_magic(argument):
            found = sorted(glob.glob(argument, recursive=True)) or found
        for path in found:
            if os.path.isdir(path):
                inside = os.path.join(glob.escape(path), "**", "*")
                files = sorted(glob.glob(inside, recursive=True))
                paths += [file for file in files if file.lower().endswith(EXTENSIONS)] or [path]
            else:
                paths.append(path)
    return list(dict.fromkeys(paths))
