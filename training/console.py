"""What a person sees in the terminal while a run goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Sequence

from tqdm import tqdm

from backend.environment import no_gpu_advice
from backend.runtime import device_name, has_gpu, runtime_name

LINE = "=" * 78


def banner(facts: dict[str, str]) -> None:
    """Print the facts of a run as a two-column table between two lines."""
    width = max(len(name) for name in facts)
    rows = [f"  {name.ljust(width)}  {value}" for name, value in facts.items()]
    _say("\n".join([LINE] + rows + [LINE]))


def warning(title: str, text: str) -> None:
    """Print a warning that cannot be missed."""
    rows = ["!! " + row for row in [title.upper(), ""] + text.strip().splitlines()]
    _say("\n".join(["!" * 78] + rows + ["!" * 78]))


def announce(run) -> None:
    """Print what a training.Run is about to train, on what, with which data."""
    settings, dataset = run.settings, run.dataset
    micro = run.step.micro_batch_size
    banner(
        {
            "script": settings.program,
            "device": device_name(),
            "runtime": runtime_name(),
            "data": "{}: {:,} to train, {:,} to validate, {:,} to test; {}, {} classes".format(
                dataset.name,
                len(run.training_indices),
                len(run.validation_indices),
                len(dataset.x_test),
                " x ".join(map(str, dataset.image_shape)),
                dataset.number_of_classes,
            ),
            "augmentation": sentence_list(settings.AUGMENTATIONS),
            "model": "{}, {:,} parameters".format(run.model_description["builder"], run.parameters),
            "optimisation": "{}, rate {:g} ({}), batch {}{}{}".format(
                settings.OPTIMIZER,
                settings.LEARNING_RATE,
                settings.SCHEDULE,
                settings.BATCH_SIZE,
                f" in pieces of {micro}" if micro < settings.BATCH_SIZE else "",
                ", float16" if settings.MIXED_PRECISION else "",
            ),
            "steps": "{} epochs of {}{}".format(
                settings.EPOCHS,
                run.progress.steps_per_epoch,
                f", at most {settings.TIME_LIMIT_MINUTES:g} minutes"
                if settings.TIME_LIMIT_MINUTES
                else "",
            ),
        }
    )
    if not has_gpu():
        warning("no GPU found: training on the CPU", no_gpu_advice())
    if dataset.is_stand_in:
        warning("stand-in data: this is not " + settings.DATASET, "\n".join(dataset.notes))
    else:
        for note in dataset.notes:
            line("note: " + note)


def conclude(results: dict[str, Any], weights: Path, report: Path) -> None:
    """Print what came out of a run, and where it lies."""
    banner(
        {
            "test accuracy": "{:.2f} %   (top-5 {:.2f} %, loss {:.3f}), weights of epoch {}".format(
                100 * results["test_accuracy"],
                100 * results["test_top5_accuracy"],
                results["test_loss"],
                results["best_epoch"],
            ),
            "trained": "{} epochs, {:,} images, {:.1f} minutes, {:,.0f} images/s".format(
                results["epochs"],
                results["images_seen"],
                results["train_minutes"],
                results["images_per_second"],
            ),
            "weights": str(weights),
            "report": str(report),
        }
    )


def line(text: str) -> None:
    """Print one line, above the progress bar if there is one."""
    tqdm.write(text)
    sys.stdout.flush()


def epoch_line(row: dict[str, float], epochs: int, is_best: bool, seconds_left: float) -> None:
    """Print the row of the history that an epoch has ended with."""
    line(
        "epoch {:>3.0f}/{}  loss {:.3f}  accuracy {:>4.1f} %  |  validation: loss {:.3f}  "
        "accuracy {:>4.1f} %{}  |  rate {:.2g}  {:,.0f} images/s  {} left".format(
            row["epoch"],
            epochs,
            row["loss"],
            100 * row["accuracy"],
            row["validation_loss"],
            100 * row["validation_accuracy"],
            " best" if is_best else "     ",
            row["learning_rate"],
            row["images_per_second"],
            duration(seconds_left),
        )
    )


def progress_bar(epoch: int, epochs: int, images: int, done: int) -> tqdm:
    """Return a bar over the images of an epoch, with images/s and the time left."""
    on_terminal = sys.stderr.isatty()
    return tqdm(
        desc=f"epoch {epoch}/{epochs}",
        total=images,
        initial=done,
        unit=" images",
        leave=False,
        # A log file gets a line now and then instead of a moving bar.
        mininterval=0.2 if on_terminal else 60,
        dynamic_ncols=on_terminal,
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
    print(text)
    sys.stdout.flush()
