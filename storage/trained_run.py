"""A finished run as Python objects: its settings, its model with the best weights, its data set.

Only the builders of models/builders.py are ever called, and only with numbers and words from
settings.json: a run directory from a stranger can describe a model, but no code.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from backend.runtime import keras, tf
from datasets.dataset import Dataset, load_dataset, without_folder
from models.builders import BUILDERS
from models.predictor import Predictor, softmax
from storage import weights_file
from storage.run_content import HISTORY
from storage.run_folder import RunFolder, folders_of_runs


class FinishedRun:
    """A run directory, read: `folder`, `settings`, `results`, `model`, `class_names`."""

    def __init__(self, folder: str | Path):
        """Read a run; ValueError naming the file for a folder that is not a finished run."""
        # Absolute, because it becomes the INITIAL_RUN or TEACHER_RUN of other runs.
        self.files = RunFolder(os.path.abspath(str(find(folder))))
        self.folder = self.files.path
        self.settings = self.files.read_settings()
        self.results = self.files.read_results()
        self.class_names: list[str] = self.settings["model"].get("class_names") or [
            str(number) for number in range(self.settings["dataset"]["number_of_classes"])
        ]
        self.model = self._model()
        self._predict = Predictor(self.model)

    @property
    def name(self) -> str:
        """The script and the time of the run."""
        folder = self.folder.resolve()
        return f"{folder.parent.name}/{folder.name}"

    @property
    def note(self) -> str:
        """What every figure of the run has to say beside itself."""
        return "stand-in data" if self.results.get("stand_in") else ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        return tuple(self.settings["dataset"]["image_shape"])

    @property
    def white(self) -> float:
        """The value of pictures of more than 8 bits that is white, 0 if the run had none."""
        data = self.settings.get("data")
        white = data.get("white") if isinstance(data, dict) else 0
        return float(white) if isinstance(white, (int, float)) else 0.0

    def history(self) -> list[dict[str, float]]:
        """Return history.csv, one dict for each epoch; ValueError if a column is missing."""
        history = self.files.read_history()
        for row in history[:1]:
            missing = [name for name in HISTORY if name not in row]
            if missing:
                raise ValueError(f"{self.files.history_csv} has no column {', '.join(missing)}.")
        return history

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the class probabilities (count, classes) of pixels 0..255."""
        return softmax(self._predict(images))

    def dataset(self, data_dir: str = "") -> Dataset:
        """Load the data set of the run; data_dir, if given, is where it is now.

        Raises ValueError when what is found there is not of the same images, labels and classes.
        For a run older than its checksums, the last of the data set's notes says so.
        """
        constants = self.settings["constants"]
        name = constants["DATASET"]
        if self.results.get("stand_in"):
            name = self.results["dataset"]
        dataset = load_dataset(
            without_folder(name) if data_dir else name,
            data_dir or constants["DATA_DIR"],
            image_size=constants["IMAGE_SIZE"],
            images_per_class=constants["IMAGES_PER_CLASS"],
            seed=constants["SEED"],
        )
        if dataset.is_stand_in:
            raise ValueError(
                f"The data set {name} of {self.folder} is not there: {' '.join(dataset.notes)} Say "
                "where it is with --data-dir."
            )
        # The names in their order, which is that of the logits.
        facts = dict(self.settings["dataset"], class_names=self.class_names)
        found = dict(
            image_shape=list(dataset.image_shape),
            number_of_classes=dataset.number_of_classes,
            class_names=list(dataset.class_names),
        )
        for fact, value in found.items():
            if facts[fact] != value:
                raise ValueError(
                    f"The data set {name} is another one than that of {self.folder}: its {fact} "
                    f"is {value}, was {facts[fact]}."
                )
        note = self.files.check_same_images(dataset.identity())
        return dataset._replace(notes=dataset.notes + (note,)) if note else dataset

    def _model(self) -> keras.Model:
        description: dict[str, Any] = self.settings["model"]
        if description.get("builder") not in BUILDERS:
            raise ValueError(
                f"{self.files.settings_json} names the model builder "
                f"{description.get('builder')!r}: known are {', '.join(BUILDERS)}."
            )
        path = self.files.weights_h5
        try:
            shapes = weights_file.shapes_of(path)
            with no_more_numbers_than(weights_file.numbers_in(shapes)):
                model = BUILDERS[description["builder"]](
                    **dict(description["arguments"], **self.settings["dataset"])
                )
            own = [tuple(weight.shape) for weight in model.weights]
            if sorted(own) != sorted(shapes):
                raise ValueError("they are of other shapes")
            model.load_weights(str(path))
        # Damaged or foreign files fail in h5py or Keras, each in its own way.
        except Exception as problem:
            reason = " ".join(str(problem or type(problem).__name__).split())
            raise ValueError(
                f"The weights {path} do not fit the model of the run: {reason}"
            ) from None
        return model


@contextlib.contextmanager
def no_more_numbers_than(limit: int) -> Iterator[None]:
    """Raise ValueError as soon as the variables that are made in this block have more numbers.

    A description of a model is a few words, whatever the memory and the time that it asks for.
    """
    left = [limit]

    def create(next_creator, **arguments):
        # Keras gives the shape of every weight; other variables are states of random numbers.
        if arguments.get("shape") is not None:
            left[0] -= tf.TensorShape(arguments["shape"]).num_elements()
        if left[0] < 0:
            raise ValueError(f"it has more than the {limit:,} numbers of the file")
        return next_creator(**arguments)

    with tf.variable_creator_scope(create):
        yield


def find(folder: str | Path) -> Path:
    """Return a finished run's folder: the one given or, of a folder of runs, the newest finished.

    Raises ValueError where there is none.
    """
    found = RunFolder(folder)
    if found.exists:
        if not found.has_results:
            raise ValueError(f"The run in {found} is not finished: resume it first.")
        return found.path
    finished = [run for run in folders_of_runs(folder) if run.has_results]
    if not finished:
        raise ValueError(
            f"{found} is neither a finished run nor a folder with one: train it first."
        )
    return finished[-1].path
