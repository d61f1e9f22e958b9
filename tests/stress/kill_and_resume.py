"""Kill short runs at random moments, resume them, and compare what they end with, bit by bit.

    python -m tests.stress.kill_and_resume --kills 50

One run is left in peace. The others are killed (kill -9; on Windows TerminateProcess) wherever they
happen to be, resumed and perhaps killed again, until they are finished. Everything random is on:
dropout, stochastic depth, all augmentations, mixup, and averaged weights, AdamW and a schedule that
remembers. A checkpoint is written about every step, so that many kills hit the writing itself.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

from datasets import synthetic
from storage import checkpoints, files
from storage.run_folder import RunFolder
from tests.helpers import ROOT

THREADS = "2"
FLAGS = (
    "--patch-size 8 --patch-stride 8 "
    "--number-of-layers 2 --embedding-dim 16 --num-heads 2 --mlp-hidden-dim 32 "
    "--head-hidden-dims 32 --dropout-rate 0.1 --head-dropout-rate 0.3 --stochastic-depth-rate 0.2 "
    "--optimizer adamw --weight-decay 0.05 --ema-decay 0.9 --label-smoothing 0.1 "
    "--gradient-clip-norm 1 --patience 1 --batch-size 64 --micro-batch-size 16 --seed 7 "
    "--augmentations random_flip random_crop(padding=4) random_rotation random_shear random_zoom "
    "random_translation random_contrast random_brightness random_saturation random_hue "
    "random_erasing mixup cutmix"
).split()
# About every step.
CHECKPOINT_MINUTES = "0.0002"
# Shares of the kills that come while TensorFlow and the model are loaded, and before the process
# has saved anything; the others fall anywhere in the epochs that follow.
KILLS_WHILE_LOADING, KILLS_BEFORE_SAVING = 0.1, 0.15
EPOCHS_BETWEEN_KILLS = 5
IMAGES = {"x_train": 1000, "y_train": 1000, "x_test": 200, "y_test": 200}
LIMIT_SECONDS = 600


def main() -> None:
    """Kill, resume, compare and print the figures; exit code 1 if a run was lost or differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=20, help="of each run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    began = time.time()
    phases = collections.Counter()
    kills = runs = equal = lost = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = folder / "data.npz"
        images = synthetic.draw_dataset(seed=0)
        np.savez(str(data), **{name: images[name][:count] for name, count in IMAGES.items()})
        flags = FLAGS + ["--dataset", str(data), "--epochs", str(options.epochs)]
        process = Process(folder / "peace", flags)
        process.wait_for_checkpoint()
        first_checkpoint = time.time()
        process.wait()
        if process.process.returncode:
            sys.exit(process.text())
        epoch_seconds = (time.time() - first_checkpoint) / options.epochs
        expected = content(only_run_in(folder / "peace"))
        print(f"uninterrupted: {options.epochs} epochs, {epoch_seconds:.2f} s each")
        while kills < options.kills:
            runs += 1
            output = folder / f"run{runs}"
            process = Process(output, flags)
            while True:
                killed = kills < options.kills and process.kill_within(moments, epoch_seconds)
                if not killed:
                    process.wait()
                    break
                kills += 1
                phases.update(phase(output))
                if is_finished(output):
                    break
                process = resumed(output, flags)
            if not is_finished(output):
                lost += 1
                print(f"run {runs} is lost:\n{process.text()}")
                continue
            differences = differing(expected, content(only_run_in(output)))
            equal += not differences
            print(
                "run {:>2}: {:>2} kills so far, {}".format(
                    runs, kills, "DIFFERS in " + ", ".join(differences) if differences else "equal"
                ),
                flush=True,
            )
    print(f"\n{time.time() - began:.0f} s on {sys.version.split()[0]}")
    for name, count in sorted(phases.items()):
        print(f"  {count:>3} kills found {name}")
    print(
        f"{kills} kills, {runs} runs: {equal} bit-identical to the uninterrupted one, {lost} lost"
    )
    sys.exit(equal < runs)


class Process:
    """One process of a run, and what it prints."""

    def __init__(self, output: pathlib.Path, flags):
        self.output = output
        self.log = tempfile.TemporaryFile()
        self.began = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "train_cifar10.py", "--output-dir", str(output)]
            + ["--checkpoint-minutes", CHECKPOINT_MINUTES]
            + list(flags),
            cwd=str(ROOT),
            env=dict(
                os.environ,
                TF_NUM_INTRAOP_THREADS=THREADS,
                TF_NUM_INTEROP_THREADS=THREADS,
                OMP_NUM_THREADS=THREADS,
            ),
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def kill_within(self, moments: random.Random, epoch_seconds: float) -> bool:
        """Kill at a random moment; False if the run was finished by then."""
        kind = moments.random()
        if kind < KILLS_WHILE_LOADING:
            self._wait(moments.uniform(0, 6))
        elif kind < KILLS_WHILE_LOADING + KILLS_BEFORE_SAVING:
            self._wait(moments.uniform(6, 12))
        else:
            self.wait_for_checkpoint()
            epoch = self._epochs() + moments.randint(0, EPOCHS_BETWEEN_KILLS)
            while self._epochs() < epoch and self.process.poll() is None:
                time.sleep(0.01)
            self._wait(moments.uniform(0, epoch_seconds))
        if self.process.poll() is not None:
            return False
        self.process.kill()
        self.process.wait()
        return True

    def wait_for_checkpoint(self) -> None:
        """Wait until this process has saved something, or has ended."""
        path = "*/*/checkpoint/latest.npz"
        while self.process.poll() is None:
            # The file may be between its two renames.
            with contextlib.suppress(FileNotFoundError):
                if any(found.stat().st_mtime > self.began for found in self.output.glob(path)):
                    return
            time.sleep(0.01)

    def _epochs(self) -> int:
        """Return how many epochs the run has behind it."""
        for path in self.output.glob("*/*/history.csv"):
            return path.read_text().count("\n") - 1
        return 0

    def _wait(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def wait(self) -> None:
        self.process.wait(LIMIT_SECONDS)

    def text(self) -> str:
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")


def is_finished(output: pathlib.Path) -> bool:
    """Return whether a run has all that it is to leave behind."""
    return bool(list(output.glob("*/*/report.html")))


def only_run_in(output: pathlib.Path) -> pathlib.Path:
    """Return the folder of the one run in output."""
    return next(output.glob("*/*/settings.json")).parent


def resumed(output: pathlib.Path, flags) -> Process:
    """Resume what was killed; if that was before it had a folder, there is nothing but to begin."""
    if list(output.glob("*/*/settings.json")):
        return Process(output, ["--resume"])
    return Process(output, flags)


def phase(output: pathlib.Path):
    """Return, in words, where a killed run had come to: one phrase, or more that go together."""
    if not list(output.glob("*/*/settings.json")):
        return ["no folder yet"]
    if is_finished(output):
        return ["the finished run, on its way out"]
    found = []
    if list(output.glob("*/*/**/" + files.UNFINISHED + "*")):
        found.append("a file half written")
    folder = only_run_in(output) / "checkpoint"
    if (folder / checkpoints.PREVIOUS).exists() and not (folder / checkpoints.LATEST).exists():
        found.append("the moment between the two renames")
    checkpoint = checkpoints.load_checkpoint(folder)
    if checkpoint is None:
        return found + ["no checkpoint yet"]
    progress = checkpoint[1]["progress"]
    if progress["step"]:
        return found + ["a checkpoint inside an epoch"]
    return found + ["a checkpoint at the end of an epoch"]


def content(folder: pathlib.Path):
    """Return all that a finished run has computed, as name -> bytes."""
    found = {}
    arrays, state, _ = RunFolder(folder).load_checkpoint()
    for number, array in enumerate(arrays):
        found[f"checkpoint array {number}"] = array.tobytes()
    with h5py.File(str(RunFolder(folder).weights_h5), "r") as weights:

        def add(name, item):
            if isinstance(item, h5py.Dataset):
                found["weights.h5 " + name] = np.asarray(item).tobytes()

        weights.visititems(add)
    for row in state["progress"]["history"]:
        for name in set(row) - {"seconds", "images_per_second"}:
            found["{} of epoch {}".format(name, row["epoch"])] = repr(row[name]).encode()
    results = RunFolder(folder).read_results()
    for name in ("test_accuracy", "test_loss", "best_epoch", "epochs", "images_seen"):
        found[name] = repr(results[name]).encode()
    return found


def differing(expected, found):
    """Return the names of what is not the same in both."""
    names = sorted(set(expected) | set(found))
    return [name for name in names if expected.get(name) != found.get(name)]


if __name__ == "__main__":
    main()
