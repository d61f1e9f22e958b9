"""What MICRO_BATCH_SIZE costs and saves: images per second and memory of a batch of 512 in pieces.

    python -m benchmarks.micro_batches [--sizes 16 32 64 128 256 0] [--at-once 1] [--json FILE]

Each size (0: the whole batch) is a process of its own, because a process never gives back its peak
of memory; the sizes take turns. Memory is the growth of the peak from before the first step, data
aside: what a step needs for activations, gradients and optimizer. With --at-once 1 one pass runs at
a time, as on a GPU. The default model without dropout.
"""

from __future__ import annotations

import argparse
import time
from typing import Callable

import numpy as np

from benchmarks import timing
from storage import files

BATCH_SIZE = 512
STEPS = 4


def one_size(size: int, at_once: int) -> dict[str, Callable]:
    """Return a call that trains some steps in pieces of `size` and returns the figures."""
    # Not at the top: only the processes that measure load TensorFlow.
    from backend.runtime import tf
    from benchmarks import default_model

    random = np.random.RandomState(0)
    settings = default_model.settings_for(BATCH_SIZE, size)
    _, step = default_model.model_and_step(settings, (127.5,) * 3, (64.0,) * 3, at_once)
    images = tf.constant(random.randint(0, 256, (BATCH_SIZE, 32, 32, 3)).astype(np.uint8))
    labels = tf.constant(random.randint(0, 10, BATCH_SIZE).astype(np.int32))

    def figures():
        before = timing.peak_bytes()
        seconds = []
        for number in range(2 + STEPS):
            started = time.perf_counter()
            float(step(images, labels, number, 1e-3)[0])
            seconds.append(time.perf_counter() - started)
        return {
            "images_per_second": BATCH_SIZE / float(np.median(seconds[2:])),
            "megabytes": (timing.peak_bytes() - before) / 1e6,
        }

    return {"figures": figures}


def main(argv=None) -> None:
    """Measure every size, print a table and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64, 128, 256, 0])
    parser.add_argument(
        "--at-once",
        type=int,
        default=0,
        help="passes side by side; 0 = as many as suit this device",
    )
    parser.add_argument("--rounds", type=int, default=3, help="processes of each size")
    parser.add_argument("--json", help="file to write the figures to")
    arguments = parser.parse_args(argv)
    figures = dict(timing.machine(), rows={})
    rounds = {size: [] for size in arguments.sizes}
    for _ in range(arguments.rounds):
        for size, found in rounds.items():
            name = f"pieces of {size or BATCH_SIZE}"
            factory = "benchmarks.micro_batches:one_size"
            with timing.Contender(name, factory, size, arguments.at_once) as contender:
                found.append(contender("figures"))
    print("| images per pass | images/s | peak memory of a step |")
    print("|---|---|---|")
    for size, found in rounds.items():
        row = {key: float(np.median([one[key] for one in found])) for key in found[0]}
        figures["rows"][size or BATCH_SIZE] = row
        print(
            "| {} | {images_per_second:.0f} | {megabytes:.0f} MB |".format(
                size or BATCH_SIZE, **row
            )
        )
    if arguments.json:
        files.write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
