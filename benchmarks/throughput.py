"""Images per second of the default model: ours, stock Keras layers, plain PyTorch; side by side.

    python -m benchmarks.throughput [--batches 32 64 128 256 512] [--quick] [--json FILE]

All have the same parameters and, with shared weights, the same logits; both are checked before any
clock starts. Float32, Adam, no dropout. Each contender is a process of its own with the threads
that suit it: ours as train_cifar10.py sets them, the others their framework's own choice. They take
turns; a figure is the median over rounds and a ratio the median of the ratios within a round.
PyTorch is compared where it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
from functools import partial
from typing import Any, Callable

import numpy as np

from benchmarks import timing
from storage import files

OURS = "ours"
OUR_FACTORY = "benchmarks.default_model:contender"
TWINS = {
    "stock Keras": "benchmarks.keras_twin:contender",
    "PyTorch eager": "benchmarks.pytorch_twin:contender",
    "PyTorch compiled": "benchmarks.pytorch_twin:compiled_contender",
}
# The data set's, of each channel.
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
# Matrix products of one image: 2 operations for every weight that a token meets, and the attention.
TOKENS, DIM, HIDDEN, LAYERS, HEAD = 64, 64, 256, 8, (4096, 512, 256, 10)
ATTENTION = 2 * 2 * TOKENS * TOKENS * DIM
BLOCK = 2 * TOKENS * (4 * DIM * DIM + 2 * DIM * HIDDEN) + ATTENTION
INFERENCE_FLOPS = (
    2 * TOKENS * 48 * DIM + LAYERS * BLOCK + sum(2 * a * b for a, b in zip(HEAD, HEAD[1:]))
)
# The gradients by weights and by inputs are one more product of the same size each.
FLOPS = {"training": 3 * INFERENCE_FLOPS, "inference": INFERENCE_FLOPS}


def check_same_network(contenders: dict[str, Callable]) -> None:
    """Raise AssertionError unless all have as many parameters and the same logits."""
    parameters = {name: call("parameters") for name, call in contenders.items()}
    assert len(set(parameters.values())) == 1, parameters
    expected = contenders[OURS]("inference")
    for name, call in contenders.items():
        np.testing.assert_allclose(call("inference"), expected, atol=1e-3, err_msg=name)


def measure(batch_size: int, twins: list[str], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Return the figures of training and of inference at one batch size."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (batch_size, 32, 32, 3)).astype(np.uint8)
    labels = random.randint(0, 10, batch_size).astype(np.int32)
    data = (images, labels, MEAN, STD)
    with contextlib.ExitStack() as processes:
        ours = processes.enter_context(timing.Contender(OURS, OUR_FACTORY, *data))
        contenders, weights = {OURS: ours}, ours("weights")
        for name in twins:
            contenders[name] = processes.enter_context(
                timing.Contender(name, TWINS[name], *data, weights)
            )
        check_same_network(contenders)
        runtimes = {name: call("runtime") for name, call in contenders.items()}
        return [
            dict(_figures(kind, contenders, batch_size, rounds, seconds), runtimes=runtimes)
            for kind in FLOPS
        ]


def _figures(
    kind: str, contenders: dict[str, Callable], batch_size: int, rounds: int, seconds: float
) -> dict[str, Any]:
    twins = [name for name in contenders if name != OURS]
    turns = {name: partial(call, kind) for name, call in contenders.items()}
    # One matrix product by each framework, in the threads of its twin; the fastest is the ceiling.
    products = {name + ", product": partial(contenders[name], "product") for name in twins}
    times = timing.interleaved(dict(turns, **products), rounds, seconds)
    speeds = {name: batch_size / float(np.median(times[name])) for name in contenders}
    ceiling = max(timing.PRODUCT_FLOPS / float(np.median(times[name])) for name in products)
    return {
        "kind": kind,
        "batch": batch_size,
        "flops_per_image": FLOPS[kind],
        "images_per_second": speeds,
        "ratio": {name: timing.ratio(times, OURS, name) for name in twins},
        "ceiling_gflops": ceiling / 1e9,
        "share_of_ceiling": {name: speeds[name] * FLOPS[kind] / ceiling for name in speeds},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table: images/s and, in brackets, ours divided by it."""
    twins = list(rows[0]["ratio"])
    lines = [
        "| | batch | ours | " + " | ".join(twins) + " | ceiling, GFLOP/s | ours of it |",
        "|---" * (len(twins) + 5) + "|",
    ]
    for row in rows:
        speeds = row["images_per_second"]
        cells = [row["kind"], str(row["batch"]), f"{speeds[OURS]:.0f}"]
        cells += ["{:.0f} ({:.2f} x)".format(speeds[name], row["ratio"][name]) for name in twins]
        cells.append("{:.0f}".format(row["ceiling_gflops"]))
        cells.append("{:.0f} %".format(100 * row["share_of_ceiling"][OURS]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv=None) -> None:
    """Measure, print a table and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128, 256, 512])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--quick", action="store_true", help="batch 512, short, no torch.compile")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument("--json", help="file to write the figures to")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.batches, arguments.rounds, arguments.seconds = [512], 3, 0.5
    twins = ["stock Keras"]
    if importlib.util.find_spec("torch"):
        twins.append("PyTorch eager")
        if not (arguments.quick or arguments.no_compile):
            twins.append("PyTorch compiled")
    machine, rows = timing.machine(), []
    for batch_size in arguments.batches:
        rows += measure(batch_size, twins, arguments.rounds, arguments.seconds)
    rows.sort(key=lambda row: (row["kind"] != "training", row["batch"]))
    print("{processor}, {cores} cores, load {load_before} before".format(**machine))
    for name, runtime in rows[0]["runtimes"].items():
        print(f"{name}: {runtime}")
    print("\n" + table(rows))
    if arguments.json:
        files.write_json(arguments.json, dict(machine, rows=rows))


if __name__ == "__main__":
    main()
