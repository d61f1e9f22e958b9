"""What the command lines of the tools share: their parser, and the finished runs they name."""

from __future__ import annotations

import argparse
import sys

from backend import environment


def tool_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser for `python -m tools.NAME` that knows --data-dir."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tools.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
        sys.stderr.write(f"note: {note}\n")
    return dataset
