"""Where the time of one training step goes: microseconds per image by kind of operation.

    python -m benchmarks.profile_step [--micro-batch-size 32]

One gradient pass of the default model on one core, as TensorFlow's own profiler sees it; needs
TensorFlow 2.10 or later. Beside it stands the least that the pass can take on this core: all its
matrix products at the speed of a large one.
"""

from __future__ import annotations

import argparse
import collections
import glob
import importlib
import os
import tempfile

import numpy as np

from backend.runtime import runtime_name, tf
from benchmarks import default_model, timing
from benchmarks.throughput import FLOPS, MEAN, STD

# The same message type, where two generations of TensorFlow keep it.
XPLANE_MODULES = (
    "tensorflow.tsl.profiler.protobuf.xplane_pb2",
    "tensorflow.core.profiler.protobuf.xplane_pb2",
)
PASSES = 8


def operation_seconds(call) -> dict[str, float]:
    """Return the seconds in each type of operation during one of several calls, all traced."""
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(PASSES):
            call()
        tf.profiler.experimental.stop()
        path = glob.glob(os.path.join(folder, "**", "*.xplane.pb"), recursive=True)[0]
        with open(path, "rb") as file:
            space = _xplane().XSpace.FromString(file.read())
    seconds = collections.Counter()  # type: Dict[str, float]
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                # "name_of_the_node:TypeOfTheOperation"; other events have no such type.
                name, _, kind = plane.event_metadata[event.metadata_id].name.partition(":")
                if kind.split("#")[0].isidentifier() and "::" not in name + ":" + kind:
                    seconds[kind.split("#")[0]] += event.duration_ps * 1e-12 / PASSES
    return seconds


def _xplane():
    for name in XPLANE_MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ImportError("This TensorFlow has no profile format that is known here.")


def main(argv=None) -> None:
    """Profile the gradient passes of one graph and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--micro-batch-size", type=int, default=-1, help="images per pass")
    arguments = parser.parse_args(argv)
    # One core for one pass, so that nothing runs beside it and times add up.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    _, step = default_model.model_and_step(
        default_model.settings_for(512, arguments.micro_batch_size), MEAN, STD
    )
    count = step.images_at_once
    random = np.random.RandomState(0)
    images = tf.constant(random.randint(0, 256, (count, 32, 32, 3)).astype(np.uint8))
    labels = tf.constant(random.randint(0, 10, count).astype(np.int32))
    add_gradients, zero = tf.function(step.add_gradients), tf.constant(0)
    matrix = tf.constant(timing.square_matrix())
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
    times = timing.interleaved(
        {
            "pass": lambda: float(add_gradients(images, labels, zero, zero)[0]),
            "product": lambda: float(product()),
        },
        rounds=7,
        seconds=0.5,
    )
    seconds = operation_seconds(lambda: float(add_gradients(images, labels, zero, zero)[0]))
    speed = timing.PRODUCT_FLOPS / float(np.median(times["product"]))
    whole, least = float(np.median(times["pass"])) / count, FLOPS["training"] / speed
    print("{}; {processor}".format(runtime_name(), **timing.machine()))
    print(f"one core, {count} images in {count // step.micro_batch_size} passes\n")
    print("| operation | microseconds per image | of all |\n|---|---|---|")
    everything = sum(seconds.values())
    for kind, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        if spent > 0.005 * everything:
            print(f"| {kind} | {1e6 * spent / count:.0f} | {spent / everything:.0%} |")
    print(f"\nNot profiled, a pass takes {1e6 * whole:.0f} us per image.")
    print(
        "Its matrix products alone, {:.0f} MFLOP at the {:.0f} GFLOP/s of a large one, would take "
        "{:.0f} us: {:.0%}.".format(
            FLOPS["training"] / 1e6, speed / 1e9, 1e6 * least, least / whole
        )
    )


if __name__ == "__main__":
    main()
