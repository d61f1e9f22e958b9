"""What a DirectML device really does in one training step: dispatches, copies, kernels.

    python -m benchmarks.dispatches [--batch-size 32] [--recipes]

The real DirectML library runs the steps on the software Direct3D 12 device of
tests/directml_device, which counts; so this needs Python 3.7 or 3.10 on Linux and what that
device is built with, and no GPU. The default model stands beside the same one in stock Keras
layers; the audit's estimate, from the graph alone, stands beside what was counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from tests import directml_device

RECIPES = (
    "train_cifar100 recipes.mnist recipes.pretrain_cifar100 recipes.keras_cifar100 "
    "recipes.visual_tokens_cifar10 recipes.resnet_cifar10"
).split()
KERAS = "stock Keras layers"
COUNTED = ("dispatches", "host_to_device_copies", "device_to_host_copies", "device_to_host_bytes")


def counted(take_step) -> dict[str, int]:
    """Return what the device does in one step; the step before it has compiled the kernels.

    take_step(number) takes a step and reads the loss, so that all of its work is done.
    """
    take_step(0)
    directml_device.reset_counts()
    take_step(1)
    return {name: directml_device.counts()[name] for name in COUNTED}


def script_step(script: str, batch_size: int):
    """Return a script's training step, ready to be taken, and the audit's estimate of it."""
    import numpy as np

    from backend.runtime import tf
    from tests.directml_steps import new_step
    from tools.kernel_audit import audit_training_step

    step, images, labels, rate = new_step(script, f"--batch-size {batch_size}")
    classes = step.model.output_shape[-1]
    soft = labels.dtype == np.float32
    estimate = audit_training_step(step, images.shape[1:], classes, soft).launches
    pixels, targets = tf.constant(images), tf.constant(labels)

    def take_step(number):
        loss, accuracy = step(pixels, targets, number, rate)
        return float(loss), float(accuracy)

    return take_step, estimate


def keras_step(batch_size: int):
    """Return the step of the same model in stock Keras layers with its fused Adam."""
    import numpy as np

    from backend.runtime import keras, tf
    from benchmarks import ops_per_step

    optimizers = getattr(keras.optimizers, "legacy", keras.optimizers)
    step = ops_per_step.keras_step(optimizers.Adam())
    random = np.random.RandomState(0)
    pixels = tf.constant(random.randint(0, 256, (batch_size, 32, 32, 3)).astype(np.uint8))
    labels = tf.constant(random.randint(0, 10, batch_size).astype(np.int32))

    def take_step(number):
        loss, accuracy = step(pixels, labels)
        return float(loss), float(accuracy)

    return take_step, "-"


def measure(name: str, batch_size: int) -> None:
    """Print, as JSON, what one contender's step does on the device of this process."""
    from backend.runtime import device_name, has_gpu, runtime_name

    if not has_gpu():
        raise SystemExit("error: TensorFlow finds no DirectML device in this process.")
    make = keras_step if name == KERAS else lambda size: script_step(name, size)
    take_step, estimate = make(batch_size)
    figures = dict(counted(take_step), estimate=estimate)
    print(json.dumps([runtime_name(), device_name(), figures]))


def main() -> None:
    """Run each contender in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--recipes", action="store_true", help="all scripts, not only the default")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.batch_size)
        return
    missing = directml_device.what_is_missing()
    if missing:
        sys.exit(f"error: {missing}")
    variables = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", **directml_device.environment())
    print("| one step | dispatches | audit's estimate | copies to device | copies to host |")
    print("|---|---|---|---|---|")
    runtime = ""
    for name in ["train_cifar10", KERAS] + (RECIPES if options.recipes else []):
        command = [sys.executable, "-m", "benchmarks.dispatches", "--one", name]
        command += ["--batch-size", str(options.batch_size)]
        child = subprocess.run(command, env=variables, stdout=subprocess.PIPE, check=True)
        runtime, device, row = json.loads(child.stdout.decode().splitlines()[-1])
        print(
            f"| {name} | {row['dispatches']:,} | {row['estimate']} | "
            f"{row['host_to_device_copies']:,} | {row['device_to_host_copies']:,} "
            f"({row['device_to_host_bytes']:,} bytes) |"
        )
    print(f"\n{runtime}; batch {options.batch_size}; {device} on the software device")


if __name__ == "__main__":
    main()
