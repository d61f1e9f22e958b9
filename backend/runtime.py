"""TensorFlow and Keras 2, imported one way on all three runtimes.

| Python     | TensorFlow                          | Keras 2       | GPU device type |
|------------|-------------------------------------|---------------|-----------------|
| 3.6 - 3.7  | TensorFlow-DirectML 1.15.8          | tf.keras      | DML             |
| 3.8 - 3.10 | TensorFlow 2.10 + DirectML plug-in  | tf.keras      | GPU             |
| 3.11 +     | current TensorFlow                  | tf_keras      | GPU (CUDA)      |

Every other module writes `from runtime import keras, tf`. One Keras dialect everywhere is what lets
weights travel between the three.
"""

from __future__ import annotations

import contextlib
import os
import platform
from typing import Iterator

import numpy as np

# Before TensorFlow is loaded: make `tf.keras` Keras 2 on current TensorFlow too, and limit its
# start-up messages to warnings. What the user has already set wins.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf  # noqa: E402

if tf.__version__.startswith("1."):
    tf.compat.v1.enable_v2_behavior()
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    # Same functions under the names of 2.x.
    list_physical_devices = tf.config.experimental.list_physical_devices
    summary = tf.compat.v2.summary
else:
    list_physical_devices = tf.config.list_physical_devices
    summary = tf.summary

keras = tf.keras


def gpu_device_type() -> str:
    """Return the name that this TensorFlow gives to its GPUs: "DML" on 1.15.8, "GPU" elsewhere."""
    return "DML" if tf.__version__.startswith("1.") else "GPU"


def gpus() -> list:
    """Return the physical GPUs that TensorFlow can train on; empty means the CPU."""
    return list_physical_devices(gpu_device_type())


def has_gpu() -> bool:
    """Return whether TensorFlow can train on a GPU."""
    return bool(gpus())


def cpu_cores() -> int:
    """Return the number of cores that this process may use (a container's share of time aside)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_threads(threads: int) -> None:
    """Let all operations share so many threads; TensorFlow takes that only before its first one."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        pass


@contextlib.contextmanager
def layer_precision(mixed: bool) -> Iterator[None]:
    """Make the layers built in this block compute in float16, with float32 variables, if mixed.

    Raises ValueError where Keras cannot do it.
    """
    if not mixed:
        yield
        return
    if not hasattr(getattr(keras, "mixed_precision", None), "set_global_policy"):
        raise ValueError(
            f"MIXED_PRECISION is True: it needs TensorFlow 2.10 or newer, this is {tf.__version__}."
        )
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def runtime_name() -> str:
    """Return this runtime in words, for example "TensorFlow 2.10.0, Python 3.10.13, Linux"."""
    return f"TensorFlow {tf.__version__}, Python {platform.python_version()}, {platform.system()}"


def versions() -> dict[str, str]:
    """Return the versions that a run depends on."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": getattr(keras, "__version__", tf.__version__),
        "numpy": np.__version__,
    }


def device_name() -> str:
    """Return the device that will train, in words."""
    found = gpus()
    if found:
        return "{} {}".format(gpu_device_type(), found[0].name.rsplit(":", 1)[-1])
    return f"CPU ({cpu_cores()} cores)"
