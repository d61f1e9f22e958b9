"""What MICRO_BATCH_SIZE costs and saves: images per second and memory of a batch of 512 in pieces.

    python -m benchmarks.micro_batches [--json FILE]

Each size is a process of its own, because a process never gives back its peak of memory; the sizes
take turns. Memory is the growth of the peak from before the first step, data aside: what a step
needs for activations, gradients and optimizer. The default model without dropout.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Dict

import numpy as np

import files
from benchmarks import timing

BATCH_SIZE = 512
SIZES = (32, 64, 128, 256, 512)


def one_size(size: int, steps: int = 4) -> Dict[str, float]:
    """Train some steps in pieces of `size` in this process; return the figures."""
    from benchmarks.throughput import MEAN, STD, Settings
    from runtime import tf
    from training import training_step_for
    from vit_model import vision_transformer

    random = np.random.RandomState(0)
    images = tf.constant(random.randint(0, 256, (BATCH_SIZE, 32, 32, 3)).astype(np.uint8))
    labels = tf.constant(random.randint(0, 10, BATCH_SIZE).astype(np.int32))
    model = vision_transformer((32, 32, 3), 10, MEAN, STD)
    step = training_step_for(model, Settings(BATCH_SIZE=BATCH_SIZE, MICRO_BATCH_SIZE=size))
    before = timing.peak_bytes()
    seconds = []
    for number in range(2 + steps):
        started = time.perf_counter()
        float(step(images, labels, number, 1e-3)[0])
        seconds.append(time.perf_counter() - started)
    return {
        "images_per_second": BATCH_SIZE / float(np.median(seconds[2:])),
        "megabytes": (timing.peak_bytes() - before) / 1e6,
    }


def main(argv=None) -> None:
    """Measure every size, print a table and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each size")
    parser.add_argument("--json", help="file to write the figures to")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.size:
        print(json.dumps(one_size(arguments.size)))
        return
    figures = dict(timing.machine(), rows={})
    rounds = {size: [] for size in SIZES}
    for _ in range(arguments.rounds):
        for size, found in rounds.items():
            command = [sys.executable, "-m", "benchmarks.micro_batches", "--size", str(size)]
            found.append(json.loads(subprocess.check_output(command).splitlines()[-1]))
    print("| images per pass | images/s | peak memory of a step |")
    print("|---|---|---|")
    for size, found in rounds.items():
        row = {key: float(np.median([one[key] for one in found])) for key in found[0]}
        figures["rows"][size] = row
        print("| {} | {images_per_second:.0f} | {megabytes:.0f} MB |".format(size, **row))
    if arguments.json:
        files.write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
