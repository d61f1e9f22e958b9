"""The folder that a run leaves behind, and how a later command finds its way back into it.

runs/<script>/<time>/  settings.json  history.csv  weights.h5  checkpoint/  tensorboard/
                       results.json  report.html
"""

import csv
import io
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import files
from command_line import NEWEST

SETTINGS, HISTORY, WEIGHTS = "settings.json", "history.csv", "weights.h5"
CHECKPOINT, TENSORBOARD, RESULTS, REPORT = (
    "checkpoint",
    "tensorboard",
    "results.json",
    "report.html",
)

# What may change between a run and its resumption: where things are, not what is computed.
FREE_TO_CHANGE = (
    "CHECKPOINT_MINUTES",
    "DATA_DIR",
    "DML_VISIBLE_DEVICES",
    "OUTPUT_DIR",
    "RESUME",
)


def create(settings, is_stand_in: bool) -> Path:
    """Make and return a new, empty folder for a run; ValueError when that is not possible."""
    name = time.strftime("%Y-%m-%d_%H-%M-%S") + ("_synthetic-stand-in" if is_stand_in else "")
    parent = Path(settings.OUTPUT_DIR) / settings.script
    for attempt in range(1, 1000):
        folder = parent / (name if attempt == 1 else "{}_{}".format(name, attempt))
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as problem:
            raise ValueError("OUTPUT_DIR cannot be written: {}".format(problem)) from None
    raise ValueError("{} holds a thousand runs of this second.".format(parent))


def write_settings(
    folder: Path,
    settings,
    model: Dict[str, Any],
    dataset: Dict[str, Any],
    versions: Dict[str, str],
) -> None:
    """Write settings.json: all that is needed to repeat the run or to rebuild its model.

    model is {"builder": name, "arguments": {...}}; dataset holds its facts (classes, shape, mean,
    std); versions are those of Python and its packages.
    """
    files.write_json(
        folder / SETTINGS,
        {
            "script": settings.script,
            "command": " ".join([settings.program] + [shlex.quote(word) for word in sys.argv[1:]]),
            "constants": _constants(settings),
            "defaults": settings.defaults,
            "model": model,
            "dataset": dataset,
            "versions": versions,
            "git_commit": git_commit(),
        },
    )


def find(settings) -> Path:
    """Return the folder that RESUME means; ValueError when there is nothing to resume."""
    if settings.RESUME != NEWEST:
        folder = Path(settings.RESUME)
        if not (folder / SETTINGS).is_file():
            raise ValueError("RESUME is {}: no run is there (no {}).".format(folder, SETTINGS))
    else:
        parent = Path(settings.OUTPUT_DIR) / settings.script
        unfinished = [
            path.parent
            for path in parent.glob("*/" + SETTINGS)
            if not (path.parent / RESULTS).exists()
        ]
        if not unfinished:
            raise ValueError("{} has no unfinished run to resume.".format(parent))
        folder = max(unfinished, key=lambda path: path.name)
    if (folder / RESULTS).exists():
        raise ValueError("The run in {} is finished: see {}.".format(folder, folder / REPORT))
    return folder


def take_over_settings(folder: Path, settings):
    """Give settings the constants of the run in folder; ValueError if something contradicts them.

    A flag that is not repeated is taken from the run. A flag with another value than the run has,
    or a constant edited in the script since, would make it another run, and is named.
    """
    saved = files.read_json(folder / SETTINGS)
    if not isinstance(saved, dict) or not isinstance(saved.get("constants"), dict):
        raise ValueError("{} is not the settings of a run.".format(folder / SETTINGS))
    if saved.get("script") != settings.script:
        raise ValueError(
            "The run in {} is of {}, not of {}.".format(
                folder, saved.get("script"), settings.script
            )
        )
    now, then, defaults_then = _constants(settings), saved["constants"], saved.get("defaults", {})
    conflicts = []
    for name, value in now.items():
        if name in FREE_TO_CHANGE or value == then.get(name):
            continue
        not_mentioned = value == settings.defaults[name] == defaults_then.get(name)
        if not_mentioned and type(then.get(name)) is type(value):
            setattr(settings, name, then[name])
        else:
            conflicts.append("{} is {!r}, was {!r}".format(name, value, then.get(name)))
    if conflicts:
        raise ValueError(
            "The run in {} cannot be resumed with other settings: {}.".format(
                folder, "; ".join(conflicts)
            )
        )
    return settings


def write_history(folder: Path, history: List[Dict[str, float]]) -> None:
    """Write history.csv, one row for each epoch."""
    text = io.StringIO()
    if history:
        writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
    files.write_text(folder / HISTORY, text.getvalue())


def read_history(path: Path) -> List[Dict[str, float]]:
    """Read a run's history.csv: one dict of column name to number per epoch.

    An empty or missing cell is NaN: a run that is killed while it writes leaves half a line.

    Raises:
      ValueError: no such file, no `epoch` column, or a cell that is not a number.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError("{} does not exist; a run writes it after its first epoch".format(path))
    history = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if "epoch" not in (reader.fieldnames or []):
            raise ValueError("{} has no column 'epoch' in its first line".format(path))
        for row in reader:
            try:
                history.append({name: float(row[name] or "nan") for name in reader.fieldnames})
            except ValueError as error:
                message = "{} line {}: {}; every cell must be a number"
                raise ValueError(message.format(path, reader.line_num, error)) from None
    return history


def git_commit() -> str:
    """Return the commit of this code, with "+" if files differ from it, or "" outside of git."""
    try:
        return (
            subprocess.check_output(
                ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
                cwd=os.path.dirname(os.path.abspath(__file__)),
                stderr=subprocess.DEVNULL,
            )
            .decode()
            .strip()
        )
    except (OSError, subprocess.CalledProcessError):
        return ""


def _constants(settings) -> Dict[str, Any]:
    # As JSON has them, so that they can be compared with what was read: tuples become lists.
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in sorted(vars(settings).items())
        if name.isupper()
    }
