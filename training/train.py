"""From a model's builder and the settings of a script to a finished run: `train()`.

Validation images are split off the training images, and choose the best weights. The test images
are looked at once, at the end, with those weights. The settings are opened here and in run.py;
everything below takes plain values.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable

from backend import device_errors
from backend.device_errors import DeviceProblem
from backend.micro_batches import gradient_passes, share_cores
from backend.runtime import (
    has_gpu,
    keras,
    versions,
)
from datasets.dataset import Dataset, from_anywhere, load_dataset, without_folder
from storage.files import same_form
from storage.run_folder import RunFolder
from training import console
from training.repetition import changed_constants, repeat_command
from training.run import Run, prepare
from training.settings import (
    Settings,
    check_ranges,
    merge_saved_settings,
    notes_on_effects,
)
from training.step import CLASSIFICATION
from training.stop_signals import StopSignals
from training.trainer import DivergenceError, Trainer

# From here on the note on tokens is shown.
MANY_TOKENS = 1000

# Shapes are learned to see that everything works, not for their own sake.
STAND_IN_EPOCHS = 3
# The constants that decide which images a run is trained on.
CHOOSE_DATA = ("DATASET", "IMAGE_SIZE", "IMAGES_PER_CLASS", "SEED")


def train(
    build_model: Callable[..., keras.Model],
    settings: Settings,
    build_objective: Callable | None = None,
) -> Path:
    """Train a model as the settings say, test it once, and return the folder of the run.

    build_model takes image_shape, number_of_classes, mean and std, which the data set decides; it
    is a functools.partial of a builder with everything else. settings come from
    training.settings.settings_from. build_objective takes them and returns what the loss is made
    of, in the form of training.step.Classification, which is the default. Raises ValueError for
    settings and data that cannot be used, before anything is written.
    """
    folder = None
    if settings.RESUME:
        # More epochs than it had may be asked of a finished run.
        more = "EPOCHS" in settings.given
        folder = RunFolder.to_resume(settings.OUTPUT_DIR, settings.script, settings.RESUME, more)
        saved = folder.read_settings()
        settings = merge_saved_settings(settings, saved, str(folder))
        if folder.is_complete and not settings.changes:
            raise ValueError(folder.is_finished_message)
        if "DATA_DIR" in settings.given and "DATASET" not in settings.given:
            settings.DATASET = without_folder(settings.DATASET)
        build_model = with_saved_arguments(build_model, saved["model"], str(folder))
    if settings.repeated:
        check_same_model(build_model, settings)
    check_ranges(settings)
    share_cores(settings.BATCH_SIZE, settings.MICRO_BATCH_SIZE)
    # As settings.json names it for tools and resumptions in other folders.
    settings.DATASET = from_anywhere(settings.DATASET, settings.DATA_DIR)
    dataset = load_dataset(
        settings.DATASET,
        settings.DATA_DIR,
        image_size=settings.IMAGE_SIZE,
        images_per_class=settings.IMAGES_PER_CLASS,
        seed=settings.SEED,
    )
    if dataset.is_stand_in and not settings.RESUME:
        dataset = shortened(settings, dataset)
    images_at_once = gradient_passes(settings.BATCH_SIZE, settings.MICRO_BATCH_SIZE).images
    explained = partial(device_errors.explained, settings.BATCH_SIZE, images_at_once)
    # What a checkpoint holds need not be read from the run that training began with.
    begins_anew = folder is None or not folder.has_checkpoint
    with explained(watch="" if has_gpu() else None):
        objective = build_objective(settings) if build_objective else CLASSIFICATION
        run = prepare(build_model, settings, dataset, objective, begins_anew)
    # The model may have asked for larger pieces.
    explained = partial(device_errors.explained, settings.BATCH_SIZE, run.step.micro_batch_size)
    if folder is not None:
        compared = folder
    elif settings.repeated and not settings.given & set(CHOOSE_DATA):
        compared = settings.repeated
    else:
        compared = None
    note = compared.check_same_data(run.dataset_facts, dataset.identity()) if compared else ""
    if note:
        console.line(f"note: {note}")
    announce(run, settings)
    changed = changed_constants(settings)
    if folder is None:
        suffix = "_synthetic-stand-in" if dataset.is_stand_in else ""
        folder = RunFolder.create(settings.OUTPUT_DIR, settings.script, suffix)
        folder.write_settings(
            settings.script,
            repeat_command(settings.program, changed, folder.settings_json),
            changed,
            settings.constants,
            settings.defaults,
            run.model_description,
            run.dataset_facts,
            versions(),
            dataset.identity(),
            dataset.white,
        )
    adapter = settings.DML_VISIBLE_DEVICES
    is_default_adapter = adapter == settings.defaults["DML_VISIBLE_DEVICES"]
    command = folder.resume_command(settings.program, None if is_default_adapter else adapter)

    def resume_command():
        return command if folder.has_checkpoint else ""

    stop_signals = StopSignals()
    trainer = Trainer(run, folder, stop_signals, settings.SEED, settings.CHECKPOINT_MINUTES)
    with folder.locked(), explained(
        resume_command, watch=command if has_gpu() else None
    ), stop_signals:
        try:
            if settings.RESUME:
                trainer.restore()
                repeat = repeat_command(settings.program, changed, folder.settings_json)
                trainer.change(settings.changes, command=repeat, changed_constants=changed)
            trainer.fit()
            results = trainer.test()
        except KeyboardInterrupt:
            console.line(f"\nStopped. To go on:\n\n  {command}\n")
            sys.exit(stop_signals.exit_code)
        except DivergenceError as problem:
            folder.record_divergence(run.progress.epoch + 1, run.progress.step + 1)
            lower = f"--learning-rate {settings.LEARNING_RATE / 3:.2g}"
            raise DivergenceError(f"{problem} To go on: {command} {lower}") from None
        except OSError as problem:
            # Neither a mistake of the user nor one of the run: what was saved is still good.
            console.line(f"\nA file could not be used. To go on:\n\n  {command}\n")
            raise DeviceProblem(f"{problem}") from problem
    console.conclude(results, folder.weights_h5, folder.report_html)
    return folder.path


def shortened(settings: Settings, dataset: Dataset) -> Dataset:
    """Set EPOCHS to what a stand-in deserves, unless a flag says otherwise, and note it."""
    if "EPOCHS" in settings.given or settings.EPOCHS <= STAND_IN_EPOCHS:
        return dataset
    note = f"EPOCHS is {STAND_IN_EPOCHS} for it, not {settings.EPOCHS}: --epochs trains longer."
    settings.EPOCHS = STAND_IN_EPOCHS
    return dataset._replace(notes=dataset.notes + (note,))


def with_saved_arguments(build_model: partial, saved: dict[str, Any], folder: str) -> partial:
    """Return build_model with the arguments that the model of a saved run was built with.

    saved is the run's model description. The builder stays the script's own; ValueError when the
    run has used another one, or arguments of another form.
    """
    now, then = build_model.keywords, saved.get("arguments")
    if saved.get("builder") != build_model.func.__name__ or not same_form(then, now):
        raise ValueError(
            f"The run in {folder} cannot be resumed: its model is {saved.get('builder')} {then}, "
            f"this script builds {build_model.func.__name__} {now}."
        )
    return partial(build_model.func, *build_model.args, **then)


def check_same_model(build_model: partial, settings: Settings) -> None:
    """Raise ValueError unless the model is that of the run that the settings are taken from.

    Arguments that flags of this command have set may differ.
    """
    saved = settings.repeated.read_settings()["model"]
    now, then = dict(build_model.keywords), saved.get("arguments")
    then = then if isinstance(then, dict) else {}
    for name, value in now.items():
        now[name] = list(value) if isinstance(value, tuple) else value
    different = [
        f"{name} is {now.get(name)!r}, was {then.get(name)!r}"
        for name in sorted(set(now) | set(then))
        if name.upper() not in settings.given
        and (name not in now or name not in then or now[name] != then[name])
    ]
    if saved.get("builder") != build_model.func.__name__:
        different = [f"its builder is {build_model.func.__name__}, was {saved.get('builder')}"]
    if different:
        raise ValueError(
            f"This script's model is not the one of {settings.repeated}: {'; '.join(different)}."
        )


def announce(run: Run, settings: Settings) -> None:
    """Print what is about to be trained."""
    micro = run.step.micro_batch_size
    pieces = f" in pieces of {micro}" if micro < settings.BATCH_SIZE else ""
    console.announce(
        settings.program,
        settings.DATASET,
        run.dataset,
        len(run.training_indices),
        len(run.validation_labels),
        settings.AUGMENTATIONS,
        run.model_description["builder"],
        run.parameters,
        f"{settings.OPTIMIZER}, rate {settings.LEARNING_RATE:g} ({settings.SCHEDULE}), "
        f"batch {settings.BATCH_SIZE}{pieces}{', float16' if settings.MIXED_PRECISION else ''}",
        settings.EPOCHS,
        run.progress.steps_per_epoch,
        settings.TIME_LIMIT_MINUTES,
    )
    notes = notes_on_effects(settings) + [
        note_on_tokens(run.tokens),
        note_on_plateau(settings.SCHEDULE, settings.TIME_LIMIT_MINUTES),
    ]
    for note in filter(None, notes):
        console.line(f"note: {note}")


def note_on_tokens(tokens: int) -> str:
    """Return what so many tokens of an image cost, "" where they are few."""
    if tokens < MANY_TOKENS:
        return ""
    return (
        f"an image is {tokens:,} tokens, and each looks at all: {tokens**2:,} products per head "
        "and layer. Twice as many take four times the memory and time. A larger PATCH_SIZE with "
        "PATCH_STRIDE, or a smaller IMAGE_SIZE, makes them fewer."
    )


def note_on_plateau(schedule: str, time_limit_minutes: float) -> str:
    """Return what a time limit does to the schedule `plateau`, "" where there is none."""
    if schedule != "plateau" or not time_limit_minutes:
        return ""
    return (
        "SCHEDULE plateau waits for the validation accuracy, not for the time: the limit ends the "
        "run at whatever rate it has then. cosine fits its whole fall into the time."
    )
