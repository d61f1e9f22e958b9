"""What a trained model says about pictures.

    python -m tools.predict RUN_DIR cat.png ship.jpg     the most probable classes of each picture
    python -m tools.predict RUN_DIR --samples 16         a grid of test images: RUN_DIR/samples.png

RUN_DIR is a run's folder, or a folder of runs: then the newest finished one.
"""

import argparse
import math
import os
from typing import List, Optional, Sequence

import numpy as np
from PIL import Image

import data_files
import environment
from command_line import run
from figures import GREEN, WRONG, new_figure, plain, save_png

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
            notes.append("{}: there is no such file".format(path))
            continue
        try:
            folder = os.path.dirname(path) or "."
            pixels, _, picture_notes = data_files.decode_images([path], 0, folder)
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
    return ", ".join("{} {:.1f} %".format(class_names[i], 100 * probabilities[i]) for i in best)


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
            "{} images, {} labels and {} answers: expected equally many.".format(
                len(images), len(labels), len(probabilities)
            )
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
        cell.set_xlabel("true: {}\n".format(plain(class_names[labels[i]])), fontsize=11)
    for cell in cells:
        cell.grid(False)
        cell.set_xticks([])
        cell.set_yticks([])
    for cell in cells[len(chosen) :]:
        cell.set_visible(False)
    return figure


def main(argv: Optional[Sequence[str]] = None) -> List[str]:
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
            "--samples is {} and --seed {}: both must be at least 0.".format(
                arguments.samples, arguments.seed
            )
        )
    environment.preflight()
    environment.select_adapter(environment.DEFAULT_ADAPTER)
    from finished_runs import FinishedRun

    finished = FinishedRun(arguments.run)
    if arguments.pictures:
        pictures, read, lines = read_pictures(arguments.pictures, finished.image_shape)
        for path, probabilities in zip(read, finished.probabilities(pictures)):
            lines.append("{}: {}".format(path, answer(probabilities, finished.class_names)))
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
        lines = ["{} of {} right: {}".format(right, count, path)]
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    run(main)
