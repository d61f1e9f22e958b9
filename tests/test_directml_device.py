"""The software Direct3D 12 device against NumPy: memory, views, barriers, every instruction."""

from __future__ import annotations

import concurrent.futures
import ctypes
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests import directml_device
from tests.directml_device import shaders
from tests.directml_device.shaders import (
    CBV,
    COMMITTED,
    PLACED,
    RESERVED,
    ROOT_CBV,
    ROOT_SRV,
    ROOT_UAV,
    SRV,
    THREAD,
    UAV,
    handle,
    load,
    store,
)
from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(
    bool(directml_device.what_is_missing()), reason=directml_device.what_is_missing()
)

UINT = np.uint32
# DXGI_FORMAT
R32G32_UINT, R32_FLOAT, R32_UINT, R32_SINT = 17, 41, 42, 43
R16_FLOAT, R16_UINT, R16_SINT, R8_UINT, R8_SINT = 54, 57, 59, 62, 64

FLOATS = np.array(
    [0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, 1e-3, -1e-3, 0.999, 1.0, -1.0, 3.7, -3.7, 10.0, 80.0]
    + [-80.0, 1e30, 1e-30, np.inf, -np.inf, np.nan],
    dtype=np.float32,
)
INTEGERS = np.array(
    [0, 1, 2, 3, 31, 32, 33, 255, 256, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x12345678, 0xDEADBEEF],
    dtype=UINT,
)


@pytest.fixture(autouse=True, scope="module")
def shader_cache(tmp_path_factory):
    """Every test run compiles its shaders anew."""
    folder = str(tmp_path_factory.mktemp("shaders"))
    before = os.environ.get("DIRECTML_DEVICE_CACHE")
    os.environ["DIRECTML_DEVICE_CACHE"] = folder
    yield folder
    if before is None:
        del os.environ["DIRECTML_DEVICE_CACHE"]
    else:
        os.environ["DIRECTML_DEVICE_CACHE"] = before


@pytest.fixture
def no_faults():
    """Restores the device after a simulated fault."""
    yield
    shaders.driver()
    directml_device.set_memory_limit()
    directml_device.set_wrong_kernel()
    directml_device.set_wrong_instruction()


def copying_shader(kind="i32"):
    """Element i of u0 plus nothing to u1; both views of any kind with one index."""
    return shaders.dxil(
        handle(0) + handle(1) + THREAD + load("value", 0, "%thread_id", kind)
        + store(1, "%thread_id", "%value", kind) + "ret void"
    )  # fmt: skip


def words_shader(lines, outputs, inputs):
    """For each thread: %a, %b, %c from raw buffers u1...; the output number k goes to u0."""
    body = handle(0) + THREAD + "%address = shl i32 %thread_id, 2\n"
    for number in range(1, inputs + 1):
        body += handle(number) + load("abc"[number - 1], number, "%address")
    body += lines
    for k, value in enumerate(outputs):
        body += f"%place{k} = add i32 %address, {k * 4 * 64}\n" + store(0, f"%place{k}", value)
    return shaders.dxil(body + "ret void")


def run_words(container, count, *inputs):
    """Run a `words_shader` of `count` outputs on 64 threads; return (count, threads) words."""
    threads = len(inputs[0])
    padded = [np.zeros(64, UINT) for _ in inputs]
    for array, values in zip(padded, inputs):
        array[:threads] = np.asarray(values).view(UINT)
    result = shaders.run(container, [np.zeros(count * 64, UINT), *padded])[0]
    return result.reshape(count, 64)[:, :threads]


def pairs(values):
    """All pairs of values, as two arrays of at most 64."""
    first, second = np.meshgrid(values, values)
    chosen = np.random.RandomState(0).permutation(first.size)[:64]
    return first.ravel()[chosen], second.ravel()[chosen]


# ---- Instructions


def test_every_function_of_one_float_agrees_with_numpy():
    with np.errstate(all="ignore"):
        x = FLOATS.astype(np.float64)
        expected = {
            6: abs(x),
            7: np.where(np.isnan(x), 0, np.clip(x, 0, 1)),
            12: np.cos(x),
            13: np.sin(x),
            14: np.tan(x),
            15: np.arccos(x),
            16: np.arcsin(x),
            17: np.arctan(x),
            18: np.cosh(x),
            19: np.sinh(x),
            20: np.tanh(x),
            21: np.exp2(x),
            22: x - np.floor(x),
            23: np.log2(x),
            24: np.sqrt(x),
            25: 1 / np.sqrt(x),
            26: np.rint(x),
            27: np.floor(x),
            28: np.ceil(x),
            29: np.trunc(x),
        }
        lines = "%x = bitcast i32 %a to float\n"
        for opcode in expected:
            lines += f"%f{opcode} = call float @dx.op.unary.f32(i32 {opcode}, float %x)\n"
            lines += f"%i{opcode} = bitcast float %f{opcode} to i32\n"
        container = words_shader(lines, [f"%i{opcode}" for opcode in expected], 1)
        results = run_words(container, len(expected), FLOATS).view(np.float32)
        for (opcode, wanted), found in zip(expected.items(), results):
            np.testing.assert_allclose(
                found, wanted.astype(np.float32), rtol=3e-7, atol=1e-7, err_msg=f"{opcode}"
            )


def test_special_floats_are_told_apart():
    lines = "%x = bitcast i32 %a to float\n"
    for opcode in (8, 9, 10, 11):
        lines += f"%y{opcode} = call i1 @dx.op.isSpecialFloat.f32(i32 {opcode}, float %x)\n"
        lines += f"%i{opcode} = zext i1 %y{opcode} to i32\n"
    container = words_shader(lines, ["%i8", "%i9", "%i10", "%i11"], 1)
    values = np.append(FLOATS, np.float32(1e-40))
    found = run_words(container, 4, values)
    magnitude = abs(values)
    normal = np.isfinite(values) & (np.nan_to_num(magnitude) >= np.finfo(np.float32).tiny)
    expected = [np.isnan(values), np.isinf(values), np.isfinite(values), normal]
    np.testing.assert_array_equal(found, expected)


def test_minimum_maximum_and_multiply_add_of_floats():
    a, b = pairs(FLOATS)
    lines = "%x = bitcast i32 %a to float\n%y = bitcast i32 %b to float\n"
    lines += "%max = call float @dx.op.binary.f32(i32 35, float %x, float %y)\n"
    lines += "%min = call float @dx.op.binary.f32(i32 36, float %x, float %y)\n"
    lines += "%mad = call float @dx.op.tertiary.f32(i32 46, float %x, float %y, float %x)\n"
    for name in ("max", "min", "mad"):
        lines += f"%i{name} = bitcast float %{name} to i32\n"
    container = words_shader(lines, ["%imax", "%imin", "%imad"], 2)
    found = run_words(container, 3, a, b).view(np.float32)
    with np.errstate(all="ignore"):
        expected = [np.fmax(a, b), np.fmin(a, b), a * b + a]
    np.testing.assert_array_equal(found, expected)


def test_bits_of_integers_are_counted_and_reversed():
    lines = "%reversed = call i32 @dx.op.unary.i32(i32 30, i32 %a)\n"
    for opcode in (31, 32, 33, 34):
        lines += f"%i{opcode} = call i32 @dx.op.unaryBits.i32(i32 {opcode}, i32 %a)\n"
    container = words_shader(lines, ["%reversed", "%i31", "%i32", "%i33", "%i34"], 1)
    found = run_words(container, 5, INTEGERS)
    for column, value in enumerate(int(integer) for integer in INTEGERS):
        bits = f"{value:032b}"
        none = 0xFFFFFFFF
        unlike_sign = bits.find("0" if bits[0] == "1" else "1")
        assert list(found[:, column]) == [
            int(bits[::-1], 2),
            bits.count("1"),
            bits[::-1].find("1") if value else none,
            bits.find("1") if value else none,
            unlike_sign if unlike_sign >= 0 else none,
        ]


def test_functions_of_two_integers():
    a, b = pairs(INTEGERS)
    signed_a, signed_b = a.view(np.int32), b.view(np.int32)
    lines = ""
    for opcode in (37, 38, 39, 40):
        lines += f"%i{opcode} = call i32 @dx.op.binary.i32(i32 {opcode}, i32 %a, i32 %b)\n"
    outputs = ["%i37", "%i38", "%i39", "%i40"]
    two = "%dx.types.twoi32"
    for opcode in (41, 42, 43):
        lines += (
            f"%t{opcode} = call {two} @dx.op.binaryWithTwoOuts.i32(i32 {opcode}, i32 %a, i32 %b)\n"
        )
        for k in (0, 1):
            lines += f"%t{opcode}.{k} = extractvalue {two} %t{opcode}, {k}\n"
            outputs.append(f"%t{opcode}.{k}")
    found = run_words(words_shader(lines, outputs, 2), len(outputs), a, b)
    signed = signed_a.astype(np.int64) * signed_b
    unsigned = a.astype(np.uint64) * b
    divisor = np.maximum(b, 1)
    expected = [
        np.maximum(signed_a, signed_b).view(UINT),
        np.minimum(signed_a, signed_b).view(UINT),
        np.maximum(a, b),
        np.minimum(a, b),
        (signed >> 32).astype(UINT),
        signed.astype(UINT),
        (unsigned >> np.uint64(32)).astype(UINT),
        unsigned.astype(UINT),
        np.where(b == 0, 0xFFFFFFFF, a // divisor),
        np.where(b == 0, 0xFFFFFFFF, a % divisor),
    ]
    np.testing.assert_array_equal(found, expected)


def test_multiply_add_and_bit_fields_of_integers():
    random = np.random.RandomState(0)
    width, offset = random.randint(0, 40, (2, 64)).astype(UINT)
    value = random.randint(0, 2**32, 64, dtype=np.uint64).astype(UINT)
    arguments = "i32 %a, i32 %b, i32 %c"
    lines = ""
    for opcode in (48, 49, 51, 52):
        lines += f"%i{opcode} = call i32 @dx.op.tertiary.i32(i32 {opcode}, {arguments})\n"
    lines += f"%bfi = call i32 @dx.op.quaternary.i32(i32 53, {arguments}, i32 -1431655766)\n"
    container = words_shader(lines, ["%i48", "%i49", "%i51", "%i52", "%bfi"], 3)
    found = run_words(container, 5, width, offset, value)
    for thread in range(64):
        w, o, v = int(width[thread]), int(offset[thread]), int(value[thread])
        sum_ = (w * o + v) % 2**32
        w, o = w % 32, o % 32
        field = (v >> o) % 2 ** min(w, 32 - o)
        signed = field
        if w and field >> (min(w, 32 - o) - 1):
            signed = (field - 2 ** min(w, 32 - o)) % 2**32
        mask = ((2**w - 1) << o) % 2**32
        inserted = ((v << o) & mask) | (0xAAAAAAAA & ~mask)
        assert list(found[:, thread]) == [sum_, sum_, signed, field, inserted % 2**32]


def test_bit_casts_and_half_precision():
    lines = "%f = call float @dx.op.bitcastI32toF32(i32 126, i32 %a)\n"
    lines += "%i = call i32 @dx.op.bitcastF32toI32(i32 127, float %f)\n"
    lines += "%half = call i32 @dx.op.legacyF32ToF16(i32 130, float %f)\n"
    lines += "%wide = call float @dx.op.legacyF16ToF32(i32 131, i32 %half)\n"
    lines += "%bits = bitcast float %wide to i32\n"
    container = words_shader(lines, ["%i", "%half", "%bits"], 1)
    values = FLOATS[~np.isnan(FLOATS)]
    same, half, wide = run_words(container, 3, values)
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    np.testing.assert_array_equal(same, values.view(UINT))
    np.testing.assert_array_equal(half, expected.view(np.uint16))
    np.testing.assert_array_equal(wide.view(np.float32), expected.astype(np.float32))


def test_atomics_on_one_word_from_all_threads():
    # Word k of u0 under operation k, 4,096 threads in 64 groups; the value is the thread's number.
    names = ("add", "and", "or", "xor", "imin", "imax", "umin", "umax")
    body = handle(0) + THREAD
    for operation, name in enumerate(names):
        body += (
            f"%{name} = call i32 @dx.op.atomicBinOp.i32(i32 78, %dx.types.Handle %u0, "
            f"i32 {operation}, i32 {4 * operation}, i32 0, i32 undef, i32 %thread_id)\n"
        )
    start = np.array([5, 0xFFFFFFFF, 0, 0, 7, 0, 9, 0], UINT)
    found = shaders.run(shaders.dxil(body + "ret void"), [start], grid=(64, 1, 1))[0]
    numbers = np.arange(4096, dtype=UINT)
    expected = [
        5 + numbers.sum(),
        np.bitwise_and.reduce(numbers),
        np.bitwise_or.reduce(numbers),
        np.bitwise_xor.reduce(numbers),
        0,
        4095,
        0,
        4095,
    ]
    np.testing.assert_array_equal(found, expected)


def test_exchanges_give_the_value_before():
    # Each thread takes the number that the one before it left: all numbers but the last one.
    body = handle(0) + handle(1) + THREAD + "%address = shl i32 %thread_id, 2\n"
    body += (
        "%before = call i32 @dx.op.atomicBinOp.i32(i32 78, %dx.types.Handle %u0, i32 8, i32 0, "
        "i32 0, i32 undef, i32 %thread_id)\n"
        "%won = call i32 @dx.op.atomicCompareExchange.i32(i32 79, %dx.types.Handle %u0, i32 4, "
        "i32 0, i32 undef, i32 77, i32 %thread_id)\n"
    )
    body += store(1, "%address", "%before") + "ret void"
    words, before = shaders.run(
        shaders.dxil(body), [np.array([999, 77], UINT), np.zeros(256, UINT)], grid=(4, 1, 1)
    )
    assert words[1] < 256  # one thread's number stands where 77 was
    assert sorted([*before, words[0]]) == [*range(256), 999]


# ---- Threads, groups, barriers


def test_threads_know_where_they_are():
    # 3 x 2 x 2 groups of 4 x 2 x 2 threads; each thread writes at its place in the whole grid.
    body = handle(0)
    for axis in range(3):
        body += f"%t{axis} = call i32 @dx.op.threadId.i32(i32 93, i32 {axis})\n"
        body += f"%g{axis} = call i32 @dx.op.groupId.i32(i32 94, i32 {axis})\n"
        body += f"%l{axis} = call i32 @dx.op.threadIdInGroup.i32(i32 95, i32 {axis})\n"
    body += "%flat = call i32 @dx.op.flattenedThreadIdInGroup.i32(i32 96)\n"
    body += "%row0 = mul i32 %t2, 4\n%row1 = add i32 %row0, %t1\n"
    body += "%row = mul i32 %row1, 12\n%place = add i32 %row, %t0\n%address = mul i32 %place, 16\n"
    for k, (group, local) in enumerate((("%g0", "%l0"), ("%g1", "%l1"), ("%g2", "%l2"))):
        body += f"%h{k} = shl i32 {group}, 8\n%v{k} = or i32 %h{k}, {local}\n"
        body += f"%p{k} = add i32 %address, {4 * k}\n" + store(0, f"%p{k}", f"%v{k}")
    body += "%p3 = add i32 %address, 12\n" + store(0, "%p3", "%flat") + "ret void"
    container = shaders.dxil(body, (4, 2, 2))
    found = shaders.run(container, [np.zeros(4 * 4 * 12 * 4, UINT)], grid=(3, 2, 2))[0]
    z, y, x = np.meshgrid(range(4), range(4), range(12), indexing="ij")
    expected = np.stack(
        [
            (x // 4) << 8 | x % 4,
            (y // 2) << 8 | y % 2,
            (z // 2) << 8 | z % 2,
            (z % 2 * 2 + y % 2) * 4 + x % 4,
        ],
        axis=-1,
    )
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


# Adds up a group's 64 values in shared memory, in a loop with a barrier and a phi across it.
SUM = (
    handle(0) + handle(1) + THREAD + "%address = shl i32 %thread_id, 2\n"
    "%local = call i32 @dx.op.threadIdInGroup.i32(i32 95, i32 0)\n"
    "%group = call i32 @dx.op.groupId.i32(i32 94, i32 0)\n"
    + load("value", 0, "%address") +
    """%mine = getelementptr [64 x i32], ptr addrspace(3) @shared, i32 0, i32 %local
store i32 %value, ptr addrspace(3) %mine
call void @dx.op.barrier(i32 80, i32 9)
br label %loop
loop:
%half = phi i32 [ 32, %entry ], [ %next, %join ]
%rounds = phi i32 [ 0, %entry ], [ %more, %join ]
%active = icmp ult i32 %local, %half
br i1 %active, label %add, label %join
add:
%other = add i32 %local, %half
%theirs = getelementptr [64 x i32], ptr addrspace(3) @shared, i32 0, i32 %other
%x = load i32, ptr addrspace(3) %mine
%y = load i32, ptr addrspace(3) %theirs
%sum = add i32 %x, %y
store i32 %sum, ptr addrspace(3) %mine
br label %join
join:
%next = lshr i32 %half, 1
%more = add i32 %rounds, 1
call void @dx.op.barrier(i32 80, i32 9)
%end = icmp eq i32 %next, 0
br i1 %end, label %done, label %loop
done:
%phi = phi i32 [ %more, %join ]
%first = load i32, ptr addrspace(3) @shared
%result = add i32 %first, %phi
%target = shl i32 %group, 2
"""
    + store(1, "%target", "%result") + "ret void"
)  # fmt: skip
SHARED = "@shared = internal addrspace(3) global [64 x i32] undef, align 4"


def test_threads_wait_for_each_other_at_barriers():
    values = np.random.RandomState(0).randint(0, 1000, 64 * 50).astype(UINT)
    container = shaders.dxil(SUM, variables=SHARED)
    buffers = [values, np.zeros(50, UINT)]
    # Six rounds, added so that a value that lives across the barrier is seen.
    expected = values.reshape(50, 64).sum(axis=1) + 6
    for _ in range(3):
        found = shaders.run(container, buffers, grid=(50, 1, 1))[1]
        np.testing.assert_array_equal(found, expected)


def test_a_barrier_for_memory_alone_needs_no_meeting():
    body = handle(0) + THREAD + "%address = shl i32 %thread_id, 2\n"
    body += "call void @dx.op.barrier(i32 80, i32 2)\n" + store(0, "%address", "%thread_id")
    found = shaders.run(shaders.dxil(body + "ret void"), [np.zeros(64, UINT)])[0]
    np.testing.assert_array_equal(found, np.arange(64))


# ---- Views


@pytest.mark.parametrize(
    "form, values",
    [
        (R32_FLOAT, np.linspace(-9, 9, 64, dtype=np.float32)),
        (R32_UINT, np.arange(64, dtype=np.uint32) * 12345678),
        (R32_SINT, np.arange(-32, 32, dtype=np.int32) * 7654321),
        (R16_FLOAT, np.linspace(-9, 9, 64, dtype=np.float16)),
        (R16_UINT, np.arange(64, dtype=np.uint16) * 1023),
        (R16_SINT, np.arange(-32, 32, dtype=np.int16) * 1023),
        (R8_UINT, np.arange(64, dtype=np.uint8) * 4),
        (R8_SINT, np.arange(-32, 32, dtype=np.int8) * 4),
    ],
)
def test_typed_views_convert_to_32_bits_and_back(form, values):
    is_float = form in (R32_FLOAT, R16_FLOAT)
    kind, wide = ("f32", np.float32) if is_float else ("i32", np.int32)
    wide_format = R32_FLOAT if is_float else R32_SINT
    container = copying_shader(kind)
    for placement in (COMMITTED, PLACED, RESERVED):
        target = (np.zeros(64, wide), wide_format, 0)
        found = shaders.run(container, [(values, form, 0), target], placement=placement)[1]
        np.testing.assert_array_equal(found, values.astype(wide))
        target = (np.zeros_like(values), form, 0)
        source = (values.astype(wide), wide_format, 0)
        found = shaders.run(container, [source, target], placement=placement)[1]
        np.testing.assert_array_equal(found, values)


def test_a_typed_view_of_two_components():
    body = handle(0) + handle(1) + THREAD + load("x", 0, "%thread_id")
    body += "%y = extractvalue %dx.types.ResRet.i32 %x.all, 1\n"
    body += (
        "call void @dx.op.bufferStore.i32(i32 69, %dx.types.Handle %u1, i32 %thread_id, i32 0, "
        "i32 %y, i32 %x, i32 undef, i32 undef, i8 15)\n"
    )
    values = np.arange(128, dtype=UINT)
    source, target = (values, R32G32_UINT, 0), (np.zeros(128, UINT), R32G32_UINT, 0)
    found = shaders.run(shaders.dxil(body + "ret void"), [source, target])[1]
    np.testing.assert_array_equal(found.reshape(64, 2), values.reshape(64, 2)[:, ::-1])


def test_structured_views_count_in_structures():
    body = handle(0) + handle(1) + THREAD + load("x", 0, "%thread_id", "f32", offset=8)
    body += store(1, "%thread_id", "%x", "f32") + "ret void"
    values = np.arange(64 * 3, dtype=np.float32)
    found = shaders.run(shaders.dxil(body), [(values, 0, 12), (np.zeros(64, np.float32), 0, 4)])[1]
    np.testing.assert_array_equal(found, values.reshape(64, 3)[:, 2])


@pytest.mark.parametrize("form, dtype", [(0, UINT), (R32_UINT, UINT), (R16_UINT, np.uint16)])
def test_outside_of_a_view_reads_are_zero_and_writes_are_lost(form, dtype):
    stride = 4 if form == 0 else 0
    short = (np.arange(10, 20).astype(dtype), form, stride)
    wide = (np.full(64, 7, UINT), 0, 4)
    found = shaders.run(copying_shader(), [short, wide])[1]
    np.testing.assert_array_equal(found, [*range(10, 20)] + [0] * 54)
    found = shaders.run(copying_shader(), [wide, short])[1]
    np.testing.assert_array_equal(found, [7] * 10)


def constant(name, register, row, column):
    """Lines that load %name, a word of a constant buffer."""
    result = "%dx.types.CBufRet.i32"
    return (
        f"%{name}.row = call {result} @dx.op.cbufferLoadLegacy.i32"
        f"(i32 59, %dx.types.Handle %{register}, i32 {row})\n"
        f"%{name} = extractvalue {result} %{name}.row, {column}\n"
    )


def test_root_constants_reach_the_shader():
    body = handle(0) + handle(0, "b") + THREAD + "%address = shl i32 %thread_id, 2\n"
    body += constant("five_hundred", "b0", 1, 1)
    # Row 1 as floats, and a row beyond the end.
    for name, row in (("near", 1), ("far", 9)):
        body += (
            f"%{name}.row = call %dx.types.CBufRet.f32 "
            f"@dx.op.cbufferLoadLegacy.f32(i32 59, %dx.types.Handle %b0, i32 {row})\n"
            f"%{name}.float = extractvalue %dx.types.CBufRet.f32 %{name}.row, 2\n"
            f"%{name} = fptoui float %{name}.float to i32\n"
        )
    body += "%sum = add i32 %five_hundred, %far\n%more = add i32 %sum, %near\n"
    body += "%value = add i32 %more, %thread_id\n" + store(0, "%address", "%value") + "ret void"
    constants = [0, 1, 2, 3, 4, 500, np.float32(60).view(UINT)]
    found = shaders.run(shaders.dxil(body), [np.zeros(64, UINT)], constants)[0]
    np.testing.assert_array_equal(found, 560 + np.arange(64))


# Root signatures without constants have version 1.0, with them 1.1.
@pytest.mark.parametrize("constants", [[], [7]])
@pytest.mark.parametrize("kinds", [(UAV, SRV, CBV), (ROOT_UAV, ROOT_SRV, ROOT_CBV)])
def test_each_kind_of_root_parameter_fills_its_register(kinds, constants):
    cbv = "b1" if constants else "b0"
    body = handle(0) + handle(1) + handle(0, "t") + handle(int(cbv[1]), "b") + THREAD
    body += load("x", 0, "%thread_id") + load("y", "t0", "%thread_id")
    body += constant("z", cbv, 1, 2) + "%xy = add i32 %x, %y\n%xyz = add i32 %xy, %z\n"
    body += store(1, "%thread_id", "%xyz") + "ret void"
    x, y, z = (np.arange(64, dtype=UINT) * factor for factor in (1, 100, 10000))
    views = [(array, 0, 4, kind) for array, kind in zip((x, y, z), kinds)]
    views.append((np.zeros(64, UINT), 0, 4, kinds[0]))
    found = shaders.run(shaders.dxil(body), views, constants)[3]
    np.testing.assert_array_equal(found, x + y + z[6])


# ---- Memory


@pytest.mark.parametrize("placement", [COMMITTED, PLACED, RESERVED])
def test_buffers_of_all_kinds_hold_what_is_copied_into_them(placement):
    values = np.random.RandomState(0).randint(0, 2**31, 40000).astype(UINT)
    container = copying_shader()
    views = [(values, 0, 4), (np.zeros_like(values), 0, 4)]
    source, target = shaders.run(container, views, grid=(625, 1, 1), placement=placement)
    np.testing.assert_array_equal(source, values)
    np.testing.assert_array_equal(target, values)


def test_tiles_that_are_not_mapped_take_no_memory():
    shaders.driver()
    views = [(np.arange(64, dtype=UINT), R32_UINT, 0), (np.zeros(64, UINT), R32_UINT, 0)]
    # Two buffers of more than 5 GiB (kReservedOffset), of which one tile each is mapped.
    before = directml_device.memory_in_use()
    directml_device.set_memory_limit(before + 2**20)
    try:
        found = shaders.run(copying_shader(), views, placement=RESERVED)[1]
    finally:
        directml_device.set_memory_limit()
    np.testing.assert_array_equal(found, np.arange(64))


def test_tiles_of_one_heap_appear_in_two_buffers():
    words = np.arange(2000, dtype=UINT)
    expected = np.concatenate([words[1000:], words[:1000]])
    assert shaders.driver().test_exchange_tiles(words.ctypes.data_as(ctypes.c_void_p), 2000) == 0
    np.testing.assert_array_equal(words, expected)


def test_memory_is_given_back():
    shaders.driver()
    before = directml_device.memory_in_use()
    shaders.run(copying_shader(), [np.zeros(64, UINT), np.zeros(64, UINT)], placement=RESERVED)
    assert directml_device.memory_in_use() == before


# ---- Counting


def test_dispatches_and_copies_are_counted():
    container = copying_shader()
    buffers = [np.zeros(64, UINT), np.zeros(32, UINT)]
    shaders.run(container, buffers)
    directml_device.reset_counts()
    shaders.run(container, buffers)
    counts = directml_device.counts()
    assert counts["dispatches"] == 1
    assert (counts["host_to_device_copies"], counts["host_to_device_bytes"]) == (2, 384)
    assert (counts["device_to_host_copies"], counts["device_to_host_bytes"]) == (2, 384)
    assert counts["device_to_device_copies"] == 0
    assert counts["pipelines"] == 1
    assert counts["kernels"] == 0  # the same as before
    assert list(directml_device.kernel_counts().values()) == [1]


# ---- Faults


def test_allocations_beyond_the_limit_fail(no_faults):
    driver = shaders.driver()
    allocate = driver.test_allocate
    directml_device.set_memory_limit(directml_device.memory_in_use() + 2**20)
    assert allocate(ctypes.c_uint64(2**19)) == 0
    assert allocate(ctypes.c_uint64(2**21)) & 0xFFFFFFFF == 0x8007000E  # E_OUTOFMEMORY
    directml_device.set_memory_limit()
    assert allocate(ctypes.c_uint64(2**21)) == 0


def test_a_wrong_kernel_changes_results_by_less_than_a_percent(no_faults):
    lines = "%x = bitcast i32 %a to float\n"
    lines += "%f = call float @dx.op.unary.f32(i32 24, float %x)\n%i = bitcast float %f to i32\n"
    container = words_shader(lines, ["%i"], 1)
    values = np.linspace(1, 64, 64, dtype=np.float32)
    right = run_words(container, 1, values).view(np.float32)
    directml_device.set_wrong_instruction("dx.op.unary.f32:24")
    wrong = run_words(container, 1, values).view(np.float32)
    assert (right != wrong).all()
    np.testing.assert_allclose(wrong, right, rtol=1e-2)
    directml_device.set_wrong_instruction("dx.op.unary.f32:21")
    np.testing.assert_array_equal(run_words(container, 1, values).view(np.float32), right)


def in_a_new_process(code, folder, **options):
    """Run code that may end its process; return what subprocess.run returns."""
    environment = dict(os.environ, **directml_device.environment(cache=folder, **options))
    prelude = "import numpy as np\nfrom tests import directml_device\n"
    prelude += "from tests.directml_device import shaders\n"
    prelude += "from tests.directml_device.shaders import *\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


COPY = """
body = handle(0) + handle(1) + THREAD + load("value", 0, "%thread_id")
container = dxil(body + store(1, "%thread_id", "%value") + "ret void")
def copy():
    words = np.arange(64, dtype=np.uint32)
    return run(container, [(words, 0, 4), (np.zeros_like(words), 0, 4)])[1].tolist()
"""


def test_a_wrong_kernel_can_be_chosen_from_outside(tmp_path):
    right = in_a_new_process(COPY + "print(copy())", tmp_path)
    assert right.stdout == f"{[*range(64)]}\n"
    wrong = in_a_new_process(COPY + "print(copy())", tmp_path, wrong_kernel=1)
    assert wrong.stdout == f"{[i ^ 2**16 for i in range(64)]}\n"
    other = in_a_new_process(COPY + "print(copy())", tmp_path, wrong_kernel=2)
    assert other.stdout == right.stdout


def test_a_removed_device_fails_everything_and_signals_fences(tmp_path):
    code = """
import ctypes
answers, value = (ctypes.c_uint32 * 3)(), ctypes.c_uint64()
assert driver().test_remove_device(answers, ctypes.byref(value)) == 0
print(*[hex(answer) for answer in answers], value.value == 2**64 - 1)
"""
    done = in_a_new_process(code, tmp_path)
    assert done.stdout == "0x887a0006 0x887a0005 0x887a0005 True\n", done.stderr


def test_a_device_that_is_removed_after_three_dispatches(tmp_path):
    code = (
        COPY
        + """
for i in range(5):
    try:
        copy()
        print("copied")
    except OSError as error:
        print(error)
"""
    )
    done = in_a_new_process(code, tmp_path, remove_after=3)
    lines = done.stdout.splitlines()
    assert lines[:3] == ["copied"] * 3, done.stderr
    assert lines[3] in ("HRESULT 887a0006", "HRESULT 887a0005")
    assert lines[4] == "HRESULT 887a0005"


def test_an_unknown_opcode_ends_the_process_with_its_name(tmp_path):
    code = """
body = handle(0) + "%v = call i32 @dx.op.binary.i32(i32 99, i32 1, i32 2)\\n"
run(dxil(body + store(0, "0", "%v") + "ret void"), [np.zeros(64, np.uint32)])
"""
    done = in_a_new_process(code, tmp_path)
    assert done.returncode == -6  # SIGABRT
    assert "DXIL instruction dx.op.binary.i32 99 is not supported" in done.stderr


def test_an_unknown_instruction_makes_no_pipeline(tmp_path):
    code = """
body = handle(0) + "%v = call i32 @dx.op.waveReadLaneFirst.i32(i32 118, i32 2)\\n"
run(dxil(body + store(0, "0", "%v") + "ret void"), [np.zeros(64, np.uint32)])
"""
    done = in_a_new_process(code, tmp_path)
    assert "DXIL instruction dx.op.waveReadLaneFirst.i32 is not supported" in done.stderr
    assert "HRESULT 80070057" in done.stderr


def test_an_unknown_method_is_not_implemented_and_says_so(tmp_path):
    done = in_a_new_process("print(hex(driver().test_call_unsupported_method() + 2**32))", tmp_path)
    assert done.stdout == "0x80004001\n"
    assert "ID3D12Device::OpenSharedHandleByName is not supported" in done.stderr


def test_a_damaged_container_makes_no_pipeline():
    container = copying_shader()
    for damaged in (b"", container[:40], b"XXXX" + container[4:], container[:-100]):
        with pytest.raises(OSError, match="80070057"):
            shaders.run(damaged, [np.zeros(64, UINT), np.zeros(64, UINT)])


# ---- Many at once


def test_processes_that_compile_the_same_shader_at_once_do_not_disturb_each_other(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(
            pool.map(lambda _: in_a_new_process(COPY + "print(copy())", tmp_path), range(4))
        )
    assert [process.stdout for process in done] == [f"{[*range(64)]}\n"] * 4
    left = [name for _, _, names in os.walk(str(tmp_path)) for name in names]
    assert len(left) == 1 and left[0].endswith(".so")


def test_threads_that_compile_at_once_get_their_own_results():
    def add(number):
        lines = f"%sum = add i32 %a, {number % 4}\n"
        return run_words(words_shader(lines, ["%sum"], 1), 1, np.arange(64, dtype=UINT))[0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(add, range(8)))
    for number, result in enumerate(results):
        np.testing.assert_array_equal(result, np.arange(64) + number % 4)


def test_statistics_are_written_when_the_process_ends(tmp_path):
    path = tmp_path / "statistics.json"
    done = in_a_new_process(COPY + "copy(); copy()", tmp_path, statistics=path)
    assert done.returncode == 0, done.stderr
    statistics = json.loads(path.read_text())
    assert statistics["dispatches"] == 2
    assert statistics["kernels"] == statistics["compilations"] == 1


def test_what_is_missing_is_said():
    environment = dict(os.environ, PATH="/nowhere")
    done = subprocess.run(
        [sys.executable, os.path.join(ROOT, "tests", "directml_device", "build.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "clang-19" in done.stderr and "apt-get install" in done.stderr
