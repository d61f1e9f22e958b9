"""Which runs there are: finished, running and stopped ones, with what each has reached.

    python -m tools.runs [FOLDER]

FOLDER is a run, the runs of a script, or the folder of all runs, by default `runs`. The accuracy is
that on the test images; of a run that is not finished, its best on the validation images.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Sequence

from backend.plain_text import one_line
from storage.run_folder import RunFolder
from tools.command_line import tool_parser
from training import default_settings
from training.script import run

DASH = "-"


class ListedRun(NamedTuple):
    """One row of the list, as texts."""

    run: str
    data: str
    epochs: str
    accuracy: str
    seed: str
    state: str


def runs_in(folder: str | Path) -> list[RunFolder]:
    """Return the runs in a folder, or in the folders of scripts in it, the oldest first."""
    folder = Path(folder)
    found = {
        path.parent for depth in ("", "*/", "*/*/") for path in folder.glob(depth + "settings.json")
    }
    return [RunFolder(path) for path in sorted(found, key=lambda path: (path.name, str(path)))]


def listed(folder: RunFolder) -> ListedRun:
    """Return the row of a run; one that cannot be read says so instead of what it has reached."""
    path = folder.path.resolve()
    name = f"{path.parent.name}/{path.name}"
    try:
        constants = folder.read_settings()["constants"]
        results = folder.read_results() if folder.has_results else {}
        history = folder.read_history() if folder.history_csv.is_file() else []
        done = results.get("epochs", len(history))
        best = max((row["validation_accuracy"] for row in history), default=None)
        accuracy = f"{100 * best:.2f} % (validation)" if best is not None else DASH
        if results:
            accuracy = f"{100 * results['test_accuracy']:.2f} %"
        stand_in = " (stand-in)" if results.get("stand_in") else ""
        return ListedRun(
            name,
            f"{results.get('dataset', constants.get('DATASET'))}{stand_in}",
            f"{done} of {constants.get('EPOCHS')}",
            accuracy,
            str(constants.get("SEED", DASH)),
            state_of(folder),
        )
    # Whatever stands in a damaged or foreign file.
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        state = f"cannot be read: {type(problem).__name__}: {problem}"
        return ListedRun(name, DASH, DASH, DASH, DASH, state)


def state_of(folder: RunFolder) -> str:
    """Return whether a run is finished, running, or stopped and where it would go on."""
    if folder.is_complete:
        return "finished"
    if folder.is_in_use:
        return "running"
    if folder.has_results:
        return "stopped before its report: --resume writes it"
    if folder.has_checkpoint:
        return "stopped: --resume goes on"
    return "stopped before its first checkpoint"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of texts, the first one their headings, in columns."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def main(argv: Sequence[str] | None = None) -> list[ListedRun]:
    """Run the command line; return the rows printed."""
    parser = tool_parser("runs", __doc__, needs_data=False)
    parser.add_argument("folder", metavar="FOLDER", nargs="?", default=default_settings.OUTPUT_DIR)
    folder = parser.parse_args(argv).folder
    rows = [listed(each) for each in runs_in(folder)]
    if not rows:
        raise ValueError(f"{folder} has no runs in it.")
    print(table([ListedRun._fields] + rows))
    finished = sum(row.state == "finished" for row in rows)
    print(f"\n{len(rows)} runs, {finished} finished.")
    return rows


if __name__ == "__main__":
    run(main)
