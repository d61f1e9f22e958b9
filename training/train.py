"""From a model's builder and the settings of a script to a finished run: `train()`.

Validation images are split off the training images, and choose the best weights. The test images
are looked at once, at the end, with those weights.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from backend import device_errors
from backend.micro_batches import gradient_passes, prepare_device
from backend.optimizers import optimizer_for
from backend.runtime import (
    device_name,
    has_gpu,
    keras,
    layer_precision,
    runtime_name,
    summary,
    tf,
    versions,
)
from data_augmentations import augmentation_pipeline
from datasets import dataset as dataset_module
from models.predictor import Predictor
from reports.metrics import accuracy_and_loss, softmax
from storage import checkpoints, files, run_folder
from training import console, initial_weights
from training.progress import Progress
from training.settings import check_ranges
from training.step import CLASSIFICATION, Classification, TrainingStep
from training.stop_signals import StopSignals

# Bytes that weights.h5 has, at most, besides twice its numbers.
ROOM_FOR_NAMES = 2**20


class DivergenceError(ValueError):
    """The loss has become infinite or NaN."""


def classification(settings) -> Classification:
    """Return the objective of all scripts that name no other."""
    return CLASSIFICATION


def train(
    build_model: Callable[..., keras.Model], settings, build_objective: Callable = classification
) -> Path:
    """Train a model as the settings say, test it once, and return the folder of the run.

    build_model takes image_shape, number_of_classes, mean and std, which the data set decides; it
    is a functools.partial of a builder with everything else. settings come from
    command_line.settings_from. build_objective takes them and returns what the loss is made of, in
    the form of training_step.Classification. Raises ValueError for settings and data that cannot be
    used, before anything is written.
    """
    folder = None
    if settings.RESUME:
        folder = run_folder.find(settings)
        settings = run_folder.take_over_settings(folder, settings)
        build_model = run_folder.take_over_model(folder, build_model)
    check_ranges(settings)
    prepare_device(settings)
    dataset = dataset_module.load(
        settings.DATASET,
        settings.DATA_DIR,
        image_size=settings.IMAGE_SIZE,
        images_per_class=settings.IMAGES_PER_CLASS,
        seed=settings.SEED,
    )
    with device_errors.explained(settings, resume_command="", watch=False):
        run = Run(build_model, settings, dataset, build_objective(settings))
    if folder is not None:
        run_folder.check_same_data(folder, run.dataset_facts)
    console.announce(run)
    if folder is None:
        folder = run_folder.create(settings, dataset.is_stand_in)
        run_folder.write_settings(
            folder, settings, run.model_description, run.dataset_facts, versions()
        )
    command = run_folder.resume_command(folder, settings)
    explained = device_errors.explained(settings, command, watch=has_gpu())
    with checkpoints.locked(folder), explained, StopSignals() as stop_signals:
        try:
            if settings.RESUME:
                run.restore(folder)
            run.fit(folder, stop_signals)
            results = run.test(folder)
        except KeyboardInterrupt:
            console.line(f"\nStopped. To go on:\n\n  {command}\n")
            sys.exit(stop_signals.exit_code)
    console.conclude(results, folder / run_folder.WEIGHTS, folder / run_folder.REPORT)
    return folder


def training_step_for(
    model: keras.Model, settings, objective=CLASSIFICATION, at_once: int = 0
) -> TrainingStep:
    """Return the training step of a model as the settings describe it.

    at_once gradient passes stand in one graph; 0 = as many as suit this device.
    """
    optimizer = optimizer_for(
        settings.OPTIMIZER, model.trainable_variables, settings.WEIGHT_DECAY, settings.MOMENTUM
    )
    passes = gradient_passes(settings)
    return TrainingStep(
        model,
        optimizer,
        batch_size=settings.BATCH_SIZE,
        micro_batch_size=passes.images,
        passes_at_once=at_once or passes.at_once,
        label_smoothing=settings.LABEL_SMOOTHING,
        gradient_clip_norm=settings.GRADIENT_CLIP_NORM,
        ema_decay=settings.EMA_DECAY,
        seed=settings.SEED,
        objective=objective,
        mixed_precision=settings.MIXED_PRECISION,
    )


class Run:
    """One training run: its data, its model, and how far it has come."""

    def __init__(
        self,
        build_model: partial,
        settings,
        dataset: dataset_module.Dataset,
        objective=CLASSIFICATION,
    ):
        self.settings = settings
        self.dataset = dataset
        self.augment = augmentation_pipeline(settings.AUGMENTATIONS, dataset.number_of_classes)
        self.training_indices, self.validation_indices = dataset_module.validation_split(
            dataset.y_train, settings.VALIDATION_FRACTION, settings.SEED, dataset.class_names
        )
        if settings.BATCH_SIZE > len(self.training_indices):
            raise ValueError(
                f"BATCH_SIZE is {settings.BATCH_SIZE}, but there are only "
                f"{len(self.training_indices)} training images."
            )
        _set_seed(settings.SEED)
        self.dataset_facts = {
            "image_shape": list(dataset.image_shape),
            "number_of_classes": dataset.number_of_classes,
            "mean": list(dataset.mean),
            "std": list(dataset.std),
        }
        self.model_description = {
            "builder": build_model.func.__name__,
            "arguments": build_model.keywords,
            "class_names": list(dataset.class_names),
        }
        # Keras would rewrite the source of every layer for branches on values, which none has.
        build = tf.autograph.experimental.do_not_convert(build_model)
        with layer_precision(settings.MIXED_PRECISION):
            self.model = build(**self.dataset_facts)
        if settings.INITIAL_RUN:
            # The run itself, where a folder of runs was given: settings.json shall name it.
            settings.INITIAL_RUN = str(initial_weights.start_from(self.model, settings.INITIAL_RUN))
        self.step = training_step_for(self.model, settings, objective)
        self.predict = Predictor(self.model)
        self.progress = Progress(settings, len(self.training_indices) // settings.BATCH_SIZE)
        self.best_weights: Sequence[np.ndarray] = []
        self.summary_writer = None

    @property
    def parameters(self) -> int:
        """The number of trainable parameters."""
        return int(sum(np.prod(variable.shape) for variable in self.model.trainable_variables))

    def fit(self, folder: Path, stop_signals: StopSignals) -> None:
        """Train until the epochs, the time or the patience are used up.

        A signal to stop ends the step that is running, saves and raises KeyboardInterrupt.
        """
        settings, progress = self.settings, self.progress
        batches = iter(
            dataset_module.training_batches(
                self.dataset.x_train,
                self.dataset.y_train,
                settings.BATCH_SIZE,
                self.augment,
                settings.SEED,
                settings.EPOCHS,
                first_epoch=progress.epoch,
                first_step=progress.step,
                indices=self.training_indices,
            )
        )
        with stop_signals.postponed():
            while not progress.is_finished:
                self._epoch(batches, folder, stop_signals)
                if not stop_signals.received:
                    self._judge(folder)
                self.save(folder)
                if stop_signals.received:
                    break

    def _epoch(self, batches, folder: Path, stop_signals: StopSignals) -> None:
        """Train to the end of the running epoch, or of the time limit."""
        settings, progress = self.settings, self.progress
        bar = console.progress_bar(
            progress.epoch + 1,
            settings.EPOCHS,
            progress.steps_per_epoch * settings.BATCH_SIZE,
            progress.step * settings.BATCH_SIZE,
        )
        last_save = clock = time.perf_counter()
        with bar:
            while progress.is_in_epoch:
                images, labels = next(batches)
                loss, accuracy = self.step(
                    images, labels, progress.steps_done, progress.learning_rate
                )
                loss, accuracy = float(loss), float(accuracy)
                self._check_finite(folder, "loss", loss)
                now = time.perf_counter()
                progress.count_step(loss, accuracy, now - clock)
                clock = now
                bar.update(settings.BATCH_SIZE)
                bar.set_postfix_str(
                    f"loss {progress.mean_loss:.3f}, accuracy {100 * progress.mean_accuracy:.1f} %",
                    refresh=False,
                )
                if stop_signals.received:
                    break
                if now - last_save > 60 * settings.CHECKPOINT_MINUTES > 0:
                    self.save(folder)
                    last_save = time.perf_counter()

    def _check_finite(self, folder: Path, what: str, values) -> None:
        if np.isfinite(values).all():
            return
        path = folder / run_folder.CHECKPOINT / checkpoints.LATEST
        raise DivergenceError(
            "The {} became NaN or infinite at step {} of epoch {}. {}. A lower LEARNING_RATE, "
            "WARMUP_EPOCHS or GRADIENT_CLIP_NORM 1.0 may help.".format(
                what,
                self.progress.step + 1,
                self.progress.epoch + 1,
                f"The last good checkpoint is {path}"
                if path.exists()
                else "There is no checkpoint yet",
            )
        )

    def _judge(self, folder: Path) -> None:
        """End an epoch: validate, keep the best weights, write the history."""
        progress, dataset = self.progress, self.dataset
        started = time.perf_counter()
        weights = self.step.weights_to_judge()
        logits = self.predict(dataset.x_train[self.validation_indices], weights)
        accuracy, top5, loss = accuracy_and_loss(logits, dataset.y_train[self.validation_indices])
        self._check_finite(folder, "validation loss", loss)
        is_best = progress.end_epoch(accuracy, top5, loss, time.perf_counter() - started)
        if is_best:
            self.best_weights = weights
            self._write_best_weights(folder)
        run_folder.write_history(folder, progress.history)
        self._write_summaries(folder, progress.history[-1])
        console.epoch_line(
            progress.history[-1], self.settings.EPOCHS, is_best, progress.seconds_left
        )

    def test(self, folder: Path) -> dict[str, Any]:
        """Look at the test images once, with the best weights; write the results and the report."""
        # Not at the top: loading the drawing library would delay every start by half a second.
        from reports import report

        dataset, progress, settings = self.dataset, self.progress, self.settings
        self.model.set_weights(self.best_weights)
        self._write_best_weights(folder)
        logits = self.predict(dataset.x_test)
        accuracy, top5, loss = accuracy_and_loss(logits, dataset.y_test)
        training_seconds = sum(row["seconds"] for row in progress.history)
        results = {
            "dataset": dataset.name,
            "stand_in": dataset.is_stand_in,
            "test_accuracy": accuracy,
            "test_top5_accuracy": top5,
            "test_loss": loss,
            "validation_accuracy": progress.best_accuracy,
            "parameters": self.parameters,
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "images_seen": progress.images_seen,
            "train_minutes": progress.seconds / 60,
            "images_per_second": progress.images_seen / max(training_seconds, 1e-9),
            "device": device_name(),
            "runtime": runtime_name(),
            "seed": settings.SEED,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        # Before the report: these numbers mean that the run is finished, whatever a picture may do.
        files.write_json(folder / run_folder.RESULTS, results)
        saved = files.read_json(folder / run_folder.SETTINGS)
        report.write_report(
            folder,
            dict(saved["constants"], command=saved["command"], git_commit=saved["git_commit"]),
            results,
            progress.history,
            dataset.x_test,
            dataset.y_test,
            softmax(logits),
            dataset.class_names,
        )
        return results

    def save(self, folder: Path) -> None:
        """Write all that is needed to go on from here as if nothing had happened."""
        arrays = [variable.numpy() for variable in self.step.state()] + list(self.best_weights)
        # The loss of a step is that of the weights before it: these may be lost all the same.
        for array in arrays:
            self._check_finite(folder, "weights or their moments", array)
        checkpoints.save_checkpoint(folder / run_folder.CHECKPOINT, arrays, self.progress.state)

    def restore(self, folder: Path) -> None:
        """Go back to the newest sound checkpoint of a run, if it has one."""
        checkpoint = checkpoints.load_checkpoint(folder / run_folder.CHECKPOINT)
        if checkpoint is None:
            console.line(f"The run in {folder} has no checkpoint yet: starting it anew.")
            return
        arrays, state, problem = checkpoint
        if problem:
            console.warning("an older checkpoint is used", problem)
        note = run_folder.versions_note(folder, versions())
        if note:
            console.line("note: " + note)
        self._check_checkpoint(folder, arrays, state)
        variables = self.step.state()
        for variable, array in zip(variables, arrays):
            variable.assign(array)
        self.best_weights = arrays[len(variables) :]
        self.progress.restore(state)
        console.line(
            f"Resuming {folder} at epoch {self.progress.epoch + 1}, step {self.progress.step}."
        )

    def _check_checkpoint(self, folder: Path, arrays, state) -> None:
        """Raise ValueError for a checkpoint that is sound as a file but not one of this run."""
        expected = [(tuple(v.shape), v.dtype.as_numpy_dtype) for v in self.step.state()]
        best = expected[: len(self.model.weights)]
        found = [(array.shape, array.dtype) for array in arrays]
        if not self.progress.is_state(state) or found != expected + (
            best if state["progress"]["best_epoch"] else []
        ):
            raise ValueError(f"The checkpoint in {folder} is not one of this run.")

    def _write_best_weights(self, folder: Path) -> None:
        own = self.model.get_weights()
        self.model.set_weights(self.best_weights)
        with files.replacing(folder / run_folder.WEIGHTS) as temporary:
            # Its library does not survive a full disk: whether there is room is seen before.
            temporary.write_bytes(bytes(2 * sum(weight.nbytes for weight in own) + ROOM_FOR_NAMES))
            self.model.save_weights(str(temporary))
        self.model.set_weights(own)

    def _write_summaries(self, folder: Path, row: dict[str, float]) -> None:
        try:
            if self.summary_writer is None:
                path = folder / run_folder.TENSORBOARD
                self.summary_writer = summary.create_file_writer(str(path))
            with self.summary_writer.as_default():
                for name, value in row.items():
                    if name != "epoch":
                        summary.scalar(name, value, step=int(row["epoch"]))
        # TensorBoard is a view of the run, which goes on without it.
        except tf.errors.OpError as problem:
            reason = str(problem).strip().split("\n")[0]
            console.line("note: TensorBoard's events cannot be written: " + reason)


def _set_seed(seed: int) -> None:
    """Make the initial weights a function of the seed."""
    if hasattr(keras.utils, "set_random_seed"):
        keras.utils.set_random_seed(seed)
    else:
        tf.compat.v2.random.set_seed(seed)
