"""How a batch is cut into gradient passes on the device that trains.

A GPU takes a batch in one pass. A CPU takes it in small ones, a core each: activations that stay in
the cache, and operations that do not wait for each other, make it nearly twice as fast.
"""

import math

from runtime import cpu_cores, has_gpu, use_threads_per_operation

# Images per gradient pass on a CPU: small enough that the activations stay in its cache.
CPU_MICRO_BATCH_SIZE = 32
# Each pass is traced by itself, and start-up shall stay short on a CPU of many cores.
MOST_PASSES_AT_ONCE = 4


def micro_batch_size(settings) -> int:
    """Return the images per gradient pass that MICRO_BATCH_SIZE stands for on this device."""
    size = settings.MICRO_BATCH_SIZE
    if size == -1:
        if has_gpu():
            return settings.BATCH_SIZE
        return math.gcd(settings.BATCH_SIZE, CPU_MICRO_BATCH_SIZE)
    if size and settings.BATCH_SIZE % size:
        raise ValueError(
            "MICRO_BATCH_SIZE is {}: it must divide BATCH_SIZE {}.".format(
                size, settings.BATCH_SIZE
            )
        )
    return size or settings.BATCH_SIZE


def passes_at_once(settings) -> int:
    """Return how many gradient passes run side by side: on a CPU one per core, on a GPU one."""
    if has_gpu():
        return 1
    passes = settings.BATCH_SIZE // micro_batch_size(settings)
    most = min(cpu_cores(), MOST_PASSES_AT_ONCE)
    return max(number for number in range(1, most + 1) if passes % number == 0)


def prepare_device(settings) -> None:
    """Share the cores of a CPU out among the passes, before TensorFlow starts.

    Passes on a core each waste less time than operations that share all cores, one after the other.
    """
    if not has_gpu():
        use_threads_per_operation(max(cpu_cores() // passes_at_once(settings), 1))
