"""What a trained model says about pictures.

    python -m tools.predict RUN_DIR cat.png ship.jpg     the most probable classes of each picture
    python -m tools.predict RUN_DIR --samples 16         a grid of test images: RUN_DIR/samples.png

RUN_DIR is a run's folder, or a folder of runs: then the newest finished one.
"""

from __future__ import annotations

import argparse
import math
import os
from typing import Sequence

import numpy as np
from PIL import Image

from backend import environment
from datasets import npz_files
from reports.figures import GREEN, WRONG, new_figure, plain, save_png
from training.script import run

SHOWN_CLASSES = 5
SAMPLES = "samples.png"


def read_pictures(paths: Sequence[str], image_shape: Sequence[int]):
    """Return pictures as a model wants them, the paths that could be read, and notes.

    image_shape is (height, width, channels); the pictures become uint8 (count,) + image_shape.
    ValueError when none can be read.
    """
    height, width, channels = image_shape
    pictures, read, notes = [], [], []
    for path in paths:
        if not os.path.isfile(path):
            notes.append(f"{path}: there is no such file")
            continue
        try:
            folder = os.path.dirname(path) or "."
            pixels, _, picture_notes = npz_files.decode_images([path], 0, folder)
        except ValueError as problem:
            notes.append(str(problem))
            continue
        # Grey and colour are one kind here: what the model was trained on decides.
        picture = Image.fromarray(
            np.repeat(pixels[0], 3, axis=2) if pixels.shape[3] == 1 else pixels[0]
        )
        picture = picture.convert("L" if channels == 1 else "RGB")
        picture = picture.resize((width, height), Image.BILINEAR)
        pictures.append(np.asarray(picture).reshape(height, width, channels))
        read.append(path)
    if not pictures:
        raise ValueError("no picture can be read: {}".format("; ".join(notes)))
    return np.stack(pictures), read, notes


def answer(probabilities: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the most probable classes of one image in words; probabilities are (classes,)."""
    best = np.argsort(-probabilities, kind="stable")[:SHOWN_CLASSES]
    return ", ".join(f"{class_names[i]} {100 * probabilities[i]:.1f} %" for i in best)


def sample_grid(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    chosen: Sequence[int],
    note: str = "",
):
    """Return a figure of the chosen images, each between the model's answer and its true name.

    images (count, height, width, channels), labels (count,) and probabilities (count, classes) are
    of the same images in the same order; an image and its names are read at one and the same index.
    A green answer is right, a red one wrong. Raises ValueError for lengths that differ.
    """
    if not len(images) == len(labels) == len(probabilities):
        raise ValueError(
            f"{len(images)} images, {len(labels)} labels and {len(probabilities)} answers: "
            "expected equally many."
        )
    columns = int(math.ceil(math.sqrt(len(chosen))))
    rows = -(-len(chosen) // columns)
    figure, axes = new_figure(130 * columns, 158 * rows, rows, columns, note=note)
    cells = np.atleast_1d(axes).ravel()
    for cell, i in zip(cells, chosen):
        predicted = int(probabilities[i].argmax())
        cell.imshow(images[i].squeeze(), cmap="gray", vmin=0, vmax=255)
        is_right = predicted == labels[i]
        colour = GREEN if is_right else WRONG
        cell.set_title(plain(class_names[predicted]), fontsize=12, fontweight="bold", color=colour)
        # The empty line sets it apart from the answer for the image below.
        cell.set_xlabel(f"true: {plain(class_names[labels[i]])}\n", fontsize=11)
    for cell in cells:
        cell.grid(False)
        cell.set_xticks([])
        cell.set_yticks([])
    for cell in cells[len(chosen) :]:
        cell.set_visible(False)
    return figure


def main(argv: Sequence[str] | None = None) -> list[str]:
    """Run the command line; return the lines printed."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN_DIR", help="a run, or a folder of runs: the newest")
    parser.add_argument("pictures", metavar="IMAGE", nargs="*", help="pictures to name")
    parser.add_argument("--samples", type=int, default=0, help="so many test images in a grid")
    parser.add_argument("--seed", type=int, default=0, help="which test images (default: 0)")
    parser.add_argument(
        "--data-dir", default="", help="where the data set is, if not as in training"
    )
    arguments = parser.parse_args(argv)
    if bool(arguments.pictures) == bool(arguments.samples):
        parser.error("give pictures, or --samples N for a grid of test images")
    if arguments.samples < 0 or not 0 <= arguments.seed < 2**32:
        raise ValueError(
            f"--samples is {arguments.samples} and --seed {arguments.seed}: both must be at "
            "least 0."
        )
    environment.preflight()
    environment.select_adapter(environment.DEFAULT_ADAPTER)
    from storage.trained_run import FinishedRun

    finished = FinishedRun(arguments.run)
    if arguments.pictures:
        pictures, read, lines = read_pictures(arguments.pictures, finished.image_shape)
        for path, probabilities in zip(read, finished.probabilities(pictures)):
            lines.append(f"{path}: {answer(probabilities, finished.class_names)}")
    else:
        dataset = finished.dataset(arguments.data_dir)
        count = min(arguments.samples, len(dataset.x_test))
        # Drawn once: images, labels and answers all follow from these indices.
        chosen = np.random.RandomState(arguments.seed).permutation(len(dataset.x_test))[:count]
        images, labels = dataset.x_test[chosen], dataset.y_test[chosen]
        probabilities = finished.probabilities(images)
        figure = sample_grid(
            images, labels, probabilities, dataset.class_names, range(count), finished.note
        )
        right = int((probabilities.argmax(axis=1) == labels).sum())
        path = save_png(figure, finished.folder / SAMPLES)
        lines = [f"{right} of {count} right: {path}"]
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    run(main)
