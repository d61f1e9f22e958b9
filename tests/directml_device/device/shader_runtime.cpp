// The DXIL intrinsics (dx.op.*) that shaders call, and the loops that run a thread group.
//
// Compiled by clang (C++20, for its coroutine builtins) to bitcode and linked into every shader,
// where it is inlined. The meaning of each opcode:
// https://github.com/microsoft/DirectXShaderCompiler/blob/main/docs/DXIL.rst
// Beside this file, shader_runtime.ll adapts the intrinsics that pass DXIL's own structures.
// An opcode that is missing here ends the process with its name.
#include "shader_abi.h"

#define INTRINSIC(name) asm("dx.op." name) __attribute__((always_inline))
#define HELPER __attribute__((always_inline))

typedef uint32_t uint4 __attribute__((ext_vector_type(4)));
typedef uint32_t uint2 __attribute__((ext_vector_type(2)));

namespace {

template <class To, class From> HELPER To bits_as(From value) {
  static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
  To result;
  __builtin_memcpy(&result, &value, sizeof result);
  return result;
}

template <class Value> HELPER Value read(const uint8_t *address) {
  Value value;
  __builtin_memcpy(&value, address, sizeof value);
  return value;
}

template <class Value> HELPER void write(uint8_t *address, Value value) {
  __builtin_memcpy(address, &value, sizeof value);
}

HELPER float half_to_float(uint16_t bits) { return bits_as<_Float16>(bits); }
HELPER uint16_t float_to_half(float value) { return bits_as<uint16_t>((_Float16)value); }

// Numbers of DXGI_FORMAT, https://learn.microsoft.com/windows/win32/api/dxgiformat
enum Format {
  kR32G32Uint = 17, kR32Float = 41, kR32Uint = 42, kR32Sint = 43,
  kR16Float = 54, kR16Uint = 57, kR16Sint = 59, kR8Uint = 62, kR8Sint = 64,
};

HELPER uint32_t format_size(uint32_t format) {
  switch (format) {
    case kR32G32Uint: return 8;
    case kR16Float: case kR16Uint: case kR16Sint: return 2;
    case kR8Uint: case kR8Sint: return 1;
    default: return 4;
  }
}

__attribute__((noinline)) uint4 load_typed(const Group *group, const Descriptor *view,
                                           uint32_t index) {
  const uint64_t size = format_size(view->format);
  if (index * size + size > view->bytes) return 0;
  const uint8_t *address = view->base + index * size;
  // A component that the format lacks reads as 0, and the fourth as 1.
  uint4 value = {0, 0, 0, 1};
  switch (view->format) {
    case kR32Float: case kR32Uint: case kR32Sint: value.x = read<uint32_t>(address); break;
    case kR32G32Uint: value.xy = read<uint2>(address); break;
    case kR16Float: value.x = bits_as<uint32_t>(half_to_float(read<uint16_t>(address))); break;
    case kR16Uint: value.x = read<uint16_t>(address); break;
    case kR16Sint: value.x = read<int16_t>(address); break;
    case kR8Uint: value.x = read<uint8_t>(address); break;
    case kR8Sint: value.x = read<int8_t>(address); break;
    default: group->unsupported("bufferLoad of a typed buffer, DXGI_FORMAT", view->format);
  }
  return value;
}

__attribute__((noinline)) void store_typed(const Group *group, const Descriptor *view,
                                           uint32_t index, uint32_t x, uint32_t y) {
  const uint64_t size = format_size(view->format);
  if (index * size + size > view->bytes) return;
  uint8_t *address = view->base + index * size;
  switch (view->format) {
    case kR32Float: case kR32Uint: case kR32Sint: write(address, x); break;
    case kR32G32Uint: write(address, uint2{x, y}); break;
    case kR16Float: write(address, float_to_half(bits_as<float>(x))); break;
    case kR16Uint: case kR16Sint: write(address, (uint16_t)x); break;
    case kR8Uint: case kR8Sint: write(address, (uint8_t)x); break;
    default: group->unsupported("bufferStore to a typed buffer, DXGI_FORMAT", view->format);
  }
}

// The address of one 32-bit word of a structured or raw buffer, or null if it lies outside.
HELPER uint8_t *word_address(const Descriptor *view, uint32_t index, uint32_t offset) {
  const uint64_t position = (uint64_t)index * view->stride + offset;
  return position + 4 <= view->bytes ? view->base + position : nullptr;
}

HELPER uint32_t load_word(const Descriptor *view, uint32_t index, uint32_t offset) {
  const uint8_t *address = word_address(view, index, offset);
  return address ? read<uint32_t>(address) : 0;
}

HELPER void store_word(const Descriptor *view, uint32_t index, uint32_t offset, uint32_t value) {
  uint8_t *address = word_address(view, index, offset);
  if (address) write(address, value);
}

const uint8_t kZeros[16] = {};

}  // namespace

extern "C" {

// ---- Resources; shader_runtime.ll passes the handle as the pointer that it holds.

// ResourceClass of DXIL: 0 shader resource view, 1 unordered access view, 2 constant buffer.
HELPER const Descriptor *runtime_descriptor(const Thread *thread, uint32_t resource_class,
                                            uint32_t index) {
  const Group *group = thread->group;
  const uint32_t registers = resource_class == 0   ? kMaxSrvs
                             : resource_class == 1 ? kMaxUavs
                                                   : kMaxCbvs;
  if (index >= registers) group->unsupported("createHandle of register", index);
  if (resource_class == 0) return &group->srvs[index];
  if (resource_class == 1) return &group->uavs[index];
  return &group->cbvs[index];
}

// The 16 bytes at a row of a constant buffer.
HELPER const uint8_t *runtime_constants(const Descriptor *view, uint32_t row) {
  const uint64_t position = (uint64_t)row * 16;
  return position + 16 <= view->bytes ? view->base + position : kZeros;
}

HELPER uint4 runtime_buffer_load(const Thread *thread, const Descriptor *view, uint32_t index,
                                 uint32_t offset) {
  if (view->format) return load_typed(thread->group, view, index);
  return uint4{load_word(view, index, offset), load_word(view, index, offset + 4),
               load_word(view, index, offset + 8), load_word(view, index, offset + 12)};
}

HELPER void runtime_buffer_store(const Thread *thread, const Descriptor *view, uint32_t index,
                                 uint32_t offset, uint32_t x, uint32_t y, uint32_t z, uint32_t w,
                                 uint32_t mask) {
  const uint32_t flipped = thread->group->flipped_bits;
  if (view->format) return store_typed(thread->group, view, index, x ^ flipped, y ^ flipped);
  if (mask & 1) store_word(view, index, offset, x ^ flipped);
  if (mask & 2) store_word(view, index, offset + 4, y ^ flipped);
  if (mask & 4) store_word(view, index, offset + 8, z ^ flipped);
  if (mask & 8) store_word(view, index, offset + 12, w ^ flipped);
}

// Atomics return the value before. On a typed buffer the format has 32 bits.
HELPER uint32_t runtime_atomic(const Thread *thread, const Descriptor *view, uint32_t operation,
                               uint32_t index, uint32_t offset, uint32_t value) {
  const Descriptor words = {view->base, view->bytes, 0, view->format ? 4 : view->stride};
  uint8_t *address = word_address(&words, index, view->format ? 0 : offset);
  if (!address) return 0;
  uint32_t *word = (uint32_t *)address;
  switch (operation) {
    case 0: return __atomic_fetch_add(word, value, __ATOMIC_RELAXED);
    case 1: return __atomic_fetch_and(word, value, __ATOMIC_RELAXED);
    case 2: return __atomic_fetch_or(word, value, __ATOMIC_RELAXED);
    case 3: return __atomic_fetch_xor(word, value, __ATOMIC_RELAXED);
    case 4: return __atomic_fetch_min((int32_t *)word, (int32_t)value, __ATOMIC_RELAXED);
    case 5: return __atomic_fetch_max((int32_t *)word, (int32_t)value, __ATOMIC_RELAXED);
    case 6: return __atomic_fetch_min(word, value, __ATOMIC_RELAXED);
    case 7: return __atomic_fetch_max(word, value, __ATOMIC_RELAXED);
    case 8: return __atomic_exchange_n(word, value, __ATOMIC_RELAXED);
    default: thread->group->unsupported("atomicBinOp, operation", operation); return 0;
  }
}

HELPER uint32_t runtime_compare_exchange(const Thread *, const Descriptor *view, uint32_t index,
                                         uint32_t offset, uint32_t expected, uint32_t value) {
  const Descriptor words = {view->base, view->bytes, 0, view->format ? 4 : view->stride};
  uint8_t *address = word_address(&words, index, view->format ? 0 : offset);
  if (!address) return 0;
  __atomic_compare_exchange_n((uint32_t *)address, &expected, value, false, __ATOMIC_RELAXED,
                              __ATOMIC_RELAXED);
  return expected;
}

// ---- Which thread this is

uint32_t thread_id(const Thread *thread, uint32_t opcode, uint32_t axis)
    INTRINSIC("threadId.i32");
uint32_t thread_id(const Thread *thread, uint32_t, uint32_t axis) {
  const Group *group = thread->group;
  return group->id[axis] * group->size[axis] + thread->id[axis];
}

uint32_t group_id(const Thread *thread, uint32_t opcode, uint32_t axis) INTRINSIC("groupId.i32");
uint32_t group_id(const Thread *thread, uint32_t, uint32_t axis) {
  return thread->group->id[axis];
}

uint32_t thread_id_in_group(const Thread *thread, uint32_t opcode, uint32_t axis)
    INTRINSIC("threadIdInGroup.i32");
uint32_t thread_id_in_group(const Thread *thread, uint32_t, uint32_t axis) {
  return thread->id[axis];
}

uint32_t flattened_thread_id(const Thread *thread, uint32_t opcode)
    INTRINSIC("flattenedThreadIdInGroup.i32");
uint32_t flattened_thread_id(const Thread *thread, uint32_t) { return thread->index; }

// A barrier that only orders memory: the threads of a group run on one core, in order. Where
// threads must meet, the compiler has replaced the call by a suspension of the coroutine.
void barrier(const Thread *thread, uint32_t opcode, uint32_t mode) INTRINSIC("barrier");
void barrier(const Thread *, uint32_t, uint32_t) {}

// ---- Bits

float bitcast_i32_to_f32(const Thread *thread, uint32_t opcode, uint32_t value)
    INTRINSIC("bitcastI32toF32");
float bitcast_i32_to_f32(const Thread *, uint32_t, uint32_t value) { return bits_as<float>(value); }

uint32_t bitcast_f32_to_i32(const Thread *thread, uint32_t opcode, float value)
    INTRINSIC("bitcastF32toI32");
uint32_t bitcast_f32_to_i32(const Thread *, uint32_t, float value) {
  return bits_as<uint32_t>(value);
}

float legacy_f16_to_f32(const Thread *thread, uint32_t opcode, uint32_t value)
    INTRINSIC("legacyF16ToF32");
float legacy_f16_to_f32(const Thread *, uint32_t, uint32_t value) {
  return half_to_float((uint16_t)value);
}

uint32_t legacy_f32_to_f16(const Thread *thread, uint32_t opcode, float value)
    INTRINSIC("legacyF32ToF16");
uint32_t legacy_f32_to_f16(const Thread *, uint32_t, float value) { return float_to_half(value); }

uint32_t unary_i32(const Thread *thread, uint32_t opcode, uint32_t value)
    INTRINSIC("unary.i32");
uint32_t unary_i32(const Thread *thread, uint32_t opcode, uint32_t value) {
  if (opcode != 30) thread->group->unsupported("dx.op.unary.i32", opcode);
  return __builtin_bitreverse32(value);
}

uint32_t unary_bits_i32(const Thread *thread, uint32_t opcode, uint32_t value)
    INTRINSIC("unaryBits.i32");
uint32_t unary_bits_i32(const Thread *thread, uint32_t opcode, uint32_t value) {
  switch (opcode) {
    case 31: return __builtin_popcount(value);
    case 32: return value ? __builtin_ctz(value) : ~0u;  // FirstbitLo, counted from the low end
    case 33: return value ? __builtin_clz(value) : ~0u;  // FirstbitHi, counted from the high end
    case 34: {                                           // FirstbitSHi: first bit unlike the sign
      const uint32_t unlike = (int32_t)value < 0 ? ~value : value;
      return unlike ? __builtin_clz(unlike) : ~0u;
    }
    default: thread->group->unsupported("dx.op.unaryBits.i32", opcode); return 0;
  }
}

// ---- Integers

uint32_t binary_i32(const Thread *thread, uint32_t opcode, uint32_t a, uint32_t b)
    INTRINSIC("binary.i32");
uint32_t binary_i32(const Thread *thread, uint32_t opcode, uint32_t a, uint32_t b) {
  switch (opcode) {
    case 37: return (int32_t)a > (int32_t)b ? a : b;  // IMax
    case 38: return (int32_t)a < (int32_t)b ? a : b;  // IMin
    case 39: return a > b ? a : b;                    // UMax
    case 40: return a < b ? a : b;                    // UMin
    default: thread->group->unsupported("dx.op.binary.i32", opcode); return 0;
  }
}

// Two results: the first in the low word.
HELPER uint64_t runtime_binary_with_two_results(const Thread *thread, uint32_t opcode, uint32_t a,
                                                uint32_t b) {
  switch (opcode) {
    case 41: case 42: {  // IMul, UMul: high word first
      const uint64_t product = opcode == 41 ? (uint64_t)((int64_t)(int32_t)a * (int32_t)b)
                                            : (uint64_t)a * b;
      return product << 32 | product >> 32;
    }
    case 43:  // UDiv: quotient, remainder; both all ones for a divisor of 0
      return b ? (uint64_t)(a % b) << 32 | a / b : ~0ull;
    default: thread->group->unsupported("dx.op.binaryWithTwoOuts.i32", opcode); return 0;
  }
}

uint32_t tertiary_i32(const Thread *thread, uint32_t opcode, uint32_t a, uint32_t b, uint32_t c)
    INTRINSIC("tertiary.i32");
uint32_t tertiary_i32(const Thread *thread, uint32_t opcode, uint32_t a, uint32_t b, uint32_t c) {
  const uint32_t width = a & 31, offset = b & 31;
  switch (opcode) {
    case 48: case 49: return a * b + c;  // IMad, UMad
    case 51: {                           // Ibfe: a signed field of `width` bits at `offset`
      if (!width) return 0;
      if (width + offset >= 32) return (uint32_t)((int32_t)c >> offset);
      return (uint32_t)((int32_t)(c << (32 - width - offset)) >> (32 - width));
    }
    case 52:  // Ubfe
      if (!width) return 0;
      if (width + offset >= 32) return c >> offset;
      return c << (32 - width - offset) >> (32 - width);
    default: thread->group->unsupported("dx.op.tertiary.i32", opcode); return 0;
  }
}

uint32_t quaternary_i32(const Thread *thread, uint32_t opcode, uint32_t width, uint32_t offset,
                        uint32_t value, uint32_t replaced) INTRINSIC("quaternary.i32");
uint32_t quaternary_i32(const Thread *thread, uint32_t opcode, uint32_t width, uint32_t offset,
                        uint32_t value, uint32_t replaced) {
  if (opcode != 53) thread->group->unsupported("dx.op.quaternary.i32", opcode);
  const uint32_t mask = ((1u << (width & 31)) - 1) << (offset & 31);  // Bfi
  return ((value << (offset & 31)) & mask) | (replaced & ~mask);
}

// ---- Floating point

float unary_f32(const Thread *thread, uint32_t opcode, float value) INTRINSIC("unary.f32");
float unary_f32(const Thread *thread, uint32_t opcode, float value) {
  switch (opcode) {
    case 6: return __builtin_fabsf(value);
    case 7: return __builtin_fminf(__builtin_fmaxf(value, 0.0f), 1.0f);  // Saturate; NaN gives 0
    case 12: return __builtin_cosf(value);
    case 13: return __builtin_sinf(value);
    case 14: return __builtin_tanf(value);
    case 15: return __builtin_acosf(value);
    case 16: return __builtin_asinf(value);
    case 17: return __builtin_atanf(value);
    case 18: return __builtin_coshf(value);
    case 19: return __builtin_sinhf(value);
    case 20: return __builtin_tanhf(value);
    case 21: return __builtin_exp2f(value);               // Exp is 2 to the power
    case 22: return value - __builtin_floorf(value);      // Frc
    case 23: return __builtin_log2f(value);               // Log is to the base 2
    case 24: return __builtin_sqrtf(value);
    case 25: return 1.0f / __builtin_sqrtf(value);
    case 26: return __builtin_rintf(value);               // Round_ne: to nearest, ties to even
    case 27: return __builtin_floorf(value);              // Round_ni: towards -infinity
    case 28: return __builtin_ceilf(value);               // Round_pi: towards +infinity
    case 29: return __builtin_truncf(value);              // Round_z: towards zero
    default: thread->group->unsupported("dx.op.unary.f32", opcode); return 0;
  }
}

float binary_f32(const Thread *thread, uint32_t opcode, float a, float b) INTRINSIC("binary.f32");
float binary_f32(const Thread *thread, uint32_t opcode, float a, float b) {
  switch (opcode) {
    case 35: return __builtin_fmaxf(a, b);  // of a number and a NaN, the number
    case 36: return __builtin_fminf(a, b);
    default: thread->group->unsupported("dx.op.binary.f32", opcode); return 0;
  }
}

float tertiary_f32(const Thread *thread, uint32_t opcode, float a, float b, float c)
    INTRINSIC("tertiary.f32");
float tertiary_f32(const Thread *thread, uint32_t opcode, float a, float b, float c) {
  // FMad may round once or twice: twice, so that all machines compute the same.
  if (opcode != 46) thread->group->unsupported("dx.op.tertiary.f32", opcode);
  return a * b + c;
}

bool is_special_float_f32(const Thread *thread, uint32_t opcode, float value)
    INTRINSIC("isSpecialFloat.f32");
bool is_special_float_f32(const Thread *thread, uint32_t opcode, float value) {
  const uint32_t magnitude = bits_as<uint32_t>(value) & 0x7fffffff;
  switch (opcode) {
    case 8: return magnitude > 0x7f800000;   // IsNaN
    case 9: return magnitude == 0x7f800000;  // IsInf
    case 10: return magnitude < 0x7f800000;  // IsFinite
    case 11: return magnitude >= 0x00800000 && magnitude < 0x7f800000;  // IsNormal
    default: thread->group->unsupported("dx.op.isSpecialFloat.f32", opcode); return false;
  }
}

// ---- Thread groups

// Memory for the frame of a coroutine, from the worker's own buffer.
void *runtime_frame(const Thread *thread, uint64_t size) {
  Group *group = thread->group;
  const uint64_t begin = group->frames_used;
  group->frames_used = begin + ((size + 63) & ~63ull);
  if (group->frames_used > group->frames_size)
    group->unsupported("a shader with threads that keep this many bytes at a barrier:", size);
  return group->frames + begin;
}

HELPER void place_thread(Thread *thread, Group *group, uint32_t index) {
  thread->group = group;
  thread->id[0] = index % group->size[0];
  thread->id[1] = index / group->size[0] % group->size[1];
  thread->id[2] = index / group->size[0] / group->size[1];
  thread->index = index;
}

// Without barriers the threads run one after another. The copy of the group on this stack tells
// the optimizer that no store of the shader changes it: views stay in registers.
HELPER void runtime_run_group(const Group *shared, void (*shader)(const Thread *)) {
  Group group = *shared;
  Thread thread;
  thread.group = &group;
  uint32_t index = 0;
  for (uint32_t z = 0; z < group.size[2]; z++)
    for (uint32_t y = 0; y < group.size[1]; y++)
      for (uint32_t x = 0; x < group.size[0]; x++) {
        thread.id[0] = x;
        thread.id[1] = y;
        thread.id[2] = z;
        thread.index = index++;
        shader(&thread);
      }
}

// With barriers each thread is a coroutine that suspends itself at a barrier; all threads reach a
// barrier before the first one goes on.
HELPER void runtime_run_group_with_barriers(Group *group, void *(*shader)(const Thread *)) {
  Thread threads[kMaxGroupThreads];
  void *coroutines[kMaxGroupThreads];
  const uint32_t count = group->size[0] * group->size[1] * group->size[2];
  group->frames_used = 0;
  for (uint32_t i = 0; i < count; i++) {
    place_thread(&threads[i], group, i);
    coroutines[i] = shader(&threads[i]);
  }
  for (bool waiting = true; waiting;) {
    waiting = false;
    for (uint32_t i = 0; i < count; i++) {
      if (__builtin_coro_done(coroutines[i])) continue;
      __builtin_coro_resume(coroutines[i]);
      waiting = true;
    }
  }
}

}  // extern "C"
