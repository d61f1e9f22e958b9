"""Images per second of the default model: ours, stock Keras layers, plain PyTorch; side by side.

    python -m benchmarks.throughput [--batches 32 64 128 256 512] [--quick] [--json FILE]

All have the same parameters and, with shared weights, the same logits; both are checked before any
clock starts. Float32, Adam, no dropout. Contenders take turns; a figure is the median over rounds
and a ratio the median of the ratios within a round. PyTorch is compared where it is installed.
"""

import argparse
from functools import partial
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

import default_settings
import files
import training
from benchmarks import keras_twin, timing
from runtime import keras, runtime_name, tf
from training_step import Predictor
from vit_model import vision_transformer

try:
    import torch

    from benchmarks import pytorch_twin
except ImportError:
    torch = None

OURS, STOCK, EAGER, COMPILED = "ours", "stock Keras", "PyTorch eager", "PyTorch compiled"
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
# Matrix products of one image: 2 operations for every weight that a token meets, and the attention.
TOKENS, DIM, HIDDEN, LAYERS, HEAD = 64, 64, 256, 8, (4096, 512, 256, 10)
ATTENTION = 2 * 2 * TOKENS * TOKENS * DIM
BLOCK = 2 * TOKENS * (4 * DIM * DIM + 2 * DIM * HIDDEN) + ATTENTION
INFERENCE_FLOPS = (
    2 * TOKENS * 48 * DIM + LAYERS * BLOCK + sum(2 * a * b for a, b in zip(HEAD, HEAD[1:]))
)
# The gradients by weights and by inputs are one more product of the same size each.
TRAINING_FLOPS = 3 * INFERENCE_FLOPS


class Settings:
    """The defaults of default_settings.py as training.py wants them."""

    def __init__(self, **changes):
        for name in dir(default_settings):
            if name.isupper():
                setattr(self, name, getattr(default_settings, name))
        self.__dict__.update(changes)


def our_training_and_inference(model, images, labels) -> Tuple[Callable, Callable]:
    """Return a call that trains on the batch once, and one that predicts it, both to the end."""
    step = training.training_step_for(model, Settings(BATCH_SIZE=len(images)))
    predict = Predictor(model, len(images))
    pixels, classes = tf.constant(images), tf.constant(labels)
    return lambda: float(step(pixels, classes, 0, 1e-3)[0]), lambda: predict(images)


def contenders(
    images: np.ndarray, labels: np.ndarray, with_compiled: bool = True
) -> Dict[str, Tuple[Callable, Callable]]:
    """Return (train, infer) of every contender for one batch, proven to be the same network."""
    keras.backend.clear_session()
    model = vision_transformer((32, 32, 3), 10, MEAN, STD)
    named_weights = [(v.name, v.numpy()) for v in model.weights]
    parameters = {OURS: model.count_params()}
    calls = {OURS: our_training_and_inference(model, images, labels)}

    stock = keras_twin.keras_twin(MEAN, STD)
    keras_twin.take_weights(stock, named_weights)
    parameters[STOCK] = stock.count_params()
    calls[STOCK] = keras_twin.training_and_inference(stock, images, labels)

    if torch:
        for name, wrap in ((EAGER, lambda twin: twin), (COMPILED, torch.compile)):
            if name == COMPILED and not with_compiled:
                continue
            twin = pytorch_twin.PyTorchTwin(MEAN, STD)
            pytorch_twin.take_weights(twin, named_weights)
            parameters[name] = sum(p.numel() for p in twin.parameters())
            calls[name] = pytorch_twin.training_and_inference(wrap(twin), images, labels)

    assert len(set(parameters.values())) == 1, parameters
    expected = calls[OURS][1]()
    for name, (_, infer) in calls.items():
        np.testing.assert_allclose(np.asarray(infer()), expected, atol=1e-3, err_msg=name)
    return calls


def ceiling(size: int = 2048) -> Dict[str, Callable]:
    """Return one large matrix product per framework; the faster one is the machine's ceiling."""
    a = np.random.RandomState(0).normal(size=(size, size)).astype(np.float32)
    in_tensorflow = tf.constant(a)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(in_tensorflow, in_tensorflow)))
    calls = {"TensorFlow product": lambda: float(product())}
    if torch:
        in_pytorch = torch.from_numpy(a)
        calls["PyTorch product"] = lambda: float((in_pytorch @ in_pytorch).sum())
    return calls


def measure(batch_size: int, rounds: int, seconds: float, compiled: bool) -> List[Dict[str, Any]]:
    """Return the figures of training and of inference at one batch size."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (batch_size, 32, 32, 3)).astype(np.uint8)
    labels = random.randint(0, 10, batch_size).astype(np.int32)
    calls, products = contenders(images, labels, compiled), ceiling()
    rows = []
    for index, (kind, flops) in enumerate(
        (("training", TRAINING_FLOPS), ("inference", INFERENCE_FLOPS))
    ):
        turns = dict({name: pair[index] for name, pair in calls.items()}, **products)
        times = timing.interleaved(turns, rounds, seconds)
        highest = max(2 * 2048**3 / np.median(times[name]) for name in products)
        speeds = {name: batch_size / float(np.median(times[name])) for name in calls}
        rows.append(
            {
                "kind": kind,
                "batch": batch_size,
                "images_per_second": speeds,
                "ratio": {n: timing.ratio(times, OURS, n) for n in calls if n != OURS},
                "ceiling_gflops": highest / 1e9,
                "share_of_ceiling": {name: speeds[name] * flops / highest for name in speeds},
            }
        )
    return rows


def table(rows: List[Dict[str, Any]]) -> str:
    """Return the figures as a Markdown table: images/s and, in brackets, ours divided by it."""
    names = list(rows[0]["images_per_second"])
    lines = [
        "| | batch | " + " | ".join(names) + " | ceiling, GFLOP/s | ours of it |",
        "|---" * (len(names) + 4) + "|",
    ]
    for row in rows:
        cells = ["{:.0f}".format(row["images_per_second"][OURS])]
        for name in names[1:]:
            cells.append(
                "{:.0f} ({:.2f} x)".format(row["images_per_second"][name], row["ratio"][name])
            )
        cells.append("{:.0f}".format(row["ceiling_gflops"]))
        cells.append("{:.0f} %".format(100 * row["share_of_ceiling"][OURS]))
        lines.append("| {} | {} | {} |".format(row["kind"], row["batch"], " | ".join(cells)))
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
    figures = dict(timing.machine(), runtime=runtime_name(), flops_per_image=TRAINING_FLOPS)
    run = partial(
        measure,
        rounds=3 if arguments.quick else arguments.rounds,
        seconds=0.5 if arguments.quick else arguments.seconds,
        compiled=not (arguments.quick or arguments.no_compile),
    )
    batches = [512] if arguments.quick else arguments.batches
    rows = [row for batch_size in batches for row in run(batch_size)]
    rows.sort(key=lambda row: (row["kind"] != "training", row["batch"]))
    print("{runtime}; {processor}, {cores} cores, load {load_before} before".format(**figures))
    print(table(rows))
    if arguments.json:
        files.write_json(arguments.json, dict(figures, rows=rows))


if __name__ == "__main__":
    main()
