"""Writes small shaders as DXIL, and runs them on the software device, for its own tests.

A shader here is the body of its entry point in LLVM IR. Real DXIL is the bitcode of an older LLVM;
llvm-as-19 writes the current form. Both go through the same reader and the same translation.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import struct
import subprocess

import numpy as np

from .build import build

# Placement and ViewKind of device/test_driver.cpp
COMMITTED, PLACED, RESERVED = range(3)
UAV, SRV, CBV, ROOT_UAV, ROOT_SRV, ROOT_CBV = range(6)

MODULE = """
target triple = "dxil-ms-dx"
%dx.types.Handle = type {{ ptr }}
%dx.types.CBufRet.i32 = type {{ i32, i32, i32, i32 }}
%dx.types.CBufRet.f32 = type {{ float, float, float, float }}
%dx.types.ResRet.i32 = type {{ i32, i32, i32, i32, i32 }}
%dx.types.ResRet.f32 = type {{ float, float, float, float, i32 }}
%dx.types.twoi32 = type {{ i32, i32 }}
{variables}
define void @main() {{
entry:
{body}
}}
{declarations}
!dx.entryPoints = !{{!0}}
!0 = !{{ptr @main, !"main", null, null, !1}}
!1 = !{{i32 0, i64 0, i32 4, !2}}
!2 = !{{i32 {x}, i32 {y}, i32 {z}}}
"""


class Buffer(ctypes.Structure):
    """TestBuffer of device/test_driver.cpp."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("format", ctypes.c_uint32),
        ("stride", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
    ]


@functools.lru_cache(maxsize=None)
def driver() -> ctypes.CDLL:
    """Return the test driver, with the device that it is linked to."""
    folder = build()
    # First, so that both the driver and ctypes.CDLL("libd3d12.so") find this one.
    ctypes.CDLL(os.path.join(folder, "libd3d12.so"), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(os.path.join(folder, "libdirectml_device_test.so"))


def _declarations(body: str) -> str:
    """Return a declaration for each intrinsic that the body calls."""
    found = {}
    for result, name, arguments in re.findall(r"call (\S+) (@dx\.op\.[\w.]+)\((.*?)\)", body):
        types = [argument.split()[0] for argument in arguments.split(", ")]
        found[name] = f"declare {result} {name}({', '.join(types)})"
    return "\n".join(found.values())


@functools.lru_cache(maxsize=None)
def dxil(body: str, group: tuple = (64, 1, 1), variables: str = "") -> bytes:
    """Return a container with a compute shader: `group` threads, groupshared `variables`."""
    x, y, z = group
    text = MODULE.format(
        body=body, declarations=_declarations(body), variables=variables, x=x, y=y, z=z
    )
    assembled = subprocess.run(
        ["llvm-as-19", "-", "-o", "-"],
        input=text.encode(),
        capture_output=True,
        check=False,
    )
    if assembled.returncode:
        raise ValueError(f"{assembled.stderr.decode()}\n{text}")
    bitcode = assembled.stdout + b"\0" * (-len(assembled.stdout) % 4)
    # See device/dx_container.cpp for the fields.
    part = struct.pack("<II4sIII", 0x50060, 6 + len(bitcode) // 4, b"DXIL", 0x100, 16, len(bitcode))
    part = struct.pack("<4sI", b"DXIL", len(part) + len(bitcode)) + part + bitcode
    header = b"DXBC" + bytes(16) + struct.pack("<IIII", 1, 36 + len(part), 1, 36)
    return header + part


def run(container: bytes, buffers, constants=(), grid=(1, 1, 1), placement=COMMITTED):
    """Run a shader; return copies of the buffers as it left them.

    Each buffer is an array, for a raw view, or a tuple (array, format, stride) with a DXGI_FORMAT
    for a typed view or a stride in bytes for a structured one, and perhaps how the shader gets it
    (UAV by default). Raises OSError with the HRESULT.
    """
    views = [view if isinstance(view, tuple) else (view, 0, 0) for view in buffers]
    views = [view if len(view) == 4 else (*view, UAV) for view in views]
    arrays = [np.array(array, order="C") for array, _, _, _ in views]
    structures = (Buffer * len(views))(
        *[
            Buffer(array.ctypes.data, array.nbytes, form, stride, kind, 0)
            for array, (_, form, stride, kind) in zip(arrays, views)
        ]
    )
    values = np.array(constants, dtype=np.uint32)
    result = driver().test_run_shader(
        container,
        ctypes.c_size_t(len(container)),
        structures,
        ctypes.c_size_t(len(views)),
        values.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(len(values)),
        ctypes.c_int(placement),
        (ctypes.c_uint32 * 3)(*grid),
    )
    if result:
        raise OSError(f"HRESULT {result & 0xFFFFFFFF:08x}")
    return arrays


def handle(number: int, letter: str = "u") -> str:
    """Return the line that makes %u0 of the register u0; t0 and b0 likewise."""
    resource_class = "tub".index(letter)
    return (
        f"%{letter}{number} = call %dx.types.Handle "
        f"@dx.op.createHandle(i32 57, i8 {resource_class}, i32 {number}, i32 {number}, i1 false)\n"
    )


THREAD = "%thread_id = call i32 @dx.op.threadId.i32(i32 93, i32 0)\n"


def load(name: str, buffer: object, index: str, kind: str = "i32", offset: int = 0) -> str:
    """Return lines that load %name from element `index` of a view: 0 for u0, or "t0"."""
    register = buffer if isinstance(buffer, str) else f"u{buffer}"
    result = f"%dx.types.ResRet.{kind}"
    return (
        f"%{name}.all = call {result} @dx.op.bufferLoad.{kind}"
        f"(i32 68, %dx.types.Handle %{register}, i32 {index}, i32 {offset})\n"
        f"%{name} = extractvalue {result} %{name}.all, 0\n"
    )


def store(buffer: int, index: str, value: str, kind: str = "i32") -> str:
    """Return the line that stores `value` at element `index` of a view."""
    typed = "float" if kind == "f32" else kind
    rest = f"{typed} undef"
    return (
        f"call void @dx.op.bufferStore.{kind}(i32 69, %dx.types.Handle %u{buffer}, i32 {index}, "
        f"i32 0, {typed} {value}, {rest}, {rest}, {rest}, i8 1)\n"
    )
