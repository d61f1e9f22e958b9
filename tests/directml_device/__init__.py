"""A Direct3D 12 device on the CPU, on which the real DirectML library runs; see README.md.

A child process gets the device through `environment()`. A process that has the device itself (it
was started with that environment) counts what the device does and asks for faults:

    directml_device.reset_counts()
    ...one training step...
    directml_device.counts()["dispatches"]
"""

from __future__ import annotations

import ctypes

from .build import build, environment, what_is_missing

__all__ = [
    "build",
    "counts",
    "environment",
    "kernel_counts",
    "library",
    "memory_in_use",
    "remove_after",
    "reset_counts",
    "set_memory_limit",
    "set_wrong_instruction",
    "set_wrong_kernel",
    "what_is_missing",
]

UNLIMITED = 2**64 - 1


def library() -> ctypes.CDLL:
    """Return libd3d12.so, the same that DirectML uses in this process.

    Raises OSError if the process was started without `environment()`.
    """
    loaded = ctypes.CDLL("libd3d12.so")
    loaded.directml_device_memory_in_use.restype = ctypes.c_uint64
    return loaded


def counts() -> dict[str, int]:
    """Return what the device has done since it started or since `reset_counts`.

    Commands count when they are carried out: read a result first, such as the loss.
    """
    room = 64
    numbers = (ctypes.c_uint64 * room)()
    names = (ctypes.c_char_p * room)()
    count = library().directml_device_counts(numbers, names, room)
    return {names[i].decode(): numbers[i] for i in range(count)}


def kernel_counts() -> dict[str, int]:
    """Return the dispatches of each kernel, by a hash of its shader, since `reset_counts`."""
    function = library().directml_device_kernel_counts
    function.restype = ctypes.c_size_t
    room = function(None, ctypes.c_size_t(0))
    text = ctypes.create_string_buffer(room)
    function(text, ctypes.c_size_t(room))
    lines = (line.split() for line in text.value.decode().splitlines())
    return {name: int(dispatches) for name, dispatches in lines}


def reset_counts() -> None:
    """Start counting from zero."""
    library().directml_device_reset_counts()


def memory_in_use() -> int:
    """Return the bytes of all heaps and buffers that exist now."""
    return library().directml_device_memory_in_use()


def set_memory_limit(limit: int = UNLIMITED) -> None:
    """Let allocations fail with E_OUTOFMEMORY that would take more than so many bytes in all."""
    library().directml_device_set_memory_limit(ctypes.c_uint64(limit))


def remove_after(dispatches: int = UNLIMITED) -> None:
    """Let the device be removed after so many more dispatches; there is no way back."""
    library().directml_device_remove_after(ctypes.c_uint64(dispatches))


def set_wrong_kernel(number: int = 0) -> None:
    """Let the shader with this number (from 1, in order of creation) compute wrong results."""
    library().directml_device_set_wrong_kernel(ctypes.c_uint64(number))


def set_wrong_instruction(name: str = "") -> None:
    """Let all shaders that call this intrinsic compute wrong results, e.g. "dx.op.unary.f32:21"."""
    library().directml_device_set_wrong_instruction(name.encode())
