"""The folder that a run leaves behind, and how a later command finds its way back into it.

runs/<script>/<time>/  settings.json  history.csv  weights.h5  checkpoint/  tensorboard/
                       results.json  report.html
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import math
import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np

from storage import checkpoints, files, run_content

# What RESUME is where a command names no folder.
NEWEST = "newest"
# Versions of NumPy sum in other orders.
SAME_DATA_TOLERANCE = 1e-9
# Bytes that weights.h5 has, at most, besides twice its numbers.
ROOM_FOR_NAMES = 2**20


class RunFolder:
    """The folder of one run, by `path`: where each file of it is, and how it is read and written.

    Every write replaces the old file only when the new one is whole; ValueError, naming the file,
    where that is not possible.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.settings_json = self.path / "settings.json"
        self.history_csv = self.path / "history.csv"
        self.weights_h5 = self.path / "weights.h5"
        self.checkpoint = self.path / "checkpoint"
        self.latest_checkpoint = self.checkpoint / checkpoints.LATEST
        self.tensorboard = self.path / "tensorboard"
        self.results_json = self.path / "results.json"
        self.report_html = self.path / "report.html"

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def create(cls, output_dir: str | Path, script: str, suffix: str = "") -> RunFolder:
        """Make OUTPUT_DIR/script/TIME+suffix and return it; ValueError if that is not possible."""
        name = time.strftime("%Y-%m-%d_%H-%M-%S") + suffix
        parent = Path(output_dir) / script
        for attempt in range(1, 1000):
            path = parent / (name if attempt == 1 else f"{name}_{attempt}")
            try:
                path.mkdir(parents=True)
                return cls(path)
            except FileExistsError:
                continue
            except OSError as problem:
                raise ValueError(f"OUTPUT_DIR cannot be written: {problem}") from None
        raise ValueError(f"{parent} holds a thousand runs of this second.")

    @classmethod
    def to_resume(
        cls, output_dir: str | Path, script: str, resume: str, or_finished: bool = False
    ) -> RunFolder:
        """Return the unfinished run that RESUME means: NEWEST of the script, or a run's folder.

        With or_finished the folder may be of a finished run. Raises ValueError when there is
        nothing to resume.
        """
        if resume != NEWEST:
            folder = cls(resume)
            if not folder.exists:
                raise ValueError(
                    f"RESUME is {folder}: no run is there (no {folder.settings_json.name})."
                )
            if folder.is_complete and not or_finished:
                raise ValueError(folder.is_finished_message)
            return folder
        parent = Path(output_dir) / script
        folders = folders_of_runs(parent)
        unfinished = [folder for folder in folders if not folder.is_complete]
        if not unfinished:
            finished = f": all {len(folders)} are finished" if folders else ""
            raise ValueError(f"{parent} has no unfinished run to resume{finished}.")
        return unfinished[-1]

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return _is_file(self.settings_json)

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return any(_is_file(path) for path in self.checkpoint.glob("*.npz"))

    @property
    def has_results(self) -> bool:
        """Whether the run has been tested."""
        return _is_file(self.results_json)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do: a run killed while it wrote its report is not complete."""
        return self.has_results and _is_file(self.report_html)

    @property
    def is_in_use(self) -> bool:
        """Whether a process is training here, as far as locks tell."""
        try:
            file = open(str(self.path / "lock"))
        except OSError:
            return False
        with file:
            try:
                _lock(file)
            except OSError as problem:
                return _is_taken(problem)
        return False

    @property
    def is_finished_message(self) -> str:
        """What to say to who wants to resume a finished run."""
        return f"The run in {self} is finished: see {self.report_html}."

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process alone; ValueError when another process has it.

        The operating system lets go of the lock when the process ends, however it ends. What a
        killed process has left half written is deleted.
        """
        path = self.path / "lock"
        try:
            file = open(str(path), "a+")
        except OSError as problem:
            raise ValueError(f"{path} cannot be written: {problem.strerror}.") from None
        with file:
            try:
                _lock(file)
            except OSError as problem:
                if _is_taken(problem):
                    raise ValueError(
                        f"{self} is in use by another run: wait for it, or stop it."
                    ) from None
                # Some network drives know no locks: then it is up to the user.
            files.remove_unfinished(self.path)
            files.remove_unfinished(self.checkpoint)
            yield

    def write_settings(
        self,
        script: str,
        command: str,
        changed_constants: dict[str, Any] | None,
        constants: dict[str, Any],
        defaults: dict[str, Any],
        model: dict[str, Any],
        dataset: dict[str, Any],
        versions: dict[str, str],
        checksums: dict[str, str],
        white: float = 0.0,
    ) -> None:
        """Write settings.json: all that is needed to repeat the run or to rebuild its model.

        command is what repeats the run; changed_constants are those that differ from the project's
        own, None where these are not known; defaults are the constants of the script as it stood,
        without flags; model is {"builder": name, "arguments": {...}, "class_names": [...]}; dataset
        holds its facts (classes, shape, mean, std); versions are those of Python and its packages;
        checksums are those of the images and labels of every part, white is the value of pictures
        of more than 8 bits that became white.
        """
        content = {
            "script": script,
            "command": command,
            "changed_constants": changed_constants,
            "constants": constants,
            "defaults": defaults,
            "model": model,
            "dataset": dataset,
            "data": {"checksums": checksums, "white": white},
            "versions": versions,
            "git_commit": git_commit(),
        }
        files.write_json(self.settings_json, content)

    def read_settings(self) -> dict[str, Any]:
        """Return the content of settings.json; ValueError when it is not as it was written."""
        saved = files.read_json(self.settings_json)
        try:
            run_content.check_settings(saved)
        except ValueError as problem:
            raise ValueError(
                f"{self.settings_json} is not the settings of a run: {problem}."
            ) from None
        return saved

    def record_divergence(self, epoch: int, step: int) -> None:
        """Note in settings.json that the loss became NaN there: then some settings may change."""
        saved = self.read_settings()
        files.write_json(self.settings_json, dict(saved, diverged={"epoch": epoch, "step": step}))

    def record_changes(
        self, changes: Sequence[dict[str, Any]], epoch: int, step: int, **repetition: Any
    ) -> None:
        """Change constants in settings.json from here on, and keep a list of the changes.

        repetition are the command and the changed_constants of write_settings as they are now.
        A run that was finished is not any more; its results stay in that list.
        """
        saved = self.read_settings()
        place: dict[str, Any] = {"epoch": epoch, "step": step}
        if self.has_results:
            place["results"] = self.read_results()
        # Results first: without them the run is unfinished, and can be tested again.
        for path in (self.results_json, self.report_html):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        new = {change["constant"]: change["to"] for change in changes}
        saved["constants"] = dict(saved["constants"], **new)
        saved.update(repetition)
        saved["changes"] = saved.get("changes", []) + [dict(each, **place) for each in changes]
        files.write_json(self.settings_json, saved)

    def check_same_data(self, facts: dict[str, Any], checksums: dict[str, str]) -> str:
        """Raise ValueError unless the run was trained on a data set of these facts and checksums.

        Return a note for a run that was made before there were checksums, else "".
        """
        then = self.read_settings()["dataset"]
        for name, value in facts.items():
            old = then.get(name)
            same = old == value
            if name in ("mean", "std") and files.same_form(old, value) and len(old) == len(value):
                pairs = zip(old, value)
                same = all(math.isclose(a, b, rel_tol=SAME_DATA_TOLERANCE) for a, b in pairs)
            if not same:
                raise ValueError(
                    f"The run in {self} was trained on other data: {name} was {old}, is {value}. "
                    "DATASET and DATA_DIR must lead to the same images as then."
                )
        return self.check_same_images(checksums)

    def check_same_images(self, checksums: dict[str, str]) -> str:
        """Raise ValueError unless images and labels of every part have the checksums of the run.

        Return a note for a run that was made before there were checksums, else "".
        """
        data = self.read_settings().get("data")
        then = data.get("checksums") if isinstance(data, dict) else None
        if not isinstance(then, dict):
            return (
                f"the run in {self} is older than the checksums of its images and labels: that "
                "they are the same is not certain, and samples and validation images are drawn in "
                "another way since."
            )
        changed = [key for key in (*then, *checksums) if then.get(key) != checksums.get(key)]
        if changed:
            raise ValueError(
                f"The run in {self} was trained on other data: {', '.join(dict.fromkeys(changed))} "
                "differ from then (by SHA-256). DATASET and DATA_DIR must lead to the same images "
                "and labels in the same order; a file more or less in a folder makes another data "
                "set."
            )
        return ""

    def resume_command(self, program: str, dml_visible_devices: str | None = None) -> str:
        """Return the command that continues the run, from whatever folder it is typed in.

        dml_visible_devices is the adapter to name, None where it is the script's own.
        """
        words = [program_from_anywhere(program), "--resume", quoted(os.path.abspath(str(self)))]
        if dml_visible_devices is not None:
            words += ["--dml-visible-devices", quoted(dml_visible_devices)]
        return " ".join(words)

    def versions_note(self, versions: dict[str, str]) -> str:
        """Return what has changed since the run began, or "" if nothing has."""
        then = self.read_settings()["versions"]
        changed = ", ".join(
            f"{name} {version} (was {then.get(name)})"
            for name, version in versions.items()
            if then.get(name) != version
        )
        if not changed:
            return ""
        return (
            f"this run goes on with {changed}. It is the same training, but other versions round "
            "differently: the weights will not be bit for bit those of a run that stayed on one."
        )

    def write_history(self, history: list[dict[str, float]]) -> None:
        """Write history.csv, one row for each epoch."""
        text = io.StringIO()
        if history:
            writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(history)
        files.write_text(self.history_csv, text.getvalue())

    def read_history(self) -> list[dict[str, float]]:
        """Return history.csv, one dict of column name to number for each epoch.

        An empty or missing cell is NaN: a run that is killed while it writes leaves half a line.
        Raises ValueError for a missing file, a missing column `epoch`, and cells that are no
        numbers.
        """
        path = self.history_csv
        if not path.is_file():
            raise ValueError(f"{path} does not exist; a run writes it after its first epoch")
        if path.stat().st_size > files.MAX_TEXT_BYTES:
            raise ValueError(f"{path} has more than {files.MAX_TEXT_BYTES:,} bytes")
        history, line = [], 1
        try:
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if "epoch" not in (reader.fieldnames or []):
                    raise ValueError("there is no column 'epoch' in it")
                for row in reader:
                    line = reader.line_num
                    history.append(
                        {name: _number(row[name] or "nan") for name in reader.fieldnames}
                    )
        except (ValueError, csv.Error) as problem:
            raise ValueError(
                f"{path} line {line}: {problem}; every cell must be a finite number"
            ) from None
        return history

    def write_weights(self, model) -> None:
        """Write the weights of a Keras model as weights.h5, and read them back.

        ValueError when they cannot be written, or come back different.
        """
        weights = model.get_weights()
        with files.replacing(self.weights_h5) as temporary:
            # h5py fails badly on a full disk, so reserve the space first.
            size = sum(weight.nbytes for weight in weights)
            temporary.write_bytes(bytes(2 * size + ROOM_FOR_NAMES))
            model.save_weights(str(temporary))
            # h5py keeps some errors of the disk to itself, so only what it reads back counts.
            try:
                model.load_weights(str(temporary))
                pairs = zip(weights, model.get_weights())
                same = all(own.tobytes() == read.tobytes() for own, read in pairs)
            finally:
                model.set_weights(weights)
            if not same:
                raise OSError("what was written reads back differently; is the disk failing?")

    def write_results(self, results: dict[str, Any]) -> None:
        """Write results.json, which says that the run is finished."""
        files.write_json(self.results_json, results)

    def read_results(self) -> dict[str, Any]:
        """Return the content of results.json; ValueError when it is not as it was written."""
        results = files.read_json(self.results_json)
        try:
            run_content.check(results, run_content.RESULTS)
        except ValueError as problem:
            raise ValueError(f"{self.results_json} is not of a run: {problem}.") from None
        return results

    def save_checkpoint(self, arrays: Sequence[np.ndarray], state: dict[str, Any]) -> None:
        """Write all that is needed to go on from here; the checkpoint before is kept."""
        checkpoints.save_checkpoint(self.checkpoint, arrays, state)

    def load_checkpoint(self) -> tuple[list[np.ndarray], dict[str, Any], str] | None:
        """Return (arrays, state, warning) of the newest sound checkpoint, None if there is none."""
        return checkpoints.load_checkpoint(self.checkpoint)


def folders_of_runs(parent: str | Path) -> list[RunFolder]:
    """Return the runs of a folder of runs, begun or finished, the oldest first."""
    paths = sorted(path.parent for path in Path(parent).glob("*/settings.json"))
    return [RunFolder(path) for path in paths]


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


def committed_text(path: str) -> str | None:
    """Return a file of this code as it is in the commit; None where git does not know it."""
    try:
        text = subprocess.check_output(
            ["git", "show", f"HEAD:./{os.path.basename(path)}"],
            cwd=os.path.dirname(os.path.abspath(path)),
            stderr=subprocess.DEVNULL,
        )
        return text.decode("utf-8")
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError):
        return None


def program_from_anywhere(program: str) -> str:
    """Return a command such as "python train_cifar10.py" so that it works in any folder."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.abspath(os.getcwd()) == root:
        return program
    command, script = program.split(" ", 1)
    if script.endswith(".py"):
        return f"{command} {quoted(os.path.join(root, script))}"
    # A recipe is a module of the project, which Python finds from its folder only.
    return f"cd {quoted(root)} && {program}"


def quoted(word: str) -> str:
    """Return a word as it has to be typed in this system's shell."""
    return subprocess.list2cmdline([word]) if os.name == "nt" else shlex.quote(word)


def _number(cell: str) -> float:
    value = float(cell)
    if math.isinf(value):
        raise ValueError(f"could not take {cell[:60]!r} as a number")
    return value


def _is_file(path: Path) -> bool:
    # Not Path.is_file, which fails on a name that is too long.
    return os.path.isfile(str(path))


def _is_taken(problem: OSError) -> bool:
    """Return whether a lock failed because another process has it."""
    return problem.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


def _lock(file) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
