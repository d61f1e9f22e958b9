"""The training loop: epochs, validation, checkpoints, and the one look at the test images."""

from __future__ import annotations

import time
from typing import Any, Iterator, Sequence

import numpy as np

from backend.runtime import device_name, runtime_name, versions
from datasets.batches import training_batches
from models.predictor import softmax
from reports.metrics import accuracy_and_loss, balance, confusion_matrix, scores_for_json
from storage.run_folder import RunFolder
from training import console, initial_weights
from training.event_writer import EventWriter
from training.run import Run
from training.stop_signals import StopSignals


class DivergenceError(ValueError):
    """The loss has become infinite or NaN."""


class Trainer:
    """Train a run to its end, in its folder: `fit`, then `test`; after `restore`, go on."""

    def __init__(
        self,
        run: Run,
        folder: RunFolder,
        stop_signals: StopSignals,
        seed: int = 0,
        checkpoint_minutes: float = 5.0,
    ):
        self.run = run
        self.folder = folder
        self.stop_signals = stop_signals
        self.seed = seed
        self.checkpoint_minutes = checkpoint_minutes
        self.step, self.predict, self.progress = run.step, run.predict, run.progress
        self.best_weights: Sequence[np.ndarray] = []
        self.events = EventWriter(folder.tensorboard)

    def fit(self) -> None:
        """Train until the epochs, the time or the patience are used up.

        A signal to stop ends the step that is running, saves and raises KeyboardInterrupt.
        """
        batches = self.batches()
        with self.stop_signals.postponed():
            while not self.progress.is_finished and not self.stop_signals.received:
                self.train_epoch(batches)
                if not self.stop_signals.received:
                    self.validate()
                self.save()

    def batches(self) -> Iterator:
        """Return the batches of all epochs that are left."""
        run, progress = self.run, self.progress
        return iter(
            training_batches(
                run.dataset.x_train,
                run.dataset.y_train,
                progress.batch_size,
                run.augment,
                self.seed,
                progress.epochs,
                first_epoch=progress.epoch,
                first_step=progress.step,
                indices=run.training_indices,
            )
        )

    def train_epoch(self, batches: Iterator) -> None:
        """Train to the end of the running epoch, of the time limit, or to a signal."""
        progress = self.progress
        last_save = clock = time.perf_counter()
        with console.progress_bar(progress) as bar:
            while progress.is_in_epoch:
                images, labels = next(batches)
                loss, accuracy = self.step(
                    images, labels, progress.steps_done, progress.learning_rate
                )
                loss, accuracy = float(loss), float(accuracy)
                self.check_finite("loss", loss)
                now = time.perf_counter()
                pause = progress.count_step(loss, accuracy, now - clock)
                clock = now
                console.advance(bar, progress, pause)
                if self.stop_signals.received:
                    break
                if now - last_save > 60 * self.checkpoint_minutes > 0:
                    self.save()
                    last_save = time.perf_counter()

    def validate(self) -> None:
        """End an epoch: validate, keep the best weights, write the history."""
        progress, weights = self.progress, self.step.evaluation_weights()
        started = time.perf_counter()
        labels = self.run.validation_labels
        logits = self.predict(self.run.validation_images, weights)
        accuracy, top5, loss = accuracy_and_loss(logits, labels)
        self.check_finite("validation loss", loss)
        score = accuracy
        if self.step.class_weights:
            # Chosen by the accuracy, the best weights could be those that ignore a rare class.
            predictions = logits.argmax(axis=1)
            matrix = confusion_matrix(labels, predictions, logits.shape[1])
            score = balance(matrix).balanced_accuracy
        seconds = time.perf_counter() - started
        is_best = progress.end_epoch(accuracy, top5, loss, seconds, score)
        if is_best:
            self.best_weights = weights
            self.write_best_weights()
        self.folder.write_history(progress.history)
        self.events.write(progress.history[-1])
        console.epoch_line(progress.history[-1], progress.epochs, is_best, progress.seconds_left)

    def test(self) -> dict[str, Any]:
        """Look at the test images once, with the best weights; write the results and the report."""
        # Not at the top: loading the drawing library would delay every start by half a second.
        from reports import report

        dataset, progress = self.run.dataset, self.progress
        self.run.model.set_weights(self.best_weights)
        self.write_best_weights()
        logits = self.predict(dataset.x_test)
        accuracy, top5, loss = accuracy_and_loss(logits, dataset.y_test)
        predictions = logits.argmax(axis=1)
        matrix = confusion_matrix(dataset.y_test, predictions, dataset.number_of_classes)
        training_seconds = sum(row["seconds"] for row in progress.history)
        results = {
            "dataset": dataset.name,
            "stand_in": dataset.is_stand_in,
            "test_accuracy": accuracy,
            "test_top5_accuracy": top5,
            "test_loss": loss,
            "validation_accuracy": progress.history[progress.best_epoch - 1]["validation_accuracy"],
            **scores_for_json(matrix, dataset.class_names),
            "training_images": len(self.run.training_indices),
            "parameters": self.run.parameters,
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "images_seen": progress.images_seen,
            "train_minutes": progress.seconds / 60,
            "images_per_second": progress.images_seen / max(training_seconds, 1e-9),
            "device": device_name(),
            "runtime": runtime_name(),
            "seed": self.seed,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        # Before the report: these numbers mean that the run is finished, whatever a picture may do.
        self.folder.write_results(results)
        saved = self.folder.read_settings()
        report.write_report(
            self.folder.path,
            dict(
                saved["constants"],
                command=saved["command"],
                changed_constants=saved.get("changed_constants"),
                git_commit=saved["git_commit"],
            ),
            results,
            progress.history,
            dataset.x_test,
            dataset.y_test,
            softmax(logits),
            dataset.class_names,
        )
        return results

    def save(self) -> None:
        """Write all that is needed to go on from here as if nothing had happened."""
        arrays = [variable.numpy() for variable in self.step.state()] + list(self.best_weights)
        # The loss of a step is that of the weights before it: these may be lost all the same.
        for array in arrays:
            self.check_finite("weights or their moments", array)
        self.folder.save_checkpoint(arrays, self.progress.state)

    def restore(self) -> None:
        """Go back to the newest sound checkpoint of the run, if it has one."""
        checkpoint = self.folder.load_checkpoint()
        if checkpoint is None:
            console.line(f"The run in {self.folder} has no checkpoint yet: starting it anew.")
            return
        arrays, state, problem = checkpoint
        if problem:
            console.warning("an older checkpoint is used", problem)
        note = self.folder.versions_note(versions())
        if note:
            console.line(f"note: {note}")
        variables = self.step.state()
        expected = [(tuple(v.shape), v.dtype.as_numpy_dtype) for v in variables]
        if not self.progress.is_state(state) or [(a.shape, a.dtype) for a in arrays] != (
            expected
            + (expected[: len(self.run.model.weights)] if state["progress"]["best_epoch"] else [])
        ):
            raise ValueError(f"The checkpoint in {self.folder} is not one of this run.")
        for variable, array in zip(variables, arrays):
            variable.assign(array)
        self.best_weights = arrays[len(variables) :]
        self.progress.restore(state)
        console.line(
            f"Resuming {self.folder} at epoch {self.progress.epoch + 1}, step {self.progress.step}."
        )

    def change(self, changes: Sequence[dict[str, Any]], **repetition: Any) -> None:
        """Go on with other constants, of which the run's folder keeps a record.

        changes are those of training.settings.Settings, repetition is for the record. Raises
        ValueError where there would be nothing to train.
        """
        if not changes:
            return
        progress = self.progress
        if progress.is_finished:
            raise ValueError(
                f"The run in {self.folder} has nothing left to train: it has ended by its EPOCHS, "
                "or by its EARLY_STOPPING_PATIENCE."
            )
        self.folder.record_changes(changes, progress.epoch, progress.step, **repetition)
        for each in changes:
            console.line(f"note: {each['constant']} is {each['to']}, was {each['from']}.")

    def write_best_weights(self) -> None:
        """Write weights.h5, and leave the model's own weights as they are."""
        model = self.run.model
        own = model.get_weights()
        model.set_weights(self.best_weights)
        # Keras writes the weights of frozen layers in another order.
        with initial_weights.thawed(model):
            self.folder.write_weights(model)
        model.set_weights(own)

    def check_finite(self, what: str, values) -> None:
        """Raise DivergenceError that says what to do if any of the values is not finite."""
        if np.isfinite(values).all():
            return
        latest = self.folder.latest_checkpoint
        checkpoint = f"The last good checkpoint is {latest}"
        if not latest.exists():
            checkpoint = "There is no checkpoint yet"
        raise DivergenceError(
            f"The {what} became NaN or infinite at step {self.progress.step + 1} of epoch "
            f"{self.progress.epoch + 1}. {checkpoint}. A lower LEARNING_RATE, WARMUP_EPOCHS or "
            "GRADIENT_CLIP_NORM 1.0 may help."
        )
