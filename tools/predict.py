"""What a trained model predicts for pictures.

    python -m tools.predict RUN_DIR cat.png ship.jpg     the most probable classes of each picture
    python -m tools.predict RUN_DIR FOLDER --output answers.csv     the same for all in a folder
    python -m tools.predict RUN_DIR --samples 16         a grid of test images: RUN_DIR/samples.png

RUN_DIR is a run's folder, or a folder of runs: then the newest finished one.
"""

from __future__ import annotations

import csv
import io
import math
import os
import sys
from typing import Sequence

import numpy as np

from datasets.pictures import read_picture
from datasets.random_streams import random_stream
from reports.figures import GREEN, WRONG, new_figure, plain, save_png, show_image
from storage.files import write_json, write_text
from tools.command_line import dataset_of, finished_run, picture_paths, say, tool_parser
from training.script import run

SHOWN_CLASSES = 5
SAMPLES = "samples.png"


def read_pictures(paths: Sequence[str], image_shape: Sequence[int], white: float = 0):
    """Return pictures as input of a model, the paths that could be read, and notes on the others.

    image_shape is (height, width, channels); the pictures become uint8 (count,) + image_shape.
    Raises ValueError when none can be read.
    """
    pictures, read, notes = [], [], []
    for path in paths:
        if not os.path.isfile(path):
            notes.append(f"{path}: there is no such file")
            continue
        try:
            pictures.append(read_picture(path, image_shape, white))
        except ValueError as problem:
            notes.append(str(problem))
            continue
        read.append(path)
    if not pictures:
        raise ValueError(f"no picture can be read: {'; '.join(notes)}")
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
        show_image(cell, images[i])
        is_right = predicted == labels[i]
        colour = GREEN if is_right else WRONG
        cell.set_title(plain(class_names[predicted]), fontsize=12, fontweight="bold", color=colour)
        # The empty line separates it from the answer for the image below.
        cell.set_xlabel(f"true: {plain(class_names[labels[i]])}\n", fontsize=11)
    for cell in cells[len(chosen) :]:
        cell.set_visible(False)
    return figure


def answers_for_pictures(finished, paths: Sequence[str], output: str = "") -> tuple[list, list]:
    """Return an answer for each picture, and notes on those that could not be read.

    output: the .csv or .json file that the answers are also written to.
    """
    pictures, read, notes = read_pictures(paths, finished.image_shape, finished.white)
    all_probabilities = finished.probabilities(pictures)
    answers = [
        f"{path}: {answer(probabilities, finished.class_names)}"
        for path, probabilities in zip(read, all_probabilities)
    ]
    if output:
        write_answers(output, read, all_probabilities, finished.class_names)
    return answers, notes


def write_answers(
    output: str, paths: Sequence[str], probabilities: np.ndarray, class_names: Sequence[str]
) -> None:
    """Write the SHOWN_CLASSES most probable classes of each picture as .csv or .json.

    probabilities are (pictures, classes). Raises ValueError for another ending.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :SHOWN_CLASSES]
    rows = [
        [(class_names[i], float(row[i])) for i in order] for row, order in zip(probabilities, best)
    ]
    if output.endswith(".json"):
        answers = [
            {"picture": path, "classes": [{"name": n, "probability": p} for n, p in row]}
            for path, row in zip(paths, rows)
        ]
        write_json(output, answers)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranks = range(1, best.shape[1] + 1)
    writer.writerow(
        ["picture"] + [f"{word}_{n}" for n in ranks for word in ("class", "probability")]
    )
    for path, row in zip(paths, rows):
        writer.writerow([path] + [value for pair in row for value in pair])
    write_text(output, text.getvalue())


def answers_for_samples(finished, dataset, count: int, seed: int) -> list[str]:
    """Draw `count` random test images with their answers; return a line that says where."""
    count = min(count, len(dataset.x_test))
    # Chosen once: images, labels and answers all follow from these indices.
    chosen = random_stream(seed, "samples").permutation(len(dataset.x_test))[:count]
    images, labels = dataset.x_test[chosen], dataset.y_test[chosen]
    probabilities = finished.probabilities(images)
    figure = sample_grid(
        images, labels, probabilities, dataset.class_names, range(count), finished.note
    )
    correct = int((probabilities.argmax(axis=1) == labels).sum())
    path = save_png(figure, finished.folder / SAMPLES)
    return [f"{correct} of {count} correct: {path}"]


def main(argv: Sequence[str] | None = None) -> list[str]:
    """Run the command line; return the lines printed."""
    answers, notes = answers_and_notes(argv)
    return answers + notes


def answers_and_notes(argv: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """Run the command line; return the answers and what could not be read, both printed."""
    parser = tool_parser("predict", __doc__)
    parser.add_argument("run", metavar="RUN_DIR", help="a run, or a folder of runs: the newest")
    parser.add_argument(
        "pictures", metavar="IMAGE", nargs="*", help="pictures, folders or patterns to classify"
    )
    parser.add_argument("--output", default="", help="also write the answers: a .csv or .json file")
    parser.add_argument("--samples", type=int, default=0, help="draw this many test images")
    parser.add_argument("--seed", type=int, default=0, help="which test images (default: 0)")
    arguments = parser.parse_args(argv)
    if bool(arguments.pictures) == bool(arguments.samples):
        parser.error("give pictures, or --samples N for a grid of test images")
    if arguments.samples < 0:
        raise ValueError(f"--samples is {arguments.samples}: it must be at least 1.")
    if not 0 <= arguments.seed < 2**32:
        raise ValueError(f"--seed is {arguments.seed}: it must be from 0 to {2**32 - 1}.")
    if arguments.output and not arguments.output.endswith((".csv", ".json")):
        raise ValueError(f"--output is {arguments.output}: it must end in .csv or .json.")
    finished = finished_run(arguments.run)
    notes = []
    if arguments.pictures:
        paths = picture_paths(arguments.pictures)
        answers, notes = answers_for_pictures(finished, paths, arguments.output)
    else:
        dataset = dataset_of(finished, arguments.data_dir)
        answers = answers_for_samples(finished, dataset, arguments.samples, arguments.seed)
    say(answers + notes)
    return answers, notes


def command() -> None:
    """Run the command line; exit code 1 when a picture could not be read."""
    if answers_and_notes()[1]:
        sys.exit(1)


if __name__ == "__main__":
    run(command)
