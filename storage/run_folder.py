"""The folder that a run leaves behind, and how a later command finds its way back into it.

runs/<script>/<time>/  settings.json  history.csv  weights.h5  checkpoint/  tensorboard/
                       results.json  report.html
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shlex
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from storage import files
from training.settings import NEWEST

SETTINGS, HISTORY, WEIGHTS = "settings.json", "history.csv", "weights.h5"
CHECKPOINT, TENSORBOARD, RESULTS, REPORT = (
    "checkpoint",
    "tensorboard",
    "results.json",
    "report.html",
)

# What may change between a run and its resumption: where things are, not what is computed.
# A smaller MICRO_BATCH_SIZE is the same mathematics, and what helps where the memory was too small.
FREE_TO_CHANGE = ("CHECKPOINT_MINUTES", "DATA_DIR", "MICRO_BATCH_SIZE")
# What belongs to the command alone. (The adapter is chosen before settings.json can be read.)
OF_THE_COMMAND = ("DML_VISIBLE_DEVICES", "OUTPUT_DIR", "RESUME")
# Versions of NumPy sum in other orders.
SAME_DATA_TOLERANCE = 1e-9


def create(settings, is_stand_in: bool) -> Path:
    """Make and return a new, empty folder for a run; ValueError when that is not possible."""
    name = time.strftime("%Y-%m-%d_%H-%M-%S") + ("_synthetic-stand-in" if is_stand_in else "")
    parent = Path(settings.OUTPUT_DIR) / settings.script
    for attempt in range(1, 1000):
        folder = parent / (name if attempt == 1 else f"{name}_{attempt}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as problem:
            raise ValueError(f"OUTPUT_DIR cannot be written: {problem}") from None
    raise ValueError(f"{parent} holds a thousand runs of this second.")


def write_settings(
    folder: Path,
    settings,
    model: dict[str, Any],
    dataset: dict[str, Any],
    versions: dict[str, str],
) -> None:
    """Write settings.json: all that is needed to repeat the run or to rebuild its model.

    model is {"builder": name, "arguments": {...}}; dataset holds its facts (classes, shape, mean,
    std); versions are those of Python and its packages.
    """
    files.write_json(
        folder / SETTINGS,
        {
            "script": settings.script,
            "command": " ".join([settings.program] + [_quoted(word) for word in sys.argv[1:]]),
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
        # Not Path.is_file, which fails on a name that is too long.
        if not os.path.isfile(str(folder / SETTINGS)):
            raise ValueError(f"RESUME is {folder}: no run is there (no {SETTINGS}).")
        if _is_finished(folder):
            raise ValueError(f"The run in {folder} is finished: see {folder / REPORT}.")
        return folder
    parent = Path(settings.OUTPUT_DIR) / settings.script
    folders = [path.parent for path in parent.glob("*/" + SETTINGS)]
    unfinished = [folder for folder in folders if not _is_finished(folder)]
    if not unfinished:
        raise ValueError(
            "{} has no unfinished run to resume{}.".format(
                parent, f": all {len(folders)} are finished" if folders else ""
            )
        )
    return max(unfinished, key=lambda path: path.name)


def _is_finished(folder: Path) -> bool:
    # A run that was killed while it wrote its report writes it again.
    return all(os.path.isfile(str(folder / name)) for name in (RESULTS, REPORT))


def resume_command(folder: Path, settings) -> str:
    """Return the command that continues the run in folder, to be typed where this one was."""
    words = [settings.program, "--resume", _quoted(str(folder))]
    if settings.DML_VISIBLE_DEVICES != settings.defaults["DML_VISIBLE_DEVICES"]:
        words += ["--dml-visible-devices", _quoted(settings.DML_VISIBLE_DEVICES)]
    return " ".join(words)


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings.json of a run; ValueError when it is not as write_settings leaves it."""
    path = Path(folder) / SETTINGS
    saved = files.read_json(path)
    for name in ("constants", "defaults", "model", "dataset", "versions"):
        if not isinstance(saved, dict) or not isinstance(saved.get(name), dict):
            raise ValueError(f"{path} is not the settings of a run: no {name!r} in it.")
    return saved


def take_over_settings(folder: Path, settings):
    """Give settings the constants of the run in folder; ValueError if something contradicts them.

    A flag that is not repeated is taken from the run. A flag with another value than the run has,
    or a constant edited in the script since, would make it another run, and is named.
    """
    saved = read_settings(folder)
    if saved.get("script") != settings.script:
        raise ValueError(
            "The run in {} is of {!r}, not of {}.".format(
                folder, saved.get("script"), settings.script
            )
        )
    now, then, defaults_then = _constants(settings), saved["constants"], saved["defaults"]
    conflicts = [f"{name} is unknown now" for name in sorted(set(then) - set(now))]
    for name, value in now.items():
        if name in OF_THE_COMMAND or value == then.get(name):
            continue
        # A run older than the constant was made as the default makes it.
        is_new = name not in then and name not in defaults_then
        if is_new and value == settings.defaults.get(name):
            continue
        if not files.same_form(then.get(name), value):
            conflicts.append(f"{name} is {value!r}, was {then.get(name)!r}")
        elif name not in settings.given and value == defaults_then.get(name):
            setattr(settings, name, then[name])
        elif name not in FREE_TO_CHANGE:
            conflicts.append(f"{name} is {value!r}, was {then[name]!r}")
    if conflicts:
        raise ValueError(
            "The run in {} cannot be resumed with other settings: {}.".format(
                folder, "; ".join(conflicts)
            )
        )
    return settings


def take_over_model(folder: Path, build_model: partial) -> partial:
    """Return build_model with the arguments that the model of the run in folder was built with.

    The builder stays the script's own; ValueError when the run has used another one.
    """
    model = read_settings(folder)["model"]
    # As JSON has them: tuples become lists.
    now = json.loads(json.dumps(build_model.keywords))
    then = model.get("arguments")
    if model.get("builder") != build_model.func.__name__ or not files.same_form(then, now):
        raise ValueError(
            "The run in {} cannot be resumed: its model is {} {}, this script builds {} {}.".format(
                folder, model.get("builder"), then, build_model.func.__name__, now
            )
        )
    return partial(build_model.func, *build_model.args, **then)


def check_same_data(folder: Path, facts: dict[str, Any]) -> None:
    """Raise ValueError when the data set is not the one that the run in folder was trained on."""
    then = read_settings(folder)["dataset"]
    for name, value in facts.items():
        old = then.get(name)
        same = old == value
        if name in ("mean", "std") and files.same_form(old, value) and len(old) == len(value):
            same = all(math.isclose(a, b, rel_tol=SAME_DATA_TOLERANCE) for a, b in zip(old, value))
        if not same:
            raise ValueError(
                f"The run in {folder} was trained on other data: {name} was {old}, is {value}. "
                "DATASET and DATA_DIR "
                "must lead to the same images as then."
            )


def versions_note(folder: Path, versions: dict[str, str]) -> str:
    """Return what has changed since the run in folder began, or "" if nothing has."""
    then = read_settings(folder)["versions"]
    changed = [
        f"{name} {version} (was {then.get(name)})"
        for name, version in versions.items()
        if then.get(name) != version
    ]
    if not changed:
        return ""
    return (
        "this run goes on with {}. It is the same training, but other versions round differently: "
        "the weights will not be bit for bit those of a run that stayed on one.".format(
            ", ".join(changed)
        )
    )


def write_history(folder: Path, history: list[dict[str, float]]) -> None:
    """Write history.csv, one row for each epoch."""
    text = io.StringIO()
    if history:
        writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
    files.write_text(folder / HISTORY, text.getvalue())


def read_history(path: Path) -> list[dict[str, float]]:
    """Read a run's history.csv: one dict of column name to number per epoch.

    An empty or missing cell is NaN: a run that is killed while it writes leaves half a line.

    Raises:
      ValueError: no such file, no `epoch` column, or a cell that is not a number.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist; a run writes it after its first epoch")
    history = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if "epoch" not in (reader.fieldnames or []):
            raise ValueError(f"{path} has no column 'epoch' in its first line")
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


def _constants(settings) -> dict[str, Any]:
    # As JSON has them, so that they can be compared with what was read: tuples become lists.
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in sorted(vars(settings).items())
        if name.isupper()
    }


def _quoted(word: str) -> str:
    return subprocess.list2cmdline([word]) if os.name == "nt" else shlex.quote(word)
