"""What saving inside an epoch costs at the default setting, measured beside training itself.

    python -m benchmarks.checkpoint_cost

The default model trains on drawn images, once without saving and once saving every few steps, in
turn and several times over, so that whatever else the machine does hits both alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time

import train_cifar10
from datasets.dataset import load_dataset
from storage.run_folder import RunFolder
from training.run import prepare
from training.settings import settings_from
from training.stop_signals import StopSignals
from training.trainer import Trainer

LIMIT = 0.02


def main() -> None:
    """Measure and print; exit code 1 when saving costs more than LIMIT of the training time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2, help="of each measurement, of 512 images")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    settings = settings_from(vars(train_cifar10), ["--dataset", "synthetic"])
    settings.EPOCHS = 1000
    run = prepare(train_cifar10.build_model(settings), settings, load_dataset("synthetic"))

    with tempfile.TemporaryDirectory() as folder:
        folder = RunFolder(folder)
        trainer = Trainer(run, folder, StopSignals(), settings.SEED)
        # A run has these after its first epoch.
        trainer.best_weights = run.step.evaluation_weights()
        batches = trainer.batches()

        def train(step):
            images, labels = next(batches)
            float(run.step(images, labels, step, 1e-3)[0])

        train(0)
        trainer.save()
        without, with_saving, saves = [], [], []
        for _ in range(options.rounds):
            without.append(seconds(lambda: [train(step) for step in range(options.steps)]))
            began = time.perf_counter()
            for step in range(options.steps):
                train(step)
            saves.append(seconds(trainer.save))
            with_saving.append(time.perf_counter() - began)
        size = folder.latest_checkpoint.stat().st_size
    interval = 60 * settings.CHECKPOINT_MINUTES
    one_save = statistics.median(saves)
    share = one_save / interval
    difference = statistics.median(with_saving) - statistics.median(without)
    print(f"model: {run.parameters:,} parameters, checkpoint: {size / 1e6:.1f} MB")
    print(
        f"{options.steps} steps: {statistics.median(without):.3f} s; the same with one save: "
        f"{statistics.median(with_saving):.3f} s; difference {difference:+.3f} s (medians of "
        f"{options.rounds})"
    )
    print(
        f"one save: {one_save:.3f} s (slowest {max(saves):.3f}); every "
        f"{settings.CHECKPOINT_MINUTES:g} minutes that is {100 * share:.3f} % of the time, "
        f"with the slowest {100 * max(saves) / interval:.3f} %; limit {100 * LIMIT:g} %"
    )
    sys.exit(max(saves) / interval > LIMIT or difference / interval > LIMIT)


def seconds(action) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
