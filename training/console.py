"""What a person sees in the terminal while a run goes on."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, Sequence

from tqdm import tqdm

from backend.environment import no_gpu_advice
from backend.runtime import device_name, has_gpu, runtime_name
from datasets.dataset import Dataset
from training.progress import Progress

LINE = "=" * 78


class _View:
    """A standard stream as a view of the run, which goes on when nobody can look any more.

    A closed terminal, a broken pipe or a full disk end the output, not the training; characters
    that the stream cannot show are written as their code points.
    """

    def __init__(self, name: str):
        self.name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(getattr(sys, self.name), attribute)

    def write(self, text: str) -> None:
        stream = getattr(sys, self.name)
        # None where the program was started without one.
        if stream is None:
            return
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError as problem:
                shown = text.encode(problem.encoding, "backslashreplace")
                stream.write(shown.decode(problem.encoding))
        except (OSError, ValueError):
            self._close()

    def flush(self) -> None:
        try:
            if getattr(sys, self.name) is not None:
                getattr(sys, self.name).flush()
        except (OSError, ValueError):
            self._close()

    def _close(self) -> None:
        # Python flushes its streams once more at its end, and would complain there.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, getattr(sys, self.name).fileno())
            os.close(nowhere)


_STDOUT, _STDERR = _View("stdout"), _View("stderr")


def banner(facts: dict[str, str]) -> None:
    """Print the facts of a run as a two-column table between two lines."""
    width = max(len(name) for name in facts)
    rows = [f"  {name.ljust(width)}  {value}" for name, value in facts.items()]
    _say("\n".join([LINE] + rows + [LINE]))


def warning(title: str, text: str) -> None:
    """Print a warning that cannot be missed."""
    rows = ["!! " + row for row in [title.upper(), ""] + text.strip().splitlines()]
    _say("\n".join(["!" * 78] + rows + ["!" * 78]))


def announce(
    program: str,
    dataset_name: str,
    dataset: Dataset,
    training_images: int,
    validation_images: int,
    augmentations: Sequence[str],
    model_name: str,
    parameters: int,
    optimisation: str,
    epochs: int,
    steps_per_epoch: int,
    time_limit_minutes: float,
) -> None:
    """Print what is about to be trained, on what, with which data; warn of what is missing.

    dataset_name is the data set that was asked for, for which `dataset` may be a stand-in.
    """
    shape = " x ".join(map(str, dataset.image_shape))
    limit = f", at most {time_limit_minutes:g} minutes" if time_limit_minutes else ""
    banner(
        {
            "script": program,
            "device": device_name(),
            "runtime": runtime_name(),
            "data": f"{dataset.name}: {training_images:,} to train, {validation_images:,} to "
            f"validate, {len(dataset.x_test):,} to test; {shape}, "
            f"{dataset.number_of_classes} classes",
            "augmentation": sentence_list(augmentations),
            "model": f"{model_name}, {parameters:,} parameters",
            "optimisation": optimisation,
            "steps": f"{epochs} epochs of {steps_per_epoch}{limit}",
        }
    )
    if not has_gpu():
        warning("no GPU found: training on the CPU", no_gpu_advice())
    if dataset.is_stand_in:
        warning(f"stand-in data: this is not {dataset_name}", "\n".join(dataset.notes))
    else:
        for note in dataset.notes:
            line(f"note: {note}")


def conclude(results: dict[str, Any], weights: Path, report: Path) -> None:
    """Print what came out of a run, and where it lies."""
    classes = len(results["classes"])
    # Of five classes every answer is among the first five.
    top5 = f"top-5 {100 * results['test_top5_accuracy']:.2f} %, " if classes > 5 else ""
    banner(
        {
            "test accuracy": f"{100 * results['test_accuracy']:.2f} %   "
            f"({top5}loss {results['test_loss']:.3f}), weights of epoch {results['best_epoch']}",
            "balanced": f"{100 * results['balanced_accuracy']:.2f} %, the mean over the classes   "
            f"(always answering the largest has {100 * results['majority_share']:.2f} %)",
            "trained": f"{results['epochs']} epochs, {results['images_seen']:,} images, "
            f"{results['train_minutes']:.1f} minutes, {results['images_per_second']:,.0f} images/s",
            "weights": str(weights),
            "report": str(report),
        }
    )


def line(text: str) -> None:
    """Print one line, above the progress bar if there is one."""
    tqdm.write(text, file=_STDOUT)
    _STDOUT.flush()


def epoch_line(row: dict[str, float], epochs: int, is_best: bool, seconds_left: float) -> None:
    """Print the row of the history that an epoch has ended with."""
    best = " best" if is_best else "     "
    line(
        f"epoch {row['epoch']:>3.0f}/{epochs}  loss {row['loss']:.3f}  "
        f"accuracy {100 * row['accuracy']:>4.1f} %  |  validation: "
        f"loss {row['validation_loss']:.3f}  "
        f"accuracy {100 * row['validation_accuracy']:>4.1f} %{best}  |  "
        f"rate {row['learning_rate']:.2g}  {row['images_per_second']:,.0f} images/s  "
        f"{duration(seconds_left)} left"
    )


def progress_bar(progress: Progress) -> tqdm:
    """Return a bar over the images of the running epoch, with images/s and the time left."""
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    return tqdm(
        desc=f"epoch {progress.epoch + 1}/{progress.epochs}",
        total=progress.steps_per_epoch * progress.batch_size,
        initial=progress.step * progress.batch_size,
        unit=" images",
        leave=False,
        file=_STDERR,
        # A log file gets a line now and then instead of a moving bar.
        mininterval=0.2 if on_terminal else 60,
        dynamic_ncols=on_terminal,
    )


def advance(bar: tqdm, progress: Progress, pause: float = 0.0) -> None:
    """Move the bar on by the step that was just counted, after a pause of so many seconds."""
    # The bar has a clock of its own.
    bar.start_t += pause
    bar.last_print_t += pause
    bar.update(progress.batch_size)
    bar.set_postfix_str(
        f"loss {progress.mean_loss:.3f}, accuracy {100 * progress.mean_accuracy:.1f} %",
        refresh=False,
    )


def duration(seconds: float) -> str:
    """Return a time in words: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def sentence_list(words: Sequence[str]) -> str:
    """Return words as "a, b, c", or "none"."""
    return ", ".join(words) or "none"


def _say(text: str) -> None:
    _STDOUT.write(f"{text}\n")
    _STDOUT.flush()
